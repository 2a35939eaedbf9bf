"""Tables become rows as the training rows say, and the layer that knows how travels in the weights file."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer import backbones, tasks, weights
from tftransfer.layers import TablePreprocessing, preprocessing_of
from tftransfer.layers.table_preprocessing import MISSING

TABLE = {
    "age": np.array([20.0, 40.0, np.nan, 60.0]),
    "job": np.array(["cook", "clerk", "cook", ""]),
    "hours": np.array([1, 2, 3, 4]),
    "member": np.array([True, False, True, True]),
}


def fitted(**options):
    return TablePreprocessing().adapt(TABLE, **options)


def test_mixed_columns():
    preprocessing = fitted()
    assert preprocessing.names == list(TABLE)
    assert preprocessing.numeric.tolist() == [True, False, True, False]
    rows = preprocessing.encode(TABLE)
    assert rows.dtype == "float32" and np.isfinite(rows).all()
    deviation = np.std([20, 40, 60])
    np.testing.assert_allclose(rows[:, 0], [-20 / deviation, 0, MISSING, 20 / deviation], rtol=1e-6)
    assert rows[:, 1].tolist() == [2, 3, 2, 0] and rows[:, 3].tolist() == [2, 3, 2, 2]


def test_only_training_rows_count():
    preprocessing = fitted()
    before = preprocessing.get_config()
    preprocessing.encode({**TABLE, "age": [999.0] * 4, "job": ["pilot"] + ["cook"] * 3})
    assert preprocessing.get_config() == before
    assert preprocessing.columns[0]["mean"] == 40.0 and "pilot" not in preprocessing.columns[1]["categories"]


@pytest.mark.compute
def test_dense_features():
    preprocessing = fitted()
    dense = ops.convert_to_numpy(preprocessing(preprocessing.encode(TABLE)))
    # age, missing; job: missing, unseen, cook, clerk; hours, missing; member: missing, unseen, True, False
    assert dense.shape == (4, 12)
    np.testing.assert_array_equal(dense[:, 1], [0, 0, 1, 0])
    np.testing.assert_array_equal(dense[:, 2:6], [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(dense[:, 10:], [[1, 0], [0, 1], [1, 0], [1, 0]])
    assert dense[2, 0] == 0  # a missing number counts as the mean, and its flag says so
    np.testing.assert_allclose(dense[:, 6].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(dense[:, 6].std(), 1, rtol=1e-6)


@pytest.mark.compute
def test_an_unseen_category_and_a_gap_that_fitting_had_not_say_nothing():
    preprocessing = fitted()
    with pytest.warns(UserWarning, match="None of the categories of the column 'job'"):
        rows = preprocessing.encode({**TABLE, "job": ["pilot", "judge", "pilot", ""], "hours": [np.nan] * 4})
    assert rows[:, 1].tolist() == [1, 1, 1, 0]
    dense = ops.convert_to_numpy(preprocessing(rows))
    assert not dense[:3, 2:6].any() and not dense[:, 6:8].any()
    assert dense[3, 2] == 1  # of missing jobs there was an example


@pytest.mark.compute
def test_rare_categories_share_the_place_of_unseen_ones():
    preprocessing = fitted(min_count=2)
    assert preprocessing.columns[1]["categories"] == ["cook"]
    rows = preprocessing.encode({**TABLE, "job": ["cook", "clerk", "pilot", ""]})
    assert rows[:, 1].tolist() == [2, 1, 1, 0]
    assert ops.convert_to_numpy(preprocessing(rows))[1:3, 3].tolist() == [1, 1]


def test_all_missing_columns_are_an_error_and_can_be_dropped():
    table = {**TABLE, "empty": [np.nan] * 4, "void": [None] * 4, "blank": [""] * 4}
    with pytest.raises(ValueError, match=r"\['empty', 'void', 'blank'\] hold no value"):
        TablePreprocessing().adapt(table)
    assert TablePreprocessing().adapt(table, drop=("empty", "void", "blank")).names == list(TABLE)


@pytest.mark.compute
def test_constant_columns_are_kept_with_a_warning():
    table = {**TABLE, "planet": ["Earth"] * 4, "moons": [1] * 4}
    with pytest.warns(UserWarning, match=r"\['planet', 'moons'\] hold one value only"):
        preprocessing = TablePreprocessing().adapt(table)
    rows = preprocessing.encode(table)
    assert np.isfinite(rows).all() and not rows[:, 5].any()
    assert np.isfinite(ops.convert_to_numpy(preprocessing(rows))).all()


def test_a_far_outlier_is_cut():
    rows = fitted().encode({**TABLE, "age": [1e30, -1e30, 40, np.nan]})
    np.testing.assert_allclose(rows[:, 0], [10, -10, 0, MISSING])


def test_numbers_can_be_categories():
    preprocessing = fitted(categorical=("hours",))
    assert preprocessing.columns[2]["categories"] == ["1", "2", "3", "4"]
    assert preprocessing.encode({**TABLE, "hours": [4.0, 1.0, np.nan, 9.0]})[:, 2].tolist() == [5, 2, 0, 1]


def test_order_of_columns_and_further_ones_do_not_matter():
    preprocessing = fitted()
    other = {"further": [0] * 4, **dict(reversed(TABLE.items()))}
    np.testing.assert_array_equal(preprocessing.encode(other), preprocessing.encode(TABLE))


def test_decode_is_the_inverse():
    preprocessing = fitted()
    table = preprocessing.decode(preprocessing.encode(TABLE))
    np.testing.assert_allclose(table["age"], TABLE["age"], rtol=1e-6)
    assert table["job"].tolist() == ["cook", "clerk", "cook", None]


def test_plain_rows_of_numbers_pass_unchanged():
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    dense = ops.convert_to_numpy(TablePreprocessing.plain(3)(x))
    np.testing.assert_allclose(dense[:, ::2], x)
    assert not dense[:, 1::2].any()


@pytest.mark.compute
@pytest.mark.parametrize("build", [backbones.mlp, backbones.table_transformer], ids=lambda b: b.__name__)
def test_travels_in_the_weights_file(build, tmp_path):
    size = {"units": (8,)} if build is backbones.mlp else {"width": 8, "depth": 1, "num_heads": 2}
    backbone = build(fitted(), **size)
    path = weights.save_backbone(backbone, tmp_path / "b.weights.h5")
    again = weights.load_backbone(path)
    new = {**TABLE, "age": [np.nan, 30, 31, 32], "job": ["clerk", "pilot", "cook", "cook"]}
    mine, its = preprocessing_of(backbone), preprocessing_of(again)
    assert mine.get_config() == its.get_config()
    np.testing.assert_array_equal(mine.encode(new), its.encode(new))
    first, second = (ops.convert_to_numpy(model(mine.encode(new))) for model in (backbone, again))
    np.testing.assert_array_equal(first, second)
    assert np.isfinite(first).all()
    task = tasks.Classifier(str(path), num_classes=2)
    task.save(tmp_path / "task.keras")
    loaded = keras.saving.load_model(tmp_path / "task.keras")
    assert preprocessing_of(loaded).columns == mine.columns


def test_codes_survive_mixed_precision():
    table = {"zip": np.arange(250), "size": np.arange(250.0)}
    preprocessing = TablePreprocessing().adapt(table, categorical=("zip",), max_categories=250)
    rows, policy = preprocessing.encode(table), keras.config.dtype_policy()
    exact = ops.convert_to_numpy(preprocessing(rows))
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        other = TablePreprocessing(columns=preprocessing.columns)
        model = backbones.mlp(other, units=(4,))
        dense = ops.convert_to_numpy(ops.cast(other(ops.cast(rows, "bfloat16")), "float32"))
        assert np.isfinite(ops.convert_to_numpy(ops.cast(model(rows), "float32"))).all()
    finally:
        keras.config.set_dtype_policy(policy)
    np.testing.assert_array_equal(dense[:, :252], exact[:, :252])
    np.testing.assert_allclose(dense[:, 252], exact[:, 252], atol=0.02)


def test_clear_errors(tmp_path):
    preprocessing = fitted()
    rows = preprocessing.encode(TABLE)
    table = {name: values for name, values in TABLE.items() if name != "job"}
    for call, words in (
        (lambda: TablePreprocessing().encode(TABLE), "has seen no rows"),
        (lambda: TablePreprocessing()(np.ones((2, 3))), "has seen no rows"),
        (lambda: backbones.mlp(TablePreprocessing()), "adapt has seen"),
        (lambda: backbones.table_transformer(TablePreprocessing()), "adapt"),
        (lambda: preprocessing.encode(table), r"lacks the columns \['job'\]"),
        (lambda: preprocessing.encode({**TABLE, "age": ["old"] * 4}), "'age' is numeric"),
        (lambda: fitted(drop=("wage",)), r"name \['wage'\]"),
        (lambda: fitted(drop=tuple(TABLE)), "leave none"),
        (lambda: fitted(max_categories=1000), "max_categories lies between"),
        (lambda: fitted(min_count=0), "min_count is 1 or more"),
        (lambda: preprocessing(rows[:, :3]), "knows 4 columns"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
    backbones.mlp(preprocessing, units=(4,))
    with pytest.raises(ValueError, match="part of a model already"):
        preprocessing.adapt(TABLE)


def test_a_model_without_a_table_has_no_preprocessing():
    assert preprocessing_of(backbones.mlp((4,), units=(2,))) is None
