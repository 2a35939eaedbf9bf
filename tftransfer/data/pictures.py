"""Reading picture files and bringing pictures to one size, with Pillow (which comes with matplotlib)."""

import numpy as np
from PIL import Image, ImageOps

_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L", "I;16N")
_GREY = ("1", "L", "LA", "La", "F", *_SIXTEEN_BITS)
_ORIENTATION, _QUARTER_TURNS = 0x0112, (5, 6, 7, 8)  # the EXIF tag, and its values that swap height and width


def size_of(image_size):
    """(height, width) in pixels from None, one number (a square) or a pair.

    Raises:
        ValueError: For anything else.

    Example:

    >>> size_of(32), size_of((32, 48))
    ((32, 32), (32, 48))
    """
    if image_size is None:
        return None
    pair = (image_size, image_size) if np.ndim(image_size) == 0 else tuple(image_size)
    if len(pair) != 2 or any(int(v) != v or v < 1 for v in pair):
        raise ValueError(f"image_size is one number of pixels or (height, width). Received {image_size!r}.")
    return int(pair[0]), int(pair[1])


def fit_image(image, size):
    """A Pillow image brought to (height, width): the shorter side is resized to fit, the longer is "
    "cropped centrally."""
    height, width = size
    if image.size == (width, height):
        return image
    scale = max(height / image.height, width / image.width)
    box_width, box_height = width / scale, height / scale
    left, top = (image.width - box_width) / 2, (image.height - box_height) / 2
    box = (left, top, left + box_width, top + box_height)
    return image.resize(
        (width, height), Image.Resampling.BILINEAR, box=box
    )  # bilinear in Pillow is antialiased


def fit_pictures(x, image_size):
    """An array of pictures brought to one size: resize to the shorter side, then crop centrally.

    Args:
        x: Array of shape (n, height, width, channels), uint8 or float.
        image_size: Side in pixels, or (height, width), or None to leave the pictures alone.

    Returns:
        Array of shape (n, *image_size, channels) and the dtype of `x`.

    Raises:
        ValueError: When `x` does not hold pictures.

    Example:

    >>> fit_pictures(np.zeros((2, 8, 8, 1), "float32"), 32).shape
    (2, 32, 32, 1)
    """
    size = size_of(image_size)
    if size is None:
        return x
    if x.ndim != 4:
        raise ValueError(
            f"image_size={image_size!r} resizes pictures (n, height, width, channels), but these examples "
            f"have shape {x.shape}. Leave image_size out, or add a channel axis to grey pictures: x[..., "
            f"None]."
        )
    if x.shape[1:3] == size:
        return x
    resized = np.empty((len(x), *size, x.shape[-1]), x.dtype)
    for i, picture in enumerate(x):
        for c in range(x.shape[-1]):
            channel = picture[..., c]
            image = Image.fromarray(
                np.ascontiguousarray(channel if x.dtype == np.uint8 else channel.astype(np.float32))
            )
            resized[i, ..., c] = np.asarray(fit_image(image, size))
    return resized


def inspect_picture(path):
    """Reads a picture's header only: (height, width, is_grey).

    Raises:
        OSError: When the file is no picture that Pillow knows.
    """
    with Image.open(path) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _QUARTER_TURNS:
            width, height = height, width
        grey = image.mode in _GREY
        if image.mode == "P" and image.palette is not None:
            colours = np.frombuffer(image.palette.tobytes(), np.uint8)
            step = len(image.palette.mode)
            colours = colours[: len(colours) // step * step].reshape(-1, step)
            grey = bool((colours[:, :1] == colours[:, :3]).all())
    return height, width, grey


def read_picture(path, channels, image_size=None):
    """Reads one picture, turned upright by its EXIF tag.

    Args:
        path: The file.
        channels: 1 (grey) or 3 (colour); transparency is dropped.
        image_size: (height, width), or None to keep the size of the file.

    Returns:
        uint8 array of shape (height, width, channels).

    Raises:
        OSError: When the file cannot be read to its end.
    """
    with Image.open(path) as image:
        if (
            image_size is not None and image.format == "JPEG"
        ):  # decodes at 1/2, 1/4 or 1/8 where that is enough
            image.draft(None, (2 * max(image_size), 2 * max(image_size)))
        try:
            image = ImageOps.exif_transpose(image)
            if image.mode in _SIXTEEN_BITS:
                image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
            image = image.convert("L" if channels == 1 else "RGB")
        except (SyntaxError, ValueError) as error:  # what Pillow raises for some broken files
            raise OSError(str(error)) from error
        if image_size is not None:
            image = fit_image(image, image_size)
        picture = np.asarray(image)
    return picture[..., None] if channels == 1 else picture
