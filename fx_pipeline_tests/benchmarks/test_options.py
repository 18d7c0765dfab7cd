"""The table of options: every line is a configuration that loads, and differences are paired by seed."""

import json

import pytest

from benchmarks.options import LINES, read_results, summary, table
from fx_pipeline.agents.muzero.config import load_config

IDENTITY = {"market": "ou", "code": "a"}


@pytest.mark.parametrize("line", LINES)
def test_line_loads_and_changes_something(line):
    overrides = dict(LINES[line])
    config = load_config(overrides.pop("preset", "small"), overrides)
    assert (config.digest() == load_config("small").digest()) == (line == "default")


def _entry(line, seed, share):
    return {**IDENTITY, "line": line, "seed": seed, "share": share, "head": 0.5, "trades": 16.0}


def test_difference_is_paired_by_seed():
    results = [_entry("default", seed, share) for seed, share in enumerate((0.1, 0.5, 0.9))]
    results += [_entry("n = 5", seed, share) for seed, share in ((2, 1.0), (0, 0.2))]
    found = summary(results, "n = 5")
    assert found["seeds"] == 2 and found["worst"] == 0.2
    assert found["against_default"] == pytest.approx(0.1) and found["standard_error"] == pytest.approx(0.0)
    assert summary(results[:4], "n = 5") is None
    assert "| n = 5 | 0.600 | 0.200 | 0.500 | 16.0 | +0.100 ± 0.000 |" in table([found])


def test_what_a_kill_cut_off_or_other_code_measured_is_left_out(tmp_path):
    output = tmp_path / "options.jsonl"
    good, other = _entry("default", 0, 0.8), _entry("default", 1, 0.8) | {"code": "b"}
    output.write_text("\n".join([json.dumps(good), json.dumps(other), json.dumps(good)[:-9]]), encoding="utf-8")
    assert read_results(output, IDENTITY) == [good]
    assert read_results(tmp_path / "none.jsonl", IDENTITY) == []
