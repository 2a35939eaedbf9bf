"""The random states of a layer or model: list them, or have them as before after a look at the model."""

import contextlib

import keras

__all__ = ["random_states", "random_states_kept"]


def random_states(layer):
    """The state variables of all `keras.random.SeedGenerator`s inside a layer or model, in a fixed order.

    Args:
        layer: a layer or model; None has none.

    Returns:
        A list of variables, each once.

    Example:
        >>> import keras
        >>> from tftransfer.layers import random_states
        >>> len(random_states(keras.Sequential([keras.layers.Dropout(0.5), keras.layers.Dense(2)])))
        1
    """
    parts = {id(part): part for part in layer._flatten_layers()} if layer is not None else {}
    return [generator.state for part in parts.values() for generator in part._seed_generators]


@contextlib.contextmanager
def random_states_kept(layer):
    """Puts the random states back in the end: looking at a model must not change its training.

    Args:
        layer: a layer or model, or None.

    Yields:
        The states, which may be set meanwhile.

    Example:
        >>> import keras
        >>> from tftransfer.layers import random_states_kept
        >>> dropout = keras.layers.Dropout(0.5)
        >>> with random_states_kept(dropout):
        ...     _ = dropout(keras.ops.ones((2, 3)), training=True)
    """
    states = random_states(layer)
    values = [keras.ops.convert_to_numpy(state).copy() for state in states]
    try:
        yield states
    finally:
        for state, value in zip(states, values, strict=True):
            state.assign(value)
