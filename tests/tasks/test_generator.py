"""Writing: with and without cache the same, prompts of any length, seeds, fine-tuning, and what is refused."""

import itertools

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import LETTERS, counting, tiny
from tftransfer import backbones
from tftransfer.objectives import CausalLM
from tftransfer.tasks import Generator

KINDS = ["gpt", "transformer_text", "lstm", "gru"]


def make(kind="gpt", max_length=24):
    causal = {"causal": True} if kind == "transformer_text" else {}
    task = Generator(tiny(kind, max_length, **causal))
    draw = np.random.default_rng(0)
    for variable in task.backbone.trainable_variables:  # far from even, so that choices differ
        variable.assign(variable + 0.4 * draw.normal(size=variable.shape))
    return task


@pytest.mark.compute
@pytest.mark.parametrize("kind", KINDS)
def test_with_cache_and_without_the_same_is_written(kind):
    task = make(kind)
    prompts = [[5, 6, 7], [8, 9, 10, 11, 12, 13, 14, 15, 16, 5, 6], [16]]
    for settings in ({"temperature": 0}, {"temperature": 1.0, "top_k": 8, "top_p": 0.9, "seed": 3}):
        written = task.generate(prompts, max_new_tokens=6, **settings)
        assert written == task.generate(prompts, max_new_tokens=6, cache=False, **settings)
        for prompt, text in zip(prompts, written, strict=True):
            assert text[: len(prompt)] == prompt and len(prompt) <= len(text) <= len(prompt) + 6
            assert 3 not in text[:-1]


def test_a_text_is_written_alike_alone_and_among_others():
    task = make()
    prompts = [list(range(5, 15)), list(range(6, 17))]
    both = task.generate(prompts, max_new_tokens=5, temperature=0)
    assert [task.generate([prompt], max_new_tokens=5, temperature=0)[0] for prompt in prompts] == both


def test_the_seed_decides():
    task = make()
    first, again, other = (task.generate([[5, 6]] * 4, max_new_tokens=8, seed=s) for s in (0, 0, 1))
    assert first == again != other and len({tuple(row) for row in first}) > 1


def test_what_was_pretrained_is_said_before_any_fine_tuning(tmp_path):
    keras.utils.set_random_seed(0)
    objective = CausalLM(tiny("gpt"))
    objective.compile(keras.optimizers.Adam(0.02))
    texts = counting(24, 8)
    objective.fit(
        np.asarray(Generator(objective.backbone).encode(texts)[0]), epochs=25, batch_size=12, verbose=0
    )
    tt.weights.save_backbone(objective.backbone, tmp_path / "gpt.weights.h5")
    task = Generator(tmp_path / "gpt.weights.h5")
    for text in task.generate(["c d e", "k l"], max_new_tokens=3, temperature=0):
        said = [LETTERS.index(letter) for letter in text.split()]
        assert all((a + 1) % 12 == b for a, b in itertools.pairwise(said)), text


def test_fine_tuning_on_texts_by_any_policy():
    task = make("gru", 8)
    texts = counting(24, 4)
    policy = tt.policies.linear_probe(1) + tt.policies.full(8, learning_rate=0.02)
    history = tt.finetune(task, texts, policy=policy, batch_size=12, verbose=0).history
    assert {"accuracy", "perplexity"} <= set(history)
    assert history["perplexity"][-1] < 0.7 * history["perplexity"][0]


def test_labels_are_what_follows():
    ids, labels = make("gpt", 8).encode(["a b c", "d"])
    assert np.asarray(ids)[:, :4].tolist() == [[5, 6, 7, 3], [8, 3, 0, 0]]
    assert np.asarray(labels)[:, :4].tolist() == [[6, 7, 3, -1], [3, -1, -1, -1]]


def test_config_and_file(tmp_path):
    task = make()
    task.head.bias.assign(np.random.default_rng(0).normal(size=29))
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    prompts = ["a b", "c"]
    assert again.generate(prompts, max_new_tokens=4) == task.generate(prompts, max_new_tokens=4)


def test_after_lora_the_new_weights_write():
    task = make()
    before = task.generate([[5, 6]], max_new_tokens=6, temperature=0)
    tt.finetune(task, counting(12, 4), policy=tt.policies.lora(2, epochs=1, learning_rate=1.0), verbose=0)
    assert task.generate([[5, 6]], max_new_tokens=6, temperature=0) != before


def test_bad_input():
    task = make("gpt", 12)
    for prompts, settings, words in (
        ([], {}, "no prompt"),
        (["a", ""], {}, "prompt 1 has no token"),
        ([[5, 29]], {}, "1 to 28"),
        ([[5, 3, 6]], {}, "without that of the end"),
        (["a"], {"temperature": -1}, "temperature"),
        (["a"], {"top_p": 0}, "top_p"),
        (["a"], {"top_k": 0}, "top_k"),
        (["a"], {"max_new_tokens": 12}, "12 places"),
        (["a"], {"max_new_tokens": 0}, "max_new_tokens"),
    ):
        with pytest.raises(ValueError, match=words):
            task.generate(prompts, **settings)
    with pytest.raises(ValueError, match="only those before it"):
        Generator(tiny("bert"))
    bare = Generator(backbones.gpt((8,), vocabulary_size=9, width=8, depth=1, num_heads=1))
    with pytest.raises(ValueError, match="without a tokenizer"):
        bare.generate(["a"])
    assert len(bare.generate([[5]], max_new_tokens=3)[0]) <= 4


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="tf.distribute is TensorFlow's")
def test_a_task_of_several_replicas_writes_too():
    with tt.placement.strategy("mirrored", verbose=False).scope():
        task = make()
    prompts = [[5, 6], [7]]
    written = task.generate(prompts, max_new_tokens=4, temperature=0)
    assert written == make().generate(prompts, max_new_tokens=4, temperature=0)
