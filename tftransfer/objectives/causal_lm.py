"""Causal language model: read a text from its beginning, and say at each token what comes next."""

from keras import ops

from tftransfer.layers import looks_ahead, next_tokens, register
from tftransfer.objectives.language_model import LanguageModel


@register
class CausalLM(LanguageModel):
    """Predicts each token from those before it: GPT's objective, and over `lstm` and `gru` next-step prediction.

    The one for generation (`tasks.Generator`), and for recurrent backbones; with few labels a representation that looks
    both ways (`MaskedLM`) usually serves classification better. `-mean log p(x_{t+1} | x_1 … x_t)`, in float32, over
    all tokens but padding; the output layer is the word table itself, so that the saved backbone is the whole model.
    The progress bar shows `perplexity` beside `bits_per_byte`.

    Rows may hold one text (`Tokenization.encode`) or be full of documents (`Tokenization.pack`), which wastes no step
    on padding: the first token of a document is no target of the one before. `gpt` and `transformer_text(causal=True)`
    keep the documents of a row apart; a recurrent backbone carries its state on.

    Reference: Radford et al., Language Models are Unsupervised Multitask Learners, 2019,
    https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf; tied output:
    Press & Wolf, Using the Output Embedding to Improve Language Models, 2016, https://arxiv.org/abs/1608.05859

    Small data, one GPU: rows of 128 to 256 tokens; `pretrain(..., length_warmup=0.3)` reads shorter ones at first (Li
    et al., 2022, https://arxiv.org/abs/2108.06084).

    Args:
        backbone: a text backbone in which a token sees only those before it: `backbones.gpt`,
            `transformer_text(..., causal=True)`, or a one-directional `lstm` or `gru`.

    Input: ids `(batch, tokens)`, 0 = padding.
    Output: `{"logits": (batch, tokens - 1, vocabulary), "targets": (batch, tokens - 1), "nats": …}`, targets -1 where
    there is nothing to predict.

    Raises:
        ValueError: for a backbone that reads no texts, or in which a token sees later ones.

    Example:

    >>> import keras
    >>> from tftransfer import backbones
    >>> objective = CausalLM(backbones.gpt((8,), vocabulary_size=50, width=8, depth=1, num_heads=1))
    >>> objective.compile("adam")
    >>> history = objective.fit(keras.random.randint((16, 8), 1, 50), verbose=0)
    >>> sorted(history.history)
    ['accuracy', 'loss', 'perplexity']
    """

    shows_perplexity = True

    def __init__(self, backbone, **kwargs):
        super().__init__(backbone, **kwargs)
        if looks_ahead(backbone):
            raise ValueError(
                f"CausalLM takes a backbone in which a token sees only those before it, else it could copy what it "
                f"shall predict; {backbone.name!r} looks both ways. Use backbones.gpt, transformer_text(..., "
                f"causal=True) or a one-directional lstm, or for this one MaskedLM."
            )
        if backbone.output_shape[-1] != self.word_width:
            raise ValueError(
                f"CausalLM multiplies the features by the word table, so both have one width; those of "
                f"{backbone.name!r} have {backbone.output_shape[-1]} and {self.word_width}."
            )

    def call(self, inputs, training=None):
        ids = ops.cast(inputs, "int32")
        features = self.backbone(ids, training=training)  # (b, n, width)
        logits = self.tied_logits(features[:, :-1])  # (b, n - 1, vocabulary)
        return self.judged(logits, next_tokens(ids, end_id=self.ids.end_id))
