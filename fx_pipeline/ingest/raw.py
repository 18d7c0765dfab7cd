"""Raw pages of candles, kept as received: `raw/{INSTRUMENT}/{YYYY-MM}/page-00000.json.zst` and a `manifest.json`.

Those of other timeframes than M1 lie in `raw/h1/{INSTRUMENT}/...`. A candle is of the month in which it opens.

The pager asks for `from` and `count`, and its next `from` is the end of the last candle: gaps cost nothing, no
future time is named, and a page that is shorter than asked ends nothing. A month ends at a candle of the next one, or
where the broker has nothing more: an empty page is believed only if there is nothing from the next month on either, and
nothing of what it answers for stood here before.

Each page is on disk before the manifest lists it; a killed download goes on after the last listed page, and its files
equal those of an uninterrupted one, byte for byte. A page with a candle that is not final yet, and what follows it, is
asked for again. Other data in place of those that stand here are downloaded beside them, and take their place whole.
"""

import contextlib
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa

from fx_pipeline.broker.client import MAXIMUM_COUNT, CandlesPage
from fx_pipeline.broker.decode import Candles, read_candles
from fx_pipeline.broker.quotes_word import base_word
from fx_pipeline.ingest.layout import is_timeframe, raw_folder
from fx_pipeline.ingest.reading import in_order
from fx_pipeline.market.alignment import bar_end, bar_starts, first_open
from fx_pipeline.market.atomic import flush_files
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.disk import clear_disk_errors, read_stored
from fx_pipeline.market.errors import BrokerError, DataError, FxPipelineError, NewerVersionError
from fx_pipeline.market.files import remove_file, write_bytes
from fx_pipeline.market.months import month_bounds
from fx_pipeline.market.records import Shape, check_record, read_record
from fx_pipeline.market.timeframe import M1, Timeframe

MANIFEST = "manifest.json"
_FORMAT = 2
_PAGES = "page-*"
_JSON = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE
#: Where other data grow until they are whole, and the manifest that says so.
_NEXT, _READY = "next", "ready.json"
#: A month's last candles may be completed late, but nobody waits for them for ever.
_LATE_NS, _PATIENCE_NS = 10 * MINUTE_NS, 3 * 24 * 60 * MINUTE_NS
#: Downloads under way.
_AT_ONCE = 3
# Level 1 is the fastest, and makes pages of candles no larger than level 3 does.
_ZSTD = pa.Codec("zstd", compression_level=1)


logger = logging.getLogger(__name__)


class _Page(Shape):
    file: str
    sha256: str
    bytes: int
    count: int
    received: int
    candles: int
    incomplete: int
    first: int
    last: int
    source: str
    quotes: str


class _Manifest(Shape):
    instrument: str
    month: str
    environment: str
    revision: str | None
    complete: bool
    candles: int
    pages: list[_Page]


class PageSource(Protocol):
    """What the pager needs of a client (`OandaClient` has it)."""

    environment: Any

    def candles_page(
        self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT, timeframe: Timeframe = M1
    ) -> CandlesPage: ...


@dataclass(frozen=True)
class RawMonth:
    """The raw pages of a month.

    Attributes
    ----------
    pages, candles : int
        Pages, and candles of the month in them.
    downloaded : int
        Pages that this call asked for and got; 0 when everything was there.
    changed : bool
        Whether the pages, or what is known of them, differ from what was there before.
    complete : bool
        Whether the month is over and all of its candles are final: it is not downloaded again.
    source : str or None
        "imported", "synthetic", "practice" or "live"; None without pages.
    quotes : str or None
        "quoted", "modelled" or "mixed".
    first, last : int or None
        Open times of the first and last candle, UTC nanoseconds.
    """

    instrument: str
    month: str
    folder: Path
    pages: int
    candles: int
    downloaded: int
    changed: bool
    complete: bool
    source: str | None
    quotes: str | None
    first: int | None
    last: int | None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Return the manifest of a month's folder, or None when there is none.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    return read_record(path, _Manifest, _again(folder), _FORMAT, "format")


def _again(folder: Path) -> str:
    above = folder.parent.parent.name
    asset = f"raw_candles_{above}" if is_timeframe(above) else "raw_candles"
    return f"materialise {asset} of {folder.parent.name} {folder.name} again, it is downloaded anew."


def read_page(path: Path, entry: Mapping[str, Any] | None = None) -> Candles:
    """Return the candles of a stored page.

    Parameters
    ----------
    entry : mapping, optional
        What the manifest says of the file.

    Raises
    ------
    DataError
        If it is missing, cut short, not a page of candles, or not the file that the manifest names.
    """
    stored = read_stored(path, _again(path.parent))
    try:
        if entry is None:
            return read_candles(pa.CompressedInputStream(pa.BufferReader(stored), "zstd").read())
        if hashlib.sha256(stored).hexdigest() != entry["sha256"]:
            raise DataError("it is not the file that the manifest names")
        # With its size known, the body is unpacked in one go.
        return read_candles(_ZSTD.decompress(stored, entry["bytes"], asbytes=True))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}): {_again(path.parent)}") from error


