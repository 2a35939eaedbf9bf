"""From text to text: teacher forcing, beams, padding, files, fine-tuning, and what is refused."""

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.tasks.texts import counting, tiny
from tftransfer.layers import TextDecoder
from tftransfer.objectives import SpanDenoising
from tftransfer.tasks import Seq2Seq


def make(**settings):
    return Seq2Seq(tiny("bert"), max_target_length=8, **settings)


def shaken(task):
    draw = np.random.default_rng(0)
    for variable in task.trainable_variables:
        variable.assign(variable + 0.3 * draw.normal(size=variable.shape))
    return task


def test_encoded_texts():
    x, y = make().encode(["a b c", "d"], ["c b", "d e f"])
    assert x["source"].tolist() == [[2, 5, 6, 7, 3], [2, 8, 3, 0, 0]]
    assert x["target"].tolist() == [[7, 6, 3, 0], [8, 9, 10, 3]] and y.tolist() == [
        [7, 6, 3, -1],
        [8, 9, 10, 3],
    ]
    long, labels = make().encode(["a"], ["a b c d e f g h i"])
    assert long["target"].shape == (1, 8) and 3 not in labels  # cut, and so without its end


def test_a_word_depends_on_those_before_it_and_not_on_padding():
    task = shaken(make())
    x, _ = task.encode(["a b c", "d"], ["c b a", "d"])
    said = np.asarray(task(x))
    later = {**x, "target": x["target"].copy()}
    later["target"][0, 2] = 15
    np.testing.assert_allclose(np.asarray(task(later))[0, :3], said[0, :3], atol=1e-5)
    assert np.abs(np.asarray(task(later))[0, 3] - said[0, 3]).max() > 1e-4
    wider = {name: np.pad(ids, ((0, 0), (0, 3))) for name, ids in x.items()}
    np.testing.assert_allclose(np.asarray(task(wider))[:, :4], said, atol=1e-5)


@pytest.mark.compute
def test_greedy_is_the_likeliest_word_each_time():
    task = shaken(make())
    source = task.encode(["a b c", "d e"])[0]["source"]
    written = np.zeros((2, 8), "int32")
    done = np.zeros(2, bool)
    for place in range(8):  # the whole target anew for each word
        logits = np.array(task({"source": source, "target": written}))[:, place]
        logits[:, 0] = -np.inf  # padding is never written
        token = np.where(done, 0, logits.argmax(-1))
        written[:, place], done = token, done | (token == 3)
    tokenization = tt.layers.tokenization_of(task)
    assert task.generate(["a b c", "d e"]) == tokenization.decode(written)


def test_more_beams_find_texts_at_least_as_likely():
    task = shaken(make())
    source = task.encode(["a b c", "d e", "f"])[0]["source"]

    def likelihood(beams):
        writer = task._writer(beams, 8, 0.0)
        ids = np.asarray(writer.predict_on_batch(source))
        z = np.asarray(task({"source": source, "target": ids}), "float64")
        z = z - np.log(np.exp(z).sum(-1, keepdims=True))
        picked = np.take_along_axis(z, ids[..., None], axis=-1)[..., 0]
        return (picked * (ids != 0)).sum(1)

    assert likelihood(12).sum() > likelihood(1).sum()


def test_batches_of_any_size_write_the_same():
    task = shaken(make())
    texts = ["a b", "c d e", "f", "g h", "i"]
    assert task.generate(texts, batch_size=2) == task.generate(texts)


def test_it_learns_to_turn_texts_round(tmp_path):
    keras.utils.set_random_seed(0)
    task = Seq2Seq(tiny("transformer_text", width=32), max_target_length=8)
    texts = counting(24, 3)
    targets = [" ".join(reversed(text.split())) for text in texts]
    policy = tt.policies.full(50, learning_rate=0.01)
    history = tt.finetune(task, (texts, targets), policy=policy, batch_size=8, verbose=0).history
    assert history["accuracy"][-1] > 0.9
    assert np.mean([a == b for a, b in zip(task.generate(texts, beams=3), targets, strict=True)]) > 0.5
    task.save(tmp_path / "task.keras")
    again = keras.models.load_model(tmp_path / "task.keras")
    assert again.generate(texts[:3]) == task.generate(texts[:3])
    assert tuple(task.embed(task.encode(texts[:2])[0]).shape) == (2, 32)


def test_the_decoder_of_a_pretrained_objective():
    objective = SpanDenoising(tiny("bert"), decoder=TextDecoder(depth=1, num_heads=2))
    task = Seq2Seq(objective.backbone, decoder=objective.decoder)
    assert task.decoder is objective.decoder and len(task.generate(["a b"])) == 1


def test_label_smoothing_and_policies_work():
    task = make()
    policy = tt.policies.layer_decay(0.5, epochs=1)
    data = (["a b", "c d"] * 4, ["b", "d"] * 4)
    history = tt.finetune(task, data, policy=policy, label_smoothing=0.1, batch_size=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_bad_input():
    with pytest.raises(ValueError, match="looks both ways"):
        Seq2Seq(tiny("gpt"))
    with pytest.raises(ValueError, match="TextDecoder"):
        make(decoder=keras.layers.Dense(3))
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        make().encode(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="beams"):
        make().generate(["a"], beams=0)
