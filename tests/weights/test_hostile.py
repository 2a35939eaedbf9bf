"""Files made to do harm: each is refused by a ValueError, and nothing outside of it is read or run."""

import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tftransfer.weights import describe, load_backbone, save_backbone, transfer_weights
from tftransfer.weights.record import ATTRIBUTE, CHECKSUM, _digest
from tftransfer.weights.seal import add_seal

KERNEL = "layers/dense/vars/0"


def build():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="d")], name="encoder")


@pytest.fixture
def ours(tmp_path):
    return save_backbone(build(), tmp_path / "ours.weights.h5")


@pytest.fixture
def plain(tmp_path):
    build().save_weights(tmp_path / "plain.weights.h5")
    return tmp_path / "plain.weights.h5"


def edit_record(path, change):
    """Changes the record and makes its checksum and the seal right again, as an attacker would."""
    with h5py.File(path, "r+") as file:
        record = json.loads(file.attrs[ATTRIBUTE])
        change(record)
        file.attrs[ATTRIBUTE] = json.dumps(record)
        file.attrs[CHECKSUM] = _digest(json.dumps(record))
    add_seal(path)


def layer_config(record):
    return record["backbone"]["config"]["layers"][1]


def refuse(path, match, load=True):
    with pytest.raises(ValueError, match=match):
        load_backbone(path) if load else transfer_weights(path, build())


def put(path, make):
    """Puts something else in the place of the kernel."""
    with h5py.File(path, "r+") as file:
        del file[KERNEL]
        make(file)
    return path


def test_links_that_leave_the_file(plain, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((3, 2), "float32")
    put(plain, lambda file: file.__setitem__(KERNEL, h5py.ExternalLink(str(secret), "kernel")))
    refuse(plain, "is a ExternalLink", load=False)
    put(plain, lambda file: file.__setitem__(KERNEL, h5py.SoftLink("/layers/dense/vars/1")))
    refuse(plain, "is a SoftLink", load=False)


def test_data_kept_in_other_files(plain, tmp_path):
    raw = tmp_path / "passwords"
    raw.write_bytes(bytes(24))
    put(plain, lambda f: f.create_dataset(KERNEL, (3, 2), "float32", external=[(str(raw), 0, 24)]))
    refuse(plain, "keeps its data in other files", load=False)
    layout = h5py.VirtualLayout((3, 2), "float32")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "kernel", (3, 2))
    put(plain, lambda f: f.create_virtual_dataset(KERNEL, layout))
    refuse(plain, "keeps its data in other files", load=False)


def test_groups_that_contain_themselves(plain):
    with h5py.File(plain, "r+") as file:
        file["layers/dense/again"] = file["layers"]
    refuse(plain, "leads back to another place", load=False)


def test_groups_without_end(plain):
    with h5py.File(plain, "r+") as file:
        file.create_group("/".join("x" * 100))
    refuse(plain, "nested deeper", load=False)


def test_absurd_shapes(plain):
    packed = {"chunks": (1000, 1000), "compression": "gzip"}
    put(plain, lambda f: f.create_dataset(KERNEL, (10**7, 10**7), "float32", **packed))
    refuse(plain, r"claims the shape \(10000000, 10000000\)", load=False)
    put(
        plain, lambda f: f.create_dataset(KERNEL, (3, 2), "float32")
    )  # nothing was ever written: reads as zeros
    refuse(plain, "holds 0 of it", load=False)
    put(plain, lambda f: f.create_dataset(KERNEL, (10**6, 100), "float32", chunks=(1000, 100)))
    refuse(plain, "claims the shape", load=False)


def test_a_part_of_an_array_is_missing(plain):
    def half(file):
        array = file.create_dataset(KERNEL, (4, 2), "float32", chunks=(2, 2), compression="gzip")
        array[:2] = 1

    put(plain, half)
    refuse(plain, "1 of 2 parts are there", load=False)


@pytest.mark.parametrize(
    "value",
    [
        np.array([b"text"]),
        np.zeros(2, [("a", "f4"), ("b", "f4")]),
        np.zeros((3, 2), "complex64"),
        h5py.Empty("f4"),
    ],
    ids=["text", "compound", "complex", "empty"],
)
def test_wrong_types(plain, value):
    put(plain, lambda file: file.__setitem__(KERNEL, value))
    refuse(plain, "has the type|has no shape|claims", load=False)


def test_a_reference_and_a_named_type(plain):
    put(plain, lambda f: f.create_dataset(KERNEL, data=np.array([f.ref, f.ref], dtype=h5py.ref_dtype)))
    refuse(plain, "has the type", load=False)
    put(plain, lambda f: f.__setitem__(KERNEL, np.dtype("f4")))
    refuse(plain, "neither a group nor an array", load=False)


def test_a_name_that_is_no_text(plain):
    for name in (3.0, np.zeros(5), np.array(["a", "b"], dtype=h5py.string_dtype())):
        with h5py.File(plain, "r+") as file:
            file["layers/dense/vars"].attrs["name"] = name
        refuse(plain, "'name' of .* is not a text", load=False)


def test_integers_do_not_become_weights(plain):
    put(plain, lambda file: file.__setitem__(KERNEL, np.ones((3, 2), "int32")))
    refuse(plain, "do not fit", load=False)


