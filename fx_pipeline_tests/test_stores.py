"""Every store, damaged in every way, from an older and from a newer version: an error that names it and a remedy."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.ingest.raw import download_month
from fx_pipeline.market.errors import DataError, FxPipelineError, NewerVersionError, OlderVersionError
from fx_pipeline_tests.ingest.conftest import FAR, FakeClient, nanoseconds
from fx_pipeline_tests.stores import DUCKDB, INSTRUMENT, JSON, PAGE, PARQUET, Store, make_stores, stores

NAMES = [store.name for store in stores(Path("data"))]
KINDS = {store.name: store.kind for store in stores(Path("data"))}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stores")
    bars = synthetic_bars(INSTRUMENT, nanoseconds("2024-02-26"), nanoseconds("2024-03-03"))
    client = FakeClient(bars, limit=2_000)
    make_stores(folder, lambda raw: download_month(client, INSTRUMENT, "2024-02", raw, FAR))
    return folder


@pytest.fixture
def data_dir(filled: Path, tmp_path: Path) -> Iterator[Path]:
    yield Path(shutil.copytree(filled, tmp_path / "data"))


def store_of(data_dir: Path, name: str) -> Store:
    return next(store for store in stores(data_dir) if store.name == name)


def refusal(store: Store) -> FxPipelineError:
    """What the reader says; it must name the file and a remedy."""
    with pytest.raises(FxPipelineError) as caught:
        store.read()
    said = str(caught.value)
    assert str(store.path) in said, said
    assert re.search(store.remedy, said), said
    assert "\n" not in said
    return caught.value


@pytest.mark.parametrize("name", NAMES)
def test_sound_store_is_read(data_dir: Path, name: str) -> None:
    store_of(data_dir, name).read()


def halved(data: bytes) -> bytes:
    return data[: len(data) // 2]


def zeroed(data: bytes) -> bytes:
    return bytes(len(data))


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "cut short": halved,
    "zeros": zeroed,
    "empty": lambda data: b"",
    "another file": lambda data: b"<html>not found</html>" * 100,
    "a line of text": lambda data: b"\xff\xfe\x00 no text either",
}


@pytest.mark.parametrize("damage", BYTES)
@pytest.mark.parametrize("name", NAMES)
def test_damaged_bytes_are_named(data_dir: Path, name: str, damage: str) -> None:
    store = store_of(data_dir, name)
    store.path.write_bytes(BYTES[damage](store.path.read_bytes()))
    refusal(store)


@pytest.mark.parametrize("name", NAMES)
def test_folder_in_the_place_of_a_file_is_named(data_dir: Path, name: str) -> None:
    store = store_of(data_dir, name)
    store.path.unlink()
    store.path.mkdir()
    assert re.search("is no file|is a folder", str(refusal(store)))


@pytest.mark.parametrize("name", [name for name in NAMES if KINDS[name] != DUCKDB])
def test_file_that_may_not_be_read_is_named(data_dir: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Permission bits do not bind the root user, under whom tests may run.
    store, read_bytes = store_of(data_dir, name), Path.read_bytes

    def forbidden(path: Path) -> bytes:
        if path == store.path:
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(FxPipelineError, match=re.escape(str(store.path)) + ".*let this user read it"):
        store.read()


RECORDS: dict[str, tuple[Callable[[dict[str, Any], Store], Any], str]] = {
    "key missing": (lambda record, store: {k: v for k, v in record.items() if k != store.key}, "lacks the key"),
    "wrong type": (lambda record, store: record | {store.key: 7}, "should be a valid"),
    "null": (lambda record, store: record | {store.key: None}, "should be a valid"),
    "newer": (lambda record, store: record | {store.version_key: 99}, "newer version"),
    "version of no version": (lambda record, store: record | {store.version_key: "new"}, "damaged"),
    "no record": (lambda record, store: [record], "no record"),
    "a word": (lambda record, store: "nothing", "no record"),
}


@pytest.mark.parametrize("change", RECORDS)
@pytest.mark.parametrize("name", [name for name in NAMES if KINDS[name] == JSON])
def test_changed_record_is_named(data_dir: Path, name: str, change: str) -> None:
    store, (edit, said) = store_of(data_dir, name), RECORDS[change]
    store.path.write_text(json.dumps(edit(json.loads(store.path.read_bytes()), store)))
    error = refusal(store)
    assert said in str(error)
    assert isinstance(error, NewerVersionError) == (change == "newer")


@pytest.mark.parametrize("name", ["manifest", "checkpoint", "record"])
def test_older_record_is_named(data_dir: Path, name: str) -> None:
    store = store_of(data_dir, name)
    record = json.loads(store.path.read_bytes())
    store.path.write_text(json.dumps(record | {store.version_key: 1}))
    assert isinstance(refusal(store), OlderVersionError)


@pytest.mark.parametrize("name", ["plan", "run", "progress"])
def test_record_from_before_there_were_versions_is_read(data_dir: Path, name: str) -> None:
    store = store_of(data_dir, name)
    record = json.loads(store.path.read_bytes())
    record.pop("schema", None)
    store.path.write_text(json.dumps(record))
    store.read()


def test_record_that_nests_too_deeply_is_named(data_dir: Path) -> None:
    store = store_of(data_dir, "plan")
    store.path.write_text('{"windows": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert "nests too deeply" in str(refusal(store))


def _retype(table: pa.Table, name: str) -> pa.Table:
    other = 1 if pa.types.is_string(table.schema.field(name).type) else "x"
    return table.set_column(table.schema.get_field_index(name), name, pa.array([other] * len(table)))


def _without_values(table: pa.Table, name: str) -> pa.Table:
    field = table.schema.field(name).with_nullable(True)
    return table.set_column(table.schema.get_field_index(name), field, pa.nulls(len(table), field.type))


TABLES: dict[str, tuple[Callable[[pa.Table, str], pa.Table], str]] = {
    "column missing": (lambda table, name: table.drop_columns([name]), "is damaged"),
    "wrong type": (lambda table, name: _retype(table, name), "is damaged"),
    "no values": (_without_values, "rows without a value"),
    "newer": (lambda table, name: table.replace_schema_metadata({"fx_pipeline.schema": "9"}), "newer version"),
    "version of no version": (
        lambda table, name: table.replace_schema_metadata({"fx_pipeline.schema": "x"}),
        "damaged",
    ),
}


@pytest.mark.parametrize("change", TABLES)
@pytest.mark.parametrize("name", [name for name in NAMES if KINDS[name] == PARQUET])
def test_changed_table_is_named(data_dir: Path, name: str, change: str) -> None:
    store, (edit, said) = store_of(data_dir, name), TABLES[change]
    changed = edit(pq.read_table(store.path), store.key)
    pq.write_table(changed, store.path)
    assert said in str(refusal(store))


@pytest.mark.parametrize("name", ["month", "month's times", "imported month"])
def test_changed_byte_inside_a_table_is_found(data_dir: Path, name: str) -> None:
    store = store_of(data_dir, name)
    data, footer = bytearray(store.path.read_bytes()), pq.read_metadata(store.path)
    columns = [footer.row_group(0).column(number) for number in range(footer.num_columns)]
    column = next(column for column in columns if column.path_in_schema == store.key)
    start = column.dictionary_page_offset or column.data_page_offset
    data[start + column.total_compressed_size - 1] ^= 1
    store.path.write_bytes(bytes(data))
    refusal(store)


@pytest.mark.parametrize("rows", [slice(0, 0), slice(None, None, -1)])
def test_month_without_bars_or_in_disorder_is_named(data_dir: Path, rows: slice) -> None:
    store = store_of(data_dir, "month's times")
    table = pq.read_table(store.path)
    pq.write_table(table.take(np.arange(len(table))[rows]), store.path)
    refusal(store)


WAREHOUSES = {
    "newer": ("UPDATE warehouse_version SET version = 9", NewerVersionError),
    "older": ("UPDATE warehouse_version SET version = 0", OlderVersionError),
    "table missing": ("DROP TABLE features", DataError),
    "sessions missing": ("DROP TABLE valid_sessions", DataError),
    "column missing": ("CREATE OR REPLACE TABLE features AS SELECT * EXCLUDE (bid_open) FROM features", DataError),
    "wrong type": ("CREATE OR REPLACE TABLE features AS SELECT * REPLACE ('x' AS bid_open) FROM features", DataError),
    "time of text": ("CREATE OR REPLACE TABLE features AS SELECT * REPLACE ('x' AS time) FROM features", DataError),
}


@pytest.mark.parametrize("change", WAREHOUSES)
def test_changed_warehouse_is_named(data_dir: Path, change: str) -> None:
    store, (query, kind) = store_of(data_dir, "warehouse"), WAREHOUSES[change]
    with duckdb.connect(str(store.path)) as connection:
        connection.execute(query)
    with pytest.raises(kind) as caught:
        store.read()
    assert re.search("materialise (feature_table|valid_sessions)", str(caught.value))


def test_warehouse_from_before_there_were_versions_is_read(data_dir: Path) -> None:
    store = store_of(data_dir, "warehouse")
    with duckdb.connect(str(store.path)) as connection:
        connection.execute("DROP TABLE warehouse_version")
    store.read()


def test_damaged_stamp_and_seeds_vouch_for_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from fx_pipeline.proofs.prove import Proof
    from fx_pipeline.proofs.unfinished import FinishedSeeds
    from fx_pipeline.provenance.stamps import stands

    for content in ("", "{", "[]", '{"identity": "a"}', '{"made_from": "a", "seeds": {"x 1": {}}}'):
        stamp, kept = tmp_path / "made_from.json", tmp_path / "ou.unfinished.json"
        caplog.clear()
        stamp.write_text(content)
        kept.write_text(content)
        assert not stands(tmp_path, "a")
        assert FinishedSeeds(kept, Proof("muzero", "ou"), {}).of("x", 1) is None
        assert str(stamp) in caplog.text and str(kept) in caplog.text


def test_older_code_does_not_replace_what_newer_code_made(data_dir: Path) -> None:
    """A month and a manifest mend themselves when they are damaged; of a newer version they are left alone."""
    from fx_pipeline.ingest.lake import build_month
    from fx_pipeline.ingest.layout import lake_folder, lake_path, raw_folder

    path = lake_path(lake_folder(data_dir), INSTRUMENT, "2024-02")
    pq.write_table(pq.read_table(path).replace_schema_metadata({"fx_pipeline.schema": "9"}), path)
    before = path.read_bytes()
    with pytest.raises(NewerVersionError):
        build_month(data_dir, INSTRUMENT, "2024-02")
    assert path.read_bytes() == before
    raw = raw_folder(data_dir, INSTRUMENT, "2024-02")
    manifest = raw / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | {"format": 9}))
    before = manifest.read_bytes()
    client = FakeClient(synthetic_bars(INSTRUMENT, nanoseconds("2024-02-26"), nanoseconds("2024-03-03")))
    with pytest.raises(NewerVersionError):
        download_month(client, INSTRUMENT, "2024-02", raw, FAR)
    assert manifest.read_bytes() == before


def test_every_kind_of_store_is_tried() -> None:
    assert {KINDS[name] for name in NAMES} == {PARQUET, JSON, DUCKDB, PAGE}
