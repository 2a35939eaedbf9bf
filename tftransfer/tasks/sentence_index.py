"""Search among sentences by the cosine of their embeddings."""

import collections

import keras
import numpy as np

from tftransfer import weights
from tftransfer.layers import pool, to_ids

__all__ = ["Found", "SentenceIndex"]

Found = collections.namedtuple("Found", "text score place")
Found.__doc__ = "A sentence that a search found: its text, the cosine in [-1, 1], and its place in the index."


class SentenceIndex:
    """Embeds texts once and finds those that mean the same as a question, by cosine.

    One product of matrices a search: exact, and quick up to some million texts. `objectives.SentenceContrast` is the
    pretraining that makes such embeddings good.

    Reference: Reimers & Gurevych, Sentence-BERT, 2019, https://arxiv.org/abs/1908.10084

    Args:
        backbone: a text backbone on a `Tokenization`, a task over one, or the path of a `.weights.h5` file.
        texts: list of texts.
        pooling: how tokens become one vector: "mean", "max", "first" or "last".
        batch_size: texts a step.

    Attributes:
        texts: the texts.
        embeddings: `(texts, dim)` of unit length, float32.

    Raises:
        ValueError: for a backbone that reads no texts, or no texts.

    Example:

    >>> from tftransfer import backbones
    >>> from tftransfer.layers import Tokenization
    >>> tokenization = Tokenization(max_length=9).adapt(["the cat sat"] * 4, vocabulary_size=40, verbose=0)
    >>> index = SentenceIndex(backbones.bert(tokenization, width=8, depth=1, num_heads=1), ["the cat", "sat sat"])
    >>> index.search(["the cat"], k=1)[0][0].text
    'the cat'
    """

    def __init__(self, backbone, texts, *, pooling="mean", batch_size=256):
        if not isinstance(backbone, keras.Model):
            backbone = weights.load_backbone(backbone)
        self.backbone = getattr(backbone, "backbone", backbone)
        self.batch_size = batch_size
        self.pool = pool(self.backbone.output_shape, kind=pooling)
        self.texts = list(texts)
        if not self.texts:
            raise ValueError("A SentenceIndex needs texts to search in; received none.")
        self.embeddings = self.embed(self.texts)

    def embed(self, texts):
        """Embeddings `(texts, dim)` of unit length, NumPy float32; zeros for a text without any token."""
        ids = to_ids(list(texts), self.backbone, name="the texts")
        if isinstance(ids, list):
            raise ValueError(
                f"SentenceIndex reads texts, by a text backbone on a layers.Tokenization; "
                f"{self.backbone.name!r} is none."
            )
        parts = []
        for first in range(0, len(ids), self.batch_size):
            features = self.backbone(np.asarray(ids[first : first + self.batch_size]), training=False)
            parts.append(keras.ops.convert_to_numpy(self.pool(features)).astype("float32"))
        found = np.concatenate(parts)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def search(self, questions, k=5):
        """The k texts nearest to each question, the nearest first: a list of lists of `Found(text, score, place)`.

        Args:
            questions: list of texts.
            k: texts for each; at most all there are.
        """
        scores = self.embed(questions) @ self.embeddings.T  # (questions, texts)
        k = min(int(k), len(self.texts))
        best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1), axis=1)
        return [
            [Found(self.texts[j], float(row[j]), int(j)) for j in its]
            for row, its in zip(scores, best, strict=True)
        ]
