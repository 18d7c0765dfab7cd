"""The command line: bad input ends with status 2 and one line that says what to do."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from fx_pipeline.cli import app, clear_errors
from fx_pipeline.settings import load_settings
from fx_pipeline.ui import supervise

ROOT = Path(__file__).resolve().parents[1]
HEADER = "time,open,high,low,close,volume\n"


@pytest.fixture(autouse=True)
def project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A project folder of its own, as the working directory."""
    for name in [name for name in os.environ if name.startswith("FX_")]:
        monkeypatch.delenv(name)
    # The demo sets it for its process.
    monkeypatch.setenv("DAGSTER_HOME", "")
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_error(done: Result) -> str:
    """The one line that a person gets to see."""
    assert done.exit_code == 2, done.output
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  reading")]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    assert "Traceback" not in done.output
    return lines[0]


def test_help_of_gaps_names_the_keys_of_its_json(run: Callable[..., Result]) -> None:
    from fx_pipeline.ingest.gaps import GapCount
    from fx_pipeline.ingest.overview import MonthGaps

    told = run("gaps", "--help").stdout
    for key in MonthGaps("2024-01", 1, GapCount(1, 1, 0, 0, 0, None)).record():
        assert key in told


def test_help_of_every_command(run: Callable[..., Result]) -> None:
    done = run("--help")
    assert done.exit_code == 0
    for command in ("import", "demo", "summary", "gaps", "broker", "ui"):
        assert command in done.stdout
        told = run(command, "--help")
        assert told.exit_code == 0 and "Usage" in told.stdout and "--help" in told.stdout


def test_gaps_are_shown_by_month_and_by_instrument(run: Callable[..., Result], project: Path) -> None:
    from fx_pipeline.market.calendar import FxCalendar
    from fx_pipeline_tests.ingest.test_gaps import ns, store

    assert "has no candles yet: run make demo" in one_error(run("gaps"))
    times = FxCalendar().expected_minutes(ns("2024-01-29"), ns("2024-02-02"))
    lake, february = project / "data" / "lake", times >= ns("2024-02-01")
    store(lake, "2024-01", times[~february])
    store(lake, "2024-02", times[february][5:])
    assert "the lake has no candles of GBP_USD: it has EUR_USD" in one_error(run("gaps", "GBP_USD"))
    (months,) = json.loads(run("gaps", "--json").stdout.splitlines()[-1])["months"].values()
    assert [(month["month"], month["missing"]) for month in months] == [("2024-01", 0), ("2024-02", 5)]
    assert months[1]["longest_gap_start"] == "2024-02-01T00:00Z"
    assert "EUR_USD    2024-01..2024-02" in run("gaps").stdout
    assert run("gaps", "EUR_USD").stdout.count("2024-0") >= 2


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def truncated(folder: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / "EUR_USD.parquet"
    pq.write_table(pa.table({"time": pa.array(range(10_000))}), path)
    path.write_bytes(path.read_bytes()[:-500])
    return path


@pytest.mark.parametrize("command", ["import", "demo"])
@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda folder: folder / "EUR_USD.csv", "EUR_USD.csv is not a file"),
        (truncated, "EUR_USD.parquet"),
        (lambda folder: write(folder / "EUR_USD.parquet", b"\x00garbled" * 50), "EUR_USD.parquet"),
        (lambda folder: write(folder / "EUR_USD.csv", "a,b,c\n1,2,3\n"), "EUR_USD.csv"),
        (lambda folder: write(folder / "EUR_USD.csv", ""), "EUR_USD.csv"),
        (lambda folder: write(folder / "EUR_USD.txt", "words, and no candles\nat all\n"), "give --format"),
        (lambda folder: write(folder / "candles.csv", HEADER + "2024-01-02,1,1,1,1,1\n"), "names no known instrument"),
    ],
)
def test_bad_file(
    run: Callable[..., Result], project: Path, command: str, make: Callable[[Path], Path], says: str
) -> None:
    path = make(project)
    done = run("import", path) if command == "import" else run("demo", "--candles", path)
    assert says in one_error(done)
    assert not list((project / "data").rglob("*.parquet")), "nothing half-imported"


@pytest.mark.parametrize("arguments", [("import", "x.csv"), ("demo",)])
def test_unknown_instrument(run: Callable[..., Result], project: Path, arguments: tuple[str, ...]) -> None:
    write(project / "x.csv", HEADER)
    assert "GBP_XXX" in one_error(run(*arguments, "--instrument", "GBP_XXX"))


def test_instrument_that_the_settings_do_not_offer(run: Callable[..., Result]) -> None:
    said = one_error(run("demo", "--instrument", "AUD_USD"))
    assert "AUD_USD is neither among FX_INSTRUMENTS" in said and "nor imported" in said


