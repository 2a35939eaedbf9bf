"""Where one tensor alone carries a functional model on."""

import keras

from tftransfer.layers import cut_tensors, functional


def names(cuts):
    return [[layer.name for layer in layers if layer.weights] for layers, _ in cuts]


def test_a_shortcut_forbids_cuts_beside_it():
    inputs = keras.Input((4,))
    x = keras.layers.Dense(4, name="before")(inputs)
    y = keras.layers.Dense(4, name="second")(keras.layers.Dense(4, name="first")(x))
    model = keras.Model(inputs, keras.layers.Dense(2, name="behind")(keras.layers.Add()([x, y])))
    cuts = cut_tensors(model)
    assert [found for found in names(cuts) if found] == [["before"], ["first", "second"], ["behind"]]
    assert cuts[-1][1] is model.outputs[0]


def test_whole_numbers_that_every_block_reads_do_not_forbid_a_cut_where_they_do_not_count():
    inputs = keras.Input((3,), dtype="int32")
    x = keras.layers.Embedding(5, 4, name="words")(inputs)
    for name in ("one", "two"):  # each reads the ids once more
        again = keras.layers.Embedding(5, 4, name=f"{name}_words")(inputs)
        x = keras.layers.Add()([keras.layers.Dense(4, name=name)(x), again])
    model = keras.Model(inputs, x)
    with_them, without = (len(cut_tensors(model, integers=counts)) for counts in (True, False))
    assert without > with_them


def test_only_models_of_one_input_and_output_are_functional():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    one = keras.Input((2,))
    model = keras.Model(one, keras.layers.Dense(2)(one))
    two = [keras.Input((2,)), keras.Input((2,))]
    assert functional(model) is model
    others = keras.Model(two, keras.layers.Add()(two)), keras.Model(one, [one, one]), Subclassed()
    for other in (*others, keras.Sequential([keras.layers.Dense(2)]), keras.layers.Dense(2)):
        assert functional(other) is None
    built = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    assert functional(built).layers[-1] is built.layers[0]
