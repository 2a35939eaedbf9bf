"""Whether two text models read by the same tokenizer: the same shapes do not make the same words."""

from tftransfer.layers import tokenization_of
from tftransfer.layers.tokenizer_json import words_of

__all__ = ["check_vocabulary"]


def check_vocabulary(opened, source, model, arrivals):
    """Raises a `ValueError` where a word table would arrive as it is in a model with another tokenizer.

    Args:
        opened: the `Source`.
        source: what it was opened from.
        model: the model that receives.
        arrivals: what will be assigned.
    """
    tables = [a for a in arrivals if a.pair.slot.path.endswith("words/embeddings") and not a.notes]
    mine = tokenization_of(model)
    if not tables or mine is None or mine.tokenizer is None:
        return
    if opened.record is not None:
        theirs = _tokenizer_in(opened.record.backbone)
    else:
        theirs = getattr(tokenization_of(source), "tokenizer", None) if hasattr(source, "layers") else None
    if theirs is None or words_of(theirs).checksum == mine.checksum:
        return
    raise ValueError(
        f"{opened.name} was trained with another tokenizer (checksum {words_of(theirs).checksum}, "
        f"{len(words_of(theirs).tokens)} tokens) than the model's ({mine.checksum}, {mine.vocabulary_size} tokens), so "
        f"its word table means other words. Build the model on the source's own "
        f"(layers.tokenization_of(load_backbone(path))), or keep the words that both have by "
        f"adapt=[token_embeddings(old_tokens, new_tokens)]."
    )


def _tokenizer_in(config):
    """The tokenizer's JSON in the config of a model, None without one."""
    parts = [config]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if part.get("registered_name") == "tftransfer>Tokenization":
                return part.get("config", {}).get("tokenizer")
            parts += part.values()
        elif isinstance(part, list):
            parts += part
    return None
