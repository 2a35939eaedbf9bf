"""Normalization by few kernels on TensorFlow, where Keras 3 composes it of a dozen operations."""

import functools

import keras
from keras import ops

from tftransfer.placement.kernels import one_kernel, pays
from tftransfer.placement.methods import replace_method
from tftransfer.placement.replicas import replicas

__all__ = ["fuse_batch_normalization", "fuse_layer_normalization"]

LEAST_EPSILON = 1e-5  # cuDNN takes no smaller one


def fuse_batch_normalization(model):
    """Lets every `keras.layers.BatchNormalization` over maps train by the fused kernel: the same numbers, in a sixth.

    Forth and back over 64 maps of 32 × 32 × 64: 8.5 CPU milliseconds where Keras's own takes 49. What a layer does not
    share with the kernel (a mask, renormalisation, another axis or type, several replicas) stays Keras's, and so
    does inference. The instances are changed, not their class, so that they save and load as what they are.

    Args:
        model: a `keras.Model`, on TensorFlow; changed once however often called.

    Example:
        >>> import keras, tftransfer as tt
        >>> model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.BatchNormalization()])
        >>> tt.placement.fuse_batch_normalization(model)
        >>> tuple(model(keras.ops.ones((2, 4, 4, 2)), training=True).shape)
        (2, 4, 4, 2)
    """
    _replace_calls(model, keras.layers.BatchNormalization, _is_plain, _fused)


def _replace_calls(model, kind, fits, adapted):
    """Adapts the call of every built layer of exactly this kind that fits; on TensorFlow alone."""
    if keras.backend.backend() != "tensorflow":
        return
    for layer in model._flatten_layers():
        if type(layer) is kind and layer.built and fits(layer):
            replace_method(layer, "call", adapted)


def _is_plain(layer):
    maps = layer.input_spec is not None and layer.input_spec.ndim == 4 and layer.axis in (-1, 3)
    whole = layer.scale and layer.center and not layer.renorm
    return maps and whole and layer.compute_dtype == "float32" and layer.epsilon >= LEAST_EPSILON


def _fused(stock):
    def call(self, inputs, training=None, mask=None):
        if not training or not self.trainable or mask is not None or self.synchronized or replicas() > 1:
            return stock(self, inputs, training=training, mask=mask)
        import tensorflow as tf

        inputs = tf.cast(inputs, "float32")
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        unknown = {"mean": tf.zeros((0,)), "variance": tf.zeros((0,)), "is_training": True}
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, epsilon=self.epsilon, **unknown
        )
        rows = tf.cast(tf.size(inputs) // inputs.shape[-1], "float32")
        variance *= (rows - 1) / rows  # the kernel's is that of a sample, Keras's that of the batch
        for kept, now in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + now * (1.0 - self.momentum))
        return outputs

    return call


def fuse_layer_normalization(model):
    """Lets every `keras.layers.LayerNormalization` over the last axis run as one kernel forth and one back.

    Forth and back over 32 × 128 × 256 values: 6 CPU milliseconds where Keras's own takes 9. Where `one_kernel` does not
    pay, and for a layer without scale or offset, Keras's own stays. Instances are changed, as above.

    Args:
        model: a `keras.Model`, on TensorFlow; changed once however often called.

    Example:
        >>> import keras, tftransfer as tt
        >>> model = keras.Sequential([keras.Input((4, 8)), keras.layers.LayerNormalization()])
        >>> tt.placement.fuse_layer_normalization(model)
        >>> tuple(model(keras.ops.ones((2, 4, 8))).shape)
        (2, 4, 8)
    """
    _replace_calls(model, keras.layers.LayerNormalization, _is_last_axis, _normalized)


def _is_last_axis(layer):
    axes = layer.axis if isinstance(layer.axis, (list, tuple)) else [layer.axis]
    last = list(axes) in ([-1], [layer.input_spec.ndim - 1 if layer.input_spec else -1])
    return last and layer.scale and layer.center and not getattr(layer, "rms_scaling", False)


def _normalized(stock):
    def call(self, inputs):
        if not pays(inputs):
            return stock(self, inputs)
        return _layer_norm(self.epsilon)(
            inputs, ops.convert_to_tensor(self.gamma), ops.convert_to_tensor(self.beta)
        )

    return call


@functools.cache
def _layer_norm(epsilon):
    """`γ · (x - mean) / √(variance + ε) + β` over the last axis, and its derivative."""

    def standardized(x):
        apart = x - ops.mean(x, axis=-1, keepdims=True)
        scale = ops.rsqrt(ops.mean(ops.square(apart), axis=-1, keepdims=True) + epsilon)
        return apart * scale, scale

    def over_rows(x):  # as a product: XLA sums columns slowly on a CPU
        x = ops.reshape(x, (-1, x.shape[-1]))
        return ops.matmul(ops.ones((1, ops.shape(x)[0]), x.dtype), x)[0]

    @one_kernel
    def forth(x, gamma, beta):
        return standardized(x)[0] * gamma + beta

    @one_kernel
    def back(x, gamma, upstream):
        unit, scale = standardized(x)
        g = upstream * gamma
        along = ops.mean(g * unit, axis=-1, keepdims=True)
        inner = scale * (g - ops.mean(g, axis=-1, keepdims=True) - unit * along)
        return inner, over_rows(upstream * unit), over_rows(upstream)

    @ops.custom_gradient
    def norm(x, gamma, beta):
        def grad(*args, upstream=None):
            (upstream,) = args if upstream is None else (upstream,)
            return back(x, gamma, upstream)

        return forth(x, gamma, beta), grad

    return norm
