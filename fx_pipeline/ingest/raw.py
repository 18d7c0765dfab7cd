"""Raw pages of candles, kept as received: `raw/{INSTRUMENT}/{YYYY-MM}/page-00000.json.gz` and a `manifest.json`.

The pager asks for `from` and `count`, and its next `from` is the minute after the last candle: gaps cost nothing, and
no future time is named. Each page is written before the manifest lists it; a killed download goes on after the last
listed page, and its files equal those of an uninterrupted one, byte for byte.
"""

import contextlib
import gzip
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson

from fx_pipeline.broker.client import MAXIMUM_COUNT, CandlesPage
from fx_pipeline.market.calendar import MINUTE_NS
from fx_pipeline.market.errors import BrokerError, DataError
from fx_pipeline.market.files import remove_file, write_bytes
from fx_pipeline.market.months import month_bounds

MANIFEST = "manifest.json"
_FORMAT = 1
#: A month's last candles may be completed late, but nobody waits for them for ever.
_LATE_NS, _PATIENCE_NS = 10 * MINUTE_NS, 3 * 24 * 60 * MINUTE_NS


class PageSource(Protocol):
    """What the pager needs of a client (`OandaClient` has it)."""

    environment: Any

    def candles_page(self, instrument: str, start_ns: int, count: int = MAXIMUM_COUNT) -> CandlesPage: ...


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
        Whether any file differs from what was there before.
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
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] == _FORMAT and isinstance(manifest["pages"], list):
            return dict(manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} cannot be read: remove it, and the month is downloaded again.") from error
    raise DataError(f"{path} is of another format: remove it, and the month is downloaded again.")


def read_page(path: Path) -> list[dict[str, Any]]:
    """Return the candles of a stored page.

    Raises
    ------
    DataError
        If it is missing, cut short or not a page of candles.
    """
    try:
        candles = orjson.loads(gzip.decompress(path.read_bytes()))["candles"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path} is not a whole page of candles ({error}): remove it, and it is downloaded again."
        ) from error
    return list(candles)


def candle_times(candles: list[dict[str, Any]]) -> np.ndarray:
    """Return the open times of wire candles.

    Returns
    -------
    (T,) int64
        UTC nanoseconds.

    Raises
    ------
    DataError
        If a time is not RFC 3339 in UTC.
    """
    try:
        texts = [candle["time"] for candle in candles]
        if not all(text.endswith("Z") for text in texts):
            raise ValueError("a time is not in UTC")
        return np.array([text[:-1] for text in texts], dtype="datetime64[ns]").astype(np.int64)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"a candle has no readable time ({error})") from error


