"""Finding a published tokenizer in a file or folder."""

import json
from pathlib import Path

from tftransfer.layers.tokenizer_training import from_vocabulary, package

__all__ = ["tokenizer_json"]


def tokenizer_json(path):
    """The JSON of a tokenizer: of a `tokenizer.json`, of BERT's `vocab.txt`, of GPT-2's `vocab.json` and `merges.txt`.

    Args:
        path: one of these files, or the folder that holds them.

    Raises:
        OSError: when there is none.
        ValueError: when a file is not what its name says.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        names = ("tokenizer.json", "vocab.txt", "vocab.json")
        path = next((path / name for name in names if (path / name).is_file()), path / names[0])
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Give a tokenizer.json of the package tokenizers.")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".txt":
            return from_vocabulary(text.splitlines(), _lowercase(path.with_name("tokenizer_config.json")))
        if path.name == "vocab.json":
            return _gpt(json.loads(text), path.with_name("merges.txt").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not what its name says: {error}.") from error
    return text


def _lowercase(path):
    """What the tokenizer's config says of case; None where it says nothing."""
    return json.loads(path.read_text(encoding="utf-8")).get("do_lower_case") if path.is_file() else None


def _gpt(vocabulary, merges):
    pairs = [tuple(line.split()) for line in merges.splitlines() if line and not line.startswith("#version")]
    t = package()
    tokenizer = t.Tokenizer(t.models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = t.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = t.decoders.ByteLevel()
    tokenizer.add_special_tokens([token for token in ("<|endoftext|>",) if token in vocabulary])
    return tokenizer.to_str()
