"""Raw pages: complete, resumable at any page, and the same bytes however they came."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.broker.client import MAXIMUM_COUNT, CandlesPage
from fx_pipeline.broker.paper import store as candle_store
from fx_pipeline.broker.paper.bars import Bars
from fx_pipeline.broker.paper.embedded import embedded_server
from fx_pipeline.broker.paper.synthetic import synthetic_bars, synthetic_candles
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import RawMonth, download_month, download_months, read_manifest, read_page
from fx_pipeline.market.errors import BrokerError, DataError
from fx_pipeline.market.months import month_bounds, months_between
from fx_pipeline_tests.ingest.conftest import DAY, FakeClient

FAR = 2**62
HOUR = DAY // 24
MONTH = "2024-02"
START, END = month_bounds(MONTH)


def inside(bars: Bars) -> int:
    return len(bars.between(START, END).time)


def test_a_month_is_whole_and_bounded(tmp_path: Path, client, february: Bars) -> None:
    lines: list[str] = []
    raw = download_month(client, "EUR_USD", MONTH, tmp_path, FAR, lines.append)
    expected = february.between(START, END)
    assert (raw.candles, raw.complete, raw.changed) == (len(expected.time), True, True)
    assert (raw.first, raw.last) == (int(expected.time[0]), int(expected.time[-1]))
    assert (raw.source, raw.quotes) == ("practice", "quoted")
    assert len(lines) == raw.pages == raw.downloaded == len(client.asked)
    times = np.concatenate([read_page(path).time for path in sorted(tmp_path.glob("page-*"))])
    assert np.all(np.diff(times) > 0)
    assert len(times) >= raw.candles


def test_a_finished_month_is_not_asked_for_again(tmp_path: Path, client, tree) -> None:
    download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    before, asked = tree(tmp_path), len(client.asked)
    again = download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    assert (again.downloaded, again.changed, len(client.asked)) == (0, False, asked)
    forced = download_month(client, "EUR_USD", MONTH, tmp_path, FAR, force=True)
    assert (forced.downloaded, forced.changed) == (forced.pages, False)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("killed_after", [0, 1, 4, 8])
def test_a_killed_download_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, client, tree, killed_after: int
) -> None:
    download_month(client, "EUR_USD", MONTH, tmp_path / "whole", FAR)
    killed = dataclasses.replace(client, fail_after=killed_after, asked=[])
    with pytest.raises(ConnectionError):
        download_month(killed, "EUR_USD", MONTH, tmp_path / "killed", FAR)
    resumed = dataclasses.replace(client, asked=[])
    done = download_month(resumed, "EUR_USD", MONTH, tmp_path / "killed", FAR)
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    assert done.downloaded == done.pages - killed_after


class OneInstrument(FakeClient):
    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        if instrument != "EUR_USD":
            raise BrokerError(f"no {instrument} here")
        return super().candles_page(instrument, start_ns, count)


def test_months_downloaded_together_are_those_downloaded_one_by_one(tmp_path: Path, tree) -> None:
    bars = synthetic_bars("EUR_USD", month_bounds("2024-01")[0], month_bounds("2024-03")[1])
    months = months_between(int(bars.time[0]), int(bars.time[-1]))
    client = OneInstrument(bars)
    for month in months:
        download_month(client, "EUR_USD", month, raw_folder(tmp_path / "one by one", "EUR_USD", month), FAR)
    cells = [("EUR_USD", month) for month in months]
    unknown = ("GBP_JPY", "2024-02")
    together = list(download_months(client, [cells[0], unknown, *cells[1:]], tmp_path / "together", FAR))
    assert [cell.month for cell in together if isinstance(cell, RawMonth)] == months
    assert isinstance(together[1], BrokerError)
    assert tree(tmp_path / "together") == tree(tmp_path / "one by one")


def test_a_page_written_before_its_manifest_is_fetched_again(tmp_path: Path, client, tree) -> None:
    download_month(client, "EUR_USD", MONTH, tmp_path / "whole", FAR)
    download_month(client, "EUR_USD", MONTH, tmp_path / "torn", FAR)
    manifest = json.loads((tmp_path / "torn" / "manifest.json").read_text())
    manifest["pages"], manifest["complete"] = manifest["pages"][:3], False
    (tmp_path / "torn" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "torn" / "page-00001.json.zst").write_bytes(b"torn")
    (tmp_path / "torn" / "page-00099.json.zst").write_bytes(b"stale")
    download_month(client, "EUR_USD", MONTH, tmp_path / "torn", FAR)
    assert tree(tmp_path / "torn") == tree(tmp_path / "whole")


def test_sigkill_at_random_moments_loses_and_doubles_nothing(tmp_path: Path, tree) -> None:
    store = tmp_path / "paper"
    start, end = month_bounds("2024-01")
    candle_store.upsert(store, "EUR_USD", synthetic_candles("EUR_USD", start, end))
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        from fx_pipeline.broker.client import OandaClient
        from fx_pipeline.ingest.raw import download_month
        url, token, folder = sys.argv[1:]
        client = OandaClient("paper", token, url=url)
        client._page_limit = 1500
        download_month(client, "EUR_USD", "2024-01", Path(folder), 2 ** 62,
                       progress=lambda line: print(line, flush=True))
        print("done", flush=True)
    """)
    with embedded_server(store) as (url, token):

        def run(folder: Path, lines: int | None) -> bool:
            command = [sys.executable, "-c", script, url, token, str(folder)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ}) as process:
                assert process.stdout is not None
                for number, line in enumerate(process.stdout, start=1):
                    if number == lines:
                        process.send_signal(signal.SIGKILL)
                        return False
                    if line == "done\n":
                        return True
            return False

        assert run(tmp_path / "whole", None)
        for killed_after in (3, 9):
            assert not run(tmp_path / "killed", killed_after)
        assert run(tmp_path / "killed", None)
    leftovers = [name for name in tree(tmp_path / "killed") if Path(name).name.startswith(".tmp-")]
    files = {name: data for name, data in tree(tmp_path / "killed").items() if name not in leftovers}
    assert files == tree(tmp_path / "whole")
    assert json.loads(files["manifest.json"])["candles"] == candle_store.row_count(store, "EUR_USD")


