"""The places of files: each below the data folder, and none twice."""

import hashlib
from pathlib import Path

from fx_pipeline.ingest import layout as ingest
from fx_pipeline.layout import Layout


def test_all_places_are_below_the_data_folder_and_distinct() -> None:
    data = Path("/somewhere/data")
    layout = Layout(data)
    places = [
        layout.paper_store,
        layout.warehouse,
        layout.mlflow_artifacts,
        layout.ledger,
        layout.live_lock,
        layout.windows("EUR_USD"),
        layout.trainings("EUR_USD", "2024-01-02"),
        layout.checkpoint("EUR_USD", "2024-01-02", 1),
        layout.checkpoint("EUR_USD", "2024-01-02", 11),
        layout.report("EUR_USD", "2024-01-02"),
        layout.model("EUR_USD", "ab" * 32),
        layout.champion("EUR_USD"),
        layout.demotion("EUR_USD"),
        layout.standings("EUR_USD", "ab" * 32),
        layout.live_decision("EUR_USD"),
        ingest.raw_folder(data, "EUR_USD", "2024-01"),
        ingest.lake_folder(data),
        ingest.quarantine_path(data, "EUR_USD", "2024-01"),
    ]
    assert len(set(places)) == len(places)
    assert all(place.is_relative_to(data) for place in places)
    assert layout.report("EUR_USD", "w").is_relative_to(layout.reports)
    assert layout.paper_store == ingest.paper_store(data)


def test_mlflow_store_does_not_move_with_the_working_directory() -> None:
    assert Layout(Path("data")).mlflow_uri == f"sqlite:///{Path.cwd() / 'data' / 'mlflow.db'}"


def test_the_account_of_candles_in_the_data_folder_goes_with_it(tmp_path: Path) -> None:
    first, second = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    names = [layout.desk(layout.paper_store).relative_to(layout.data_dir) for layout in (first, second)]
    assert names[0] == names[1]
    assert first.desk(tmp_path / "elsewhere").name == second.desk(tmp_path / "elsewhere").name != names[0].name
    # One of an earlier version, which was named by the whole path, is gone on with.
    whole = hashlib.sha256(str(first.paper_store.resolve()).encode()).hexdigest()[:16]
    (first.data_dir / "desk" / whole).mkdir(parents=True)
    assert first.desk(first.paper_store).name == whole


def test_records_name_places_without_the_data_folder(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "a")
    assert layout.relative(layout.model("EUR_USD", "ab")) == "models/EUR_USD/ab"


def test_a_recipe_has_folders_of_its_own_and_the_default_one_those_of_before(tmp_path: Path) -> None:
    default, own = Layout(tmp_path), Layout(tmp_path, "mine", "sessions_mine")
    assert default.checkpoint("EUR_USD", "w", 7) == tmp_path / "checkpoints" / "muzero" / "EUR_USD" / "w" / "seed-7"
    assert default.report("EUR_USD", "w") == tmp_path / "reports" / "muzero" / "EUR_USD" / "w"
    assert default.champion("EUR_USD") == tmp_path / "champion" / "EUR_USD.json"
    assert default.windows("EUR_USD") == tmp_path / "windows" / "EUR_USD.json"
    for name in ("trainings", "report", "model", "standings"):
        assert getattr(default, name)("EUR_USD", "w") != getattr(own, name)("EUR_USD", "w")
    for name in ("champion", "demotion", "live_decision", "windows", "validated"):
        assert getattr(default, name)("EUR_USD") != getattr(own, name)("EUR_USD") or name == "validated"
    # Nothing of one is found where the other looks for its champions.
    assert own.champion("EUR_USD").parent != default.champion("EUR_USD").parent
    assert (own.live_lock, own.ledger, own.leaderboard) == (default.live_lock, default.ledger, default.leaderboard)
