"""How fast texts are, beside Hugging Face `transformers` on PyTorch: both on one machine, in turns.

    python benchmarks/beside_transformers.py [masked_lm classify generate generate_8] --peer-python PYTHON [--turns 5]
    python benchmarks/beside_transformers.py texts --peer-python PYTHON --data FOLDER
    python benchmarks/beside_transformers.py padding tokenizing --data FOLDER

`PYTHON` is the interpreter of an environment that has torch and transformers (`transformers_peer.py` runs in it).

masked_lm   pretraining: 4 layers of 256, 128 tokens, 8,000 words, batches of 32, masks drawn in the step, AdamW. The
            peer is `BertForMaskedLM` as shipped, and the same with its output layer at the hidden places alone.
classify    fine-tuning of the same model with 5 classes, every weight trained: `BertForSequenceClassification`.
texts       the same fine-tuning on 4,096 sentences of SST-2, 3 to 60 tokens each, epoch by epoch: the peer as `Trainer`
            does it, in random batches padded to their longest text.
generate    256 tokens from a prompt of 16 by a GPT-2 of the same size, drawn from the 50 likeliest; one text at a time
            (generate) and eight (generate_8): `GPT2LMHeadModel.generate`, both with a key-value cache.
padding     the share of a batch that is padding, of real texts, batched as `pretrain` and `finetune` do.
tokenizing  tokens a CPU-second that are encoded, and that a step of masked_lm takes.

A figure is the quotient of the peer's and our time within a turn: median, lowest, highest. Dropout is 0 on both sides.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from turns import answer_turns, epochs_in_turn, said, say_ratios, take_turns

PEER = Path(__file__).with_name("transformers_peer.py")
WORDS, LENGTH, BATCH, WIDTH, DEPTH, HEADS = 8000, 128, 32, 256, 4, 4
STEPS, NEW, PROMPT = 8, 256, 16
BARS = {"masked_lm": 1.5, "classify": 1.3, "texts": 1.3, "generate": 1.3, "generate_8": 1.3}
PEERS = {  # of each work, the ways in which the peer does it
    "masked_lm": ("as shipped", "head at hidden places"),
    "classify": ("as shipped",),
    "texts": ("as shipped",),
    "generate": ("as shipped",),
    "generate_8": ("as shipped",),
}


def our_side(work, path):
    """Our side of the turns; `path` holds the ids of `texts`."""
    import keras
    import numpy as np

    import tftransfer as tt

    begun = time.process_time()
    keras.utils.set_random_seed(0)
    sizes = {"vocabulary_size": WORDS, "width": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    draw = np.random.default_rng(0)
    ids = draw.integers(1, WORDS - 1, (BATCH * STEPS, LENGTH), dtype="int32")
    if work == "texts":
        ids = tt.layers.TokenIds(np.load(path))
    clock = epochs_in_turn(begun, -(-len(ids) // BATCH))
    if work == "masked_lm":
        objective = tt.objectives.MaskedLM(tt.backbones.bert((LENGTH,), **sizes), mask_id=WORDS - 1)
        tt.pretrain(objective, ids, epochs=10**6, batch_size=BATCH, callbacks=[clock], verbose=0)
    elif work in ("classify", "texts"):
        task = tt.tasks.Classifier(tt.backbones.bert((LENGTH,), **sizes), num_classes=5)
        policy = tt.policies.full(10**6)
        data = ids, draw.integers(0, 5, len(ids))
        tt.finetune(task, data, policy=policy, batch_size=BATCH, callbacks=[clock], verbose=0)
    else:
        rows = 8 if work == "generate_8" else 1
        task = tt.tasks.Generator(tt.backbones.gpt((PROMPT + NEW,), **sizes))
        prompts = ids[:rows, :PROMPT].tolist()

        def write():
            found = task.generate(prompts, max_new_tokens=NEW, top_k=50)
            if [len(row) for row in found] != [PROMPT + NEW] * rows:
                raise RuntimeError("A text of another length was written.")

        write()
        said(first_step_cpu=time.process_time() - begun)
        answer_turns(write, rows * NEW)


def encoded(root, path, count=4096):
    """Saves the ids of real sentences, for both sides."""
    import numpy as np
    import text as bench

    import tftransfer as tt

    texts = bench.sst2(root)[0].x.tolist()[:count]
    tokenization = tt.layers.Tokenization(max_length=LENGTH).adapt(texts, vocabulary_size=WORDS, verbose=0)
    np.save(path, np.asarray(tokenization.encode(texts)))


def padding(root):
    """Share of padding in the batches of one epoch, for each of the real text sets."""
    import text as bench

    import tftransfer as tt

    found = {}
    sets = {name: read(root)[0].x.tolist() for name, (read, _) in bench.CLASSES.items()}
    sets["corpus of pretraining"] = bench.corpus(root)
    tokenization = tt.layers.Tokenization(max_length=LENGTH).adapt(
        sets["corpus of pretraining"], vocabulary_size=WORDS, verbose=0
    )
    for name, texts in sets.items():
        ids = tokenization.encode(texts)
        batches = tt.data.batches(ids, batch_size=BATCH, shuffle=True, drop_remainder=True, labels=False)
        held, padded = 0, 0
        for batch in batches:
            batch = batch.numpy()
            held, padded = held + batch.size, padded + int((batch == 0).sum())
        found[name] = padded / held
        whole = float((ids == 0).mean())
        print(f"padding  {name:24} {padded / held:6.1%} of each batch (all rows of {LENGTH}: {whole:.0%})")
    return found


def tokenizing(root):
    """Tokens a CPU-second: encoded, and taken by a step of pretraining."""
    import keras
    import text as bench

    import tftransfer as tt

    texts = bench.corpus(root)
    tokenization = tt.layers.Tokenization(max_length=LENGTH).adapt(texts, vocabulary_size=WORDS, verbose=0)
    wall, cpu = time.perf_counter(), time.process_time()
    ids = tokenization.encode(texts)
    tokens = int((ids != 0).sum())
    encoded = {"wall": tokens / (time.perf_counter() - wall), "cpu": tokens / (time.process_time() - cpu)}
    sizes = {"width": WIDTH, "depth": DEPTH, "num_heads": HEADS}
    objective = tt.objectives.MaskedLM(tt.backbones.bert(tokenization, **sizes))
    seen = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append((time.perf_counter(), time.process_time()))

    rows = ids[ids[:, -1] != 0][: BATCH * 30]  # full ones
    tt.pretrain(objective, rows, epochs=1, batch_size=BATCH, callbacks=[Clock()], verbose=0)
    (wall, cpu), (last_wall, last_cpu) = seen[5], seen[-1]
    taken = (len(seen) - 6) * BATCH * LENGTH
    trained = {"wall": taken / (last_wall - wall), "cpu": taken / (last_cpu - cpu)}
    for kind in ("wall", "cpu"):
        print(f"tokenizing  {kind}: {encoded[kind]:,.0f} tokens a second, a step takes {trained[kind]:,.0f}")
    return {"encoded": encoded, "trained": trained}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", default=list(BARS))
    parser.add_argument("--peer-python")
    parser.add_argument("--data", help="folder of the original data sets, for padding and tokenizing")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ours", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        our_side(*options.ours)
        return
    found = {}
    for work in options.what:
        if work in ("padding", "tokenizing"):
            import real_data

            found[work] = globals()[work](real_data.folder(options.data))
            continue
        if not options.peer_python:
            parser.error("--peer-python names the interpreter of an environment with torch and transformers")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "ids.npy")
            if work == "texts":
                import real_data

                encoded(real_data.folder(options.data), path)
            sides = {"tftransfer": [sys.executable, __file__, "--ours", work, path]}
            sizes = [WORDS, LENGTH, BATCH, WIDTH, DEPTH, HEADS, STEPS, NEW, PROMPT]
            for way in PEERS[work]:
                sides[f"transformers, {way}"] = [options.peer_python, PEER, work, way, path, *sizes]
            first, turns = take_turns(sides, options.turns)
        found[work] = {"turns": turns, "first": first, "bar": BARS[work]}
        say_ratios(work, "tftransfer", turns, BARS[work])
        shown = ", ".join(f"{side} {says['first_step_cpu']:.1f}" for side, says in first.items())
        print(f"{work:12} CPU-seconds to the first step, imports left out: {shown}", flush=True)
    if options.json:
        known = json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(known | found, indent=1))


if __name__ == "__main__":
    main()