def test_a_running_month_is_continued_and_ends_as_if_downloaded_once(tmp_path: Path, client, tree) -> None:
    for part in (0.1, 0.75, 0.76, 0.9):
        now = START + int(part * (END - START)) // 60_000_000_000 * 60_000_000_000 + 30_000_000_000
        early = dataclasses.replace(client, now_ns=now, asked=[])
        raw = download_month(early, "EUR_USD", MONTH, tmp_path / "grown", now)
        assert not raw.complete
        assert raw.candles == int((early.bars.between(START, now).time + 60_000_000_000 <= now).sum())
    download_month(client, "EUR_USD", MONTH, tmp_path / "grown", FAR)
    download_month(client, "EUR_USD", MONTH, tmp_path / "whole", FAR)
    assert tree(tmp_path / "grown") == tree(tmp_path / "whole")


def test_candles_completed_late_are_waited_for_but_not_for_ever(tmp_path: Path, client) -> None:
    def unfinished(candles: list[dict]) -> list[dict]:
        return [{**candle, "complete": candle["time"] < "2024-02-29T23:58"} for candle in candles]

    late = dataclasses.replace(client, edit=unfinished, asked=[])
    hour = 3_600_000_000_000
    assert not download_month(late, "EUR_USD", MONTH, tmp_path / "a", END + hour).complete
    assert download_month(client, "EUR_USD", MONTH, tmp_path / "a", END + 2 * hour).complete
    assert download_month(late, "EUR_USD", MONTH, tmp_path / "b", END + 100 * hour).complete


