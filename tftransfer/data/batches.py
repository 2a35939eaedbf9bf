"""The one door from what a user holds (arrays, pairs, views, tf.data) to what `keras.Model.fit` takes."""

import keras
import numpy as np

from tftransfer import placement
from tftransfer.data import array_batches, dataset_batches
from tftransfer.data.by_length import ByLength
from tftransfer.data.shares import is_own_share, own_part
from tftransfer.layers.raw_texts import are_texts
from tftransfer.layers.token_ids import TokenIds

_ACCEPTED = (
    "Accepted are an array x, a pair (x, y), a dict of arrays (views), what tftransfer.data.load returns, "
    "and a tf.data.Dataset of examples or of batches."
)


def to_columns(data, *, labels=True):
    """Arrays `(x,)` or `(x, y)` (or with sample weights) of anything that is not a `tf.data.Dataset`, and
    their length.

    Raises:
        ValueError: For another type, no examples, or lengths that differ.
    """
    columns = tuple(data) if isinstance(data, tuple) else (data,)
    if not 1 <= len(columns) <= 3 or columns[0] is None:
        raise ValueError(f"data is not understood: a tuple of {len(columns)}. {_ACCEPTED}")
    columns = columns[: 1 if not labels or len(columns) == 1 or columns[1] is None else None]
    arrays = tuple(
        {key: _array(value) for key, value in column.items()} if isinstance(column, dict) else _array(column)
        for column in columns
    )
    lengths = [len(array) for array in keras.tree.flatten(arrays)]
    if len(set(lengths)) != 1:
        raise ValueError(
            f"all parts of the data must have one row per example. Received lengths {lengths}. If these "
            f"are several views of the same examples, hand them over as a dict; a pair is (x, y)."
        )
    if lengths[0] == 0:
        raise ValueError("the data is empty: 0 examples. Check where it was loaded or filtered.")
    return arrays, lengths[0]


def _array(value):
    if isinstance(value, TokenIds):
        return value
    if isinstance(value, list) and any(np.ndim(row) and hasattr(row, "__array__") for row in value[:1]):
        raise ValueError(
            "data is not understood: a list of arrays. Stack the examples into one array (numpy.stack), "
            "hand several views of the same examples over as a dict, and labels as a tuple (x, y)."
        )
    array = np.asarray(value) if hasattr(value, "__array__") or isinstance(value, list) else None
    if array is None or array.ndim == 0:
        raise ValueError(f"data is not understood: a {type(value).__name__}. {_ACCEPTED}")
    if are_texts(array) and array.dtype.kind == "O":
        raise ValueError(
            "the data holds texts, but numbers are needed. Texts are read by backbones that were built on a fitted "
            "tftransfer.layers.Tokenization, such as backbones.bert(tokenization)."
        )
    if array.dtype.kind == "O":
        raise ValueError(
            "the data is an array of objects, not of numbers: its rows probably differ in length or shape. "
            "Bring them to one shape (for pictures: tftransfer.data.load with image_size=), or map a "
            "tf.data.Dataset."
        )
    return array


def _check(batch_size, start):
    if batch_size is None or int(batch_size) != batch_size or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number of at least 1. Received {batch_size!r}.")
    if int(start) != start or start < 0:
        raise ValueError(f"start is the number of steps already done, at least 0. Received {start!r}.")


def _check_warmup(steps, serves, repeat):
    if steps and (not serves or not repeat or placement.needs_static_shapes()):
        raise ValueError(
            "A warm-up of lengths (length_warmup) is for texts in memory, or their ids (layers.TokenIds), that are "
            "repeated without end; and not for a TPU under TensorFlow, where all rows have one length. Leave it out."
        )


