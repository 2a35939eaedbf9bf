"""Depth groups come from the graph: known networks, nested models, subclassed stacks of blocks."""

import keras
import pytest

import tftransfer as tt
from tftransfer.finetuning import variable_paths
from tftransfer.finetuning.depth import depth_groups

layers = keras.layers


def groups_of(backbone):
    task = tt.tasks.Classifier(backbone, num_classes=2)
    paths = variable_paths(task)
    groups, ends = depth_groups(task, paths)
    flat = [path for group in groups for path in group]
    assert sorted(flat) == sorted(paths), "each path stands in exactly one group"
    assert groups[-1] == ["head/kernel", "head/bias"]
    assert len(ends) == len(groups) - 1
    return groups, ends


@pytest.mark.parametrize(
    ("name", "size", "count"),
    [("ResNet50", 64, 17), ("VGG16", 32, 13), ("ConvNeXtTiny", 32, 22), ("Xception", 71, 16)],
)
def test_keras_applications(name, size, count):
    build = getattr(keras.applications, name)
    groups, ends = groups_of(build(weights=None, include_top=False, input_shape=(size, size, 3)))
    assert len(groups) - 1 == count
    assert None not in ends
    if name == "ResNet50":  # the stem, then 3 + 4 + 6 + 3 blocks
        blocks = [{path.split("/")[1].rsplit("_", 2)[0] for path in group} for group in groups[1:-1]]
        assert [block.pop() for block in blocks if len(block) == 1][:3] == [
            f"conv2_block{i}" for i in (1, 2, 3)
        ]


def test_a_token_backbone_is_embedder_and_blocks():
    groups, ends = groups_of(tt.backbones.vit((8, 8, 1), width=8, depth=3, num_heads=2))
    assert len(groups) == 5
    assert all(path.startswith("backbone/embedder/") for path in groups[0])
    assert {path.split("/")[2] for path in groups[2]} == {"block_01"}
    assert ends[1].name == "block_00"


def test_a_transformer_written_functionally_gives_whole_blocks():
    tokens = keras.Input((5, 8))
    x = layers.Dense(8, name="embed")(tokens)
    for i in range(2):
        attended = layers.MultiHeadAttention(2, 4, name=f"attention_{i}")(
            *2 * [layers.LayerNormalization()(x)]
        )
        x = layers.Add()([x, attended])
        hidden = layers.Dense(16, name=f"up_{i}")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(8, name=f"down_{i}")(hidden)])
    groups, _ = groups_of(keras.Model(tokens, x))
    assert len(groups) == 4
    assert any("attention_1" in path for path in groups[2]) and any("down_1" in path for path in groups[2])


def test_a_subclassed_stack_of_blocks():
    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.norm = layers.LayerNormalization()
            self.mlp = keras.Sequential([layers.Dense(4), layers.Dense(4)])

        def build(self, shape):
            self.norm.build(shape)
            self.mlp.build(shape)

        def call(self, x):
            return x + self.mlp(self.norm(x))

    class Stack(layers.Layer):
        def __init__(self):
            super().__init__(name="stack")
            self.blocks = [Block(name=f"block_{i}") for i in range(3)]

        def build(self, shape):
            for block in self.blocks:
                block.build(shape)

        def call(self, x):
            for block in self.blocks:
                x = block(x)
            return x

    inputs = keras.Input((4,))
    groups, ends = groups_of(keras.Model(inputs, Stack()(layers.Dense(4, name="first")(inputs))))
    assert [group[0].split("/")[1] for group in groups[:-1]] == ["first", "stack", "stack", "stack"]
    assert len(groups[1]) == 6
    assert ends[0].name == "first" and ends[1] is None and ends[3].name == "stack"


def test_normalization_goes_with_what_precedes_it_and_shared_layers_count_once():
    inputs = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    x = layers.BatchNormalization(name="input_norm")(inputs)
    x = layers.BatchNormalization(name="norm_0")(shared(x))
    x = layers.Dense(4, name="between")(x)
    groups, ends = groups_of(keras.Model(inputs, layers.ReLU(name="last")(shared(x))))
    assert [{path.split("/")[1] for path in group} for group in groups[:-1]] == [
        {"input_norm", "shared", "norm_0"},
        {"between"},
    ]
    assert ends[0].name == "norm_0"
