"""Rotation prediction: tell by how many quarter turns a picture was turned."""

import keras
from keras import ops

from tftransfer.layers import pool, register
from tftransfer.objectives.objective import Objective


def rotation_error(logits, turns):
    """Cross entropy of the number of quarter turns: `-mean(log softmax(logits)[turns])`, a float32 scalar.

    Args:
        logits: `(batch, 4)`.
        turns: `(batch,)` int, 0 to 3.

    Example:

    >>> round(float(rotation_error(ops.zeros((2, 4)), ops.convert_to_tensor([0, 3]))), 4)  # log 4
    1.3863
    """
    logits = ops.cast(logits, "float32")
    return ops.mean(ops.sparse_categorical_crossentropy(ops.cast(turns, "int32"), logits, from_logits=True))


def all_rotations(pictures):
    """The four rotations of each picture: `(batch, n, n, c)` to `(4 · batch, n, n, c)` and the turns `(4 · batch,)`.

    Example:

    >>> turned, turns = all_rotations(ops.ones((2, 4, 4, 1)))
    >>> tuple(turned.shape), turns.numpy().tolist()
    ((8, 4, 4, 1), [0, 0, 1, 1, 2, 2, 3, 3])
    """
    turned = ops.concatenate([ops.rot90(pictures, k, axes=(1, 2)) for k in range(4)], axis=0)
    return turned, ops.repeat(ops.arange(4), ops.shape(pictures)[0])


@register
class RotationPrediction(Objective):
    """Turns each picture by 0, 90, 180 and 270 degrees and asks the backbone which turn it sees.

    The cheap classic: no negatives, no teacher, no augmentation to choose. It needs pictures with a natural upright
    position; on textures, satellite pictures or cells it learns nothing of use. Reports `rotation_accuracy`.

    Reference: Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, 2018,
    https://arxiv.org/abs/1803.07728

    Small data, one GPU: batches of 128, the paper's for CIFAR-10, of which the backbone sees 512; a rate of 3e-3 for
    small models and short runs. Fine-tune by `policies.full(batch_norm="frozen")`, which says what that gained.

    Args:
        backbone: any built `keras.Model` over square pictures; its features are averaged over places.

    Input: a batch of pictures, or `{"rotated": …, "turns": …}` made beforehand, `turns` being `(batch,)` int.
    Output: `{"logits": (4 · batch, 4), "turns": (4 · batch,)}`.

    Raises:
        ValueError: for a backbone that does not read square pictures.

    Example:

    >>> from tftransfer import backbones
    >>> objective = RotationPrediction(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    >>> sorted(history.history)
    ['loss', 'rotation_accuracy']
    """

    default_learning_rate = 3e-3  # for small models and short runs

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        shape = backbone.input_shape
        if len(shape) != 4 or shape[1] != shape[2]:
            raise ValueError(
                f"RotationPrediction turns square pictures by quarter turns; {backbone.name!r} reads {shape}. "
                f"Build the backbone with equal height and width, and crop or pad the pictures."
            )
        self.pool = pool(backbone.output_shape)
        self.head = keras.layers.Dense(4, name="head")
        self.head.build(self.pool.compute_output_shape(backbone.output_shape))
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="rotation_accuracy")

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            rotated, turns = inputs["rotated"], inputs["turns"]
        else:
            rotated, turns = all_rotations(inputs)
        return {"logits": self.head(self.pool(self.backbone(rotated, training=training))), "turns": turns}

    def compute_objective(self, outputs):
        return rotation_error(outputs["logits"], outputs["turns"])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.accuracy.update_state(y_pred["turns"], y_pred["logits"])
        return super().compute_metrics(x, y, y_pred, sample_weight)
