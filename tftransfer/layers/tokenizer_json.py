"""What the JSON of a Hugging Face tokenizer says: its words, its special tokens; renumbered so that 0 is padding."""

import functools
import hashlib
import json

import numpy as np

__all__ = ["Words", "canonical", "pad_place", "words_of"]

KINDS = {"WordPiece": "wordpiece", "BPE": "bpe", "Unigram": "unigram"}
_NAMES = {  # of special tokens, as published tokenizers call them, the first one found
    "pad_id": ("[PAD]", "<pad>", "<|pad|>"),
    "unknown_id": ("[UNK]", "<unk>", "<|unknown|>"),
    "start_id": ("[CLS]", "<s>", "<|start|>"),
    "end_id": ("[SEP]", "</s>", "<|endoftext|>"),
    "mask_id": ("[MASK]", "<mask>", "<|mask|>"),
}


class Words:
    """The vocabulary of a tokenizer: what its ids mean.

    Attributes:
        kind: "wordpiece", "bpe" or "unigram".
        tokens: tuple of texts, the token of each id.
        special: dict of the ids `pad_id` (0), `unknown_id`, `start_id`, `end_id` and `mask_id`.
        special_ids: sorted list of the ids of all special tokens.
        checksum: sixteen hexadecimal digits that stand for the whole tokenizer.
    """

    def __init__(self, text):
        found = _read(text)
        self.kind = KINDS[found["model"]["type"]]
        numbers = _numbers(found)
        if min(numbers.values()) < 0 or max(numbers.values()) > 2 * len(numbers) + 1000:
            raise ValueError(
                f"This tokenizer has {len(numbers)} tokens and ids from {min(numbers.values())} to "
                f"{max(numbers.values())}: it is damaged."
            )
        tokens = [""] * (max(numbers.values()) + 1)
        for token, number in numbers.items():
            tokens[number] = token
        self.tokens = tuple(tokens)
        special = {
            role: next((numbers[name] for name in names if name in numbers), None)
            for role, names in _NAMES.items()
        }
        if special["end_id"] is None:
            raise ValueError(
                f"This tokenizer has none of the tokens {', '.join(_NAMES['end_id'])}, which end a text; its special "
                f"tokens are {[token['content'] for token in found['added_tokens']]}. Train one by "
                f"Tokenization().adapt(corpus)."
            )
        for role in ("unknown_id", "start_id"):  # GPT-2's one special token serves for all of them
            special[role] = special["end_id"] if special[role] is None else special[role]
        self.special = special
        added = {numbers[token["content"]] for token in found["added_tokens"] if token.get("special")}
        self.special_ids = sorted(added | {number for number in special.values() if number is not None})
        self.checksum = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @functools.cached_property
    def continues_word(self):
        """Whether each token goes on with the word before it, bool (vocabulary,); special tokens do not."""
        if self.kind == "wordpiece":
            found = np.array([token.startswith("##") for token in self.tokens])
        else:
            found = np.array([token[:1] not in ("Ġ", "Ċ", "▁") for token in self.tokens])
        found[self.special_ids] = False
        return found

    @functools.cached_property
    def token_bytes(self):
        """UTF-8 bytes of text that each token stands for, int32 (vocabulary,); special tokens stand for none."""
        if self.kind == "bpe":  # one character for each byte
            found = [len(token) for token in self.tokens]
        elif self.kind == "unigram":
            found = [len(token.replace("▁", " ").encode()) for token in self.tokens]
        else:  # a word has a space before it
            found = [
                len(t.removeprefix("##").encode()) + (not t.startswith("##") and t.isalnum())
                for t in self.tokens
            ]
        found = np.array(found, "int32")
        found[self.special_ids] = 0
        return found


@functools.lru_cache(maxsize=16)
def words_of(text):
    """`Words` of a tokenizer's JSON."""
    return Words(text)


@functools.lru_cache(maxsize=16)
def canonical(text):
    """A tokenizer's JSON in one form: padding has the id 0, nothing is cut or padded, keys are sorted.

    Where the padding token has another id, or there is none (GPT-2), it comes first and the others move up.

    Args:
        text: what `tokenizers.Tokenizer.to_str` gives, or the content of a `tokenizer.json`.

    Raises:
        ValueError: for text that is no tokenizer, or one of another kind.
    """
    found = _read(text)
    found["truncation"] = found["padding"] = None
    if pad_place(text) != 0:
        _put_padding_first(found)
    result = json.dumps(found, ensure_ascii=False, sort_keys=True)
    words_of(result)
    return result


def pad_place(text):
    """The id of the padding token in a tokenizer's JSON, None where it has no such token."""
    numbers = _numbers(_read(text))
    return next((numbers[name] for name in _NAMES["pad_id"] if name in numbers), None)


def _read(text):
    try:
        found = json.loads(text)
        model, _ = found["model"], found["added_tokens"]
        kind = model.get("type") or ("WordPiece" if "max_input_chars_per_word" in model else "BPE")
        model["type"] = kind
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"This is no tokenizer of the package tokenizers (tokenizer.json): {str(text)[:60]!r}."
        ) from error
    if kind not in KINDS:
        raise ValueError(f"Tokenizers of the kinds {', '.join(KINDS)} are read here; received one of {kind}.")
    return found


def _numbers(found):
    """Token → id."""
    vocabulary = found["model"]["vocab"]
    if isinstance(vocabulary, list):
        vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
    return {**vocabulary, **{token["content"]: token["id"] for token in found["added_tokens"]}}


def _put_padding_first(found):
    numbers = _numbers(found)
    pad = next((name for name in _NAMES["pad_id"] if name in numbers), "<|pad|>")
    place = numbers.get(pad, len(numbers))

    def new(number):
        return 0 if number == place else number + (number < place)

    model = found["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {token: new(number) for token, number in model["vocab"].items()} | {pad: 0}
    else:
        rest = [pair for pair in model["vocab"] if pair[0] != pad]
        model["vocab"] = [[pad, min((score for _, score in rest), default=0.0)], *rest]
        model["unk_id"] = None if model.get("unk_id") is None else new(model["unk_id"])
    for token in found["added_tokens"]:
        token["id"] = new(token["id"])
    if not any(token["content"] == pad for token in found["added_tokens"]):
        flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        found["added_tokens"].append({"id": 0, "content": pad, "special": True, **flags})
    found["added_tokens"].sort(key=lambda token: token["id"])
    found["post_processor"] = None  # it holds ids; start and end are put by `Tokenization` itself