def download_month(
    client: PageSource,
    instrument: str,
    month: str,
    folder: Path,
    now_ns: int | None = None,
    progress: Callable[[str], None] | None = None,
    force: bool = False,
) -> RawMonth:
    """Download a month of M1 candles, or what is missing of it.

    A complete month is left alone, unless `force`, or unless the paper server says that its data are others by now.
    A month that still runs is continued from its last full page.

    Parameters
    ----------
    client : PageSource
        An `OandaClient`.
    folder : Path
        Where the month's pages go.
    now_ns : int, optional
        UTC nanoseconds by which the month is judged to be over; the system's clock when absent.
    progress : callable, optional
        Told a line a page.
    force : bool
        Download every page again.

    Raises
    ------
    BrokerError
        If the broker fails; pages that were downloaded stay.
    FxPipelineError
        If a page cannot be written.
    """
    start, end = month_bounds(month)
    now = time.time_ns() if now_ns is None else now_ns
    before = read_manifest(folder)
    pages: list[dict[str, Any]] = []
    revision: str | None = None
    if before is not None and before["environment"] == str(client.environment) and not force:
        revision = before["revision"]
        if _is_current(client, instrument, start, revision):
            pages = _standing_pages(folder, before)
            if before["complete"] and len(pages) == len(before["pages"]):
                return _summary(before, folder, 0, False)
        else:
            revision = None
        if pages and _may_grow(pages[-1]):
            pages.pop()
    downloaded = 0
    changed = False
    position = pages[-1]["last"] + MINUTE_NS if pages else start
    while position < end and position < now:
        count = min(MAXIMUM_COUNT, (end - position) // MINUTE_NS)
        page = client.candles_page(instrument, position, count)
        if not page.candles:
            break
        times = candle_times(page.candles)
        if times[0] < position or np.any(np.diff(times) <= 0):
            raise BrokerError(f"the broker answered candles of {instrument} in {month} out of order: run again.")
        if times[0] >= end:
            break
        entry, body = _entry(page, times, len(pages), end)
        changed |= write_bytes(folder / entry["file"], body)
        pages.append(entry)
        revision = page.headers.get("FX-Revision")
        # The manifest follows every page, so that a kill costs at most one of them.
        _write_manifest(folder, _manifest(client, instrument, month, pages, revision, complete=False))
        downloaded += 1
        position = int(times[-1]) + MINUTE_NS
        if progress:
            progress(f"{instrument} {month}: page {len(pages)}, {sum(item['candles'] for item in pages):,} candles")
    if revision is None:
        revision = _probe(client, instrument, start)
    waiting = any(item["incomplete"] for item in pages) and now < end + _PATIENCE_NS
    complete = now >= end + _LATE_NS and not waiting
    manifest = _manifest(client, instrument, month, pages, revision, complete)
    changed |= _write_manifest(folder, manifest) if downloaded == 0 else manifest != before
    _write_manifest(folder, manifest)
    for stale in sorted(folder.glob("page-*.json.gz"))[len(pages) :]:
        changed |= remove_file(stale)
    return _summary(manifest, folder, downloaded, changed)


def _probe(client: PageSource, instrument: str, start: int) -> str | None:
    # Only the paper server names its revision; OANDA's history is final once complete.
    if str(client.environment) != "paper":
        return None
    return client.candles_page(instrument, start, 1).headers.get("FX-Revision")


def _is_current(client: PageSource, instrument: str, start: int, revision: str | None) -> bool:
    return _probe(client, instrument, start) == revision


def _standing_pages(folder: Path, manifest: dict[str, Any]) -> list[dict[str, Any]]:
    # The listed pages up to the first whose file is not what the manifest says.
    standing: list[dict[str, Any]] = []
    for entry in manifest["pages"]:
        with contextlib.suppress(FileNotFoundError):
            if hashlib.sha256((folder / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]:
                standing.append(entry)
                continue
        break
    return standing


def _may_grow(entry: dict[str, Any]) -> bool:
    return bool(entry["incomplete"]) or entry["received"] < entry["count"]


def _entry(page: CandlesPage, times: np.ndarray, number: int, end: int) -> tuple[dict[str, Any], bytes]:
    # The last page may reach into the next month: what lies there is stored as received, and not counted.
    inside = times < end
    body = gzip.compress(page.body, compresslevel=6, mtime=0)
    complete = np.array([candle.get("complete") is True for candle in page.candles])
    entry = {
        "file": f"page-{number:05d}.json.gz",
        "sha256": hashlib.sha256(body).hexdigest(),
        "from": page.start_ns,
        "count": page.count,
        "received": len(times),
        "candles": int((inside & complete).sum()),
        "incomplete": int((inside & ~complete).sum()),
        "first": int(times[0]),
        "last": int(times[inside][-1]),
        "source": page.source,
        "quotes": page.quotes,
    }
    return entry, body


def _manifest(
    client: PageSource, instrument: str, month: str, pages: list[dict[str, Any]], revision: str | None, complete: bool
) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "instrument": instrument,
        "month": month,
        "granularity": "M1",
        "price": "MBA",
        "environment": str(client.environment),
        "revision": revision,
        "complete": complete,
        "candles": sum(entry["candles"] for entry in pages),
        "pages": pages,
    }


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> bool:
    return write_bytes(folder / MANIFEST, (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode())


def _summary(manifest: dict[str, Any], folder: Path, downloaded: int, changed: bool) -> RawMonth:
    pages = manifest["pages"]
    quotes = sorted({entry["quotes"] for entry in pages})
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
