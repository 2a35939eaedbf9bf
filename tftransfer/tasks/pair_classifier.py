"""Classification of two texts together: does one follow from the other, do they mean the same."""

from tftransfer.layers import needed_tokenization, register, text_ids
from tftransfer.tasks.classifier import Classifier


@register
class PairClassifier(Classifier):
    """Tells apart how two texts stand to each other: both are read as one row, `[CLS] first [SEP] second [SEP]`.

    For inference, paraphrase and answers to a question. Each token sees both texts, so that a pair costs one pass, and
    the embeddings of single texts cannot be kept: for search among many use `SentenceIndex`. `backbones.bert` tells the
    two texts apart by token types, others by the token between them. A text that is too long for the row loses its end,
    the longer one first.

    Reference: Devlin et al., BERT, 2018, https://arxiv.org/abs/1810.04805

    Args:
        backbone: a text backbone, or the path of a self-describing `.weights.h5` file.
        num_classes: number of classes; 1 for a single logit. None: as for `Classifier`.
        multi_label: whether a pair may belong to several classes.
        pooling: `"auto"` (mean), `"mean"`, `"max"`, `"first"` or `"last"`.
        dropout: dropout rate between pool and head, in [0, 1).
        head: a Keras layer of your own from embeddings to logits; by default one linear layer.

    Input: a list of pairs `(first, second)` for `finetune`, `evaluate` and `predict`, or ids `(batch, tokens)` from
    `encode`. Output: logits `(batch, num_classes)`.

    Raises:
        ValueError: for a backbone that reads no texts, and as `Classifier`.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=9).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> task = PairClassifier(backbones.bert(tokenization, width=8, depth=1, num_heads=1), num_classes=2)
    >>> ids, _ = task.encode([("the cat", "sat"), ("the", "cat sat")])
    >>> tuple(task(ids).shape)
    (2, 2)
    """

    def __init__(
        self,
        backbone,
        num_classes=None,
        *,
        multi_label=False,
        pooling="auto",
        dropout=0.0,
        head=None,
        **kwargs,
    ):
        options = {"multi_label": multi_label, "pooling": pooling, "dropout": dropout, "head": head}
        super().__init__(backbone, num_classes, **options, **kwargs)
        text_ids(self.backbone, where="PairClassifier")

    def encode(self, pairs, labels=None):
        """Pairs of texts as ids, `(ids (n, tokens), labels)`; ids are returned as they are.

        Args:
            pairs: list of `(first, second)`.
            labels: what belongs to them, returned as it is.

        Raises:
            ValueError: for anything else, and for a backbone without a tokenization.
        """
        if hasattr(pairs, "dtype") and pairs.dtype.kind in "iu":
            return pairs, labels
        tokenization = needed_tokenization(self.backbone, instead="ids (n, tokens)")
        pairs = list(pairs)
        wrong = next((i for i, pair in enumerate(pairs) if not _is_pair(pair)), None)
        if wrong is not None or not pairs:
            received = "nothing" if not pairs else f"{pairs[wrong]!r:.60} at place {wrong}"
            raise ValueError(
                f"PairClassifier reads a list of pairs of texts (first, second); received {received}."
            )
        first, second = zip(*pairs, strict=True)
        return tokenization.encode(list(first), list(second)), labels


def _is_pair(pair):
    return (
        isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(t, (str, bytes)) for t in pair)
    )
