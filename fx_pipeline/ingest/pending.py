"""Which months of an instrument are to be downloaded now, so that it is current and nothing in between is left out."""

from pathlib import Path

from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import read_manifest
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.months import month_bounds, month_of, months_between


def pending_months(data_dir: Path, instrument: str, environment: str, now_ns: int) -> list[str]:
    """Return the months that may have new candles, in order.

    Those are the months with raw pages of this environment that are not complete, and all after the newest with pages,
    up to the running one: however long nobody asked, nothing is left out. Without any pages they are the running month
    and the one before it.

    Parameters
    ----------
    environment : str
        "paper", "practice" or "live": pages of another one do not count.
    now_ns : int
        UTC nanoseconds; the month that runs then is the last.
    """
    running = month_of(now_ns)
    complete: dict[str, bool] = {}
    for folder in sorted(raw_folder(data_dir, instrument, "x").parent.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]")):
        try:
            manifest = read_manifest(folder)
        except DataError:
            # The download says what is wrong with it, where people look for it.
            complete[folder.name] = False
            continue
        if manifest is not None and manifest["environment"] == environment:
            complete[folder.name] = bool(manifest["complete"])
    # Without any pages the month before the running one is where it starts.
    first_ns = month_bounds(max(complete))[1] if complete else month_bounds(running)[0] - 1
    unfinished = {month for month, done in complete.items() if not done and month <= running}
    return sorted(unfinished | set(months_between(first_ns, now_ns + 1)))
