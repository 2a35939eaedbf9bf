"""Adaptations for other pictures: channels, patch sizes, and numbers of tokens.

An adaptation is a function `(value, slot, slots) -> (value, note) or None`. It gets a NumPy array from the
source, the `Slot` of the model that it goes to, and all slots of the model; it returns None where it has
nothing to do.
"""

import math
import re

import keras
import numpy as np


def input_channels():
    """Fits the first convolution to another number of input channels: grey, colour, n bands.

    The response to a picture keeps its size: to one channel, the kernel is summed over the old channels (a
    grey picture gives what its copy in all channels gave); to n channels, old ones are repeated in turn and
    multiplied by old / n. Only the first kernel of the model is touched, and of it only the channel axis.

    Reference: Wightman, PyTorch Image Models (`adapt_input_conv`), 2019,
    https://github.com/huggingface/pytorch-image-models

    Returns:
        An adaptation for `transfer_weights(..., adapt=[...])`.

    Example:

    >>> import keras
    >>> from tftransfer.weights import transfer_weights
    >>> grey, colour = (
    ...     keras.Sequential([keras.Input((8, 8, c)), keras.layers.Conv2D(4, 3, name="stem")]) for c in (1, 3)
    ... )
    >>> transfer_weights(grey, colour, adapt=[input_channels()]).counts["adapted"]
    1
    """

    def adapt(value, slot, slots):
        shape = tuple(slot.variable.shape)
        first = next((s for s in slots if s.name == "kernel" and len(s.variable.shape) >= 3), None)
        if slot is not first or value.ndim != len(shape) or value.shape[-2] == shape[-2]:
            return None
        if value.shape[-1] != shape[-1] or getattr(slot.layer, "groups", 1) != 1:
            return None
        old, new = value.shape[-2], shape[-2]
        if new == 1:
            return value.sum(axis=-2, keepdims=True).astype(value.dtype), f"{old} input channels summed to 1"
        taken = np.take(value, np.arange(new) % old, axis=-2) * (old / new)
        return taken.astype(value.dtype), f"{old} input channels repeated to {new}, times {old}/{new}"

    return adapt


def patch_size():
    """Fits the projection of patches to another patch size, so that a resized patch gives the same token.

    With R the matrix that resizes a patch (bilinear), the new kernel is w' = pinv(Rᵀ) w, which minimises the
    expected difference between ⟨x, w⟩ and ⟨R x, w'⟩ (exact when patches grow). Touches layers that cut
    pictures into patches: convolutions whose strides are their kernel size, and
    `tftransfer.layers.PatchEmbedding`.

    Reference: Beyer et al., FlexiViT: One Model for All Patch Sizes, 2022, https://arxiv.org/abs/2212.08013

    Returns:
        An adaptation for `transfer_weights(..., adapt=[...])`.

    Example:

    >>> import keras
    >>> from tftransfer.weights import transfer_weights
    >>> small, large = (
    ...     keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Conv2D(4, p, strides=p, name="patches")])
    ...     for p in (4, 8)
    ... )
    >>> transfer_weights(small, large, adapt=[patch_size()]).counts["adapted"]
    1
    """

    def adapt(value, slot, slots):
        shape, layer = tuple(slot.variable.shape), slot.layer
        sizes = getattr(layer, "patch_size", None), getattr(layer, "strides", None)
        cuts = sizes[0] is not None or (
            sizes[1] is not None and tuple(sizes[1]) == shape[:2] and max(sizes[1]) > 1
        )
        if not cuts or len(shape) != 4 or value.ndim != 4 or value.shape[:2] == shape[:2]:
            return None
        old, new = value.shape[:2], shape[:2]
        basis = np.eye(math.prod(old)).reshape(-1, *old, 1)  # one picture for each pixel of a patch
        resized = _resize(basis, new, "bilinear", antialias=False).reshape(math.prod(old), -1)  # Rᵀ
        flat = np.linalg.pinv(resized.astype("float64")) @ value.reshape(math.prod(old), -1).astype("float64")
        return flat.reshape(*new, *value.shape[2:]).astype(value.dtype), f"patches {old} → {new} pixels"

    return adapt


def positions(pattern=r"pos(ition)?(s|al|_|/|$)", grid=None):
    """Fits a learned table of positions to another number of tokens.

    Pictures: the table is laid out as rows × columns and resized (bicubic, antialiased); tokens before the
    grid (a class token) stay. Sequences: a shorter table is the beginning of the old one; a longer one
    repeats it, so that local order keeps its meaning. A layer with an attribute `grid` (as
    `tftransfer.layers.PositionEmbedding`) or `sequence_length` says which it is; otherwise square numbers of
    tokens, less one at most, are pictures.

    Reference: Dosovitskiy et al., An Image is Worth 16x16 Words, 2020, https://arxiv.org/abs/2010.11929
    (section 3.2); Beltagy et al., Longformer, 2020, https://arxiv.org/abs/2004.05150 (section 5, for
    sequences).

    Args:
        pattern: regular expression of the paths of such tables.
        grid: `(rows, columns)` of the source, where it is not square.

    Returns:
        An adaptation for `transfer_weights(..., adapt=[...])`.

    Example:

    >>> from tftransfer.backbones import vit
    >>> from tftransfer.weights import transfer_weights
    >>> small, large = (vit((s, s, 3), patch_size=4, width=8, depth=1, num_heads=1) for s in (16, 32))
    >>> transfer_weights(small, large, adapt=[positions()]).counts["adapted"]
    1
    """

    def adapt(value, slot, slots):
        shape = tuple(slot.variable.shape)
        fits = (
            value.ndim == len(shape) >= 2 and value.shape[:-2] == shape[:-2] and value.shape[-1] == shape[-1]
        )
        if (
            not fits
            or value.shape[-2] == shape[-2]
            or math.prod(shape[:-2]) != 1
            or not re.search(pattern, slot.path)
        ):
            return None
        old, new = value.shape[-2], shape[-2]
        own = getattr(slot.layer, "grid", None)
        is_sequence = hasattr(slot.layer, "sequence_length") or (own is not None and len(own) == 1)
        target = tuple(own) if own is not None and len(own) == 2 else _square(new)
        source = tuple(grid) if grid is not None else _square(old)
        if (
            is_sequence
            or target is None
            or source is None
            or new - math.prod(target) != old - math.prod(source)
        ):
            note = (
                f"the first {new} of {old} positions" if new < old else f"{old} positions repeated to {new}"
            )
            return np.take(value, np.arange(new) % old, axis=-2), note
        table = value.reshape(old, -1)
        extra = old - math.prod(source)
        places = table[extra:].reshape(1, *source, -1)
        resized = _resize(places, target, "bicubic", antialias=True).reshape(math.prod(target), -1)
        resized = np.concatenate([table[:extra], resized]).reshape(shape).astype(value.dtype)
        return resized, f"positions {source[0]}×{source[1]} → {target[0]}×{target[1]}, bicubic"

    return adapt


def _square(tokens):
    """The square grid of so many tokens, or of one less (a class token)."""
    sides = [math.isqrt(n) for n in (tokens, tokens - 1) if n > 0 and math.isqrt(n) ** 2 == n]
    return (sides[0], sides[0]) if sides else None


def _resize(pictures, size, interpolation, antialias):
    resized = keras.ops.image.resize(
        pictures.astype("float32"),
        size,
        interpolation=interpolation,
        antialias=antialias,
        data_format="channels_last",
    )
    return keras.ops.convert_to_numpy(resized)
