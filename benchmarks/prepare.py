"""What the job `prepare` costs on years of candles: features, sessions, windows, and all their checks.

Months of a generated instrument, 1.34 million bars, are put into a lake. Then the job runs three times, each in a new
process with Dagster's SQLite storage: on all months but the newest (a first build), again (nothing new), and after the
newest month came (one new month).

Prints `nothing_new_cpu_s` and `one_month_cpu_s`: CPU seconds, of all threads, from the launch of the run to its end,
Dagster's own events and the checks among them, and what the steps import. What a process spends before that on starting
Python, importing Dagster and the code location and opening Dagster's storage, whatever it then does, is not in them: it
is `import_cpu_s`, and `nothing_new_process_cpu_s` and `one_month_process_cpu_s` are everything.
`first_build_cpu_s` is the first run. `peak_rss_mb` is the most memory that any of the processes held, libraries too;
`import_rss_mb` of it was there before the run was launched. Seconds are medians of `ROUNDS`.
"""

import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.measure import report, wants_json
from fx_pipeline.broker.paper.synthetic import synthetic_candles
from fx_pipeline.ingest.layout import lake_folder, lake_path
from fx_pipeline.market.files import write_table
from fx_pipeline.market.months import month_bounds, months_between

INSTRUMENT = "EUR_USD"
FIRST_MONTH, BARS = "2020-01", 1_340_000
ROUNDS = 3


def fill_lake(data_dir: Path) -> list[str]:
    """Put months of generated bars into a lake, until it has `BARS`; return the months."""
    start, filled, bars = month_bounds(FIRST_MONTH)[0], [], 0
    for month in months_between(start, start + 2**58):
        bounds = month_bounds(month)
        candles = synthetic_candles(INSTRUMENT, *bounds, span_ns=bounds)
        write_table(lake_path(lake_folder(data_dir), INSTRUMENT, month), candles)
        filled.append(month)
        bars += len(candles)
        if bars >= BARS:
            return filled
    raise AssertionError("the calendar has ended")


def measured(data_dir: Path) -> dict[str, Any]:
    """Run the job in a process of its own; return what that took."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FX_")}
    environment |= {
        "FX_DATA_DIR": str(data_dir),
        "FX_INSTRUMENTS": INSTRUMENT,
        "FX_HISTORY_START": FIRST_MONTH,
        "DAGSTER_DISABLE_TELEMETRY": "1",
    }
    command = [sys.executable, "-m", "benchmarks.prepare", "--run", str(data_dir)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert isinstance(found, dict), found
    return found


def run_once(data_dir: Path) -> dict[str, Any]:
    """Run the job in this process, and return CPU seconds and memory before and after."""
    import dagster as dg

    from fx_pipeline.definitions import defs

    job = defs.resolve_job_def("prepare")
    (data_dir / "dagster").mkdir(exist_ok=True)
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.local_temp(str(data_dir / "dagster")) as instance:
        before, rss_before = time.process_time(), _peak_rss_mb()
        began = time.perf_counter()
        result = job.execute_in_process(instance=instance, partition_key=INSTRUMENT, run_config=quiet)
    assert result.success
    features = result.asset_materializations_for_node("feature_table")[0].metadata
    sessions = result.asset_materializations_for_node("valid_sessions")[0].metadata
    return {
        "cpu_s": time.process_time() - before,
        "wall_s": time.perf_counter() - began,
        "import_cpu_s": before,
        "import_rss_mb": rss_before,
        "peak_rss_mb": _peak_rss_mb(),
        "rows": features["dagster/row_count"].value,
        "rows_written": features["rows written"].value,
        "sessions": sessions["dagster/row_count"].value,
    }


def _peak_rss_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--run"]:
        # Libraries may print; the last line is ours.
        with contextlib.redirect_stdout(sys.stderr):
            found = run_once(Path(sys.argv[2]))
        print(json.dumps(found))
        return
    as_json = wants_json()
    with tempfile.TemporaryDirectory(prefix="fx-prepare-") as folder:
        root = Path(folder)
        months = fill_lake(root / "data")
        newest = lake_path(lake_folder(root / "data"), INSTRUMENT, months[-1])
        newest.rename(root / newest.name)
        first = measured(root / "data")
        nothing = [measured(root / "data") for _ in range(ROUNDS)]
        before = root / "before"
        (root / "data").rename(before)
        one_month = []
        for _ in range(ROUNDS):
            shutil.rmtree(root / "data", ignore_errors=True)
            shutil.copytree(before, root / "data")
            shutil.copy(root / newest.name, lake_path(lake_folder(root / "data"), INSTRUMENT, months[-1]))
            one_month.append(measured(root / "data"))
        again = measured(root / "data")
    assert first["rows_written"] == first["rows"] and not any(run["rows_written"] for run in [*nothing, again])
    assert all(0 < run["rows_written"] < run["rows"] // 10 for run in one_month)
    everything = [first, *nothing, *one_month]

    def median(runs: list[dict[str, Any]], *names: str) -> float:
        return round(statistics.median(sum(run[name] for name in names) for run in runs), 2)

    report(
        f"prepare of {again['rows']:,} bars in {len(months)} months; seconds of CPU of the run",
        {
            "first build": [first["cpu_s"]],
            "nothing new": [run["cpu_s"] for run in nothing],
            "one new month": [run["cpu_s"] for run in one_month],
        },
        {
            "nothing_new_cpu_s": median(nothing, "cpu_s"),
            "one_month_cpu_s": median(one_month, "cpu_s"),
            "peak_rss_mb": round(max(run["peak_rss_mb"] for run in everything)),
            "first_build_cpu_s": round(first["cpu_s"], 2),
            "import_cpu_s": median(everything, "import_cpu_s"),
            "import_rss_mb": round(median(everything, "import_rss_mb")),
            "nothing_new_process_cpu_s": median(nothing, "cpu_s", "import_cpu_s"),
            "one_month_process_cpu_s": median(one_month, "cpu_s", "import_cpu_s"),
            "first_build_rss_mb": round(first["peak_rss_mb"]),
            "nothing_new_rss_mb": round(max(run["peak_rss_mb"] for run in nothing)),
            "one_month_rss_mb": round(max(run["peak_rss_mb"] for run in one_month)),
            "bars": again["rows"],
            "sessions": again["sessions"],
        },
        as_json,
    )


if __name__ == "__main__":
    main()
