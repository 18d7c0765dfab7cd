"""A training that is killed at random moments ends in the bytes of one that was left alone."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.agents.muzero.checkpoint import load_checkpoint
from fx_pipeline.agents.muzero.trainer import KEPT_FOLDER

SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from conftest import reverting_market
from fx_pipeline.agents.base import Budget
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.trainer import MuZeroTrainer
def progress(fraction, metrics):
    print(int(metrics["iterations"]), flush=True)
folder = Path(sys.argv[1])
checkpoint = MuZeroTrainer(load_config({preset!r}, {overrides!r})).train(
    reverting_market(1, 14_000), Budget({episodes}), seed=0, folder=folder, progress=progress)
(folder / "history.json").write_text(json.dumps(checkpoint.history))
"""
SELECTION = {"selection.share": 0.3, "selection.sessions": 8}
#: Preset, what of it is changed, episodes, kills.
CASES = {
    "tiny": ({**SELECTION, "selfplay.epsilon": 0.1, "network.dropout": 0.2, "runtime.keep_every": 4}, 24, 6),
    "small": (
        {
            **SELECTION,
            "selfplay.environments": 16,
            "replay.capacity_steps": 11_520,
            "replay.priority_weight": 0.5,
            "learner.target_ema": 0.99,
            "learner.reanalyze_share": 0.1,
            "selection.every_episodes": 16,
            "runtime.bundle_every": 4,
            "runtime.keep_every": 16,
        },
        64,
        4,
    ),
}


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): os.readlink(path)
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def kill_after(command: list[str], seconds: float) -> bool:
    """Run until `seconds` after the first iteration, then kill; return whether it was still running."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.stdout.read()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("preset", CASES)
def test_killed_at_random_moments_it_ends_in_the_same_bytes(
    tmp_path: Path, preset: str, measured: Callable[[str], None]
) -> None:
    overrides, episodes, kills = CASES[preset]
    script = tmp_path / "train.py"
    options = {"tests": str(Path(__file__).parent), "preset": preset, "overrides": overrides, "episodes": episodes}
    script.write_text(textwrap.dedent(SCRIPT.format(**options)))

    def command(name: str) -> list[str]:
        return [sys.executable, str(script), str(tmp_path / name)]

    began = time.perf_counter()
    subprocess.run(command("whole"), check=True, capture_output=True)
    took = time.perf_counter() - began
    killed = 0
    # A quarter of the whole's time, most of which is its start.
    for delay in np.random.default_rng(11).uniform(0.0, 0.25 * took, kills):
        killed += kill_after(command("killed"), float(delay))
        kept = tmp_path / "killed" / KEPT_FOLDER
        for link in kept.glob("[!v]*") if kept.exists() else ():
            if link.is_symlink():
                load_checkpoint(link)
    assert killed > 0
    subprocess.run(command("killed"), check=True, capture_output=True)
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "killed") == whole
    measured(f"{preset}, {episodes} episodes: {killed} kills, resumed: {len(whole)} files, byte for byte the same")
