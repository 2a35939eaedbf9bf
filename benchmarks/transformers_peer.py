"""The peer of `beside_transformers.py`: Hugging Face transformers on PyTorch. Never imported by tftransfer."""

import json
import sys
import time

import numpy as np
import torch
import transformers


def said(**figures):
    print("said " + json.dumps(figures), flush=True)


def main(work, way, path, words, length, batch, width, depth, heads, steps, new, prompt):
    torch.manual_seed(0)
    begun = time.process_time()
    if work.startswith("generate"):
        run, count = writer(8 if work.endswith("_8") else 1, words, width, depth, heads, new, prompt)
    else:
        run, count = trainer(work, way, path, words, length, batch, width, depth, heads, steps)
    run(1)
    said(first_step_cpu=time.process_time() - begun)
    run(1)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        run(None)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        said(wall=wall / count, cpu=cpu / count)


def writer(rows, words, width, depth, heads, new, prompt):
    config = transformers.GPT2Config(
        vocab_size=words, n_positions=prompt + new, n_embd=width, n_layer=depth, n_head=heads,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.randint(1, words - 1, (rows, prompt))
    settings = transformers.GenerationConfig(
        do_sample=True, top_k=50, max_new_tokens=new, pad_token_id=0, eos_token_id=None
    )

    def run(_):
        with torch.no_grad():
            found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        if found.shape != (rows, prompt + new):
            raise RuntimeError(f"A text of another length was written: {found.shape}.")

    return run, rows * new


def trainer(work, way, path, words, length, batch, width, depth, heads, steps):
    config = transformers.BertConfig(
        vocab_size=words, hidden_size=width, num_hidden_layers=depth, num_attention_heads=heads,
        intermediate_size=4 * width, max_position_embeddings=length, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, num_labels=5,
    )  # fmt: skip
    masked = work == "masked_lm"
    model = (transformers.BertForMaskedLM if masked else transformers.BertForSequenceClassification)(config)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    ids = torch.randint(1, words - 1, (steps, batch, length))
    classes = torch.randint(0, 5, (steps, batch))
    order = None

    def loss_of(i):
        if not masked:
            return model(input_ids=ids[i], labels=classes[i]).loss
        hidden = torch.rand(batch, length) < 0.15
        draw = torch.rand(batch, length)  # 80% the mask, 10% another word, 10% stay
        read = torch.where(hidden & (draw < 0.8), words - 1, ids[i])
        other = torch.randint(1, words - 1, (batch, length))
        read = torch.where(hidden & (draw >= 0.8) & (draw < 0.9), other, read)
        if way == "as shipped":
            return model(input_ids=read, labels=torch.where(hidden, ids[i], -100)).loss
        features = model.bert(input_ids=read).last_hidden_state[hidden]
        return torch.nn.functional.cross_entropy(model.cls(features), ids[i][hidden])

    if work == "texts":
        texts = torch.from_numpy(np.load(path)).long()
        some = torch.randint(0, 5, (len(texts),))
        steps = -(-len(texts) // batch)

        def loss_of(i):  # as Trainer does: random batches, padded to the longest of each
            rows = order[i * batch : (i + 1) * batch]
            longest = int((texts[rows] != 0).sum(1).max())
            read = texts[rows, :longest]
            return model(input_ids=read, attention_mask=(read != 0).long(), labels=some[rows]).loss

    def run(count):
        nonlocal order
        order = torch.randperm(len(texts)) if work == "texts" else None
        for i in range(count or steps):
            loss = loss_of(i)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run, steps


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
