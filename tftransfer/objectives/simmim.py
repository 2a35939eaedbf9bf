"""SimMIM: paint over squares of a picture and draw them from what is around, with any backbone."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import PlacePatches, greatest_pixel, register
from tftransfer.objectives.objective import Objective


def masked_distance(prediction, target, mask):
    """Mean absolute error over hidden pixels only: `mean_i( Σ mask · |p - t| / (Σ mask · channels) )`.

    Each example counts alike, so that replicas agree with one device where squares at the border are cut.

    Args:
        prediction, target: `(batch, height, width, channels)`.
        mask: `(batch, height, width, 1)`, 1 = hidden.

    Returns:
        Float32 scalar.

    Example:

    >>> mask = ops.convert_to_tensor([[[[1.0], [0.0]]]])
    >>> float(masked_distance(ops.ones((1, 1, 2, 3)), ops.zeros((1, 1, 2, 3)), mask))
    1.0
    """
    distance = ops.abs(ops.cast(prediction, "float32") - ops.cast(target, "float32"))
    mask = ops.cast(mask, "float32")
    hidden = ops.sum(mask * distance, axis=(1, 2, 3))  # (batch,)
    return ops.mean(hidden / (ops.maximum(ops.sum(mask, axis=(1, 2, 3)), 1.0) * distance.shape[-1]))


@register
class SimMIM(Objective):
    """Simple masked image modelling: hidden squares, a light head, pixels; transformers and CNNs alike.

    The masked objective for convolutional backbones, which `MaskedAutoencoder` cannot serve (they cannot drop
    places). With a vision transformer `MaskedAutoencoder` is several times cheaper a step, and better: on 20,000
    pictures of CIFAR-10 a k-NN of 0.433 after 391 CPU-seconds, by `SimMIM` 0.347 after 510. A convolution smears the
    edges of what is hidden over its map, which costs CNNs part of the gain (Tian et al., SparK, 2023,
    https://arxiv.org/abs/2301.03580): where views can be trusted, prefer `SimCLR` there.

    Reference: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, 2021, https://arxiv.org/abs/2111.09886
    Differs from it in: the learned mask value is painted over pixels rather than put in the place of tokens, so that
    any backbone over pictures can be trained; and, for small backbones, in two ways. A patch is drawn relative to its
    own mean and deviation (He et al., 2021, https://arxiv.org/abs/2111.06377), and the head has a hidden layer, which
    on a feature map looks at the 3 × 3 places around. On 20,000 pictures of CIFAR-10 (20 epochs, a small residual
    network; k-NN and ridge probe on development examples, random features 0.309 and 0.355) the published loss and head
    reached 0.307 and 0.336, relative patches 0.335 and 0.369, and with that head 0.363 and 0.391; a second hidden layer
    did not add to it. `normalize_targets=False` gives the published loss.

    Small data, one GPU: the defaults, the rate of which is for small models and short runs. Nothing here depends on the
    size of a batch, and with squares of a sixth of the picture the paper found every `mask_ratio` from 0.1 to 0.7 to
    serve. Where a convolutional backbone has BatchNormalization, whose statistics are then those of painted-over
    pictures, fine-tune by `policies.full(batch_norm="frozen")`, which says what that gained.

    Args:
        backbone: any built `keras.Model` over pictures.
        mask_ratio: share of the squares that are hidden, in (0, 1).
        mask_size: side of a square in pixels; by default about a sixth of the picture's shorter side, the paper's
            32 of 192, in whole patches of the backbone.
        hidden_width: width of the head's hidden layer; by default twice that of the features.
        normalize_targets: whether each patch, the pixels that one place of the features draws, is drawn relative to
            its own mean and deviation.
        seed: seed of the masks.

    Input: pictures `(batch, height, width, channels)`, or `{"pictures": …, "mask": …}` with the mask
    `(batch, height, width, 1)`, 1 = hidden.
    Output: `{"prediction", "target"}` of the pictures' shape, normalised where the targets are, and `"mask"`
    `(batch, height, width, 1)`.

    Raises:
        ValueError: for a backbone that does not read pictures, a ratio that hides nothing or everything, or squares
            larger than the picture.

    Example:

    >>> from tftransfer import backbones
    >>> objective = SimMIM(backbones.cnn((8, 8, 1), filters=(8, 16)))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.uniform((16, 8, 8, 1)), verbose=0)
    """

    default_learning_rate = 3e-3
    default_weight_decay = 0.05

    def __init__(
        self,
        backbone,
        *,
        mask_ratio=0.6,
        mask_size=None,
        hidden_width=None,
        normalize_targets=True,
        seed=0,
        **kwargs,
    ):
        super().__init__(backbone, **kwargs)
        if len(backbone.input_shape) != 4 or None in backbone.input_shape[1:]:
            raise ValueError(
                f"SimMIM hides squares of pictures of one size; {backbone.name!r} reads {backbone.input_shape}. "
                f"Build the backbone with a fixed (height, width, channels), or use Autoencoder with masking noise."
            )
        h, w, channels = backbone.input_shape[1:]
        self.patches = PlacePatches(backbone)
        step = self.patches.size if self.patches.size <= min(h, w) // 2 else 1
        size = mask_size or max(step, min(h, w) // 6 // step * step)
        if size > min(h, w):
            raise ValueError(f"mask_size={size} is larger than a picture of {h}×{w} pixels.")
        self.grid = (math.ceil(h / size), math.ceil(w / size))
        squares = math.prod(self.grid)
        self.hidden = round(squares * mask_ratio) if 0 < mask_ratio < 1 else 0
        if not 0 < self.hidden < squares:
            raise ValueError(
                f"mask_ratio={mask_ratio} would not hide some of {squares} squares of {size} pixels. Choose a ratio in "
                f"(0, 1) that hides at least one and leaves at least one, or a smaller mask_size."
            )
        self.mask_ratio = mask_ratio
        self.mask_size = mask_size
        self.seed = seed
        self.square = size
        self.greatest = greatest_pixel(backbone)
        self.random = keras.random.SeedGenerator(seed)
        self.mask_value = self.add_weight(shape=(channels,), initializer="zeros", name="mask_value")
        self.hidden_width = hidden_width
        self.normalize_targets = normalize_targets
        self.head = _head(backbone.output_shape[1:], hidden_width, self.patches.size**2 * channels)

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            pictures, mask = inputs["pictures"], inputs["mask"]
        else:
            pictures, mask = inputs, self._mask(ops.shape(inputs)[0])
        if not keras.backend.is_float_dtype(pictures.dtype):  # bytes, for a backbone that rescales them
            pictures = ops.cast(pictures, "float32")
        hidden = ops.cast(mask, pictures.dtype)
        paint = self.greatest * ops.cast(self.mask_value, pictures.dtype)
        values = self.head(self.backbone(pictures * (1 - hidden) + paint * hidden, training=training))
        places = math.prod(self.patches.grid)
        prediction = self.patches.together(
            ops.reshape(ops.cast(values, "float32"), (-1, places, values.shape[-1]))
        )
        if self.normalize_targets:
            mean, deviation = self.moments(pictures)
            target = (ops.cast(pictures, "float32") - mean) / deviation
            return {"prediction": prediction, "target": target, "mask": mask}
        return {"prediction": self.greatest * prediction, "target": pictures, "mask": mask}

    def moments(self, pictures):
        """Mean and deviation of the patch that each pixel lies in, `(batch, height, width, 1)` each."""
        mean, variance = self.patches.moments(pictures)
        return mean, ops.sqrt(variance + 1e-6 * self.greatest**2)

    def _mask(self, batch):
        squares = math.prod(self.grid)
        draws = placement.per_example(
            lambda n: keras.random.uniform((n, squares), dtype="float32", seed=self.random), batch
        )
        rank = ops.argsort(ops.argsort(draws, axis=1), axis=1)  # (b, squares)
        mask = ops.reshape(ops.cast(rank < self.hidden, "float32"), (-1, *self.grid, 1))
        mask = ops.repeat(ops.repeat(mask, self.square, axis=1), self.square, axis=2)
        return mask[:, : self.backbone.input_shape[1], : self.backbone.input_shape[2]]  # (b, h, w, 1)

    def compute_objective(self, outputs):
        distance = masked_distance(outputs["prediction"], outputs["target"], outputs["mask"])
        return distance if self.normalize_targets else distance / self.greatest


def _head(features, width, values):
    """One hidden layer, which on a feature map looks at the places around, then the pixels of each place."""
    width = width or 2 * features[-1]
    if len(features) == 3:
        hidden = keras.layers.Conv2D(width, 3, padding="same", activation="gelu", name="hidden")
    else:
        hidden = keras.layers.Dense(width, activation="gelu", name="hidden")
    pixels = keras.layers.Dense(values, name="pixels")
    return keras.Sequential([keras.Input(features, name="features"), hidden, pixels], name="head")
