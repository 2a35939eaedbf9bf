"""Masked autoencoder: see a quarter of the tokens, say what the rest were."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import PatchDecoder, register, token_stages, token_targets
from tftransfer.objectives.objective import Objective

STAGES = {
    "objective": "MaskedAutoencoder",
    "instead": "SimMIM, SimCLR, or Autoencoder with noise",
    "pictures": False,
}


def masked_mean(errors, mask):
    """Mean error of the hidden tokens only: `Σ mask · error / Σ mask`.

    Args:
        errors: `(batch, tokens)`; of a patch the mean squared error of its pixels, of a number of a table its
            squared error, of a category the cross-entropy.
        mask: `(batch, tokens)`, 1 = hidden.

    Returns:
        Float32 scalar.

    Example:

    >>> float(masked_mean(ops.convert_to_tensor([[3.0, 5.0]]), ops.convert_to_tensor([[1.0, 0.0]])))
    3.0
    """
    mask = ops.cast(mask, "float32")
    return ops.sum(ops.cast(errors, "float32") * mask) / ops.sum(mask)


@register
class MaskedAutoencoder(Objective):
    """Hides most tokens of an example, encodes the visible ones only, and reconstructs the hidden ones.

    The objective to try first with a vision transformer: no augmentation to choose, no large batch needed, and a
    step costs little since the encoder sees a quarter of the tokens. On tables (`backbones.table_transformer`) the
    hidden tokens are columns: numbers come back by their squared error in deviations, categories by their
    cross-entropy, missing values not at all; there `mask_ratio=0.5` is usual.

    Reference: He et al., Masked Autoencoders Are Scalable Vision Learners, 2021, https://arxiv.org/abs/2111.06377; on
    tables: Du et al., ReMasker: Imputing Tabular Data with Masked Autoencoding, 2023, https://arxiv.org/abs/2309.13793
    Differs from it in: no class token, and a decoder in proportion to small encoders (2 blocks of half the
    encoder's width; the paper's is 8 blocks of 512 behind a ViT-Large).

    Small data, one GPU: the small decoder and the rate of 3e-3 are meant for it; what the paper gains, it gains over
    800 epochs and more.

    Args:
        backbone: a token backbone with the two stages `embedder` and `trunk` (`backbones.vit`,
            `backbones.table_transformer`).
        mask_ratio: share of the tokens that are hidden, in (0, 1).
        decoder_width: size of a token in the decoder; by default half the encoder's, at least 64.
        decoder_depth: transformer blocks in the decoder.
        normalize_targets: whether each patch of a picture is reconstructed relative to its own mean and deviation.
        seed: seed of the masks.

    Input: pictures `(batch, height, width, channels)` or encoded rows `(batch, columns)`, or `{"pictures" or "rows": …,
    "order": …}` with `order` `(batch, tokens)` int, the places of the tokens in random order, the visible ones first.
    Output: `{"prediction": (batch, tokens, values), "target": …, "mask": (batch, tokens)}`, 1 = hidden; the target is
    `(batch, tokens, values)` for pictures and the rows themselves for tables.

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
        self.visible = tokens - round(tokens * mask_ratio) if 0 < mask_ratio < 1 else 0
        if not 0 < self.visible < tokens:
            raise ValueError(
                f"mask_ratio={mask_ratio} would not leave some of {tokens} tokens visible. Choose a ratio in (0, 1) "
                f"that leaves at least one visible and one hidden, or smaller patches."
            )
        self.mask_ratio = mask_ratio
        self.decoder_width = decoder_width
        self.decoder_depth = decoder_depth
        self.normalize_targets = normalize_targets
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.targets = token_targets(backbone, normalize=normalize_targets)
        size = decoder_width or max(64, width // 2 // 16 * 16)
        heads = max(1, size // 32)
        while size % heads:
            heads -= 1
        self.decoder = PatchDecoder(
            self.targets.grid,
            self.targets.values,
            size,
            decoder_depth,
            heads,
            name="decoder",
            dtype=self.dtype_policy,
        )
        self.decoder.build((None, self.visible, width))

    def call(self, inputs, training=None):
        examples, order = _examples_and_order(inputs)
        embedder, trunk = token_stages(self.backbone, **STAGES)
        tokens = embedder(examples, training=training)  # (b, n, width)
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
        mask = ops.cast(restore >= self.visible, "float32")
        return {"prediction": prediction, "target": self.targets(examples), "mask": mask}

    def compute_objective(self, outputs):
        return masked_mean(self.targets.error(outputs["prediction"], outputs["target"]), outputs["mask"])


def _examples_and_order(inputs):
    if not isinstance(inputs, dict):
        return inputs, None
    names = set(inputs) - {"order"}
    if len(names) != 1 or not names < {"pictures", "rows"} or "order" not in inputs:
        raise ValueError(
            f"MaskedAutoencoder reads plain examples, or a dict of 'pictures' or 'rows' and their 'order'; received "
            f"the keys {sorted(inputs)}. A table of columns becomes rows by "
            f"TablePreprocessing().adapt(table).encode(table)."
        )
    return inputs[names.pop()], ops.cast(inputs["order"], "int32")