@pytest.mark.parametrize(
    "layer",
    [
        {
            "module": "keras.layers",
            "class_name": "Lambda",
            "config": {"function": "x"},
            "registered_name": None,
        },
        {"class_name": "__lambda__", "config": {"value": "abc"}},
        {
            "module": "keras.layers",
            "class_name": "TFSMLayer",
            "config": {"filepath": "/x"},
            "registered_name": None,
        },
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "config": {"module": "gASV"}},
        {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
        {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
        {
            "module": "keras.utils",
            "class_name": "function",
            "config": "get_file",
            "registered_name": "get_file",
        },
        {"class_name": "Dense", "config": {"units": 2}},
        {"module": "keras.layers", "class_name": "StringLookup", "config": {"vocabulary": "/etc/passwd"}},
        {"module": 3, "class_name": "Dense", "config": {}},
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"units": "many"},
            "registered_name": None,
        },
        {"module": "keras.layers", "class_name": "NoSuchLayer", "config": {}, "registered_name": None},
        {
            "module": "antigravity",
            "class_name": "Dense",
            "config": {"units": 2},
            "registered_name": "x>Dense",
        },
    ],
    ids=lambda layer: f"{layer['class_name']}-{layer.get('module', 'none')}",
)
def test_configs_that_carry_code(ours, layer):
    import sys

    def change(record):
        record["backbone"]["config"]["layers"][1] = layer

    edit_record(ours, change)
    refuse(ours, "carries code|not registered|reads another file|cannot be rebuilt|not named by a text")
    assert "antigravity" not in sys.modules
    describe(ours)  # looking is safe


def test_code_hidden_in_an_argument(ours):
    hidden = {"class_name": "__lambda__", "config": {"value": "4wEAAA=="}}
    edit_record(ours, lambda record: layer_config(record)["config"].__setitem__("activation", hidden))
    refuse(ours, "carries code")


def test_a_config_that_asks_for_all_memory(ours):
    edit_record(ours, lambda record: layer_config(record)["config"].__setitem__("units", 10**12))
    refuse(ours, "far more than the file holds")
    assert load_backbone(save_backbone(build(), ours)).count_params() == 8  # nothing stays behind


def test_a_config_that_does_not_fit_the_weights(ours):
    edit_record(ours, lambda record: layer_config(record)["config"].__setitem__("units", 5))
    refuse(ours, "of another shape: d/kernel, d/bias")


def test_a_config_without_end(ours):
    def nest(record):
        deep = {}
        for _ in range(400):
            deep = {"x": deep}
        record["backbone"]["config"]["deep"] = deep

    edit_record(ours, nest)
    refuse(ours, "nested too deep")
    with h5py.File(ours, "r+") as file:
        text = "[" * 100_000
        file.attrs[ATTRIBUTE], file.attrs[CHECKSUM] = text, _digest(text)
    refuse(ours, "is not JSON")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.update(format=99),
        lambda r: r.update(format="1"),
        lambda r: r.update(surprise=1),
        lambda r: r.pop("versions") and r.pop("name"),
        lambda r: r.update(history=3),
        lambda r: r.update(name=None),
        lambda r: r["manifest"].pop(),
        lambda r: r["manifest"].append(r["manifest"][0]),
        lambda r: r["manifest"][0].update(shape=[2, 3]),
        lambda r: r["manifest"][0].update(shape=[-1, 2]),
        lambda r: r["manifest"][0].update(shape=3),
        lambda r: r["manifest"][0].update(dtype="float64"),
        lambda r: r["manifest"][0].update(location="layers/dense/vars/1"),
        lambda r: r["manifest"][0].update(location=None),
        lambda r: r["manifest"][0].update(checksum="0" * 16),
        lambda r: r["manifest"][0].update(path="other/kernel"),
        lambda r: r.update(manifest=None),
    ],
)
def test_records_that_contradict_the_file(ours, change):
    edit_record(ours, change)
    refuse(ours, "record|contradicts|damaged|do not fit|manifest")


def test_a_record_without_its_checksum(ours):
    with h5py.File(ours, "r+") as file:
        file.attrs[ATTRIBUTE] = file.attrs[ATTRIBUTE].replace("encoder", "decoder")
    refuse(ours, "record .* is damaged")
    with h5py.File(ours, "r+") as file:
        file.attrs[ATTRIBUTE] = np.void(b"pickled?")
    refuse(ours, "is not a text")


def test_values_changed_by_another_program(ours):
    with h5py.File(ours, "r+") as file:
        file[KERNEL][0, 0] += 1
    refuse(ours, "d/kernel' does not hold the values that were saved")


def test_zip_bombs_and_other_archives(tmp_path):
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("model.weights.h5", "w", force_zip64=True) as member:
            for _ in range(130):
                member.write(bytes(1 << 20))
    refuse(path, "bytes unpack to", load=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.npz", b"pickle")
    refuse(path, "its weights are an npz", load=False)
    path.write_bytes(b"PK but no archive")
    refuse(path, "not a Keras model archive", load=False)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"no hdf5")
    refuse(path, "is not an HDF5 file", load=False)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_code_in_the_config_of_a_whole_model_is_not_looked_at(tmp_path, name):
    """Python code as a Lambda of these formats carries it; only the weights beside it are read."""
    escaped, path = tmp_path / "escaped", tmp_path / "in" / name
    path.parent.mkdir()

    def harm(x, escaped=str(escaped)):
        open(escaped, "w").close()
        return x

    model = build()
    keras.Sequential([keras.Input((3,)), *model.layers, keras.layers.Lambda(harm)]).save(path)
    escaped.unlink()  # Keras calls the function when it builds the model
    if name == "m.keras":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("../escaped", b"a name that leaves the folder")
    other = build()
    transfer_weights(path, other).verify().assert_loaded()
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    describe(path)
    assert not escaped.exists()


def test_a_filter_that_needs_foreign_code(plain):
    def register(file):
        space, properties = h5py.h5s.create_simple((3, 2)), h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((3, 2))
        properties.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        h5py.h5d.create(file["layers/dense/vars"].id, b"0", h5py.h5t.NATIVE_FLOAT, space, properties)

    put(plain, register)
    refuse(plain, "filter that needs foreign code", load=False)
