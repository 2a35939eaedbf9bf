"""SCARF: a row of a table recognises its corrupted copy among the copies of all other rows."""

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import corrupted_rows, paired_contrast, pool, projector, register
from tftransfer.objectives.objective import Objective


def info_nce(projections, corrupted, *, temperature):
    """Cross entropy of finding each row's corrupted copy, over a global batch of N rows.

    `-mean_i log( exp(cos(z_i, z̃_i) / τ) / (1/N · Σ_k exp(cos(z_i, z̃_k) / τ)) )`. Under replicas the anchors are this
    replica's rows and the candidates everyone's.

    Args:
        projections: `(batch, dim)`, of the rows as they are.
        corrupted: `(batch, dim)`, of their corrupted copies in the same order.
        temperature: τ > 0.

    Returns:
        Float32 scalar, the mean over this replica's anchors; 0 where all candidates look alike.

    Example:

    >>> z = ops.ones((4, 2))
    >>> abs(round(float(info_nce(z, z, temperature=1.0)), 5))
    0.0
    """
    _, total = placement.rows_before_and_total(ops.shape(projections)[0])
    loss = paired_contrast(projections, corrupted, temperature=temperature)
    return loss - ops.log(ops.cast(total, "float32"))


@register
class SCARF(Objective):
    """Contrastive pretraining for tables: random feature corruption in the place of augmentation.

    The objective to try first on tables with few labels: a batch is a few hundred rows, a backbone a perceptron
    (`backbones.mlp(preprocessing)`) or `backbones.table_transformer(preprocessing)`, whose `TablePreprocessing`
    standardises numbers and encodes categories, so that a category is replaced as a whole. Plain rows of numbers,
    standardised by you, serve as well. A corrupted value is drawn from its column alone, whatever stands in the others.

    Reference: Bahri et al., SCARF: Self-Supervised Contrastive Learning using Random Feature Corruption, 2021,
    https://arxiv.org/abs/2106.15147
    Differs from it in: replacements come from the other rows of the batch rather than of the whole training set.

    Small data: three layers of 256 and 20 epochs in batches of 256 over 20,000 rows, under half a CPU-minute, are the
    setting of `benchmarks/tables.py`.

    Args:
        backbone: a built `keras.Model` over rows `(batch, columns)`.
        corruption: share of the values that are replaced, in (0, 1).
        projection_width: size of the projections compared in the loss.
        temperature: τ of the loss.
        seed: seed of the corruption.

    Input: rows `(batch, columns)`, encoded where they come from a table, or `{"rows": …, "corrupted": …}` made
    beforehand.
    Output: `{"projections": (batch, projection_width), "corrupted_projections": …}`.

    Raises:
        ValueError: for a backbone that does not read rows, a corruption outside (0, 1), a temperature that is not
            positive, or a batch of one row.

    Example:

    >>> from tftransfer import backbones
    >>> objective = SCARF(backbones.mlp((8,), units=(16,)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.normal((32, 8)), batch_size=16, verbose=0)
    """

    def __init__(self, backbone, *, corruption=0.6, projection_width=256, temperature=1.0, seed=0, **kwargs):
        super().__init__(backbone, **kwargs)
        if len(backbone.input_shape) != 2:
            raise ValueError(
                f"SCARF corrupts rows of a table (batch, features); {backbone.name!r} reads {backbone.input_shape}. "
                f"For pictures use SimCLR, MoCo or BYOL."
            )
        if not 0 < corruption < 1 or not temperature > 0:
            raise ValueError(
                f"corruption lies in (0, 1) and temperature is positive; received {corruption} and {temperature}."
            )
        self.corruption = corruption
        self.projection_width = projection_width
        self.temperature = temperature
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)
        self.pool = pool(backbone.output_shape)
        embedding = self.pool.compute_output_shape(backbone.output_shape)[-1]
        self.projector = projector(embedding, widths=(projection_width, projection_width))

    def call(self, inputs, training=None):
        rows, corrupted = corrupted_rows(inputs, self.corruption, self.random, where="SCARF")
        return {
            "projections": self._project(rows, training),
            "corrupted_projections": self._project(corrupted, training),
        }

    def _project(self, rows, training):
        return self.projector(self.pool(self.backbone(rows, training=training)), training=training)

    def compute_objective(self, outputs):
        return info_nce(
            outputs["projections"], outputs["corrupted_projections"], temperature=self.temperature
        )