def test_a_month_without_candles_has_a_manifest_and_no_page(tmp_path: Path, client) -> None:
    raw = download_month(client, "EUR_USD", "2023-05", tmp_path, FAR, None)
    # The first candles after that month are not stored with it.
    assert (raw.pages, raw.candles, raw.complete, raw.source, raw.first) == (0, 0, True, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_other_data_of_the_paper_server_are_downloaded_again(tmp_path: Path) -> None:
    from fx_pipeline.broker.client import connection

    start, end = month_bounds("2024-01")
    real = synthetic_candles("EUR_USD", start, end, seed=9)
    with connection(paper_store=tmp_path / "paper") as paper:
        synthetic = download_month(paper, "EUR_USD", "2024-01", tmp_path / "raw", FAR)
        assert download_month(paper, "EUR_USD", "2024-01", tmp_path / "raw", FAR).downloaded == 0
        candle_store.upsert(tmp_path / "paper", "EUR_USD", real)
        replaced = download_month(paper, "EUR_USD", "2024-01", tmp_path / "raw", FAR)
        assert download_month(paper, "EUR_USD", "2024-01", tmp_path / "raw", FAR).downloaded == 0
    assert (synthetic.source, replaced.source, replaced.changed) == ("synthetic", "imported", True)
    assert replaced.candles == len(real)
    assert synthetic.candles != replaced.candles


def test_the_name_of_data_is_asked_for_only_where_it_decides_something(tmp_path: Path, february: Bars) -> None:
    client = FakeClient(february, environment="paper", limit=1000, revision="first")
    raw = download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    assert len(client.asked) == raw.pages
    manifest = read_manifest(tmp_path)
    assert manifest is not None and manifest["revision"] == "first"
    assert not download_month(client, "EUR_USD", MONTH, tmp_path, FAR).changed
    assert client.asked[raw.pages :] == [START]


def test_another_environment_starts_afresh(tmp_path: Path, client) -> None:
    download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    live = dataclasses.replace(client, environment="live", asked=[])
    raw = download_month(live, "EUR_USD", MONTH, tmp_path, FAR)
    assert (raw.source, raw.downloaded) == ("live", raw.pages)


def test_a_broker_that_answers_out_of_order_is_refused(tmp_path: Path, client) -> None:
    reversed_ = dataclasses.replace(client, edit=lambda candles: candles[::-1], asked=[])
    with pytest.raises(BrokerError, match="out of order"):
        download_month(reversed_, "EUR_USD", MONTH, tmp_path, FAR)


def test_broken_files_are_named(tmp_path: Path, client) -> None:
    download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    page = tmp_path / "page-00000.json.zst"
    page.write_bytes(page.read_bytes()[:500])
    with pytest.raises(DataError, match=r"page-00000\.json\.zst is damaged .* materialise raw_candles of"):
        read_page(page)
    # It no longer is what the manifest says, and is fetched again.
    assert download_month(client, "EUR_USD", MONTH, tmp_path, FAR).downloaded > 0
    assert len(read_page(page).time) == 1000
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(DataError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_pages_are_deterministic(tmp_path: Path, client, tree) -> None:
    for name in "ab":
        download_month(dataclasses.replace(client, asked=[]), "EUR_USD", MONTH, tmp_path / name, FAR)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    sizes = np.array([len(data) for data in tree(tmp_path / "a").values()])
    assert sizes.min() > 0


def test_short_pages_end_nothing(tmp_path: Path, client, tree) -> None:
    def halve(candles: list[dict]) -> list[dict]:
        return candles[: -(-len(candles) // 2)]

    partial = dataclasses.replace(client, edit=halve, asked=[])
    raw = download_month(partial, "EUR_USD", MONTH, tmp_path, FAR)
    assert (raw.candles, raw.complete) == (inside(client.bars), True)
    before = tree(tmp_path)
    assert download_month(partial, "EUR_USD", MONTH, tmp_path, FAR).downloaded == 0
    assert tree(tmp_path) == before


def test_a_candle_completed_late_inside_an_earlier_page_is_fetched_again(tmp_path: Path, client, tree) -> None:
    now = START + 22 * 86_400_000_000_000 + 30_000_000_000
    late = "2024-02-22T10:00"

    def unfinished(candles: list[dict]) -> list[dict]:
        return [
            {**candle, "complete": candle["complete"] and not candle["time"].startswith(late)} for candle in candles
        ]

    lagging = dataclasses.replace(client, now_ns=now, edit=unfinished, asked=[])
    first = download_month(lagging, "EUR_USD", MONTH, tmp_path / "a", now)
    mended = download_month(dataclasses.replace(client, now_ns=now), "EUR_USD", MONTH, tmp_path / "a", now)
    assert (mended.candles, mended.changed) == (first.candles + 1, True)
    assert mended.downloaded > 1
    download_month(dataclasses.replace(client, now_ns=now), "EUR_USD", MONTH, tmp_path / "b", now)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    # Nobody waits for ever: days later the page is left as it is.
    stuck = dataclasses.replace(client, edit=unfinished, asked=[])
    assert download_month(stuck, "EUR_USD", MONTH, tmp_path / "c", FAR).complete
    assert download_month(stuck, "EUR_USD", MONTH, tmp_path / "c", FAR).downloaded == 0


def test_a_month_is_not_over_before_the_brokers_own_clock_says_so(tmp_path: Path, client) -> None:
    # A broker that replays the past, seen from a machine that lives years later.
    middle = START + 22 * 86_400_000_000_000
    replaying = dataclasses.replace(client, now_ns=middle, asked=[])
    assert not download_month(replaying, "EUR_USD", MONTH, tmp_path, FAR).complete
    raw = download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    assert (raw.complete, raw.candles) == (True, inside(client.bars))


def test_silence_at_the_end_of_a_month_is_not_taken_for_its_end_at_once(tmp_path: Path, client) -> None:
    lost = dataclasses.replace(client, bars=client.bars.between(0, END - 86_400_000_000_000), asked=[])
    hour = 3_600_000_000_000
    for now, complete in ((END + hour, False), (END + 100 * hour, True)):
        silent = dataclasses.replace(lost, now_ns=now)
        assert download_month(silent, "EUR_USD", MONTH, tmp_path / "silent", now).complete is complete
    late = dataclasses.replace(lost, now_ns=END + hour)
    download_month(late, "EUR_USD", MONTH, tmp_path / "found", END + hour)
    found = download_month(client, "EUR_USD", MONTH, tmp_path / "found", END + 2 * hour)
    assert (found.candles, found.complete) == (inside(client.bars), True)


@pytest.mark.parametrize("killed_after", [0, 1, 5])
def test_other_data_take_the_place_of_these_only_when_they_are_whole(
    tmp_path: Path, client, tree, killed_after: int
) -> None:
    def revise(candles: list[dict]) -> list[dict]:
        return [{**candle, "volume": 1} for candle in candles]

    download_month(client, "EUR_USD", MONTH, tmp_path / "a", FAR)
    before = tree(tmp_path / "a")
    revised = dataclasses.replace(client, edit=revise, asked=[])
    killed = dataclasses.replace(revised, fail_after=killed_after, asked=[])
    with pytest.raises(ConnectionError):
        download_month(killed, "EUR_USD", MONTH, tmp_path / "a", FAR, force=True)
    assert {name: data for name, data in tree(tmp_path / "a").items() if not name.startswith("next")} == before
    resumed = download_month(revised, "EUR_USD", MONTH, tmp_path / "a", FAR, force=True)
    assert (resumed.downloaded, resumed.changed) == (resumed.pages - killed_after, True)
    download_month(revised, "EUR_USD", MONTH, tmp_path / "b", FAR)
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != before


@pytest.mark.parametrize("killed_at", range(12))
def test_a_kill_while_other_data_take_over_is_made_good(
    tmp_path: Path, client, tree, killed_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    revised = dataclasses.replace(client, limit=2000, edit=lambda candles: candles[:-1], asked=[])
    download_month(client, "EUR_USD", MONTH, tmp_path / "a", FAR)
    download_month(revised, "EUR_USD", MONTH, tmp_path / "b", FAR)
    moves = 0
    replace = os.replace

    def replace_until_killed(source, target) -> None:
        nonlocal moves
        # Only moves between the folders count, and that of the manifest that ends them.
        if (Path(source).parent.name == "next" and Path(target).parent.name != "next") or moves:
            moves += 1
            if moves > killed_at:
                raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", replace_until_killed)
        with contextlib.suppress(KeyboardInterrupt):
            download_month(revised, "EUR_USD", MONTH, tmp_path / "a", FAR, force=True)
    download_month(revised, "EUR_USD", MONTH, tmp_path / "a", FAR)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@dataclasses.dataclass
class Silent(FakeClient):
    """Answers the requests of these numbers, counted from 1, with no candles."""

    silent: frozenset[int] = frozenset()

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        number = len(self.asked) + 1
        page = super().candles_page(instrument, start_ns, count)
        if number not in self.silent:
            return page
        body = b'{"instrument":"EUR_USD","granularity":"M1","candles":[]}'
        return dataclasses.replace(page, body=body, time_ns=page.time_ns[:0], complete=page.complete[:0])


def silent(client: FakeClient, *numbers: int, **changes: object) -> Silent:
    plain = {field.name: getattr(client, field.name) for field in dataclasses.fields(client)}
    return Silent(**{**plain, "asked": [], "silent": frozenset(numbers), **changes})  # type: ignore[arg-type]


def test_one_empty_page_does_not_end_an_old_month(tmp_path: Path, client, tree) -> None:
    # After the empty page, the next month is asked for its first candle.
    raw = download_month(silent(client, 3), "EUR_USD", MONTH, tmp_path / "a", FAR)
    assert (raw.candles, raw.complete) == (inside(client.bars), True)
    download_month(client, "EUR_USD", MONTH, tmp_path / "whole", FAR)
    assert tree(tmp_path / "a") == tree(tmp_path / "whole")
    with pytest.raises(BrokerError, match=r"says nothing of EUR_USD from 2024-02-2.*run again"):
        download_month(silent(client, 3, 5), "EUR_USD", MONTH, tmp_path / "b", FAR)
    assert not read_manifest(tmp_path / "b")["complete"]
    download_month(client, "EUR_USD", MONTH, tmp_path / "b", FAR)
    assert tree(tmp_path / "b") == tree(tmp_path / "whole")


def test_empty_replies_take_nothing_from_a_running_month(tmp_path: Path, client, tree) -> None:
    now = START + 21 * DAY + 12 * HOUR
    early = dataclasses.replace(client, now_ns=now, limit=5000, asked=[])
    first = download_month(early, "EUR_USD", MONTH, tmp_path, now)
    before = tree(tmp_path)
    later = {"now_ns": now + HOUR, "limit": 5000}
    with pytest.raises(BrokerError, match="had, candles later"):
        download_month(silent(client, 1, 2, **later), "EUR_USD", MONTH, tmp_path, now + HOUR)
    assert tree(tmp_path) == before
    raw = download_month(silent(client, 1, **later), "EUR_USD", MONTH, tmp_path, now + HOUR)
    assert raw.candles == first.candles + inside(client.bars.between(now, now + HOUR))


@pytest.mark.parametrize("environment", ["practice", "paper"])
@pytest.mark.parametrize("back", [4 * HOUR, 30 * DAY])
@pytest.mark.parametrize("day", [21.5, 60])
def test_a_clock_that_went_back_takes_nothing_away(
    tmp_path: Path, client, tree, environment: str, back: int, day: float
) -> None:
    now = START + int(day * DAY)
    revision = "one" if environment == "paper" else None
    there = dataclasses.replace(client, environment=environment, revision=revision, now_ns=now, asked=[])
    first = download_month(there, "EUR_USD", MONTH, tmp_path, now)
    before = tree(tmp_path)
    for force in (False, True) if back > day * DAY else (False,):
        earlier = dataclasses.replace(there, now_ns=now - back, asked=[])
        raw = download_month(earlier, "EUR_USD", MONTH, tmp_path, now - back, force=force)
        assert (raw.candles, raw.downloaded, raw.changed) == (first.candles, 0, False)
        assert tree(tmp_path) == before


def test_an_empty_download_does_not_replace_candles_unless_the_broker_names_its_data(tmp_path: Path, client) -> None:
    before = download_month(client, "EUR_USD", MONTH, tmp_path, FAR)
    empty = dataclasses.replace(client, edit=lambda candles: [], asked=[])
    with pytest.raises(BrokerError, match="run again"):
        download_month(empty, "EUR_USD", MONTH, tmp_path, FAR, force=True)
    with pytest.raises(BrokerError, match="those of practice stand here"):
        download_month(dataclasses.replace(empty, environment="live"), "EUR_USD", MONTH, tmp_path, FAR)
    unnamed = dataclasses.replace(empty, environment="paper")
    with pytest.raises(BrokerError, match="those of practice stand here"):
        download_month(unnamed, "EUR_USD", MONTH, tmp_path, FAR)
    assert download_month(client, "EUR_USD", MONTH, tmp_path, FAR).candles == before.candles
    named = dataclasses.replace(unnamed, revision="none")
    assert download_month(named, "EUR_USD", MONTH, tmp_path, FAR).candles == 0


def test_a_paper_broker_that_stops_naming_its_data_is_not_believed(tmp_path: Path, client, tree) -> None:
    paper = dataclasses.replace(client, environment="paper", revision="one", asked=[])
    download_month(paper, "EUR_USD", MONTH, tmp_path, FAR)
    before = tree(tmp_path)
    unnamed = dataclasses.replace(paper, revision=None, edit=lambda candles: candles[:-1], asked=[])
    assert download_month(unnamed, "EUR_USD", MONTH, tmp_path, FAR).downloaded == 0
    assert tree(tmp_path) == before


@dataclasses.dataclass
class Halving(FakeClient):
    """A client of a server that gives small pages: halves what is too much, and remembers it until it is killed."""

    known: int = MAXIMUM_COUNT
    largest: int = 500

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage:
        count = min(count, self.known)
        while count > self.largest:
            count = self.known = count // 2
        return super().candles_page(instrument, start_ns, count)


def test_a_kill_near_the_end_of_a_month_of_halved_pages_ends_with_the_same_bytes(tmp_path: Path, client, tree) -> None:
    def fresh(fail_after: int | None = None) -> Halving:
        return Halving(client.bars, fail_after=fail_after)

    raw = download_month(fresh(), "EUR_USD", MONTH, tmp_path / "whole", FAR)
    for pages in range(raw.pages - 6, raw.pages):
        folder = tmp_path / str(pages)
        with pytest.raises(ConnectionError):
            download_month(fresh(pages), "EUR_USD", MONTH, folder, FAR)
        download_month(fresh(), "EUR_USD", MONTH, folder, FAR)
        assert tree(folder) == tree(tmp_path / "whole")
