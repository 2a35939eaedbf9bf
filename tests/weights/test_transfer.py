import keras
import numpy as np
import pytest
from keras import layers

from tftransfer.weights import save_backbone, transfer_weights, variable_paths


@pytest.fixture(autouse=True)
def trusted(monkeypatch):
    """These files are whole: no process is started to find that out (test_probe.py does)."""
    monkeypatch.setattr("tftransfer.weights.sources.probe", lambda path, where: None)


def mlp(*units, names=None, inputs=4):
    names = names or [f"d{i}" for i in range(len(units))]
    dense = [layers.Dense(u, name=n) if n else layers.Dense(u) for u, n in zip(units, names, strict=True)]
    return keras.Sequential([keras.Input((inputs,)), *dense])


def numbered(*pairs, inputs=4):
    """Dense layers (units, number) with names as Keras makes them up."""
    return mlp(
        *(u for u, _ in pairs), names=[f"dense_{n}" if n else "dense" for _, n in pairs], inputs=inputs
    )


def same(first, second):
    pairs = zip(first.get_weights(), second.get_weights(), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.fixture
def files(tmp_path):
    def write(model):
        model.save(tmp_path / "m.keras")
        model.save_weights(tmp_path / "plain.weights.h5")
        save_backbone(model, tmp_path / "ours.weights.h5")
        return [tmp_path / "m.keras", tmp_path / "plain.weights.h5", tmp_path / "ours.weights.h5", model]

    return write


def test_every_source_gives_the_same(files):
    trunk = mlp(5, 6)
    model = keras.Sequential([keras.Input((4,)), trunk, layers.BatchNormalization(name="norm")])
    for weight in model.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    for source in files(model):
        other = keras.models.clone_model(model)
        receipt = transfer_weights(source, other)
        assert receipt.verify().assert_loaded().counts["loaded"] == 8
        assert same(model, other)


def test_made_up_numbers_are_compared_as_families(files):
    model = numbered((4, 0), (4, 1), (4, 2))
    for source in files(model):
        other = numbered((4, 1), (4, 2), (4, 3))  # by name alone, two of three would land one layer too early
        receipt = transfer_weights(source, other)
        assert receipt.counts["renamed"] == 6
        assert same(model, other)


def test_an_inserted_layer_is_ambiguous(files):
    model = numbered((4, 0), (4, 1))
    for source in files(model):
        with pytest.raises(ValueError, match="would stay random"):
            transfer_weights(source, numbered((4, 0), (4, 1), (4, 2)))
        with pytest.raises(ValueError, match="would stay random"):
            transfer_weights(source, numbered((4, 4), (4, 5), (4, 6)))
        other = numbered((4, 0), (4, 1), (4, 2))
        assert transfer_weights(source, other, allow_missing="dense_2").counts["loaded"] == 4


def test_a_part_goes_into_the_whole_and_back(files):
    encoder = mlp(5, 3)
    head = layers.Dense(2, name="head")
    task = keras.Sequential([keras.Input((4,)), encoder, head])
    for source in files(encoder):
        fresh = mlp(5, 3)
        receiving = keras.Sequential([keras.Input((4,)), fresh, layers.Dense(2, name="head")])
        assert transfer_weights(source, receiving, allow_missing="head").counts["renamed"] == 4
        assert same(encoder, fresh)
    for source in files(task):
        fresh = mlp(5, 3)
        receipt = transfer_weights(source, fresh, allow_unused="^head/")
        assert receipt.counts["unused"] == 2 and same(encoder, fresh)
        with pytest.raises(ValueError, match=r"2 of the source are not used.*head/"):
            transfer_weights(source, mlp(5, 3))


def test_a_layer_is_found_by_its_name_in_another_place(files):
    model = keras.Sequential([keras.Input((4,)), mlp(5, names=["first"]), layers.Dense(3, name="second")])
    flat = mlp(5, 3, names=["first", "second"])
    for source in files(model):
        flat = mlp(5, 3, names=["first", "second"])
        receipt = transfer_weights(source, flat)
        assert receipt.counts["loaded"] == 2 and receipt.counts["renamed"] == 2
        assert same(model, flat)


def test_mapping(files):
    model = mlp(5, 4, names=["enc_a", "enc_b"])
    for source in files(model):
        other = mlp(5, 4, names=["first", "b"])
        receipt = transfer_weights(source, other, mapping={"^enc_": "", "^a/": "first/"})
        assert receipt.counts["renamed"] == 4 and same(model, other)
        with pytest.raises(ValueError, match=r"'typo', which matches nothing.*enc_a"):
            transfer_weights(source, other, mapping={"typo": ""})
        with pytest.raises(ValueError, match="several weights of the source at one place"):
            transfer_weights(source, other, mapping={"enc_[ab]": "x"})
        with pytest.raises(ValueError, match="no regular expression"):
            transfer_weights(source, other, mapping={"(": ""})


def test_mapping_decides_where_numbers_cannot(files):
    model = numbered((4, 0), (4, 1))
    for source in files(model):
        other = numbered((4, 7), (4, 8), (4, 9))
        receipt = transfer_weights(
            source, other, mapping={"dense_1/": "dense_9/"}, allow_missing="_[78]/", allow_unused="dense/"
        )
        assert np.array_equal(model.get_weights()[2], other.get_weights()[4])
        assert receipt.counts["random"] == 4


def test_strict_errors_list_ten_and_change_nothing():
    source, target = mlp(4, names=["a"]), mlp(*[4] * 8, names=["a", *(f"x{i}" for i in range(7))])
    before = target.get_weights()
    with pytest.raises(ValueError, match="14 of the model would stay random") as raised:
        transfer_weights(source, target)
    assert "x0/kernel" in str(raised.value) and "and 4 more" in str(raised.value)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True))


