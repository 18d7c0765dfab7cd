"""A recipe of its own timeframe and feature set runs from a file of candles to the verdict, through Dagster."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: What a training of a few episodes may well miss.
_OF_LEARNING = {"agent_still_trades", "expectancy_is_bearable", "some_trades_win", "updates_are_small"}

#: The five-minute candles lack four months.
_OF_HOLES = {"gaps_are_few", "months_have_candles"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "file", "bars", "start"),
    [
        ("ppo_gbp_jpy_h1", "GBP_JPY_H1_2015_2022.parquet", 44_557, "2015-01"),
        ("ppo_gbp_jpy_m5", "GBP_JPY_M5_2019-07_2020-05.parquet", 39_370, "2019-07"),
    ],
)
def test_a_recipe_comes_from_file_to_verdict(
    tmp_path: Path, shared_data: Path, recipe: str, file: str, bars: int, start: str
) -> None:
    pytest.importorskip("stable_baselines3")
    own = {
        "FX_DATA_DIR": str(tmp_path / "data"),
        "FX_INSTRUMENTS": "GBP_JPY",
        "FX_HISTORY_START": start,
        "FX_PRESET": "tiny",
        "FX_MC_RUNS": "200",
        "FX_USE_RECIPES": f"muzero,{recipe}",
        "PYTHONPATH": str(ROOT),
    }
    env = {name: value for name, value in os.environ.items() if not name.startswith("FX_")} | own
    command = [sys.executable, "-m", "fx_pipeline_tests.defs.recipe_chain", recipe, str(shared_data / file), "200", "1"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=800)
    assert done.returncode == 0, done.stderr[-4_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    # Bars that cannot be are set aside; what is left is judged.
    assert 0.99 * bars <= found["imported"] <= bars
    assert found["windows"] >= 1 and found["sessions"] >= 5 and found["page"] > 100_000
    assert (found["of_report"], found["verdict"]) == (recipe, "rejected")
    assert found["chosen"]["configurations"] == 1
    missed = {name for name, passed in found["checks"].items() if not passed}
    assert {name.split()[-1] for name in missed} <= _OF_LEARNING | _OF_HOLES, missed
    assert len(found["checks"]) >= 20
