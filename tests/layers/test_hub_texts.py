"""Models that read dicts of ids and masks, as KerasHub's do, become models of plain ids."""

import keras
import numpy as np
import pytest
from keras import ops

from tftransfer import backbones
from tftransfer.layers import plain_ids


def hub(names, outputs=lambda x: {"sequence_output": x, "pooled_output": x[:, 0]}):
    inputs = {name: keras.Input((None,), dtype="int32", name=name) for name in names}
    x = keras.layers.Embedding(50, 4, name="token_embedding")(inputs["token_ids"])
    if "segment_ids" in names:
        x = x + keras.layers.Embedding(2, 4, name="segment_embedding")(inputs["segment_ids"])
    x = (
        x * ops.cast(inputs["padding_mask"], "float32")[..., None] + 1.0
    )  # what a hub model gives at padding is no zero
    return keras.Model(inputs, outputs(x), name="hub")


NAMES = ("token_ids", "padding_mask")
IDS = np.array([[7, 8, 9, 0, 0], [4, 5, 6, 7, 8]], "int32")


@pytest.mark.parametrize("outputs", [lambda x: {"sequence_output": x}, lambda x: x], ids=["dict", "tensor"])
def test_features_are_the_hub_s_and_zero_at_padding(outputs):
    made = hub(NAMES, outputs)
    plain = plain_ids(made)
    theirs = made({"token_ids": IDS, "padding_mask": (IDS != 0).astype("int32")})
    theirs = ops.convert_to_numpy(theirs["sequence_output"] if isinstance(theirs, dict) else theirs)
    found = ops.convert_to_numpy(plain(IDS))
    np.testing.assert_allclose(found[IDS != 0], theirs[IDS != 0], atol=1e-6)
    assert not found[IDS == 0].any() and theirs[IDS == 0].any()
    assert plain.name == "hub" and plain.output_shape == (None, None, 4)


def test_weights_are_shared_and_segments_are_told():
    made = hub((*NAMES, "segment_ids"))
    plain = plain_ids(made)
    assert {id(v) for v in plain.weights} == {id(v) for v in made.weights}
    before = ops.convert_to_numpy(plain(IDS))
    made.get_layer("segment_embedding").embeddings.assign(np.array([[1.0] * 4, [9.0] * 4]))
    assert np.abs(ops.convert_to_numpy(plain(IDS)) - before).max() > 0.1


def test_what_reads_no_such_dict_is_left_as_it_is():
    for model in (backbones.gru((5,), vocabulary_size=10, width=4, depth=1), keras.Sequential(), "no model"):
        assert plain_ids(model) is model


def test_what_is_not_understood_is_said():
    with pytest.raises(ValueError, match=r"(?s)'hub' reads .*images.*Wrap it"):
        plain_ids(hub((*NAMES, "images")))
    with pytest.raises(ValueError, match=r"(?s)'hub' reads .*Wrap it"):
        plain_ids(hub(NAMES, lambda x: {"pooled_output": x[:, 0]}))
    with pytest.raises(ValueError, match=r"(?s)'hub' reads .*Wrap it"):
        plain_ids(hub(NAMES, lambda x: x[:, 0]))
