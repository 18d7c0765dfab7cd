"""A run of several months: those that fail take nothing from the others, and the run says which they were."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pytest

from fx_pipeline.broker.client import MAXIMUM_COUNT, CandlesPage
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.synthetic import synthetic_bars
from fx_pipeline.defs import market_data
from fx_pipeline.defs.resources import Broker
from fx_pipeline.market.errors import BrokerError, DataError
from fx_pipeline_tests.ingest.conftest import FakeClient

if TYPE_CHECKING:
    from fx_pipeline_tests.defs.conftest import Chain

MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", "2024-05"]


def ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


@dataclass
class Failing(FakeClient):
    """Fails for some months, so often that no retry helps, or only once."""

    months: dict[str, Exception] = field(default_factory=dict)
    heals: bool = False

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        month = str(np.datetime64(start_ns, "ns").astype("datetime64[M]"))
        if month in self.months:
            raise self.months.pop(month) if self.heals else self.months[month]
        return super().candles_page(instrument, start_ns, count)


SERVING: list[Failing] = []


class ServedHere(Broker):
    """A broker whose client is at hand. (Dagster makes resources anew for a run: they hold no objects.)"""

    @contextmanager
    def client(self) -> Iterator[Any]:
        yield SERVING[-1]


@pytest.fixture
def ranged(empty: "Chain", monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run `raw_candles` and `m1_candles` over five months, the first days of each, against a client that fails."""
    at_once = dg.RetryPolicy(max_retries=market_data.MAX_RETRIES)
    monkeypatch.setattr(market_data.raw_candles.op, "_retry_policy", at_once)

    def run(client: Failing, again: bool = False) -> dg.ExecuteInProcessResult:
        SERVING.append(client)
        job = dg.Definitions(
            assets=[market_data.raw_candles, market_data.m1_candles],
            resources={"broker": ServedHere()},
            jobs=[dg.define_asset_job("both", selection="*", executor_def=dg.in_process_executor)],
        ).resolve_job_def("both")
        tags = {
            "dagster/asset_partition_range_start": f"EUR_USD|{MONTHS[0]}",
            "dagster/asset_partition_range_end": f"EUR_USD|{MONTHS[-1]}",
        }
        with empty.environment():
            return job.execute_in_process(
                instance=empty.instance,
                tags=tags,
                raise_on_error=False,
                run_config={
                    "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
                    "ops": {"raw_candles": {"config": {"again": again}}},
                },
            )

    return run


def client(heals: bool = False, **months: Exception) -> Failing:
    everywhen = (0, 2**62)
    days = [synthetic_bars("EUR_USD", ns(f"{month}-02"), ns(f"{month}-04"), span_ns=everywhen) for month in MONTHS]
    named = {name.replace("m", "2024-"): error for name, error in months.items()}
    return Failing(Bars.concatenate(days), limit=2_000, months=named, heals=heals)


def materialized(chain: "Chain", asset: str) -> set[str]:
    return {key.split("|")[1] for key in chain.instance.get_materialized_partitions(dg.AssetKey(asset))}


def failure(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure]
    data = event.step_failure_data
    return (data.user_failure_data.description or "") if data.user_failure_data else ""


def test_one_month_that_fails_leaves_the_others(empty: "Chain", ranged: Any) -> None:
    result = ranged(client(m02=DataError("its page is broken")))
    assert not result.success
    assert materialized(empty, "raw_candles") == {"2024-01", "2024-03", "2024-04", "2024-05"}
    assert failure(result) == (
        "1 of 5 failed: EUR_USD|2024-02: its page is broken. The other 4 are there; a further run does not make them "
        "again."
    )
    # Nothing but the month itself is downloaded by the next run, and then all are built.
    mended = client()
    assert ranged(mended).success
    assert materialized(empty, "m1_candles") == set(MONTHS)
    full = {np.datetime64(start, "ns").astype("datetime64[M]").astype(str) for start in mended.asked}
    assert "2024-02" in full


def test_broker_is_asked_again_and_what_was_there_is_kept(empty: "Chain", ranged: Any) -> None:
    result = ranged(client(heals=True, m03=BrokerError("the line was cut")))
    assert result.success
    assert materialized(empty, "raw_candles") == materialized(empty, "m1_candles") == set(MONTHS)


def test_broker_that_is_down_is_not_asked_for_every_month(empty: "Chain", ranged: Any) -> None:
    down = client(**{f"m0{month}": BrokerError("nobody answers") for month in (2, 3, 4, 5)})
    result = ranged(down)
    assert not result.success
    assert materialized(empty, "raw_candles") == {"2024-01"}
    said = failure(result)
    assert said.startswith("3 of 5 failed: EUR_USD|2024-02: nobody answers; ")
    assert "Not tried after that: EUR_USD|2024-05." in said


