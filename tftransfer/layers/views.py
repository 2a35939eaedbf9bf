"""Two random views of each example, as joint-embedding objectives compare them."""

from tftransfer.layers.augmentation import RandomView
from tftransfer.layers.scaling import greatest_pixel

__all__ = ["check_view", "default_view", "two_views"]


def default_view(backbone, **settings):
    """The `RandomView` of an objective whose user gave none, in the range of pixels that the backbone reads.

    Args:
        backbone: a `keras.Model` over pictures; one that rescales pixels by itself reads 0 to 255, any other [0, 1].

    Returns:
        A `RandomView`.

    Example:

    >>> import keras
    >>> default_view(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Rescaling(1 / 255)])).value_range
    (0.0, 255.0)
    """
    return RandomView(value_range=(0.0, greatest_pixel(backbone)), **settings)


def two_views(inputs, augmentation, *, objective):
    """Two views of a batch: made here from plain examples, or taken from a dict that brings them.

    Args:
        inputs: a batch of examples, or `{"view_1": …, "view_2": …}` made beforehand.
        augmentation: layer that gives one random view of a batch.
        objective: name of the objective, for the message.

    Returns:
        Tuple of two tensors of the examples' shape.

    Raises:
        ValueError: for a dict without the two views, or a batch of one example.

    Example:

    >>> import keras
    >>> first, second = two_views(keras.ops.ones((4, 3)), keras.layers.GaussianNoise(0.1), objective="BYOL")
    >>> tuple(first.shape)
    (4, 3)
    """
    if isinstance(inputs, dict):
        missing = sorted({"view_1", "view_2"} - set(inputs))
        if missing:
            raise ValueError(
                f"{objective} reads plain examples, or a dict with 'view_1' and 'view_2'; received {sorted(inputs)}. "
                f"Add {missing}, two differently augmented copies of the same examples in the same order."
            )
        views = inputs["view_1"], inputs["view_2"]
    else:
        views = augmentation(inputs, training=True), augmentation(inputs, training=True)
    if views[0].shape[0] == 1:
        raise ValueError(
            f"{objective} compares examples with each other or normalises over them: a batch of one has nothing to "
            f"compare. Received views of shape {tuple(views[0].shape)}; use a batch_size of 2 or more."
        )
    return views


def check_view(view, backbone, *, objective):
    """Raises a `ValueError` for a view of another size than the backbone reads, such as a crop that was not resized.

    Args:
        view: a batch of examples.
        backbone: the `keras.Model` that shall read it.
        objective: name of the objective, for the message.

    Example:

    >>> import keras
    >>> backbone = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> check_view(keras.ops.ones((4, 3)), backbone, objective="DINO")
    """
    shape, wanted = tuple(view.shape[1:]), tuple(backbone.input_shape[1:])
    known = [(a, b) for a, b in zip(shape, wanted, strict=False) if None not in (a, b)]
    if len(shape) != len(wanted) or any(a != b for a, b in known):
        raise ValueError(
            f"{objective} received views of shape {shape}, and the backbone {backbone.name!r} reads {wanted}. "
            f"Crops are to be resized to that: layers.RandomView does; behind a layer of your own put "
            f"keras.layers.Resizing{wanted[:2]}."
        )