def test_unknown_format(run: Callable[..., Result], project: Path) -> None:
    path = write(project / "EUR_USD.csv", HEADER)
    assert "--format 'xml' is unknown" in one_error(run("import", path, "--format", "xml"))


def test_unknown_side(run: Callable[..., Result], project: Path) -> None:
    path = write(project / "EUR_USD.csv", HEADER + "2024-01-02T00:00:00,1,1,1,1,1\n")
    assert "--side 'foo' is unknown" in one_error(run("import", path, "--side", "foo"))


@pytest.mark.parametrize("instrument", [(), ("--instrument", "EUR_USD")])
def test_files_of_two_instruments(run: Callable[..., Result], project: Path, instrument: tuple[str, ...]) -> None:
    files = [
        write(project / f"{name}.csv", HEADER + "2024-01-02T00:00:00Z,1,1,1,1,1\n") for name in ("EURUSD", "GBPUSD")
    ]
    assert "GBP_USD" in one_error(run("import", *files, *instrument))
    listed = [item for path in files for item in ("--candles", path)]
    assert "GBP_USD" in one_error(run("demo", *listed, *instrument))
    assert not list((project / "data").rglob("*.parquet"))


def test_clock_that_cannot_be_right(run: Callable[..., Result], project: Path) -> None:
    path = write(project / "EUR_USD.csv", HEADER)
    assert "--utc-offset" in one_error(run("import", path, "--format", "metatrader"))
    assert "--utc-offset" in one_error(run("demo", "--candles", path, "--format", "metatrader"))
    assert "Mars/Base" in one_error(
        run("import", write(path, HEADER + "2024-01-02T00:00:00,1,1,1,1,1\n"), "--utc-offset", "Mars/Base")
    )


def test_report_that_is_not_there(run: Callable[..., Result]) -> None:
    assert "there is no validation report yet: run make demo" in one_error(run("summary", "--json"))


def test_report_that_is_garbled(run: Callable[..., Result], project: Path) -> None:
    folder = project / "data" / "reports" / "muzero" / "EUR_USD" / "2024-01-02"
    folder.mkdir(parents=True)
    write(folder / "report.json", "{")
    write(project / "data" / "newest_report.json", json.dumps({"folder": str(folder)}))
    assert "report.json is damaged (it is not JSON" in one_error(run("summary", "--json"))


