"""Masked autoencoder: see a quarter of the patches, draw the rest."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import PatchDecoder, normalize_patches, patchify, register, token_stages
from tftransfer.objectives.objective import Objective

STAGES = {"objective": "MaskedAutoencoder", "instead": "SimMIM, SimCLR, or Autoencoder with noise"}


def masked_error(prediction, target, mask):
    """Mean squared error on the hidden tokens only: `Σ mask · mean((p - t)²) / Σ mask`.

    Args:
        prediction, target: `(batch, tokens, values)`.
        mask: `(batch, tokens)`, 1 = hidden.

    Returns:
        Float32 scalar.

    Example:

    >>> mask = ops.convert_to_tensor([[1.0, 0.0]])
    >>> float(masked_error(ops.ones((1, 2, 3)), ops.zeros((1, 2, 3)), mask))
    1.0
    """
    error = ops.mean(ops.square(ops.cast(prediction, "float32") - ops.cast(target, "float32")), axis=-1)
    mask = ops.cast(mask, "float32")
    return ops.sum(error * mask) / ops.sum(mask)


@register
class MaskedAutoencoder(Objective):
    """Hides most patches of a picture, encodes the visible ones only, and reconstructs the hidden ones.

    The objective to try first with a vision transformer: no augmentation to choose, no large batch needed, and a
    step costs little since the encoder sees a quarter of the tokens.

    Reference: He et al., Masked Autoencoders Are Scalable Vision Learners, 2021, https://arxiv.org/abs/2111.06377
    Differs from it in: no class token, and a decoder in proportion to small encoders (2 blocks of half the
    encoder's width; the paper's is 8 blocks of 512 behind a ViT-Large).

    Args:
        backbone: a token backbone over pictures, with the two stages `embedder` and `trunk` (`backbones.vit`).
        mask_ratio: share of the patches that are hidden, in (0, 1).
        decoder_width: size of a token in the decoder; by default half the encoder's, at least 64.
        decoder_depth: transformer blocks in the decoder.
        normalize_targets: whether each patch is reconstructed relative to its own mean and deviation.
        seed: seed of the masks.

    Input: pictures `(batch, height, width, channels)`, or `{"pictures": …, "order": …}` with `order`
    `(batch, tokens)` int, the places of the patches in random order, the visible ones first.
    Output: `{"prediction": …, "target": …}`, both `(batch, tokens, values)`, and `"mask"` `(batch, tokens)`,
    1 = hidden.

    Raises:
        ValueError: for a backbone without the two stages, or a ratio that hides nothing or everything.

    Example:

    >>> from tftransfer import backbones
    >>> objective = MaskedAutoencoder(backbones.vit((8, 8, 1), width=32, depth=1, num_heads=2))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    """

    default_learning_rate = 3e-3  # for small encoders and short runs; a ViT-Base takes 1e-3 or less
    default_weight_decay = 0.05

    def __init__(
        self,
        backbone,
        *,
        mask_ratio=0.75,
        decoder_width=None,
        decoder_depth=2,
        normalize_targets=True,
        seed=0,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        _, tokens, width = token_stages(backbone, **STAGES)[0].output_shape
        self.visible = tokens - round(tokens * mask_ratio)
        if not 0 < mask_ratio < 1 or not 0 < self.visible < tokens:
            raise ValueError(
                f"mask_ratio={mask_ratio} would leave {self.visible} of {tokens} patches visible. Choose a ratio in "
                f"(0, 1) that leaves at least one visible and one hidden, or smaller patches."
            )
        self.mask_ratio = mask_ratio
        self.decoder_width = decoder_width
        self.decoder_depth = decoder_depth
        self.normalize_targets = normalize_targets
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        h, w, channels = backbone.input_shape[1:]
        self.patch_size = round(math.sqrt(h * w / tokens))
        grid = (h // self.patch_size, w // self.patch_size)
        size = decoder_width or max(64, width // 2 // 16 * 16)
        heads = max(1, size // 32)
        while size % heads:
            heads -= 1
        self.decoder = PatchDecoder(
            grid,
            self.patch_size**2 * channels,
            size,
            decoder_depth,
            heads,
            name="decoder",
            dtype=self.dtype_policy,
        )
        self.decoder.build((None, self.visible, width))

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            pictures, order = inputs["pictures"], ops.cast(inputs["order"], "int32")
        else:
            pictures, order = inputs, None
        embedder, trunk = token_stages(self.backbone, **STAGES)
        tokens = embedder(pictures, training=training)  # (b, n, width)
        n = tokens.shape[1]
        if order is None:
            draws = placement.per_example(
                lambda rows: keras.random.uniform((rows, n), dtype="float32", seed=self.random),
                ops.shape(tokens)[0],
            )
            order = ops.argsort(draws, axis=1)  # (b, n): places, the visible ones first
        restore = ops.argsort(order, axis=1)  # (b, n): for each place its rank in `order`
        visible = ops.take_along_axis(tokens, order[:, : self.visible, None], axis=1)  # (b, visible, width)
        prediction = self.decoder(trunk(visible, training=training), restore)
        target = patchify(ops.cast(pictures, "float32"), self.patch_size)  # (b, n, p·p·c)
        if self.normalize_targets:
            target = normalize_patches(target)
        mask = ops.cast(restore >= self.visible, "float32")
        return {"prediction": prediction, "target": target, "mask": mask}

    def compute_objective(self, outputs):
        return masked_error(outputs["prediction"], outputs["target"], outputs["mask"])
