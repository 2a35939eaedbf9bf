"""Writes tiny random BERT and GPT-2 as `transformers` does, and their hidden states; see `test_hugging_face.py`.

Run by itself where `torch` and `transformers` (5.23) can be imported, with a folder as argument.
"""

import sys
from pathlib import Path

import numpy as np

CORPUS = ["the cat sat on the mat", "a dog ate the big log", "one two three four five"] * 20
TEXTS = ["the cat sat", "a dog ate the big log one two"]
PAIR = ("the cat", "a dog sat")  # of BERT alone


def bert_tokenizer():
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=48, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return tokenizer


def gpt_tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": ["<|endoftext|>"], "initial_alphabet": alphabet, "show_progress": False}
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=270, **options))
    return tokenizer


def main(folder):
    import torch
    import transformers

    torch.manual_seed(0)
    bert = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    gpt = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20, "bos_token_id": 0, "eos_token_id": 0}
    for kind, tokenizer in (("bert", bert_tokenizer()), ("gpt2", gpt_tokenizer())):
        path, size = Path(folder) / kind, tokenizer.get_vocab_size()
        path.mkdir(parents=True, exist_ok=True)
        tokenizer.save(str(path / "tokenizer.json"))
        if kind == "bert":
            config = transformers.BertConfig(vocab_size=size, max_position_embeddings=20, **bert)
            model = transformers.BertForMaskedLM(config)
            base, rows = model.bert, [tokenizer.encode(text) for text in TEXTS] + [tokenizer.encode(*PAIR)]
        else:
            model = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=size, **gpt))
            base, rows = model.transformer, [tokenizer.encode(text) for text in TEXTS]
        reference = {}
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)  # biases and norms too
            model.eval()
            for i, row in enumerate(rows):
                inputs = {"input_ids": torch.tensor([row.ids])}
                if kind == "bert":
                    inputs["token_type_ids"] = torch.tensor([row.type_ids])
                reference[f"hidden_{i}"] = base(**inputs).last_hidden_state[0].numpy()
                reference[f"ids_{i}"] = np.array(row.ids)
        model.save_pretrained(path)
        np.savez(path / "reference.npz", **reference)


if __name__ == "__main__":
    main(sys.argv[1])