def download_months(
    client: PageSource,
    cells: Iterable[tuple[str, str]],
    data_dir: Path,
    now_ns: int | None = None,
    force: bool = False,
    timeframe: Timeframe = M1,
) -> Generator[RawMonth | FxPipelineError]:
    """Download months, a few at once, and yield what each gave in order: its pages, or the error with which it failed.

    While one month's pages are taken apart and stored, the broker is at work on another's. Whoever stops iterating
    stops the downloads, but for those under way.

    Parameters
    ----------
    client : PageSource
        It must serve several threads, as `OandaClient` does.
    cells : iterable of (str, str)
        Instruments and months, each pair once. The other arguments are those of `download_month`.
    data_dir : Path
    """

    def download(cell: tuple[str, str]) -> RawMonth | FxPipelineError:
        try:
            folder = raw_folder(data_dir, *cell, timeframe)
            return download_month(client, *cell, folder, now_ns=now_ns, force=force, timeframe=timeframe)
        except FxPipelineError as error:
            return error

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from in_order(pool, _AT_ONCE, download, cells)


def download_month(
    client: PageSource,
    instrument: str,
    month: str,
    folder: Path,
    now_ns: int | None = None,
    progress: Callable[[str], None] | None = None,
    force: bool = False,
    timeframe: Timeframe = M1,
) -> RawMonth:
    """Download a month of candles of a timeframe, or what is missing of it.

    A complete month is left alone, unless `force`, or unless the paper server says that its data are others by now:
    then all of it is downloaded, and takes the place of what is here when it is whole. A month that still runs is
    continued from its last full page. Where the broker's clock is earlier than what stands here, that is left alone.

    Parameters
    ----------
    client : PageSource
        An `OandaClient`.
    folder : Path
        Where the month's pages go.
    now_ns : int, optional
        UTC nanoseconds by which the month is judged to be over, unless the broker's clock says less; the system's
        clock when absent.
    progress : callable, optional
        Told a line a page.
    force : bool
        Download every page again.
    timeframe : Timeframe
        Of the candles.

    Raises
    ------
    BrokerError
        If the broker fails, or says nothing where it has, or had, candles; pages that were downloaded stay.
    FxPipelineError
        If a page cannot be written.
    """
    now = time.time_ns() if now_ns is None else now_ns
    _take_over(folder)
    before = _manifest_if_readable(folder)
    download = _Download(client, instrument, month, folder, now, progress, timeframe)
    if before is not None:
        download.ask_revision()
    if before is not None and before["pages"] and download.cannot_judge(before):
        return _summary(before, folder, 0, False)
    if before is not None and download.continues(before):
        download.newest_here = before["pages"][-1]["last"] if before["pages"] else None
    if before is not None and download.continues(before) and not force:
        download.pages = _standing_pages(folder, before)
        if len(download.pages) == len(before["pages"]) and (before["complete"] or download.is_too_early()):
            return _summary(before, folder, 0, False)
    elif before is not None and before["pages"]:
        download.folder = folder / _NEXT
        staged = _manifest_if_readable(download.folder)
        if staged is not None and download.continues(staged):
            download.pages = _standing_pages(download.folder, staged)
    if download.folder == folder:
        shutil.rmtree(folder / _NEXT, ignore_errors=True)
    manifest = download.run()
    if before is not None and before["pages"] and not manifest["pages"] and not download.shows_its_end:
        raise BrokerError(
            f"the broker has no candles of {instrument} in {month}, and those of {before['environment']} stand here: "
            f"run again later. If none is right, remove {folder} first."
        )
    for stale in sorted(download.folder.glob(_PAGES)):
        if stale.name not in {entry["file"] for entry in manifest["pages"]}:
            remove_file(stale)
    write_bytes(download.folder / (MANIFEST if download.folder == folder else _READY), _manifest_bytes(manifest))
    _take_over(folder)
    return _summary(manifest, folder, download.downloaded, manifest != before)


