"""Batches of a user's own `tf.data.Dataset`, which may hold examples or batches already."""

import keras

from tftransfer.data.array_batches import as_element, map_features, tensor_to_float
from tftransfer.data.shares import is_own_share, own_part, sliced

_BUFFER_BYTES = 1 << 30  # what shuffling holds in memory at most


def is_dataset(data):
    """Whether `data` is a `tf.data.Dataset` (without importing TensorFlow when nobody has)."""
    import sys

    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(data, tf.data.Dataset)


def columns_of(element):
    """`(x,)`, `(x, y)` or `(x, y, weights)` of one element. TFDS's {"image", "label"} is the pair (image, "
    "label)."""
    if isinstance(element, dict) and "image" in element:
        return (element["image"], element["label"]) if "label" in element else (element["image"],)
    return tuple(element) if isinstance(element, (tuple, list)) else (element,)


def _operations(dataset):
    """The chain of tf.data operations, the last one first, for as long as each has one input."""
    while dataset is not None:
        yield dataset
        dataset = getattr(dataset, "_input_dataset", None)


def _rank(input_shape):
    """Rank of one example; a list or dict of shapes (a model with several inputs) gives that of the first."""
    if isinstance(input_shape, dict):
        input_shape = next(iter(input_shape.values()))
    if isinstance(input_shape, list) and input_shape and isinstance(input_shape[0], (tuple, list)):
        input_shape = input_shape[0]
    return len(input_shape)


def is_batched(dataset, *, input_shape=None):
    """Whether a `tf.data.Dataset` yields batches (True) or single examples (False).

    With `input_shape`, the shape of *one example* (a backbone's `input_shape[1:]`), the ranks decide: an
    element of that rank is an example, of one more a batch, anything else an error. Without it, in this
    order: labels of rank 0 mean examples; a `batch` among the operations (and no `unbatch` or `flat_map`
        after it) means batches;
    otherwise an unknown first dimension in every component means batches. Give `input_shape` where it is
    known.

    Args:
        dataset: `tf.data.Dataset` of x, (x, y) or a dict of views.
        input_shape: Shape of one example, without the batch; entries may be None.

    Raises:
        ValueError: When the rank is neither that of an example nor that of a batch of them.

    Example:

    >>> import tensorflow as tf
    >>> examples = tf.data.Dataset.from_tensor_slices(tf.zeros((6, 8, 8, 1)))
    >>> is_batched(examples), is_batched(examples.batch(2), input_shape=(8, 8, 1))
    (False, True)
    """
    columns = columns_of(dataset.element_spec)
    x = keras.tree.flatten(columns[0])[0]
    rank = x.shape.rank
    if input_shape is not None and rank is not None:
        wanted = _rank(input_shape)
        if rank not in (wanted, wanted + 1):
            raise ValueError(
                f"the dataset's elements have shape {tuple(x.shape)}, but the model reads examples of shape "
                f"{tuple(input_shape)} (or batches of them). Map the dataset to that shape, e.g. "
                "dataset.map(lambda x: x[..., None]) to add a channel axis."
            )
        return rank == wanted + 1
    specs = [spec for column in columns for spec in keras.tree.flatten(column)]
    if any(spec.shape.rank == 0 for spec in specs):
        return False
    for operation in _operations(dataset):
        kind = type(operation).__name__.lower()
        if any(word in kind for word in ("unbatch", "flatmap", "interleave")):
            break
        if "batch" in kind or "ragged" in kind:
            return True
    return all(spec.shape.rank is not None and spec.shape[0] is None for spec in specs)


def _own_batch_size(dataset):
    """The batch size that a batched dataset was made with, or the length of its first batch."""
    import tensorflow as tf

    for operation in _operations(dataset):
        size = getattr(operation, "_batch_size", None)
        if size is not None and tf.get_static_value(size) is not None:
            return int(tf.get_static_value(size))
    for element in dataset.take(1):
        return int(tf.shape(keras.tree.flatten(columns_of(element)[0])[0])[0])
    raise ValueError("the dataset is empty: it yields no batch. Check the files or filters it is made from.")


def whole_batches(dataset):
    """How many full batches a batched dataset holds; None when it has no end or no known length.

    A dataset that drops short batches no longer knows its length; where the operations before it do not tell
    either, this reads it once.
    """
    import tensorflow as tf

    count = int(dataset.cardinality())
    if count < 0:
        return None
    first = keras.tree.flatten(columns_of(dataset.element_spec)[0])[0]
    if first.shape.rank and first.shape[0] is not None:  # batched with drop_remainder=True
        return count
    for operation in _operations(dataset):
        size, before = getattr(operation, "_batch_size", None), getattr(operation, "_input_dataset", None)
        if size is not None and before is not None and tf.get_static_value(size) is not None:
            size, examples = int(tf.get_static_value(size)), int(before.cardinality())
            if -(-examples // size) == count:
                return examples // size
            break
    whole = dataset.rebatch(_own_batch_size(dataset), drop_remainder=True)
    return sum(1 for _ in whole)


def _bytes(spec):
    """Bytes of one element, what is unknown of it left out; at least 1."""
    specs = keras.tree.flatten(spec)
    sizes = [
        (part.shape.num_elements() or 0) * part.dtype.size for part in specs if part.shape.rank is not None
    ]
    return max(1, sum(sizes))


def dataset_batches(
    dataset,
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
    buffer_size=10_000,
):
    """Batches of a `tf.data.Dataset`; see `batches` for the arguments."""
    import tensorflow as tf

    batched = is_batched(dataset, input_shape=input_shape)
    if share is not None and is_own_share(dataset):
        if batched:
            raise ValueError(
                "this tf.data.Dataset says that it is this worker's own share (auto_shard_policy OFF), but it holds "
                "batches. Hand over examples: the batches are made so that all workers together see batch_size."
            )
        batch_size, share = own_part(batch_size, share)
    if batched:
        # The user's batches and order stand, as in Keras; only a short last one can be refused.
        if drop_remainder:
            dataset = dataset.rebatch(_own_batch_size(dataset), drop_remainder=True)
    else:
        if shuffle:
            count = int(dataset.cardinality())
            buffer = min(buffer_size, count) if count > 0 else buffer_size
            buffer = max(1, min(buffer, _BUFFER_BYTES // _bytes(dataset.element_spec)))
            dataset = dataset.shuffle(buffer, seed=seed, reshuffle_each_iteration=True)
        dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    if repeat and int(dataset.cardinality()) != tf.data.INFINITE_CARDINALITY:
        dataset = dataset.repeat()
    if start:
        dataset = dataset.skip(start)
    if share is not None:
        dataset = sliced(dataset, share)

    def finish(*element):
        columns = columns_of(element[0] if len(element) == 1 else element)
        columns = columns if labels else columns[:1]
        return as_element(map_features(tensor_to_float, columns) if scale else columns)

    return dataset.map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
