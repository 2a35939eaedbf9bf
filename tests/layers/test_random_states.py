"""Random states: each once, nested layers too; a look leaves them as they were."""

import keras
import numpy as np

from tftransfer.layers import random_states, random_states_kept


def test_states_of_nested_and_shared_layers_come_once():
    dropout = keras.layers.Dropout(0.5)
    inner = keras.Sequential([keras.Input((4,)), dropout, keras.layers.Dense(4)])
    model = keras.Sequential([keras.Input((4,)), inner, dropout])
    assert len(random_states(model)) == 1
    assert random_states(None) == []


def test_a_look_leaves_the_states_as_they_were():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5)])
    (state,) = random_states(model)
    before = keras.ops.convert_to_numpy(state).copy()
    with random_states_kept(model) as states:
        model(np.ones((2, 4), "float32"), training=True)
        assert (keras.ops.convert_to_numpy(states[0]) != before).any()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state), before)