class _Download:
    def __init__(
        self,
        client: PageSource,
        instrument: str,
        month: str,
        folder: Path,
        now_ns: int,
        progress: Callable[[str], None] | None,
        timeframe: Timeframe,
    ) -> None:
        self.folder = self._stands = folder
        self.pages: list[dict[str, Any]] = []
        self.downloaded = 0
        self._unflushed: list[Path] = []
        #: Open time of the newest candle that stands here and that the broker must still have.
        self.newest_here: int | None = None
        #: Whether what was asked shows where the month ends, or the broker names its data.
        self.shows_its_end = False
        self._client = client
        self._instrument = instrument
        self._month = month
        self._timeframe = timeframe
        # A bar that began in the month before is of that one.
        self._start, self._end = (first_open(bound, timeframe) for bound in month_bounds(month))
        self._now = now_ns
        self._progress = progress
        # Only the paper server names its revision; OANDA's history is final once complete. The first answer stands for
        # the whole download, so that data which change meanwhile are seen next time.
        self._revision: str | None = None
        self._awaits_revision = str(client.environment) == "paper"

    def ask_revision(self) -> None:
        """Find out what the broker calls its data, to compare them with those that stand here."""
        if self._awaits_revision:
            self._ask(self._start, 1)

    def continues(self, manifest: dict[str, Any]) -> bool:
        """Whether the broker's data are those of a manifest."""
        return bool(manifest["environment"] == str(self._client.environment) and manifest["revision"] == self._revision)

    def cannot_judge(self, manifest: dict[str, Any]) -> bool:
        """Whether the broker cannot know the month yet, or does not name its data as it did."""
        same = manifest["environment"] == str(self._client.environment)
        return self._now <= self._start or (same and self._revision is None and manifest["revision"] is not None)

    def is_too_early(self) -> bool:
        """Whether the newest candle that stands here lies in the future."""
        return self.newest_here is not None and self._now < self.newest_here

    def run(self) -> dict[str, Any]:
        """Download what `pages` lack, and return the manifest."""
        self.pages = _final_pages(self.pages, self._now)
        position = self._after(self.pages[-1]["last"]) if self.pages else self._start
        # A client that is new may not know yet that the broker gives smaller pages, and near the month's end would not
        # find out in the same steps.
        limit = self.pages[-1]["count"] if self.pages else MAXIMUM_COUNT
        reached_next_month = False
        # One page is stored while the next one is on its way.
        with ThreadPoolExecutor(1) as writer:
            storing: Future[str] | None = None
            while position < self._end and position < self._now:
                page = self._page(position, min(limit, -(-(self._end - position) // self._timeframe.bar_ns)))
                self._report(storing)
                storing = None
                if not len(page.time_ns):
                    break
                if page.time_ns[0] >= self._end:
                    reached_next_month = True
                    break
                storing = writer.submit(self._store, page)
                position = self._after(int(page.time_ns[-1]))
            self._report(storing)
        with clear_disk_errors(self.folder):
            flush_files(self._unflushed)
        self.shows_its_end = reached_next_month or position >= self._end or self._revision is not None
        if not reached_next_month and position < self._end and self._stood_here(position):
            raise self._silence(position)
        waiting = any(entry["incomplete"] for entry in self.pages) and self._now < self._end + _PATIENCE_NS
        # A broker that has nothing to say after the last candle may yet find the rest.
        settled = self.shows_its_end or self._now >= self._end + _PATIENCE_NS
        complete = self._now >= self._end + _LATE_NS and not waiting and settled
        return self._manifest(complete)

    def _page(self, position: int, count: int) -> CandlesPage:
        page = self._ask(position, count)
        # From where it has later candles, an empty page is a slip: a count of candles reaches over any gap.
        if not len(page.time_ns) and (self._stood_here(position) or self._has_next_month()):
            page = self._ask(position, count)
            if not len(page.time_ns):
                raise self._silence(position)
        return page

    def _stood_here(self, position: int) -> bool:
        return self.newest_here is not None and position <= self.newest_here

    def _has_next_month(self) -> bool:
        return self._now >= self._end and len(self._ask(self._end, 1).time_ns) > 0

    def _silence(self, position: int) -> BrokerError:
        moment = np.datetime_as_string(np.datetime64(position, "ns"), unit="m")
        return BrokerError(
            f"the broker says nothing of {self._instrument} from {moment}Z on, and has, or had, candles later: run "
            f"again. If it keeps to that, remove {self._stands} first."
        )

    def _ask(self, position: int, count: int) -> CandlesPage:
        asked = (self._instrument, position, count)
        # A source of minutes alone need not know of timeframes.
        page = self._client.candles_page(*asked, *([] if self._timeframe == M1 else [self._timeframe]))
        if page.broker_ns is not None:
            self._now = min(self._now, page.broker_ns)
        if self._awaits_revision:
            self._revision, self._awaits_revision = page.headers.get("FX-Revision"), False
        if len(page.time_ns) and (page.time_ns[0] < position or (np.diff(page.time_ns) <= 0).any()):
            raise BrokerError(
                f"the broker answered candles of {self._instrument} in {self._month} out of order: run again."
            )
        return page

    def _report(self, storing: "Future[str] | None") -> None:
        if storing is not None:
            line = storing.result()
            self.downloaded += 1
            if self._progress:
                self._progress(line)

    def _store(self, page: CandlesPage) -> str:
        entry, body = _entry(page, len(self.pages), self._end)
        # Forced to disk before the last manifest only: its hash tells a page that a power cut has taken.
        write_bytes(self.folder / entry["file"], body, sync=False)
        self._unflushed.append(self.folder / entry["file"])
        self.pages.append(entry)
        # After every page, so that a kill costs at most one of them. It is not forced to disk: an older one does.
        write_bytes(self.folder / MANIFEST, _manifest_bytes(self._manifest(complete=False)), sync=False)
        candles = sum(item["candles"] for item in self.pages)
        return f"{self._instrument} {self._month}: page {len(self.pages)}, {candles:,} candles"

    def _after(self, time_ns: int) -> int:
        # From inside a bar the broker would answer with that bar again.
        return bar_end(int(bar_starts([time_ns], self._timeframe)[0]), self._timeframe)

    def _manifest(self, complete: bool) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "instrument": self._instrument,
            "month": self._month,
            "granularity": self._timeframe.name,
            "price": "MBA",
            "environment": str(self._client.environment),
            "revision": self._revision,
            "complete": complete,
            "candles": sum(entry["candles"] for entry in self.pages),
            "pages": self.pages,
        }


def _manifest_if_readable(folder: Path) -> dict[str, Any] | None:
    # Without its manifest a month is downloaded afresh, which mends it.
    try:
        return read_manifest(folder)
    except NewerVersionError:
        raise
    except DataError as error:
        logger.warning("%s That is done now.", error)
        return None


def _standing_pages(folder: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    # The listed pages up to the first whose file is not what the manifest says.
    standing: list[dict[str, Any]] = []
    for entry in manifest["pages"]:
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            if hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]:
                standing.append(entry)
                continue
        break
    return standing


def _final_pages(pages: list[dict[str, Any]], now: int) -> list[dict[str, Any]]:
    # Those before the first candle that may yet be completed; the last one must also be as long as was asked.
    final = pages
    for number, entry in enumerate(pages):
        if entry["incomplete"] and entry["last"] >= now - _PATIENCE_NS:
            final = pages[:number]
            break
    return final[:-1] if final and final[-1]["received"] < final[-1]["count"] else final


def _entry(page: CandlesPage, number: int, end: int) -> tuple[dict[str, Any], bytes]:
    # The last page may reach into the next month: what lies there is stored as received, and not counted.
    inside = page.time_ns < end
    body = _ZSTD.compress(page.body, asbytes=True)
    entry = {
        "file": f"page-{number:05d}.json.zst",
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(page.body),
        "from": page.start_ns,
        "count": page.count,
        "received": len(page.time_ns),
        "candles": int((inside & page.complete).sum()),
        "incomplete": int((inside & ~page.complete).sum()),
        "first": int(page.time_ns[0]),
        "last": int(page.time_ns[inside][-1]),
        "source": page.source,
        "quotes": page.quotes,
    }
    return entry, body


def _take_over(folder: Path) -> None:
    # Puts pages that are whole in the place of those that stand here; after a kill, it goes on where it was.
    arrived = folder / _NEXT
    ready = arrived / _READY
    if not ready.is_file():
        return
    mend = f"remove {arrived}, and the month is downloaded again."
    data = read_stored(ready, mend)
    manifest = check_record(data, ready, _Manifest, mend, _FORMAT, "format")
    with clear_disk_errors(folder):
        for page in sorted(arrived.glob(_PAGES)):
            os.replace(page, folder / page.name)
    write_bytes(folder / MANIFEST, data)
    listed = {entry["file"] for entry in manifest["pages"]}
    for stale in sorted(folder.glob(_PAGES)):
        if stale.name not in listed:
            remove_file(stale)
    shutil.rmtree(arrived)


def _manifest_bytes(manifest: dict[str, Any]) -> bytes:
    return orjson.dumps(manifest, option=_JSON)


def _summary(manifest: dict[str, Any], folder: Path, downloaded: int, changed: bool) -> RawMonth:
    pages = manifest["pages"]
    quotes = sorted({base_word(entry["quotes"]) for entry in pages})
    return RawMonth(
        instrument=manifest["instrument"],
        month=manifest["month"],
        folder=folder,
        pages=len(pages),
        candles=manifest["candles"],
        downloaded=downloaded,
        changed=changed,
        complete=manifest["complete"],
        source=pages[0]["source"] if pages else None,
        quotes=None if not quotes else quotes[0] if len(quotes) == 1 else "mixed",
        first=pages[0]["first"] if pages else None,
        last=pages[-1]["last"] if pages else None,
    )
