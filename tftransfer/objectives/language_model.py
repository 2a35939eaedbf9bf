"""What the objectives share that say which token stands somewhere."""

import keras
from keras import ops

from tftransfer.layers import Perplexity, bits_per_byte, text_ids, token_means, token_scores, word_table
from tftransfer.objectives.objective import Objective


class LanguageModel(Objective):
    """Base of the objectives over tokens: logits by the backbone's own word table, their loss and figures.

    A subclass's `call` returns `self.judged(logits, targets)`. While it trains, the progress bar and the history show
    `accuracy` and, where the backbone has a tokenization, `bits_per_byte`: the loss of the targets in bits, by the
    UTF-8 bytes that they stand for, which compares over vocabularies.

    Args:
        backbone: a text backbone with a word table (`backbones.bert`, `gpt`, …).
        mask_id: id of the mask, for a backbone without a tokenization.

    Raises:
        ValueError: for a backbone that reads no texts.

    Example:

    >>> from tftransfer import backbones, objectives
    >>> gpt = backbones.gpt((8,), vocabulary_size=50, width=8, depth=1, num_heads=1)
    >>> isinstance(objectives.CausalLM(gpt), LanguageModel)
    True
    """

    default_learning_rate = (
        1e-3  # for small models and short runs; BERT's and GPT-2's size takes 1e-4 to 6e-4
    )
    default_weight_decay = 0.01
    shows_perplexity = False

    def __init__(self, backbone, *, mask_id=None, **kwargs):
        super().__init__(backbone, **kwargs)
        backbone = self.backbone  # of KerasHub, now read by plain ids
        self.mask_id = mask_id
        self.ids = text_ids(backbone, where=type(self).__name__, mask_id=mask_id)
        self.word_width = int(word_table(backbone).shape[-1])
        self.perplexity = Perplexity() if self.shows_perplexity else None
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.bits = None if self.ids.token_bytes is None else keras.metrics.Mean(name="bits_per_byte")

    def tied_logits(self, hidden):
        """`(…, vocabulary)` by the product with the word table, of vectors of its width."""
        table = ops.cast(word_table(self.backbone), hidden.dtype)
        return ops.matmul(hidden, ops.transpose(table))

    def judged(self, logits, targets):
        """The outputs of `call`: the logits, the targets (-1 for none), what each cost in nats, and if it was right."""
        nats, right = token_scores(logits, targets)
        return {"logits": logits, "targets": targets, "nats": nats, "right": right}

    def compute_objective(self, outputs):
        return ops.mean(token_means(outputs["nats"], outputs["targets"] >= 0))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        targets, nats = y_pred["targets"], y_pred["nats"]
        counts = ops.cast(targets >= 0, "float32")
        self.accuracy.update_state(y_pred["right"], counts)
        if self.perplexity is not None:
            self.perplexity.update_nats(nats, counts)
        if self.bits is not None:
            known = ops.take(
                ops.convert_to_tensor(self.ids.token_bytes, "float32"), ops.maximum(targets, 0), axis=0
            )
            self.bits.update_state(*bits_per_byte(nats, known * counts))
        return super().compute_metrics(x, y, y_pred, sample_weight)
