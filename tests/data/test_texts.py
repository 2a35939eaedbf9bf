"""Texts in files, lists, tables and datasets become the ids that a model reads."""

import numpy as np
import pytest

from tftransfer import backbones, data, layers, tasks
from tftransfer.data import Examples, load, read_texts

TEXTS = ["the cat sat on the mat", "a dog ate the log"]


@pytest.fixture(scope="module")
def backbone():
    known = layers.Tokenization(max_length=10).adapt(TEXTS * 5, vocabulary_size=40, verbose=0)
    return backbones.gru(known, width=8, depth=1)


@pytest.fixture(scope="module")
def ids(backbone):
    return np.asarray(layers.tokenization_of(backbone).encode(TEXTS))


def test_lines_and_documents(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\ufeffOne.\n two \n\n\n  \nthree\nfour\n", encoding="utf-8")
    assert load(path).x.tolist() == ["One.", "two", "three", "four"] and load(path).y is None
    assert load(path, documents=True).x.tolist() == ["One.\n two ", "three\nfour"]
    (tmp_path / "corpus_test.txt").write_text("five")
    assert load(path, split="test").x.tolist() == ["five"]
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="holds no text"):
        load(path)
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"not valid UTF-8.*iconv"):
        load(path)
    with pytest.raises(ValueError, match="memory_limit"):
        load(path, memory_limit=3)
    with pytest.raises(FileNotFoundError, match="no file"):
        load(tmp_path / "other.txt")
    with pytest.raises(ValueError, match="text='a' is for a table"):
        load(path, text="a")


def test_a_folder_of_files_is_one_document_each(tmp_path):
    (tmp_path / "b.txt").write_text("One.\nTwo.\n\nThree.\n")
    (tmp_path / "a.TXT").write_text("\ufeffGr\u00fc\u00dfe", encoding="utf-8")
    (tmp_path / "blank.txt").write_text(" \n")
    (tmp_path / "notes.md").write_text("no text file")
    (tmp_path / ".hidden.txt").write_text("hidden")
    found = load(f"{tmp_path}/")
    assert found.x.tolist() == ["Gr\u00fc\u00dfe", "One.\nTwo.\n\nThree."] and found.x.dtype == object
    assert found.y is None and found.name == tmp_path.name
    with pytest.raises(ValueError, match="memory_limit"):
        load(tmp_path, memory_limit=20)
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=r"c\.txt is not valid UTF-8.*iconv"):
        load(tmp_path)


def test_folders_of_texts_may_be_classes_and_parts(tmp_path):
    for split, name, text in (("train", "neg", "bad"), ("train", "pos", "good"), ("test", "pos", "fine")):
        (tmp_path / split / name).mkdir(parents=True)
        (tmp_path / split / name / "0.txt").write_text(text)
    (tmp_path / "train" / "neg" / "1.txt").write_text("")
    (tmp_path / "train" / "neg" / "2.txt").write_text("worse")
    found = load(tmp_path)
    assert found.x.tolist() == ["bad", "worse", "good"] and found.y.tolist() == [0, 0, 1]
    assert found.class_names == ["neg", "pos"] and load(tmp_path, split="test").x.tolist() == ["fine"]
    (tmp_path / "train" / "loose.txt").write_text("loose")
    with pytest.raises(ValueError, match=r"1 texts beside folders with 4 more.*loose\.txt"):
        load(tmp_path)
    for file in tmp_path.rglob("*.txt"):
        file.write_text("\n")
    with pytest.raises(ValueError, match="all its 1 files are blank"):
        load(tmp_path, split="test")


def test_a_folder_with_a_picture_is_one_of_pictures(tmp_path):
    from PIL import Image

    (tmp_path / "a.txt").write_text("notes on the pictures")
    Image.new("L", (4, 4), 7).save(tmp_path / "b.png")
    assert load(tmp_path).x.shape == (1, 4, 4, 1)


def test_a_column_of_a_table(tmp_path):
    path = tmp_path / "intents.csv"
    path.write_text('id,text,intent\n1,"Hello, you",greet\n2,,leave\n3,007,greet\n')
    found = load(path, text="text", label="intent")
    assert found.x.tolist() == ["Hello, you", "", "007"] and found.x.dtype == object
    assert found.y.tolist() == [0, 1, 0] and found.class_names == ["greet", "leave"]
    assert load(path, text="text").y is None
    assert isinstance(load(path, label="intent").x, dict)
    with pytest.raises(ValueError, match="no column 'words'"):
        load(path, text="words")


def test_whatever_holds_texts_is_read(backbone, ids, tmp_path):
    y = np.array([1, 0])
    (tmp_path / "x.txt").write_text("\n".join(TEXTS))
    for held in (
        TEXTS,
        np.array(TEXTS),
        np.array(TEXTS, object),
        [t.encode() for t in TEXTS],
        tmp_path / "x.txt",
    ):
        np.testing.assert_array_equal(np.asarray(getattr(r := read_texts(held, backbone), "x", r)), ids)
    x, labels = read_texts((TEXTS, y), backbone)
    assert isinstance(x, layers.TokenIds) and labels is y
    table = Examples({"number": np.arange(2), "text": np.array(TEXTS)}, y, class_names=["a", "b"])
    read = read_texts(table, backbone)
    assert isinstance(read, Examples) and read.class_names == ["a", "b"]
    np.testing.assert_array_equal(read.x, ids)
    assert read.few(1).x.checksum == layers.tokenization_of(backbone).checksum
    two = {"one": np.array(TEXTS), "other": np.array(TEXTS)}
    with pytest.raises(ValueError, match=r"several columns of texts \(one, other\)"):
        read_texts(two, backbone)
    assert read_texts(None, backbone) is None
    pictures = np.zeros((2, 4, 4, 1), "float32")
    assert read_texts(pictures, backbones.cnn((4, 4, 1), filters=(4,))) is pictures


def test_windows_and_packed_rows_leave_labels_out(backbone):
    long = [" ".join(TEXTS * 3), "cat"]
    assert len(read_texts((long, np.arange(2)), backbone, rows="window")[0]) > 2
    packed = read_texts(Examples(long, [0, 1]), backbone, rows="pack")
    assert packed.y is None and packed.x.shape[1] == 10


def test_datasets_of_texts(backbone, ids):
    tf = pytest.importorskip("tensorflow")
    single = tf.data.Dataset.from_tensor_slices((TEXTS, [1, 0]))
    for dataset in (single, single.batch(2)):
        read = read_texts(dataset, backbone)
        found = np.concatenate([np.asarray(x).reshape(-1, 10) for x, _ in read])
        np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(
        np.asarray(next(iter(read_texts(single.map(lambda x, y: x), backbone)))), ids[0]
    )


def test_models_that_read_no_texts_say_so():
    with pytest.raises(ValueError, match=r"tftransfer\.layers\.Tokenization"):
        data.check_examples(TEXTS)
    with pytest.raises(ValueError, match=r"tftransfer\.layers\.Tokenization"):
        data.check_examples(Examples(TEXTS))


def test_a_task_reads_texts(backbone, ids):
    task = tasks.Classifier(backbone, num_classes=2)
    expected = np.asarray(task(ids))
    for held in (TEXTS, np.array(TEXTS), ids, {"text": TEXTS}):
        np.testing.assert_allclose(task.predict(held, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(np.asarray(task.embed(TEXTS)), np.asarray(task.embed(ids)), atol=1e-6)
    assert np.isfinite(task.predict([""], verbose=0)).all()
    assert tasks.Classifier(backbone, num_classes=2, pooling="last").predict(TEXTS, verbose=0).shape == (2, 2)
