"""On JAX a batch is laid out over the devices only where it divides by their number."""

import contextlib
import warnings

import keras

__all__ = ["laid_out"]


@contextlib.contextmanager
def laid_out(distribution, data, batch_size=None, *, warn=False):
    """Within it Keras shares batches among the devices of `distribution`, if every batch divides by their number.

    Else every device computes the whole batch: the same results, without the speed. (JAX refuses to split 13 rows
    over 2 devices, and Keras hands it the smaller last batch as it is.)

    Args:
        distribution: the `keras.distribution.DataParallel` that the model was built under, or None.
        data: what `fit`, `evaluate` or `predict` got as `x`.
        batch_size: their `batch_size`.
        warn: whether to say so when batches do not divide.
    """
    if distribution is None:
        yield
        return
    devices = distribution.device_mesh.devices.size
    shared = _divide(data, batch_size or 32, devices)
    if warn and not shared:
        warnings.warn(
            f"Batches do not all divide by the {devices} devices, so every device computes the whole of each. "
            f"Choose a batch size that does and leave the remainder out (drop_remainder=True).",
            stacklevel=4,
        )
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(distribution if shared else None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)


def _divide(data, batch_size, devices):
    """Whether it is certain that every batch divides."""
    if hasattr(data, "element_spec"):  # tf.data
        sizes = [spec.shape[0] if spec.shape.rank else None for spec in keras.tree.flatten(data.element_spec)]
    elif isinstance(data, keras.utils.PyDataset):
        last = (data.num_batches or getattr(data, "steps", None) or 1) - 1
        sizes = [leaf.shape[0] for index in {0, last} for leaf in keras.tree.flatten(data[index])]
    else:
        shapes = [getattr(leaf, "shape", None) for leaf in keras.tree.flatten(data)]
        sizes = [batch_size, *(shape[0] if shape else None for shape in shapes)]
    return all(size is not None and size % devices == 0 for size in sizes)
