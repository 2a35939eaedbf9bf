"""From texts to a task: pretrain, save, load, finetune, evaluate, compare; in Python and on the command line."""

import csv

import keras
import numpy as np
import pytest

import tftransfer as tt
from tests.test_main import python_in
from tftransfer.__main__ import main

WORDS = (["card", "cash", "bank", "fee"], ["cat", "dog", "tree", "leaf"])


def corpus(count, seed=0):
    random = np.random.default_rng(seed)
    y = np.arange(count) % 2
    return [" ".join(random.choice(WORDS[c], random.integers(2, 9))) for c in y], y


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A BERT pretrained on a file of texts, and a table of labelled ones."""
    folder = tmp_path_factory.mktemp("texts")
    (folder / "corpus.txt").write_text("\n".join(corpus(64)[0]))
    with open(folder / "intents.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "intent"])
        writer.writerows((text, ("money", "nature")[c]) for text, c in zip(*corpus(64, 1), strict=True))
    arguments = (
        "--objective masked_lm --vocabulary-size 40 --max-length 12 --epochs 1 --batch-size 16".split()
    )
    backbone = ["--backbone", "bert(width=16, depth=2, num_heads=2)"]
    paths = ["--data", str(folder / "corpus.txt"), "--out", str(folder / "bert.weights.h5")]
    assert main(["pretrain", *paths, *arguments, *backbone]) == 0
    return folder


def test_the_weights_file_knows_its_tokenizer(run):
    found = tt.weights.describe(run / "bert.weights.h5").preprocessing["tokenizer"]
    known = tt.layers.tokenization_of(tt.weights.load_backbone(run / "bert.weights.h5"))
    assert found == {
        "kind": "wordpiece",
        "vocabulary_size": known.vocabulary_size,
        "max_length": 12,
        "checksum": known.checksum,
    }


def test_finetune_and_evaluate_on_the_command_line(run, capsys):
    table = ["--data", str(run / "intents.csv"), "--label", "intent"]
    policy = ["--policy", "linear_probe(epochs=2)", "--out", str(run / "task.keras")]
    assert main(["finetune", str(run / "bert.weights.h5"), *table, *policy]) == 0
    out = capsys.readouterr().out
    compile(python_in(out), "printed", "exec")
    assert "preprocessing_of" not in out and "embeddings computed once" in out
    assert main(["evaluate", str(run / "task.keras"), *table]) == 0
    out = capsys.readouterr().out
    compile(python_in(out), "printed", "exec")
    assert "nature" in out and "accuracy" in out and "preprocessing_of" not in out


def test_a_folder_of_texts_on_the_command_line_and_the_python_it_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes").mkdir()
    for number, text in enumerate(corpus(16, 8)[0]):
        (tmp_path / "notes" / f"{number:02}.txt").write_text(text)
    arguments = ["--objective", "causal_lm", "--backbone", "gru(width=8, depth=1)", "--tokenizer", "bpe"]
    arguments += "--vocabulary-size 270 --max-length 12 --epochs 1 --batch-size 8 --seed 2".split()
    assert main(["pretrain", "--data", "notes/", *arguments, "--out", "a.weights.h5"]) == 0
    code = python_in(capsys.readouterr().out)
    assert "tt.data.load('notes/')" in code and "tt.backbones.gru(tokenization, width=8, depth=1)" in code
    exec(compile(code.replace("a.weights.h5", "b.weights.h5"), "printed", "exec"), {})
    first, second = (tt.weights.load_backbone(f"{name}.weights.h5").get_weights() for name in "ab")
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_does_not_serve_on_the_command_line(run, capsys):
    out = ["--out", str(run / "x.weights.h5")]
    for arguments, words in (
        (["--data", "digits", "--backbone", "bert"], "bert reads texts, and digits holds none"),
        (["--data", str(run / "corpus.txt"), "--backbone", "cnn"], "choose a backbone that reads them: bert"),
        (
            ["--data", str(run / "intents.csv"), "--backbone", "gpt"],
            "name the column of a .csv file (--text NAME)",
        ),
    ):
        assert main(["pretrain", *arguments, *out]) == 2
        assert words in capsys.readouterr().err


def test_raw_texts_and_policies(run, capsys):
    texts, y = corpus(48, 2)
    task = tt.tasks.Classifier(run / "bert.weights.h5", num_classes=2)
    policy = tt.policies.linear_probe(1) + tt.policies.layer_decay(0.75, epochs=2, learning_rate=3e-3)
    history = tt.finetune(
        task, (texts, y), validation_data=(texts, y), policy=policy, batch_size=8, verbose=0
    )
    assert len(history.epoch) == 3
    report = tt.evaluate(task, (texts, y), verbose=0)
    assert report.metrics["accuracy"] > 0.9
    assert task.predict(["card bank", "unheard of words", ""], verbose=0).shape == (3, 2)
    groups = tt.finetuning.depth.depth_groups(task, tt.finetuning.variable_paths(task))[0]
    assert len(groups) == 4  # words, two blocks, the head


def test_compare_and_probe_read_texts(run):
    texts, y = corpus(60, 3)
    found = tt.compare(
        run / "bert.weights.h5",
        (texts, y),
        corpus(20, 4),
        draws=2,
        policy=tt.policies.linear_probe(epochs=1),
        scratch_learning_rates=(1e-3,),
        verbose=0,
    )
    assert len(found.row(5, "scratch").accuracy) == 2
    backbone = tt.weights.load_backbone(run / "bert.weights.h5")
    probe = tt.evaluation.Probe(backbone, (texts, y))
    logs = {}
    probe.params = {"epochs": 1}
    probe.on_epoch_end(0, logs)
    assert logs["probe_accuracy"] > 0.8


def test_ids_and_texts_give_the_same_run(run):
    weights = []
    for raw in (True, False):
        keras.utils.set_random_seed(0)
        backbone = tt.weights.load_backbone(run / "bert.weights.h5")
        texts = corpus(32, 5)[0]
        texts = texts if raw else tt.layers.tokenization_of(backbone).encode(texts, overflow="window")
        tt.pretrain(tt.objectives.MaskedLM(backbone), texts, epochs=1, batch_size=8, verbose=0)
        weights.append(backbone.get_weights())
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_causal_model_reads_full_rows(capsys):
    texts = corpus(40, 6)[0]
    known = tt.layers.Tokenization(max_length=16).adapt(texts, kind="bpe", vocabulary_size=300, verbose=0)
    backbone = tt.backbones.gpt(known, width=16, depth=1, num_heads=2)
    tt.pretrain(tt.objectives.CausalLM(backbone), texts, epochs=1, batch_size=4, verbose=2)
    rows = known.pack(texts)
    mean = rows.lengths.mean()
    assert (
        f"Texts as {len(rows)} rows of up to 16 tokens, {mean:.1f} on average (bpe of"
        in capsys.readouterr().out
    )


def test_texts_are_evaluated_whatever_the_lengths_of_the_first_batches(run):
    task = tt.tasks.Classifier(run / "bert.weights.h5", num_classes=2)
    texts = ["card cash bank fee cat dog"] * 16 + ["cat"] * 8 + ["bank fee"] * 3
    expected = task.predict(texts, verbose=0).argmax(-1)
    report = tt.evaluate(task, (texts, expected), batch_size=8, verbose=0)
    assert report.metrics["accuracy"] == 1 and report.metrics["n"] == 27


def test_a_run_whose_rows_grow_goes_on_where_it_stopped(tmp_path):
    texts = corpus(32, 9)[0]
    known = tt.layers.Tokenization(max_length=32).adapt(texts, kind="bpe", vocabulary_size=280, verbose=0)

    class Steps(keras.callbacks.Callback):
        """The rate of each step; crashes behind one."""

        def __init__(self, at=None):
            super().__init__()
            self.at, self.rates = at, []

        def on_train_batch_end(self, batch, logs=None):
            self.rates.append(float(self.model.optimizer.learning_rate))
            if len(self.rates) == self.at:
                raise RuntimeError("power")

    def run(**more):
        keras.utils.set_random_seed(0)
        objective = tt.objectives.CausalLM(tt.backbones.gru(known, width=8, depth=1))
        options = {"epochs": 2, "batch_size": 4, "length_warmup": 0.5, "verbose": 0, **more}
        tt.pretrain(objective, known.pack(texts, 16), **options)
        return objective.backbone.get_weights()

    whole = Steps()
    expected = run(callbacks=[whole])
    path, steps = tmp_path / "a.weights.h5", len(whole.rates)
    with pytest.raises(RuntimeError, match="power"):
        run(save_to=path, save_every=1, callbacks=[Steps(at=3)])
    rest = Steps()
    for a, b in zip(run(save_to=path, resume=True, callbacks=[rest]), expected, strict=True):
        np.testing.assert_array_equal(a, b)
    assert rest.rates == whole.rates[steps - len(rest.rates) :] and max(whole.rates) > whole.rates[-1]
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        run(length_warmup=1.5)


def test_diagnose_ridge_and_rates_read_texts(run):
    texts, y = corpus(48, 7)
    task = tt.tasks.Classifier(run / "bert.weights.h5", num_classes=2)
    assert not [found for found in tt.diagnose(task, (texts, y)).findings if found.level == "error"]
    assert tt.finetuning.ridge_head(task, (texts, y)).score > 0.8
    task.swap_head(2)  # one that has still to learn
    rates = tt.finetuning.lr_find(task, (texts, y), steps=20, batch_size=8)
    assert len(rates.losses) > 5


def test_texts_without_a_known_token(run):
    backbone = tt.weights.load_backbone(run / "bert.weights.h5")
    task, (texts, y) = tt.tasks.Classifier(backbone, num_classes=2), corpus(8)
    assert np.isfinite(task.predict([""] * 8, verbose=0)).all()
    with pytest.warns(
        UserWarning, match="32 of the 32 tokens of the data are unknown to the model's tokenizer"
    ):
        assert np.isfinite(tt.evaluate(task, (["日本 日本"] * 8, y), verbose=0).metrics["log_loss"])
    with pytest.raises(ValueError, match="hold no token that the tokenizer knows"):
        tt.pretrain(tt.objectives.MaskedLM(backbone), [""] * 8, verbose=0)
    some = tt.finetune(task, (["", *texts[1:]], y), policy=tt.policies.linear_probe(1), verbose=0)
    assert np.isfinite(some.history["loss"]).all()


def test_data_of_another_tokenizer_stop_before_any_step(run):
    other = tt.layers.Tokenization(max_length=12).adapt(["something else"] * 3, vocabulary_size=40, verbose=0)
    backbone = tt.weights.load_backbone(run / "bert.weights.h5")
    known = tt.layers.tokenization_of(backbone).checksum
    texts, y = corpus(8)
    with pytest.raises(ValueError, match=f"{other.checksum}.*{known}"):
        tt.pretrain(tt.objectives.MaskedLM(backbone), other.encode(texts), verbose=0)
    with pytest.raises(ValueError, match=other.checksum):
        tt.finetune(tt.tasks.Classifier(backbone, num_classes=2), (other.encode(texts), y), verbose=0)
