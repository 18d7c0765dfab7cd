"""Which months are asked for: none that is complete, and none left out, however long nobody asked."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.ingest import lake
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.pending import pending_months
from fx_pipeline.ingest.raw import MANIFEST, download_month
from fx_pipeline_tests.ingest.conftest import FakeClient


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def pending(data_dir: Path, now: str, environment: str = "practice") -> list[str]:
    return pending_months(data_dir, "EUR_USD", environment, ns(now))


def ingest(data_dir: Path, month: str, now: str) -> bool:
    complete = download(data_dir, month, now)
    build_month(data_dir, "EUR_USD", month)
    return complete


def download(data_dir: Path, month: str, now: str) -> bool:
    client = FakeClient(synthetic_bars("EUR_USD", ns("2024-01-15"), ns("2024-02-03")), now_ns=ns(now))
    folder = raw_folder(data_dir, "EUR_USD", month)
    return download_month(client, "EUR_USD", month, folder, now_ns=ns(now)).complete


def test_first_the_running_month_and_the_one_before(tmp_path: Path) -> None:
    assert pending(tmp_path, "2024-03-01T00:07") == ["2024-02", "2024-03"]
    assert pending(tmp_path, "2024-02-29T23:59:59") == ["2024-01", "2024-02"]


def test_month_is_asked_for_until_it_is_complete(tmp_path: Path) -> None:
    assert not ingest(tmp_path, "2024-01", "2024-01-20")
    assert pending(tmp_path, "2024-01-20T01:00") == ["2024-01"]
    assert pending(tmp_path, "2024-02-01T00:07") == ["2024-01", "2024-02"]
    assert ingest(tmp_path, "2024-01", "2024-02-05")
    assert pending(tmp_path, "2024-02-05") == ["2024-02"]
    assert pending(tmp_path, "2024-01-31") == []


def test_nothing_is_left_out_after_a_long_pause(tmp_path: Path) -> None:
    assert not ingest(tmp_path, "2024-01", "2024-01-20")
    assert pending(tmp_path, "2024-05-03") == ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


def test_months_that_were_skipped_between_others_are_asked_for(tmp_path: Path) -> None:
    for month in ("2023-10", "2024-01"):
        assert ingest(tmp_path, month, "2024-02-05")
    assert pending(tmp_path, "2024-02-05") == ["2023-11", "2023-12", "2024-02"]


def test_a_month_is_pending_until_the_lake_is_built_from_its_pages(tmp_path: Path) -> None:
    assert not ingest(tmp_path, "2024-01", "2024-01-31T20:00")
    # The month's last poll is killed after the download.
    assert download(tmp_path, "2024-01", "2024-02-05")
    assert pending(tmp_path, "2024-02-05") == ["2024-01", "2024-02"]
    build_month(tmp_path, "EUR_USD", "2024-01")
    assert pending(tmp_path, "2024-02-05") == ["2024-02"]


def test_a_month_without_candles_is_built_too(tmp_path: Path) -> None:
    assert ingest(tmp_path, "2023-05", "2024-02-05")
    assert "2023-05" not in pending(tmp_path, "2024-02-05")


@pytest.mark.parametrize("after", ["download", "bars"])
def test_sigkill_between_download_and_lake_leaves_the_month_pending(tmp_path: Path, after: str) -> None:
    assert not ingest(tmp_path, "2024-01", "2024-01-31T20:00")
    child = os.fork()
    if child == 0:
        download(tmp_path, "2024-01", "2024-02-05")
        if after == "bars":
            # All of the lake is written but for the last file.
            lake.built_path = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
            build_month(tmp_path, "EUR_USD", "2024-01")
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert pending(tmp_path, "2024-02-05") == ["2024-01", "2024-02"]
    assert ingest(tmp_path, "2024-01", "2024-02-06")
    assert pending(tmp_path, "2024-02-06") == ["2024-02"]


def test_pages_of_another_environment_do_not_count(tmp_path: Path) -> None:
    ingest(tmp_path, "2024-01", "2024-02-05")
    assert pending(tmp_path, "2024-05-03", "live") == ["2024-04", "2024-05"]


def test_broken_manifest_is_left_to_the_download_which_says_so(tmp_path: Path) -> None:
    download(tmp_path, "2024-01", "2024-02-05")
    (raw_folder(tmp_path, "EUR_USD", "2024-01") / MANIFEST).write_text("{")
    assert pending(tmp_path, "2024-02-05") == ["2024-01", "2024-02"]
