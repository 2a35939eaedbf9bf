"""Next-patch prediction: read a picture patch by patch, and say what comes next."""

import math

import keras
from keras import ops

from tftransfer.layers import SelfAttention, normalize_patches, patchify, register, token_stages
from tftransfer.objectives.objective import Objective

STAGES = {"objective": "NextPatchPrediction", "instead": "MaskedAutoencoder, SimMIM or Autoencoder"}


def next_patch_error(prediction, patches):
    """Mean squared error of each patch against what was said after the one before: `mean((p_t - x_{t+1})²)`.

    Up to a constant the negative log likelihood, for each value of a patch, of a Gaussian with variance ½, by the
    chain rule `p(x) = Π p(x_{t+1} | x_1 … x_t)`; the first patch is given.

    Args:
        prediction, patches: `(batch, tokens, values)`; the prediction at t is of patch t + 1.

    Returns:
        Float32 scalar.

    Example:

    >>> patches = ops.reshape(ops.arange(3, dtype="float32"), (1, 3, 1))
    >>> float(next_patch_error(patches, patches))
    1.0
    """
    difference = ops.cast(prediction, "float32")[:, :-1] - ops.cast(patches, "float32")[:, 1:]
    return ops.mean(ops.square(difference))


@register
class NextPatchPrediction(Objective):
    """Predicts every patch of a picture from those before it, row by row, with a causal transformer.

    Pretraining by likelihood, as language models do it, and over the same causal trunk. No masks, no views and no
    teacher; every patch is a target, so a step teaches more than one of a masked autoencoder, and costs four times as
    much. The gain over masking shows with long runs and large models; for few patches try `MaskedAutoencoder` first.

    Reference: El-Nouby et al., Scalable Pre-training of Large Autoregressive Image Models, 2024,
    https://arxiv.org/abs/2401.08541; Chen et al., Generative Pretraining from Pixels (ImageGPT), 2020,
    https://proceedings.mlr.press/v119/chen20s.html
    Differs from them in: strictly causal attention (the former lets a random beginning see itself whole), and a head of
    one hidden layer.

    Small data, one GPU: patches of 4 pixels make 49 or 64 tokens of pictures of 28 or 32; nothing here depends on the
    size of a batch.

    Args:
        backbone: a token backbone over pictures with causal attention, `backbones.vit(..., causal=True)`.
        hidden_width: width of the head's hidden layer; by default twice that of a token.
        normalize_targets: whether each patch is predicted relative to its own mean and deviation.

    Input: pictures `(batch, height, width, channels)`.
    Output: `{"prediction": …, "patches": …}`, both `(batch, tokens, values)`; the prediction at t is of patch t + 1.

    Raises:
        ValueError: for a backbone without the two stages, one in which a patch sees later ones, or a single patch.

    Example:

    >>> from tftransfer import backbones
    >>> vit = backbones.vit((8, 8, 1), width=32, depth=1, num_heads=2, causal=True)
    >>> objective = NextPatchPrediction(vit)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    """

    default_learning_rate = 3e-3  # for small models and short runs; a ViT-Base takes 1e-3 or less
    default_weight_decay = 0.05

    def __init__(self, backbone, *, hidden_width=None, normalize_targets=True, **kwargs):
        super().__init__(backbone, **kwargs)
        embedder, trunk = token_stages(backbone, **STAGES)
        _, tokens, width = embedder.output_shape
        attention = [layer for layer in trunk._flatten_layers() if isinstance(layer, SelfAttention)]
        if not attention or not all(layer.causal for layer in attention):
            raise ValueError(
                f"NextPatchPrediction takes a backbone in which a patch sees only those before it, else it could copy "
                f"what it shall predict; {backbone.name!r} has other attention. Build it with backbones.vit(..., "
                f"causal=True), or use {STAGES['instead']}."
            )
        if tokens < 2:
            raise ValueError("NextPatchPrediction needs two patches at least. Choose a smaller patch_size.")
        self.hidden_width = hidden_width
        self.normalize_targets = normalize_targets
        h, w, channels = backbone.input_shape[1:]
        self.patch_size = round(math.sqrt(h * w / tokens))
        self.head = keras.Sequential(
            [
                keras.Input((None, width), name="tokens"),
                keras.layers.Dense(hidden_width or 2 * width, activation="gelu", name="hidden"),
                keras.layers.Dense(self.patch_size**2 * channels, name="values"),
            ],
            name="head",
        )

    def call(self, inputs, training=None):
        patches = patchify(ops.cast(inputs, "float32"), self.patch_size)  # (b, n, p·p·c)
        if self.normalize_targets:
            patches = normalize_patches(patches)
        return {"prediction": self.head(self.backbone(inputs, training=training)), "patches": patches}

    def compute_objective(self, outputs):
        return next_patch_error(outputs["prediction"], outputs["patches"])
