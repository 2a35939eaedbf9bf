"""Sentence contrast: a sentence read twice, with other units dropped out, recognises itself among all others."""

import keras
from keras import ops

from tftransfer.layers import paired_contrast, pool, register, text_ids
from tftransfer.objectives.objective import Objective


@register
class SentenceContrast(Objective):
    """Embeddings of sentences without labels: dropout is the only difference between the two views. SimCSE.

    For search and similarity (`tasks.SentenceIndex`), behind `MaskedLM`: alone, from random weights, it learns little.
    A short run of small rate is what was published: one epoch over a million sentences, batches of 64.

    Reference: Gao et al., SimCSE: Simple Contrastive Learning of Sentence Embeddings, 2021,
    https://arxiv.org/abs/2104.08821
    Differs from it in: sentences are pooled by the mean of their tokens unless told otherwise (theirs is [CLS]).

    Small data, one GPU: a rate of 3e-5 for a pretrained model of BERT's size, up to 1e-4 for smaller ones; watch
    `evaluation.uniformity`.

    Args:
        backbone: a text backbone with dropout, such as `backbones.bert(..., dropout=0.1)`.
        temperature: τ of the loss.
        pooling: "mean", "first" ([CLS]), "last" or "max".

    Input: ids `(batch, tokens)`, 0 = padding.
    Output: `{"projections_1": (batch, width), "projections_2": …}`, of a perceptron of one layer that is thrown away.

    Raises:
        ValueError: for a backbone that reads no texts or has no dropout, a temperature that is not positive, or a batch
            of one sentence.

    Example:

    >>> from tftransfer import backbones
    >>> bert = backbones.bert((8,), vocabulary_size=50, width=8, depth=1, num_heads=1, dropout=0.1)
    >>> objective = SentenceContrast(bert)
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.randint((16, 8), 1, 50), verbose=0)
    """

    default_learning_rate = 1e-4
    default_weight_decay = 0.0

    def __init__(self, backbone, *, temperature=0.05, pooling="mean", **kwargs):
        super().__init__(backbone, **kwargs)
        text_ids(backbone, where="SentenceContrast")
        if not temperature > 0:
            raise ValueError(f"temperature must be positive; received {temperature}.")
        if not any(getattr(part, "rate", 0) for part in backbone._flatten_layers()):
            raise ValueError(
                f"SentenceContrast reads each sentence twice, and dropout is what makes the two readings differ; "
                f"{backbone.name!r} has none. Build it with dropout=0.1."
            )
        self.temperature = temperature
        self.pooling = pooling
        self.pool = pool(backbone.output_shape, kind=pooling)
        width = backbone.output_shape[-1]
        self.projector = keras.Sequential(
            [keras.Input((width,)), keras.layers.Dense(width, activation="tanh", name="dense")],
            name="projector",
        )

    def call(self, inputs, training=None):
        if inputs.shape[0] == 1:
            raise ValueError(
                "SentenceContrast compares sentences with each other: a batch of one has nothing to compare. Use a "
                "batch_size of 2 or more."
            )
        twice = ops.concatenate([inputs, inputs], axis=0)  # (2 · batch, tokens)
        embeddings = self.pool(self.backbone(twice, training=training))
        first, second = ops.split(self.projector(embeddings, training=training), 2, axis=0)
        return {"projections_1": first, "projections_2": second}

    def compute_objective(self, outputs):
        return paired_contrast(
            outputs["projections_1"], outputs["projections_2"], temperature=self.temperature
        )
