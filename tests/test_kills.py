"""kill -9 at random moments of pretraining and fine-tuning; TFTRANSFER_KILLS says how many of each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("TFTRANSFER_KILLS", "2"))


@pytest.mark.slow
@pytest.mark.timeout(240 + 30 * KILLS)
@pytest.mark.skipif(os.name != "posix", reason="fork and kill -9 are POSIX")
@pytest.mark.parametrize("kind", ["pretrain", "finetune"])
def test_killed_runs_lose_nothing(tmp_path, kind):
    script = Path(__file__).with_name("killed_runs.py")
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path), kind, str(KILLS)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
    assert f"{KILLS} kills" in run.stdout
    print(run.stdout)