def test_shapes_that_do_not_fit(files):
    model = mlp(5, 3)
    for source in files(model):
        with pytest.raises(ValueError, match=r"2 do not fit: d1/kernel \(float32 \(5, 3\) in the source"):
            transfer_weights(source, mlp(5, 2))
        other = mlp(5, 2)
        receipt = transfer_weights(source, other, allow_missing="d1")
        assert receipt.counts == {"loaded": 2, "renamed": 0, "adapted": 0, "random": 2, "unused": 2}


def test_nothing_matches():
    with pytest.raises(ValueError, match="nothing at all matches"):
        transfer_weights(mlp(4, names=["a"]), mlp(4, names=["b"]), allow_missing=".", allow_unused=".")


def test_types_are_cast_among_floats_only():
    source, target = mlp(4), mlp(4)
    half = keras.Sequential([keras.Input((4,)), layers.Dense(4, name="d0", dtype="float16")])
    receipt = transfer_weights(source, half)
    assert receipt.lines[0].note == "float32 → float16" and receipt.verify()
    transfer_weights(half, target).verify()
    np.testing.assert_allclose(target.get_weights()[0], source.get_weights()[0], rtol=1e-3)


def test_by_order_needs_equal_topology(tmp_path):
    model = mlp(4, 4, names=["a", "b"])
    model.save_weights(tmp_path / "m.weights.h5")
    other = mlp(4, 4, names=["x", "y"])
    for source in (tmp_path / "m.weights.h5", model):
        assert transfer_weights(source, other, by_order=True).verify().counts["renamed"] == 4
        assert same(model, other)
        for wrong in (mlp(4, 4, 4), mlp(4, 5), mlp(4)):
            with pytest.raises(ValueError, match="cannot be loaded by order"):
                transfer_weights(source, wrong, by_order=True)
        with pytest.raises(ValueError, match="pass one of them"):
            transfer_weights(source, other, by_order=True, mapping={"a": "x"})
    longer = mlp(4, 4, 2, names=["x", "y", "head"])
    assert transfer_weights(model, longer, by_order=True, allow_missing="head").counts["random"] == 2


def test_files_without_names(tmp_path):
    import h5py

    model, path = mlp(4, 3, names=["a", "b"]), tmp_path / "m.weights.h5"
    model.save_weights(path)
    with h5py.File(path, "r+") as file:  # as Keras before 3.6 wrote it
        file.visititems(lambda _, node: node.attrs.pop("name", None) and None)
    other = mlp(4, 3, names=["x", "y"])
    with pytest.raises(ValueError, match=r"does not name its layers.*by_order=True"):
        transfer_weights(path, other)
    assert transfer_weights(path, other, by_order=True).verify().percent_loaded == 100
    assert same(model, other)
    with pytest.raises(ValueError, match="its layers are not the model's"):
        transfer_weights(
            path, keras.Sequential([keras.Input((4,)), layers.EinsumDense("ab,bc->ac", 4)]), by_order=True
        )


def test_a_layer_may_receive():
    source, target = mlp(4, names=["a"]), keras.Sequential([keras.Input((4,)), mlp(4, names=["a"])])
    assert transfer_weights(source, target.layers[0]).counts["loaded"] == 2
    assert list(variable_paths(target.layers[0])) == ["a/kernel", "a/bias"]


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["a"]])
def test_wrong_sources(wrong):
    with pytest.raises(ValueError, match="received"):
        transfer_weights(wrong, mlp(4))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="allow_missing takes regular expressions"):
        transfer_weights(mlp(4), mlp(4), allow_missing="(")
    with pytest.raises(ValueError, match="Expected a keras"):
        transfer_weights(mlp(4), "m.weights.h5")
