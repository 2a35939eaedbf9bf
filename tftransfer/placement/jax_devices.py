"""Choosing JAX devices. Imported on the JAX backend only."""

import keras

from tftransfer.placement.jax_strategy import JaxStrategy

__all__ = ["choose", "describe"]

NAMES = ("auto", "cpu", "cpu:N", "gpu", "gpu:N", "mirrored", "multi_worker", "tpu", "tpu:N")


def choose(name, made, timeout_s=None):
    """The strategy for a name or object, and why: `(strategy, why)`. `made` maps device sets to known strategies."""
    if isinstance(name, JaxStrategy):
        return made.setdefault(name.devices, name), "given as an object"
    if isinstance(name, keras.distribution.DataParallel):
        given = JaxStrategy([str(d) for d in name.device_mesh.devices.flatten()], distribution=name)
        return made.setdefault(given.devices, given), "given as an object"
    if not isinstance(name, str):
        raise ValueError(
            "strategy takes a name, a JaxStrategy or a keras.distribution.DataParallel. "
            f"Received: {name!r} of type {type(name).__name__}. Names: {', '.join(NAMES)}."
        )
    everything = keras.distribution.list_devices()
    if name in ("auto", "mirrored"):
        count = len(everything)
        why = f"asked for '{name}'" if name != "auto" else f"auto: JAX has {count} device{'s' * (count > 1)}"
        return _made(everything, made), why
    if name == "multi_worker":
        import jax

        if jax.process_count() == 1:
            raise ValueError(
                "'multi_worker' on JAX needs processes that know of each other: call keras.distribution.initialize "
                "in each before anything else. Received: one process."
            )
        return _made(everything, made), f"asked for '{name}'"
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "gpu", "tpu") or not (number.isdigit() or name == kind):
        names = ", ".join(NAMES)
        raise ValueError(f"Unknown strategy. Received: {name!r}. Names: {names}; here: {everything}.")
    try:
        present = keras.distribution.list_devices(kind)
    except RuntimeError:  # JAX has no such platform
        present = []
    whole_tpu = name == "tpu" and present
    if not whole_tpu and int(number or 0) >= len(present):
        raise ValueError(f"There is no {kind}:{number or 0} here. Received: {name!r}; here: {everything}.")
    return _made(present if whole_tpu else [present[int(number or 0)]], made), f"asked for '{name}'"


def describe(strategy):
    """The devices of a strategy in words: `CPU:0, CPU:1`."""
    return ", ".join(d.upper() for d in strategy.devices)


def _made(devices, made):
    key = tuple(devices)
    if key not in made:
        made[key] = JaxStrategy(devices)
    return made[key]