def history(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (found,) = [check for check in result.get_asset_check_evaluations() if check.check_name == "history_stands"]
    return found


def revised(pips: int = 1) -> Failing:
    other = client()
    other.environment = "live"
    other.bars.prices[10, :] += 0.0001 * pips
    return other


def test_changed_bars_are_a_warning_for_days(empty: "Chain", ranged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert history(ranged(client())).passed
    result = ranged(revised())
    assert result.success
    # The next run finds nothing new: what the check says of the last days stands.
    assert ranged(revised()).success and not history(ranged(revised())).passed
    monkeypatch.setattr(market_data, "REVISED_DAYS", 0)
    assert history(ranged(revised())).passed
    stands = history(result)
    assert not stands.passed and stands.severity == dg.AssetCheckSeverity.WARN
    rows = [row.data for row in stands.metadata["changed months"].value.records]
    assert {"partition": "EUR_USD|2024-01"}.items() <= rows[0].items() and rows[0]["bars changed"] >= 1


def test_finished_months_say_what_changed_when_they_are_downloaded_again(empty: "Chain", ranged: Any) -> None:
    assert ranged(client()).success
    revised = client()
    revised.bars.prices[10, :] += 0.0001
    bars = revised.bars
    revised.bars = Bars.concatenate([bars.part(0, len(bars.time) - 9), bars.part(len(bars.time) - 8, len(bars.time))])
    quiet = ranged(revised)
    first, last = f"EUR_USD|{MONTHS[0]}", f"EUR_USD|{MONTHS[-1]}"
    assert all(event.metadata["pages downloaded now"].value == 0 for event in said(quiet, "raw_candles").values())
    told = ranged(revised, again=True)
    assert told.success
    raw, built = said(told, "raw_candles"), said(told, "m1_candles")
    assert [event.metadata["pages changed"].value for event in raw.values()] == [True, False, False, False, True]
    assert (built[first].metadata["bars changed"].value, built[first].metadata["bars removed"].value) == (1, 0)
    assert (built[last].metadata["bars changed"].value, built[last].metadata["bars removed"].value) == (0, 1)
    once_more = said(ranged(revised, again=True), "raw_candles")
    assert not any(event.metadata["pages changed"].value for event in once_more.values())


def said(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, dg.AssetMaterialization]:
    events = {str(event.partition): event for event in result.asset_materializations_for_node(asset)}
    return dict(sorted(events.items()))


def test_changed_bars_are_told_when_another_month_fails(empty: "Chain", ranged: Any) -> None:
    assert ranged(client()).success and ranged(revised()).success
    (empty.data_dir / "raw" / "EUR_USD" / "2024-03" / "manifest.json").unlink()
    result = empty.materialize(market_data.m1_candles, "EUR_USD|2024-03", fails=True)
    assert not result.success and not history(result).passed


def test_revisions_that_cannot_be_read_are_told(empty: "Chain", ranged: Any) -> None:
    broken = empty.data_dir / "lake" / "revisions" / "GBP_USD" / "2024-01.parquet"
    broken.parent.mkdir(parents=True)
    broken.write_bytes(b"PAR1")
    stands = history(ranged(client()))
    assert not stands.passed and str(broken.name) in str(stands.metadata["note"].value)


def test_plots_are_kept_once_a_day(empty: "Chain", ranged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def details(result: dg.ExecuteInProcessResult) -> set[str]:
        events = result.asset_materializations_for_node("m1_candles")
        return {str(event.partition)[8:] for event in events if "gaps" in event.metadata}

    def newest_shows_all(result: dg.ExecuteInProcessResult) -> bool:
        (last,) = [e for e in result.asset_materializations_for_node("m1_candles") if e.partition == "EUR_USD|2024-05"]
        return "months" in last.metadata

    first = ranged(client())
    assert details(first) == set(MONTHS) and newest_shows_all(first)
    same_day = ranged(revised())
    assert details(same_day) == set() and not newest_shows_all(same_day)
    # Every moment is a day of its own.
    monkeypatch.setattr(market_data, "_DAY_NS", 1)
    assert details(ranged(revised())) == set(), "nothing was written"
    assert details(ranged(revised(2), again=True)) == {"2024-01"}


def test_newest_month_shows_all_of_them(empty: "Chain", ranged: Any) -> None:
    result = ranged(client())
    events = {event.partition: event for event in result.asset_materializations_for_node("m1_candles")}
    assert "months" not in events["EUR_USD|2024-01"].metadata
    newest = events["EUR_USD|2024-05"].metadata
    months = [row.data for row in newest["months"].value.records]
    assert [month["month"] for month in months] == sorted(MONTHS, reverse=True)
    # Most of each month is not there, which its own table cannot know.
    assert months[-1]["missing_percent"] > 80 > newest["missing percent"].value
    assert len(newest["missing by month"].value) < 60_000
