"""SimMIM: paint over squares of a picture and draw them from what is around, with any backbone."""

import math

import keras
from keras import ops

from tftransfer import placement
from tftransfer.layers import greatest_pixel, register, unpatchify
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
    """Simple masked image modelling: hidden squares, a linear head, raw pixels; transformers and CNNs alike.

    The masked objective for convolutional backbones, which `MaskedAutoencoder` cannot serve (they cannot drop
    places). With a vision transformer `MaskedAutoencoder` is several times cheaper a step. A convolution smears the
    edges of what is hidden over its map, which costs CNNs most of the gain (Tian et al., SparK, 2023,
    https://arxiv.org/abs/2301.03580): prefer `SimCLR` there. On 20,000 pictures of CIFAR-10 the features of a small
    residual network were hardly better than random ones (k-NN 0.312 and ridge 0.371 after 46 epochs against 0.316 and
    0.359); squares of 4 and of 16 pixels, 30% hidden, a rate of 1e-2 and statistics taken from plain pictures did
    not change that. A small ViT reached 0.295 and 0.427 in 6 epochs (random 0.291 and 0.416), by `MaskedAutoencoder`
    0.433 and 0.494 in 10.

    Reference: Xie et al., SimMIM: A Simple Framework for Masked Image Modeling, 2021, https://arxiv.org/abs/2111.09886
    Differs from it in: the learned mask value is painted over pixels rather than put in the place of tokens, so that
    any backbone over pictures can be trained.

    Small data, one GPU: the defaults, the rate of which is for small models and short runs. Nothing here depends on the
    size of a batch, and with squares of a sixth of the picture the paper found every `mask_ratio` from 0.1 to 0.7 to
    serve. Where a convolutional backbone has BatchNormalization, whose statistics are then those of painted-over
    pictures, fine-tune by `policies.full(batch_norm="frozen")`, which says what that gained.

    Args:
        backbone: any built `keras.Model` over pictures.
        mask_ratio: share of the squares that are hidden, in (0, 1).
        mask_size: side of a square in pixels; by default about a sixth of the picture's shorter side, the paper's
            32 of 192, in whole patches of the backbone.
        seed: seed of the masks.

    Input: pictures `(batch, height, width, channels)`, or `{"pictures": …, "mask": …}` with the mask
    `(batch, height, width, 1)`, 1 = hidden.
    Output: `{"prediction", "target"}` of the pictures' shape and `"mask"` `(batch, height, width, 1)`.

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

    def __init__(self, backbone, *, mask_ratio=0.6, mask_size=None, seed=0, **kwargs):
        super().__init__(backbone, **kwargs)
        if len(backbone.input_shape) != 4 or None in backbone.input_shape[1:]:
            raise ValueError(
                f"SimMIM hides squares of pictures of one size; {backbone.name!r} reads {backbone.input_shape}. "
                f"Build the backbone with a fixed (height, width, channels), or use Autoencoder with masking noise."
            )
        h, w, channels = backbone.input_shape[1:]
        self.feature_grid = _feature_grid(backbone)  # (rows, columns)
        self.stride = max(math.ceil(h / self.feature_grid[0]), math.ceil(w / self.feature_grid[1]))
        step = self.stride if self.stride <= min(h, w) // 2 else 1
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
        features = backbone.output_shape
        width = features[-1]
        self.pixels = keras.layers.Dense(self._outputs(features, channels), name="pixels")
        self.pixels.build((None, width))

    def _outputs(self, features, channels):
        cells = math.prod(self.feature_grid) if len(features) == 2 else 1
        return cells * self.stride**2 * channels

    def call(self, inputs, training=None):
        if isinstance(inputs, dict):
            pictures, mask = inputs["pictures"], inputs["mask"]
        else:
            pictures, mask = inputs, self._mask(ops.shape(inputs)[0])
        if not keras.backend.is_float_dtype(pictures.dtype):  # bytes, for a backbone that rescales them
            pictures = ops.cast(pictures, "float32")
        hidden = ops.cast(mask, pictures.dtype)
        paint = self.greatest * ops.cast(self.mask_value, pictures.dtype)
        values = self.pixels(self.backbone(pictures * (1 - hidden) + paint * hidden, training=training))
        values = self.greatest * ops.cast(values, "float32")
        rows, columns = self.feature_grid
        _, h, w, channels = self.backbone.input_shape
        values = ops.reshape(values, (-1, rows * columns, self.stride**2 * channels))
        prediction = unpatchify(values, (rows * self.stride, columns * self.stride, channels))
        return {"prediction": prediction[:, :h, :w], "target": pictures, "mask": mask}

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
        return masked_distance(outputs["prediction"], outputs["target"], outputs["mask"]) / self.greatest


def _feature_grid(backbone):
    """Rows and columns of the places that the features describe; (1, 1) for a vector."""
    shape = backbone.output_shape
    if len(shape) == 4:
        return shape[1:3]
    if len(shape) == 2:
        return (1, 1)
    h, w = backbone.input_shape[1:3]
    tokens = shape[1] or 1
    patch = round(math.sqrt(h * w / tokens))
    if (h // patch) * (w // patch) != tokens:
        raise ValueError(
            f"SimMIM draws a patch of pixels from each token, and the {shape[1]} tokens of {backbone.name!r} do not "
            f"form a grid over pictures of {h}×{w} pixels. Remove tokens that stand for no "
            f"place, such as a class token."
        )
    return (h // patch, w // patch)
