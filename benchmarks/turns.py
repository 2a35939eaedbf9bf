"""Two or more programs that take turns on one machine, so that what they are compared by is measured side by side.

A side is a command. It makes itself ready, prints one JSON line (what its first step cost, say), and then answers each
line on its standard input by one JSON line: the wall and CPU seconds of its turn. Its other output is ignored.
"""

import json
import os
import statistics
import subprocess
import sys
import time

QUIET = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}  # PyTorch's threads would spin on shared cores


def take_turns(sides, turns):
    """Starts every side, lets each take its turn in every round, and ends them.

    Args:
        sides: name → command.
        turns: number of rounds.

    Returns:
        `(first, rounds)`: name → what the side said when it stood ready, and a list of name → its turn.
    """
    ready = {name: _stand_ready(command) for name, command in sides.items()}
    rounds = [
        {name: _answer(process, ask=True) for name, (process, _) in ready.items()} for _ in range(turns)
    ]
    for process, _ in ready.values():
        process.kill()
    return {name: first for name, (_, first) in ready.items()}, rounds


def say_ratios(work, ours, rounds, bar=None):
    """Prints, for every other side, the quotients of its and our seconds within a round: median, lowest, highest."""
    against = f"; bar {bar}" if bar else ""
    for side in rounds[0]:
        for kind in ("wall", "cpu") if side != ours else ():
            ratios = sorted(turn[side][kind] / turn[ours][kind] for turn in rounds)
            print(
                f"{work:12} {side + ' / ' + ours:44} {kind:4} {statistics.median(ratios):.2f} "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f}{against})",
                flush=True,
            )


def said(**figures):
    """Prints one JSON line of a side's."""
    print("said " + json.dumps(figures), flush=True)


def timed(work, count):
    """Wall and CPU seconds of each of the `count` units that `work()` runs."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": wall / count, "cpu": cpu / count}


def answer_turns(work, count):
    """The loop of a side: `work()` runs `count` units; seconds are said by unit."""
    for _ in sys.stdin:
        said(**timed(work, count))


def epochs_in_turn(begun, count):
    """A Keras callback that makes each epoch of a `fit` a turn; the first is a warm-up.

    Args:
        begun: `time.process_time()` from which the first step is counted.
        count: steps an epoch, for seconds a step.
    """
    import keras

    class Turns(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.turn = -1

        def on_train_batch_end(self, batch, logs=None):
            if self.turn == -1 and batch == 0:
                said(first_step_cpu=time.process_time() - begun)

        def on_epoch_begin(self, epoch, logs=None):
            if self.turn >= 0 and not sys.stdin.readline():
                os._exit(0)
            self.wall, self.cpu = time.perf_counter(), time.process_time()

        def on_epoch_end(self, epoch, logs=None):
            wall, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
            if self.turn >= 0:
                said(wall=wall / count, cpu=cpu / count)
            self.turn += 1

    return Turns()


def _stand_ready(command):
    process = subprocess.Popen(
        list(map(str, command)),
        env={**os.environ, **QUIET},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, _answer(process)


def _answer(process, ask=False):
    if ask:
        process.stdin.write("\n")
        process.stdin.flush()
    for line in process.stdout:
        line = line.removeprefix("said ")
        if line.startswith("{"):
            return json.loads(line)
    raise RuntimeError(f"A side ended before it answered: {process.args}")
