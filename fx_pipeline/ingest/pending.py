"""Which months of an instrument are to be downloaded now, so that it is current and nothing in between is left out."""

from pathlib import Path

from fx_pipeline.ingest.lake import is_built
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import read_manifest
from fx_pipeline.market.errors import DataError
from fx_pipeline.market.months import month_bounds, month_of, months_between
from fx_pipeline.market.timeframe import M1, Timeframe


def pending_months(
    data_dir: Path, instrument: str, environment: str, now_ns: int, timeframe: Timeframe = M1
) -> list[str]:
    """Return the months that may have new candles, in order.

    Those are, from the oldest month that was downloaded from this environment up to the running one, the months that
    were not, that are not complete, or whose pages the lake was not built from: however long nobody asked, and whatever
    was killed, nothing is left out. Without any download they are the running month and the one before it.

    Parameters
    ----------
    environment : str
        "paper", "practice" or "live": pages of another one do not count.
    now_ns : int
        UTC nanoseconds; the month that runs then is the last.
    """
    running = month_of(now_ns)
    done: dict[str, bool] = {}
    raw = raw_folder(data_dir, instrument, "x", timeframe).parent
    for folder in sorted(raw.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]")):
        if folder.name > running:
            # A broker that replays the past has another "now" than the one before it had.
            continue
        try:
            manifest = read_manifest(folder)
        except DataError:
            # The download says what is wrong with it, where people look for it.
            done[folder.name] = False
            continue
        if manifest is not None and manifest["environment"] == environment:
            done[folder.name] = bool(manifest["complete"]) and is_built(data_dir, instrument, folder.name, timeframe)
    # Without any download the month before the running one is where it starts.
    first_ns = month_bounds(min(done))[0] if done else month_bounds(running)[0] - 1
    return [month for month in months_between(first_ns, now_ns + 1) if not done.get(month, False)]