def test_bad_setting(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_MC_RUNS", "many")
    assert "FX_MC_RUNS: Input should be a valid integer" in one_error(run("demo"))


def test_practice_without_a_token(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "practice")
    assert "FX_OANDA_ENVIRONMENT=practice needs FX_OANDA_TOKEN" in one_error(run("demo"))


def test_practice_that_cannot_be_reached(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    from oandapyV20.oandapyV20 import TRADING_ENVIRONMENTS

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setitem(TRADING_ENVIRONMENTS, "practice", {"api": f"http://{host}", "stream": f"http://{host}"})
    monkeypatch.setattr("fx_pipeline.broker.client.OandaClient._wait", lambda *_: None)
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", "practice")
    monkeypatch.setenv("FX_OANDA_TOKEN", "the-secret-token")
    monkeypatch.setenv("FX_OANDA_ACCOUNT", "101-001-1234567-001")
    done = run("demo", "--instrument", "EUR_USD")
    said = one_error(done)
    assert f"{host} could not be reached" in said and "FX_OANDA_ENVIRONMENT=practice" in said
    assert "the-secret-token" not in done.output


def test_two_demos_at_once(run: Callable[..., Result], project: Path) -> None:
    from fx_pipeline.demo import only_one

    with only_one(project / "data"):
        assert "another demo is running on data: wait for it, or set FX_DATA_DIR" in one_error(run("demo"))


def test_demo_outside_of_the_project(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert "is not inside the project: run this where dagster.yaml" in one_error(run("demo"))


def test_ui_starts_with_what_a_killed_process_left_removed(
    run: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    started: list[Path] = []
    monkeypatch.setattr(supervise, "run_ui", lambda options, settings, folder, say: started.append(folder))
    month = project / "data" / "raw" / "EUR_USD" / "2024-01"
    month.mkdir(parents=True)
    left, living = (month / f".tmp-{process}-abc-page-00000.json.zst" for process in (gone.pid, os.getpid()))
    for path in (left, living):
        path.write_text("half")
    done = run("ui", "--reports-port", 0)
    assert done.exit_code == 0, done.output
    assert f"removed what a killed process left: {left.relative_to(project)}" in done.stdout.replace("\n", "")
    assert not left.exists() and living.exists() and started == [project.resolve()]


def test_a_copy_of_a_folder_that_only_demos_made_says_so(
    run: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fx_pipeline import demo
    from fx_pipeline.market.errors import DataError

    def fail(*arguments: object) -> None:
        raise DataError("far enough.")

    monkeypatch.setattr(demo, "run_demo", fail)
    assert "a copy of" not in run("demo").stdout
    shutil.copytree(project / "data", project / "copy")
    monkeypatch.setenv("FX_DATA_DIR", "copy")
    assert f"this data folder is a copy of {project / 'data'}: " in run("demo").stdout


def test_ui_says_which_port_is_taken(run: Callable[..., Result]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} cannot be used" in one_error(run("ui", "--port", port))
        assert "choose another --reports-port" in one_error(run("ui", "--port", 0, "--reports-port", port))


def test_a_second_ui_is_refused(run: Callable[..., Result], project: Path) -> None:
    with supervise.only_one(load_settings()):
        assert f"fx-pipeline ui runs already on data (process {os.getpid()})" in one_error(run("ui", "--port", 0))


def test_health_of_what_does_not_run(run: Callable[..., Result], project: Path) -> None:
    done = run("health")
    assert done.exit_code == 1 and done.stdout.startswith("not running: ")
    assert json.loads(run("health", "--json").stdout)["well"] is False


def test_folder_and_clean_follow_the_setting(
    run: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = project / "we[ir]d" / "[/]"
    monkeypatch.setenv("FX_DATA_DIR", str(data))
    for name in ("lake", "paper", "mine"):
        (data / name).mkdir(parents=True)
    assert run("folder").stdout == f"{data}\n"
    done = run("clean")
    assert f"{data}: removed lake" in done.stdout and "it keeps mine, paper" in done.stdout
    assert f"{data}: removed paper" in run("clean", "--all").stdout
    assert [path.name for path in data.iterdir()] == ["mine"]


def test_mlflow_needs_something_to_show(run: Callable[..., Result], project: Path) -> None:
    assert "mlflow.db is not there yet" in one_error(run("mlflow"))


def test_what_is_printed_is_not_read_as_markup(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("we[ir]d", "[red]x", "[bold]", ":smile:", "[link=x]y"):
        assert one_error(run("demo", "--candles", f"{name}.csv")).endswith(
            f"{name}.csv is not a file: CANDLES= takes the path of an M1 candle file."
        )


def test_broker_needs_a_free_port(run: Callable[..., Result]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("broker", "--token", "t", "--port", port)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: port {port} of 127.0.0.1 cannot be used")


def test_import_says_what_it_did_and_what_it_set_aside(run: Callable[..., Result], project: Path) -> None:
    rows = [f"2024-01-02T{k // 60:02}:{k % 60:02}:00Z,1.1,1.2,1.0,1.1,{5 + k % 2}" for k in range(120)]
    rows[7] = "2024-01-02T00:07:00Z,1.1,0.9,1.0,1.1,5"
    path = write(project / "EUR_USD.csv", HEADER + "\n".join(rows) + "\n")
    done = run("import", path)
    assert done.exit_code == 0, done.output
    assert "119 (119 new, 0 changed)" in done.stdout and "quarantined rows, with reasons:" in done.stdout
    (kept,) = (project / "data" / "quarantine").rglob("*.parquet")
    assert str(kept.name) in done.stdout.replace("\n", "")
    again = run("import", path)
    assert "119 (0 new, 0 changed)" in again.stdout and "stood in the store" not in again.stdout


def test_import_says_which_stored_candles_it_changed(run: Callable[..., Result], project: Path) -> None:
    rows = [f"2024-01-02T{k // 60:02}:{k % 60:02}:00Z,1.1,1.2,1.0,1.1,{5 + k % 2}" for k in range(120)]
    path = write(project / "EUR_USD.csv", HEADER + "\n".join(rows) + "\n")
    assert run("import", path).exit_code == 0
    for k in range(60, 70):
        rows[k] = rows[k].replace("1.2", "1.3")
    done = run("import", write(path, HEADER + "\n".join(rows) + "\n"))
    said = done.stdout.replace("\n", " ")
    assert done.exit_code == 0 and "120 (0 new, 10 changed)" in said
    assert "changed: 10 candles stood in the store with other values and were replaced, at 2024-01-02 01:00, " in said
    assert "2024-01-02 01:04 ... UTC" in said


def test_import_shows_a_bar_on_a_terminal(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.console import Console

    from fx_pipeline.commands import console as shared

    screen = io.StringIO()
    monkeypatch.setattr(shared, "errors", Console(file=screen, force_terminal=True, width=100))
    with shared.import_progress("EUR_USD.csv") as progress:
        assert progress is not None
        progress(0.5)
    assert "EUR_USD.csv" in screen.getvalue()
    monkeypatch.setattr(shared, "errors", Console(file=io.StringIO()))
    with shared.import_progress("EUR_USD.csv") as progress:
        assert progress is None


def test_errors_that_are_not_ours_keep_their_traceback(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*_: Any, **__: Any) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr("fx_pipeline.settings.load_settings", bug)
    done = run("summary")
    assert done.exit_code == 1 and isinstance(done.exception, KeyError)


def test_an_exception_chain_that_is_a_circle_ends() -> None:
    # Dagster raises the user's exception from its own, whose cause it is.
    inner, outer = ValueError("not ours"), RuntimeError("Dagster's")
    inner.__cause__, outer.__cause__ = outer, inner
    with pytest.raises(ValueError, match="not ours"), clear_errors():
        raise inner


def test_bars_of_the_future_do_not_enter_the_store(run: Callable[..., Result], project: Path) -> None:
    rows = [f"2024-01-02T{k // 60:02}:{k % 60:02}:00Z,1.1,1.2,1.0,1.1,{5 + k % 2}" for k in range(120)]
    path = write(project / "EUR_USD.csv", HEADER + "\n".join([*rows, "2050-01-03T10:00:00Z,1.1,1.2,1.0,1.1,5"]) + "\n")
    done = run("import", path)
    assert done.exit_code == 0 and "2024-01 to 2024-01" in done.stdout and "in the future" in done.stdout


def test_candle_files_are_for_the_paper_server(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_PAPER_URL", "http://127.0.0.1:1")
    path = write(Path("EUR_USD.csv"), HEADER + "2024-01-02T00:00:00Z,1.1,1.2,1.0,1.1,5\n")
    assert "served by the demo's own paper server" in one_error(run("demo", "--candles", path))


def test_newest_report_is_shown(run: Callable[..., Result], project: Path) -> None:
    from fx_pipeline.validation.report import SCHEMA

    names = ("instrument", "bars", "sessions", "episodes", "trades", "expectancy_pips", "verdict", "reasons", "seed")
    for window in ("2024-02-01", "2024-01-02"):
        folder = project / "data" / "reports" / "muzero" / "EUR_USD" / window
        folder.mkdir(parents=True)
        figures = {**dict.fromkeys(names, 1), "window": window, "reasons": ["a"]}
        report = {"schema": SCHEMA, "figures": figures, "lineage": {}, "run": {"wall_s": 1.0}}
        write(folder / "report.json", json.dumps(report))
        write(project / "data" / "newest_report.json", json.dumps({"folder": str(folder)}))
    done = run("summary", "--json")
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["window"] == "2024-01-02"
    assert summary["report"] == str(project / "data/reports/muzero/EUR_USD/2024-01-02/report.html")


def test_leaderboard_is_written_and_says_what_it_could_not_read(run: Callable[..., Result], project: Path) -> None:
    folder = project / "data" / "reports" / "muzero" / "EUR_USD" / "2024-02-01"
    folder.mkdir(parents=True)
    write(folder / "report.json", "{")
    done = run("leaderboard")
    page = project / "data" / "reports" / "leaderboard.html"
    assert done.exit_code == 0 and "reports/leaderboard.html" in done.stdout and page.exists()
    assert "left out" in done.stderr and "EUR_USD/2024-02-01/report.json" in done.stderr
    assert run("leaderboard", "--json").stdout == ""


def test_recipes_are_listed_shown_and_begun(
    run: Callable[..., Result], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (default, *others) = json.loads(run("recipes", "--json").stdout)
    assert default == {
        "name": "muzero",
        "agent": "muzero",
        "timeframe": "M1",
        "feature_set": "temporal9",
        "action_set": "unit4",
        "instruments": list(load_settings().instruments),
    }
    assert "muzero_gbp_jpy_m1" in {recipe["name"] for recipe in others}
    shown = run("recipes", "show", "muzero_gbp_jpy_m1").stdout
    assert 'preset: "full"' in shown and "# costs:" in shown and "muzero_gbp_jpy_m1.yaml" in shown
    assert "did you mean muzero" in one_error(run("recipes", "show", "muzro"))
    assert "set FX_RECIPES" in one_error(run("recipes", "new", "mine"))
    monkeypatch.setenv("FX_RECIPES", "own")
    assert "a copy of muzero" in " ".join(run("recipes", "new", "mine").stdout.split())
    assert "mine" in run("recipes").stdout
    monkeypatch.setenv("FX_USE_RECIPES", "mine")
    assert [recipe.name for recipe in load_settings().used_recipes] == ["mine"]
    monkeypatch.setenv("FX_USE_RECIPES", "mine,muzro")
    assert "FX_USE_RECIPES: there is no recipe 'muzro'" in one_error(run("recipes"))
