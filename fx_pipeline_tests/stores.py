"""A small data folder that has one of each store, and how each is read: `test_stores` damages them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fx_pipeline.agents.base import TrainingData
from fx_pipeline.agents.muzero.checkpoint import load_checkpoint, write_checkpoint
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.progress_file import ProgressFile, read_progress
from fx_pipeline.agents.record import read_checkpoint, read_history, read_run
from fx_pipeline.broker.paper import store as paper_store
from fx_pipeline.features.table import Month, load_market, update_features
from fx_pipeline.ingest import layout as places
from fx_pipeline.ingest.gaps import gap_table, read_gaps
from fx_pipeline.ingest.lake import build_month, read_candles
from fx_pipeline.ingest.overview import count_quarantined, month_gaps
from fx_pipeline.ingest.raw import read_manifest, read_page
from fx_pipeline.ingest.revisions import REVISION_SCHEMA, read_revisions
from fx_pipeline.layout import Layout
from fx_pipeline.market.atomic import atomic_write_json
from fx_pipeline.market.calendar import MINUTE_NS, FxCalendar
from fx_pipeline.market.candles import CANDLE_SCHEMA, PRICE_COLUMNS, QUARANTINE_SCHEMA
from fx_pipeline.market.costs import CostConfig
from fx_pipeline.market.files import write_table
from fx_pipeline.market.warehouse import open_warehouse
from fx_pipeline.proofs import result as proofs
from fx_pipeline.proofs.prove import Proof, SeedResult
from fx_pipeline.sessions.table import Plan, read_plan, read_starts, write_plan
from fx_pipeline.sessions.update import update_sessions
from fx_pipeline.sessions.windows import WalkForwardWindow

INSTRUMENT, MONTH, WINDOW = "EUR_USD", "2024-01", "2024-01-22"
PARQUET, JSON, DUCKDB, PAGE = "parquet", "json", "duckdb", "page"
_START = int(np.datetime64("2024-01-08T00:00", "ns").astype(np.int64))
BARS = 2_400


@dataclass(frozen=True)
class Store:
    """A file of the data folder: how it is read, what its reader says to do, and which key it cannot do without."""

    name: str
    kind: str
    path: Path
    read: Callable[[], object]
    remedy: str
    key: str = ""
    version_key: str = "schema"


def candles(count: int = BARS) -> pa.Table:
    """Bars without a gap."""
    close = 1.09 + 1e-4 * np.cumsum(np.random.default_rng(1).normal(0.0, 1.0, count))
    columns = {
        "time": pa.array(_START + MINUTE_NS * np.arange(count), pa.int64()).cast(CANDLE_SCHEMA.field("time").type)
    }
    for name in PRICE_COLUMNS:
        shift = {"bid": -1e-4, "mid": 0.0, "ask": 1e-4}[name[:3]] + {"h": 2e-4, "l": -2e-4}.get(name[-1], 0.0)
        columns[name] = pa.array(close + shift)
    columns |= {
        "volume": pa.array(np.ones(count, np.int64)),
        "quotes_modelled": pa.array([False] * count),
        "source": pa.array(["imported"] * count),
    }
    return pa.table(columns, schema=CANDLE_SCHEMA)


def make_stores(data_dir: Path, download: Callable[[Path], object]) -> None:
    """Fill a data folder; `download` puts raw pages into the folder that it is given."""
    layout, lake, bars = Layout(data_dir), places.lake_folder(data_dir), candles()
    download(places.raw_folder(data_dir, INSTRUMENT, "2024-02"))
    build_month(data_dir, INSTRUMENT, "2024-02")
    write_table(places.lake_path(lake, INSTRUMENT, MONTH), bars)
    times = bars["time"].cast(pa.int64()).to_numpy()
    write_table(places.gaps_path(lake, INSTRUMENT, MONTH), gap_table(np.delete(times, slice(100, 130)), FxCalendar()))
    revised = {field.name: bars["time"][:3] if field.name == "time" else [None] * 3 for field in REVISION_SCHEMA}
    write_table(
        places.revisions_path(lake, INSTRUMENT, MONTH),
        pa.table({**revised, "kind": ["removed"] * 3}, schema=REVISION_SCHEMA),
    )
    refused = bars.slice(0, 2).append_column("reason", pa.array(["not positive"] * 2))
    write_table(places.quarantine_path(data_dir, INSTRUMENT, MONTH), refused.cast(QUARANTINE_SCHEMA))
    paper_store.upsert(layout.paper_store, INSTRUMENT, bars)
    with open_warehouse(layout.warehouse) as connection:
        update_features(connection, INSTRUMENT, [Month.of(places.lake_path(lake, INSTRUMENT, MONTH))])
        market = load_market(connection, INSTRUMENT)
        assert update_sessions(connection, INSTRUMENT).sessions
    window = WalkForwardWindow(WINDOW, _START, _START + 1, _START + 2, _START + 3, 1_860)
    write_plan(layout.windows(INSTRUMENT), Plan(INSTRUMENT, 5, 3, 1, (window,)))
    folder = layout.checkpoint(INSTRUMENT, WINDOW, 7)
    config = load_config("tiny")
    data = TrainingData(market, np.array([1_600]), CostConfig(), {"key": WINDOW})
    write_checkpoint(
        folder, build_networks(config.network, 0), config, data, seed=7, device="cpu", counters={}, metrics={}
    )
    with ProgressFile(folder, "a", {"instrument": INSTRUMENT, "window": WINDOW}) as shown:
        shown.report(0.5, {"iterations": 1.0, "loss": 2.0})
    atomic_write_json(folder / "history.json", [{"iterations": 1.0, "loss": 2.0}])
    atomic_write_json(folder / "run.json", {"mlflow_run_id": "a", "mlflow_url": "b", "dagster_run_id": "c"})
    atomic_write_json(proofs.result_path(layout.proofs, "muzero", "ou"), proof_result())


def proof_result() -> dict[str, Any]:
    """The result of a proof."""
    seed = SeedResult(0, 10.0, 1.0, 0.5, 9.0, 60.0, 1.0, [(1.0, 2.0)], {"steps": 10.0})
    made_by = {"code_version": "1", "config_digest": "1", "cores": 2}
    return proofs.summary(Proof("muzero", "ou"), [seed], [], made_by=made_by, seconds=61.0, date="2026-01-01")


def stores(data_dir: Path) -> list[Store]:
    """Return the stores of a folder that `make_stores` has filled."""
    layout, lake = Layout(data_dir), places.lake_folder(data_dir)
    raw = places.raw_folder(data_dir, INSTRUMENT, "2024-02")
    page = raw / "page-00000.json.zst"
    seed = layout.checkpoint(INSTRUMENT, WINDOW, 7)
    month = places.lake_path(lake, INSTRUMENT, MONTH)

    def warehouse() -> None:
        with open_warehouse(layout.warehouse, read_only=True) as connection:
            read_starts(connection, load_market(connection, INSTRUMENT))

    rebuild = rf"materialise m1_candles of {INSTRUMENT} {MONTH} again; raw pages are kept, no network is needed"
    download = f"materialise raw_candles of {INSTRUMENT} 2024-02 again"
    train = "materialise muzero_checkpoint of its window again|train again|Train one first"
    return [
        Store("manifest", JSON, raw / "manifest.json", lambda: read_manifest(raw), download, "pages", "format"),
        Store("page", PAGE, page, lambda: read_page(page, _entry(raw)), download),
        Store("month", PARQUET, month, lambda: read_candles(lake, INSTRUMENT), rebuild, "mid_c"),
        Store("month's times", PARQUET, month, lambda: month_gaps(lake, INSTRUMENT, FxCalendar()), rebuild, "time"),
        Store("month for features", PARQUET, month, lambda: Month.of(month), rebuild, "source"),
        Store(
            *("gaps", PARQUET, places.gaps_path(lake, INSTRUMENT, MONTH)),
            *(lambda: read_gaps(lake, INSTRUMENT, MONTH), rebuild, "minutes"),
        ),
        Store(
            *("revisions", PARQUET, places.revisions_path(lake, INSTRUMENT, MONTH)),
            *(lambda: read_revisions(places.revisions_path(lake, INSTRUMENT, MONTH)), "move it away", "kind"),
        ),
        Store(
            *("quarantine", PARQUET, places.quarantine_path(data_dir, INSTRUMENT, MONTH)),
            *(lambda: count_quarantined(data_dir, INSTRUMENT, 0, 2**62), "move it away", "time"),
        ),
        Store(
            *("imported month", PARQUET, paper_store.month_path(layout.paper_store, INSTRUMENT, MONTH)),
            *(lambda: paper_store.read_values(layout.paper_store, INSTRUMENT, MONTH), "import the candles again"),
            "bid_o",
        ),
        Store("warehouse", DUCKDB, layout.warehouse, warehouse, "materialise feature_table"),
        Store(
            *("plan", JSON, layout.windows(INSTRUMENT), lambda: read_plan(layout.windows(INSTRUMENT))),
            *("materialise valid_sessions of EUR_USD again", "windows"),
        ),
        Store("checkpoint", JSON, seed / "checkpoint.json", lambda: load_checkpoint(seed), train, "probe"),
        Store("record", JSON, seed / "checkpoint.json", lambda: read_checkpoint(seed), train, "weights_sha256"),
        Store("weights", PAGE, seed / "weights.safetensors", lambda: load_checkpoint(seed), "[Tt]rain again"),
        Store("run", JSON, seed / "run.json", lambda: read_run(seed), train, "mlflow_run_id"),
        Store("history", PAGE, seed / "history.json", lambda: read_history(seed), train),
        Store("progress", JSON, seed / "progress.json", lambda: read_progress(seed), "it can be removed", "curves"),
        Store(
            *("proof", JSON, proofs.result_path(layout.proofs, "muzero", "ou")),
            *(lambda: proofs.read_results(layout.proofs, "muzero"), "prove muzero on ou again", "seeds"),
        ),
    ]


def _entry(raw: Path) -> dict[str, Any] | None:
    manifest = read_manifest(raw)
    return None if manifest is None else manifest["pages"][0]