def batches(
    data,
    *,
    batch_size,
    shuffle=False,
    seed=0,
    drop_remainder=False,
    labels=True,
    start=0,
    repeat=False,
    scale=True,
    input_shape=None,
    share=None,
    length_warmup_steps=0,
):
    """Turns data into batches for `keras.Model.fit`, `evaluate` and `predict`.

    uint8 features (pictures, 0 to 255) become float32 in [0, 1], after the batch was gathered, so that they
    lie in memory as bytes. Labels are never touched.

    The order of arrays is a function of (seed, epoch) alone, where epoch = step // steps per epoch. With
    `repeat=True` the batches never end, and `start=s` yields exactly what would have followed after s steps:
    an interrupted run continues where it stopped, at no cost. The orders differ between TensorFlow and other
    backends. Without `repeat` a shuffled pipeline takes a new order each time it is iterated, beginning anew
    with `seed`.

    Ids of texts (`layers.TokenIds`, as a `Tokenization` makes them) are put together by length, and each batch is cut
    to one of a few lengths, so that at most about a tenth is padding. For a TPU under TensorFlow, which refuses an open
    length, all are as long as the longest row, and static with `drop_remainder` (untested on a TPU).

    A `tf.data.Dataset` of examples is shuffled (a buffer of 10,000) and batched; one of batches keeps its
    batches and its order, as with Keras, and `drop_remainder` removes short ones. Which of the two it is,
    `is_batched` decides, surely when `input_shape` is given. `start` reads and skips the first steps.

    Give `fit` `shuffle=False` with what this returns: the order is made here.

    Args:
        data: Array x; pair (x, y) (y may be None); `Examples`; dict of arrays (views); `tf.data.Dataset`.
        batch_size: Examples a batch (over all replicas together).
        shuffle: True for a new order every epoch.
        seed: Non-negative integer.
        drop_remainder: True to leave out the last, short batch of each epoch (TPUs need it).
        labels: False to yield x alone.
        start: Steps (batches) already done.
        repeat: True for batches without end; then give `fit` its `steps_per_epoch`, from the function of that
            name.
        scale: False to leave the features as they are.
        input_shape: Shape of one example, such as a backbone's `input_shape[1:]`; tells batches from
            examples.
        share: On TensorFlow, `(first, behind, all)`, the replicas of this worker among all that share a batch
            (`placement.Workers.share`): then each batch comes as one piece for each of these replicas, and the pieces
            of all workers are the batches that one process would read. Of a `tf.data.Dataset` each worker
            reads everything and keeps its rows, unless the dataset says that it is the worker's own share
            (`auto_shard_policy` OFF).
        length_warmup_steps: Of ids of texts, with `repeat`: the first so many steps read rows cut short, to an eighth
            of the longest at first (at least 8 tokens), then more and more (`pretrain(length_warmup=…)`).

    Returns:
        On TensorFlow, and for a `tf.data.Dataset`, a `tf.data.Dataset`; else a `keras.utils.PyDataset`. It
        yields (x, y), or x alone; x is an array or a dict.

    Raises:
        ValueError: For data of another kind, without examples, or fewer than a batch with `drop_remainder`; a warm-up
            of lengths for what is no ids of texts, without `repeat`, or on a TPU under TensorFlow.

    Example:

    >>> import numpy as np
    >>> x, y = np.full((5, 2, 2, 1), 255, "uint8"), np.arange(5)
    >>> for pictures, classes in batches((x, y), batch_size=4):
    ...     print(pictures.shape, float(np.max(pictures)), np.asarray(classes).tolist())
    (4, 2, 2, 1) 1.0 [0, 1, 2, 3]
    (1, 2, 2, 1) 1.0 [4]
    """
    _check(batch_size, start)
    batch_size, start, seed = int(batch_size), int(start), int(seed)
    options = {
        "batch_size": batch_size,
        "shuffle": shuffle,
        "seed": seed,
        "drop_remainder": drop_remainder,
        "start": start,
        "repeat": repeat,
        "scale": scale,
    }
    if share is not None:
        options["share"] = share
    if dataset_batches.is_dataset(data):
        _check_warmup(length_warmup_steps, False, repeat)
        return dataset_batches.dataset_batches(data, labels=labels, input_shape=input_shape, **options)
    columns, size = to_columns(data, labels=labels)
    _check_warmup(length_warmup_steps, ByLength.serves(columns), repeat)
    steps = array_batches.plan(size, batch_size, drop_remainder)
    if steps == 0:
        raise ValueError(
            f"{size} examples make no full batch of {batch_size}, and short batches are left out "
            "(drop_remainder=True). Lower batch_size, or add examples."
        )
    if not repeat and start >= steps:
        raise ValueError(
            f"start={start} lies behind the {steps} steps of an epoch. Pass repeat=True to go on after it."
        )
    if ByLength.serves(columns):
        lengths = {"length_warmup_steps": length_warmup_steps, "one_length": placement.needs_static_shapes()}
        options["order"] = ByLength(columns, batch_size, steps=steps, shuffle=shuffle, seed=seed, **lengths)
    if keras.backend.backend() == "tensorflow":
        return array_batches.tensorflow_batches(columns, size, **options)
    return array_batches.NumpyBatches(columns, size, **options)


def steps_per_epoch(data, *, batch_size, drop_remainder=False, input_shape=None, share=None):
    """Number of batches that one pass over the data makes in `batches`, or None when it is unknown or
    infinite.

    Args:
        data: As in `batches`.
        batch_size: Examples a batch; a `tf.data.Dataset` of batches keeps its own.
        drop_remainder: As in `batches`.
        input_shape: As in `batches`.
        share: As in `batches`.

    Example:

    >>> import numpy as np
    >>> steps_per_epoch(np.zeros((10, 3)), batch_size=4), steps_per_epoch(
    ...     np.zeros((10, 3)), batch_size=4, drop_remainder=True)
    (3, 2)
    """
    _check(batch_size, 0)
    if dataset_batches.is_dataset(data):
        if share is not None and is_own_share(data):
            batch_size, _ = own_part(int(batch_size), share)
        if drop_remainder and dataset_batches.is_batched(data, input_shape=input_shape):
            return dataset_batches.whole_batches(data)
        dataset = dataset_batches.dataset_batches(
            data, batch_size=int(batch_size), drop_remainder=drop_remainder, input_shape=input_shape
        )
        count = int(dataset.cardinality())
        return count if count >= 0 else None
    _, size = to_columns(data)
    return array_batches.plan(size, int(batch_size), drop_remainder)
