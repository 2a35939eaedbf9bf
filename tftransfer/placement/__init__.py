"""Where models run: strategies over one device, many or many machines, and models that are right under each.

Everything that differs between one device and replicas, and between TensorFlow and JAX, lives in this folder alone.
"""

from tftransfer.placement.bottleneck import InputReport, input_bottleneck
from tftransfer.placement.compilation import explain_jit_compile, jit_compile, needs_static_shapes
from tftransfer.placement.fused_normalization import fuse_batch_normalization, fuse_layer_normalization
from tftransfer.placement.global_batch import BatchPlan, batch_plan
from tftransfer.placement.jax_strategy import JaxStrategy
from tftransfer.placement.kernels import one_kernel
from tftransfer.placement.launch import launch
from tftransfer.placement.methods import replace_method
from tftransfer.placement.model import PlacedModel
from tftransfer.placement.normalization import adapt_batch_normalization
from tftransfer.placement.precision import check_precision
from tftransfer.placement.rematerialization import remat
from tftransfer.placement.replicas import all_gather, per_example, replica_id, replicas, rows_before_and_total
from tftransfer.placement.scaling import Link, Scaling, gradient_bytes, scaling
from tftransfer.placement.strategies import strategy
from tftransfer.placement.workers import Workers, workers_of

__all__ = [
    "BatchPlan",
    "InputReport",
    "JaxStrategy",
    "Link",
    "PlacedModel",
    "Scaling",
    "Workers",
    "adapt_batch_normalization",
    "all_gather",
    "batch_plan",
    "check_precision",
    "explain_jit_compile",
    "fuse_batch_normalization",
    "fuse_layer_normalization",
    "gradient_bytes",
    "input_bottleneck",
    "jit_compile",
    "launch",
    "needs_static_shapes",
    "one_kernel",
    "per_example",
    "remat",
    "replace_method",
    "replica_id",
    "replicas",
    "rows_before_and_total",
    "scaling",
    "strategy",
    "workers_of",
]
