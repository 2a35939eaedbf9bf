"""How a global batch falls to the replicas, and what learning rate goes with it."""

import dataclasses
import math
import numbers

import keras

from tftransfer.placement.replicas import replicas as replicas_in_scope

__all__ = ["BatchPlan", "batch_plan"]

SCALINGS = ("none", "linear", "square root")


@dataclasses.dataclass(frozen=True)
class BatchPlan:
    """What `batch_plan` worked out; `print` shows it in a line.

    Attributes:
        batch_size: examples a step, over all replicas together.
        replicas: how many share them.
        per_replica: examples of one replica; where they do not divide, the most that one gets, and on several JAX
            devices all of them, since each then computes the whole batch.
        learning_rate: the rate to use, None where none was given.
        base_learning_rate: the rate that was given.
        scaling: "none", "linear" or "square root".
        base_batch_size: the batch size that the given rate was found with.
        drop_remainder: whether the last, short batch of an epoch is left out.
        steps_per_epoch: steps in a pass over the examples, None where their number is unknown.
        left_out: examples of a pass that `drop_remainder` leaves out, None where their number is unknown.
    """

    batch_size: int
    replicas: int
    per_replica: int
    learning_rate: float | None
    base_learning_rate: float | None
    scaling: str
    base_batch_size: int
    drop_remainder: bool
    steps_per_epoch: int | None
    left_out: int | None

    def __str__(self):
        shared = f"{self.replicas} replica{'s' * (self.replicas > 1)} × {self.per_replica}"
        uneven = "up to " if self.replicas * self.per_replica != self.batch_size else ""
        parts = [f"batch: {self.batch_size} examples a step, {uneven}{shared}"]
        if self.learning_rate is not None:
            change = ""
            if self.scaling != "none":
                change = f" ({self.scaling} scaling of {self.base_learning_rate:g} at {self.base_batch_size})"
            parts.append(f"learning rate {self.learning_rate:g}{change}")
        if self.steps_per_epoch is not None:
            rest = f", {self.left_out} examples left out" if self.left_out else ""
            parts.append(f"{self.steps_per_epoch} steps an epoch{rest}")
        parts.append("short batches are left out" if self.drop_remainder else "a short last batch is kept")
        return "; ".join(parts)


def batch_plan(
    batch_size,
    placed=None,
    *,
    examples=None,
    learning_rate=None,
    scaling="none",
    base_batch_size=256,
    drop_remainder="auto",
    verbose=True,
):
    """Works out, and prints, what each replica gets of a global batch, and the learning rate that goes with it.

    Everywhere in this library a batch size is the *global* one: with it and a learning rate fixed, one device and
    many compute the same weights, and nothing needs scaling. That is the default. Scaling is for who lets the batch
    grow with the machine: a rate found at `base_batch_size` becomes

    `rate · B / base` ("linear": for SGD, with warm-up) or `rate · √(B / base)` ("square root": for Adam and its kin).

    Reference: Goyal et al., Accurate, Large Minibatch SGD, 2017, https://arxiv.org/abs/1706.02677 (linear);
    Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014,
    https://arxiv.org/abs/1404.5997, and Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient
    Algorithms, 2022, https://arxiv.org/abs/2205.10287 (square root)

    Args:
        batch_size: examples a step, over all replicas together.
        placed: a strategy, or a model built under one; by default the strategy whose scope is open.
        examples: number of training examples, where known.
        learning_rate: a number, the rate to be scaled.
        scaling: "none", "linear" or "square root".
        base_batch_size: the batch size that `learning_rate` was found with.
        drop_remainder: whether a short last batch is left out; "auto": where the devices need batches of one size (a
            TPU, several JAX devices).
        verbose: whether to print the plan.

    Returns:
        A `BatchPlan`.

    Raises:
        ValueError: for numbers below 1, an unknown scaling, a rate that is no positive number, or a batch that a TPU
            cannot share evenly.

    Example:
        >>> import tftransfer as tt
        >>> plan = tt.placement.batch_plan(1024, examples=10_000, learning_rate=0.1, scaling="linear")
        batch: 1024 examples a step, 1 replica × 1024; learning rate 0.4 (linear scaling of 0.1 at 256); 10 steps an
        epoch; a short last batch is kept
        >>> plan.learning_rate
        0.4
    """
    for name, value in (
        ("batch_size", batch_size),
        ("base_batch_size", base_batch_size),
        ("examples", examples),
    ):
        if name == "examples" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 1:
            raise ValueError(f"{name} is a whole number from 1 up. Received: {value!r}.")
    if scaling not in SCALINGS:
        raise ValueError(f"scaling is one of {', '.join(map(repr, SCALINGS))}. Received: {scaling!r}.")
    rate = learning_rate
    if rate is not None and (not isinstance(rate, numbers.Real) or not 0 < rate < math.inf):
        raise ValueError(
            f"learning_rate is a positive number. Received: {rate!r}. Scale the peak of a schedule, and make the "
            "schedule from the result."
        )
    if drop_remainder not in (True, False, "auto"):
        raise ValueError(f'drop_remainder is True, False or "auto". Received: {drop_remainder!r}.')
    count, rigid = _devices_of(placed)
    uneven = batch_size % count != 0
    if rigid and uneven and keras.backend.backend() == "tensorflow":
        raise ValueError(
            f"The {count} devices share batches evenly only. Received: batch_size={batch_size}; use "
            f"{batch_size - batch_size % count or count} or {batch_size - batch_size % count + count}."
        )
    each = batch_size if rigid and uneven else -(-batch_size // count)  # JAX: `jax_batches.py`
    drop = rigid if drop_remainder == "auto" else drop_remainder
    if rate is not None and scaling != "none":
        share = batch_size / base_batch_size
        rate = rate * (share if scaling == "linear" else math.sqrt(share))
    whole = None if examples is None else examples // batch_size
    rest = None if examples is None else examples % batch_size
    plan = BatchPlan(
        batch_size=int(batch_size),
        replicas=count,
        per_replica=each,
        learning_rate=rate,
        base_learning_rate=learning_rate,
        scaling=scaling,
        base_batch_size=base_batch_size,
        drop_remainder=drop,
        steps_per_epoch=None if examples is None else whole + (not drop and rest > 0),
        left_out=None if examples is None else rest * drop,
    )
    if verbose:
        print(plan)
    return plan


def _devices_of(placed):
    """How many share a batch, and whether only evenly."""
    if isinstance(placed, keras.Model):
        placed = getattr(
            placed, "_distribution" if keras.backend.backend() == "jax" else "distribute_strategy", None
        )
    if keras.backend.backend() == "jax":
        placed = keras.distribution.distribution() if placed is None else placed
        count = getattr(placed, "num_replicas_in_sync", None)
        if count is None:
            count = 1 if placed is None else placed.device_mesh.devices.size
        return int(count), count > 1
    if placed is None:
        return replicas_in_scope(), _is_tpu(None)
    if not hasattr(placed, "num_replicas_in_sync"):
        raise ValueError(f"placed is a strategy or a Keras model. Received: {type(placed).__name__}.")
    return placed.num_replicas_in_sync, _is_tpu(placed)


def _is_tpu(strategy):
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return isinstance(strategy or tf.distribute.get_strategy(), tf.distribute.TPUStrategy)
