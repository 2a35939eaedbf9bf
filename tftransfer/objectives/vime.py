"""VIME: say which values of a table row were swapped, and what they were."""

import keras
from keras import ops

from tftransfer.layers import corrupted_rows, pool, register, row_targets
from tftransfer.objectives.objective import Objective


def mask_and_feature_error(mask_logits, mask, errors, *, feature_weight):
    """`mean(BCE(mask, σ(mask_logits))) + α · mean(errors)`, a float32 scalar.

    Args:
        mask_logits, mask: `(batch, columns)`; 1 = replaced.
        errors: `(batch, columns)`, of the reconstruction: squared for numbers, cross-entropy for categories.
        feature_weight: α.

    Example:

    >>> x = ops.zeros((2, 3))
    >>> round(float(mask_and_feature_error(x, x, x + 1, feature_weight=2.0)), 4)  # log 2 + 2
    2.6931
    """
    logits, mask = ops.cast(mask_logits, "float32"), ops.cast(mask, "float32")
    cross_entropy = ops.mean(ops.softplus(logits) - mask * logits)
    return cross_entropy + feature_weight * ops.mean(ops.cast(errors, "float32"))


@register
class VIME(Objective):
    """Value imputation and mask estimation: two questions about a corrupted row, answered from its features.

    For tables whose columns depend on each other, with a perceptron (`backbones.mlp(preprocessing)`) or
    `backbones.table_transformer(preprocessing)`, whose `TablePreprocessing` standardises numbers and encodes
    categories, so that a category is replaced, and guessed, as a whole. Plain rows of numbers, standardised by you,
    serve as well. A missing value is no target.

    Reference: Yoon et al., VIME: Extending the Success of Self- and Semi-supervised Learning to Tabular Domain, 2020,
    https://papers.nips.cc/paper/2020/hash/7d97667a3e056acab9aaf653807b4a03-Abstract.html
    Differs from it in: replacements come from random rows of the batch, each value on its own; only the
    self-supervised half of the paper.

    Small data: three layers of 256 and 20 epochs in batches of 256 over 20,000 rows, under half a CPU-minute, are the
    setting of `benchmarks/tables.py`.

    Args:
        backbone: a built `keras.Model` over rows `(batch, columns)`.
        corruption: share of the values that are replaced, in (0, 1).
        feature_weight: α, weight of the reconstruction against the mask.
        seed: seed of the corruption.

    Input: rows `(batch, columns)`, encoded where they come from a table, or `{"rows": …, "corrupted": …}` made
    beforehand.
    Output: `{"mask_logits", "mask", "target"}`, each `(batch, columns)`, and `"reconstruction"`: a number a column,
    and for the categories of a table a logit each; the mask is 1 only where the replacement differs from the value.

    Raises:
        ValueError: for a backbone that does not read rows, a corruption outside (0, 1), a negative weight, or a batch
            of one row.

    Example:

    >>> from tftransfer import backbones
    >>> objective = VIME(backbones.mlp((8,), units=(16,)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.normal((32, 8)), batch_size=16, verbose=0)
    """

    def __init__(self, backbone, *, corruption=0.3, feature_weight=2.0, seed=0, **kwargs):
        super().__init__(backbone, **kwargs)
        if len(backbone.input_shape) != 2:
            raise ValueError(
                f"VIME corrupts rows of a table (batch, features); {backbone.name!r} reads {backbone.input_shape}. "
                f"For pictures use Autoencoder with noise, or SimMIM."
            )
        if not 0 < corruption < 1 or feature_weight < 0:
            raise ValueError(
                f"corruption lies in (0, 1) and feature_weight is 0 or more; received {corruption} and "
                f"{feature_weight}."
            )
        self.corruption = corruption
        self.feature_weight = feature_weight
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.pool = pool(backbone.output_shape)
        self.targets = row_targets(backbone)
        self.mask_head = keras.layers.Dense(backbone.input_shape[-1], name="mask_head")
        self.feature_head = keras.layers.Dense(self.targets.values, name="feature_head")
        for head in (self.mask_head, self.feature_head):
            head.build(self.pool.compute_output_shape(backbone.output_shape))

    def call(self, inputs, training=None):
        rows, corrupted = corrupted_rows(inputs, self.corruption, self.random, where="VIME")
        embeddings = self.pool(self.backbone(corrupted, training=training))
        return {
            "mask_logits": self.mask_head(embeddings),
            "mask": ops.cast(ops.not_equal(rows, corrupted), "float32"),
            "reconstruction": self.feature_head(embeddings),
            "target": self.targets(rows),
        }

    def compute_objective(self, outputs):
        errors = self.targets.error(outputs["reconstruction"], outputs["target"])
        return mask_and_feature_error(
            outputs["mask_logits"], outputs["mask"], errors, feature_weight=self.feature_weight
        )
