"""Where data lie below the data folder: one place that knows the names.

Candles of other timeframes than M1 lie beside those of M1, in folders of their own: `raw/h1/...`, `lake/h1/...`,
`lake/gaps/h1/...`. Names of instruments have an underscore, so that none is that of a timeframe.
"""

from pathlib import Path

from fx_pipeline.market.timeframe import M1, TIMEFRAMES, Timeframe

DEFAULT_DATA_DIR = Path("data")


def paper_store(data_dir: Path = DEFAULT_DATA_DIR) -> Path:
    """Folder of the paper server's candle store."""
    return data_dir / "paper"


def raw_folder(data_dir: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """Folder of the raw pages of a month."""
    return _of(data_dir / "raw", timeframe) / instrument / month


def lake_folder(data_dir: Path = DEFAULT_DATA_DIR) -> Path:
    """Folder of the lake and its gap tables."""
    return data_dir / "lake"


def lake_path(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """Candles of a month."""
    return lake / timeframe.slug / instrument / f"{month}.parquet"


def lake_months(lake: Path, instrument: str, timeframe: Timeframe = M1) -> list[str]:
    """Return the months of an instrument that the lake has, in order."""
    return sorted(path.stem for path in lake_path(lake, instrument, "x", timeframe).parent.glob("[0-9]*.parquet"))


def gaps_path(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """Gap table of a month."""
    return _of(lake / "gaps", timeframe) / instrument / f"{month}.parquet"


def revisions_folder(lake: Path, timeframe: Timeframe = M1) -> Path:
    """Folder of the revisions of all instruments."""
    return _of(lake / "revisions", timeframe)


def revisions_path(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """Bars of a month that the broker changed or withdrew after they were in the lake."""
    return revisions_folder(lake, timeframe) / instrument / f"{month}.parquet"


def built_path(lake: Path, instrument: str, month: str, timeframe: Timeframe = M1) -> Path:
    """What a month of the lake was built from; it is written when all else of the month is there."""
    return _of(lake / "built", timeframe) / instrument / f"{month}.json"


def quarantine_path(data_dir: Path, instrument: str, name: str, timeframe: Timeframe = M1) -> Path:
    """Refused rows: `name` is the month for candles of the broker, and the file's stem and hash for an import."""
    return _of(data_dir / "quarantine", timeframe) / instrument / f"{name}.parquet"


def is_timeframe(name: str) -> bool:
    """Whether a folder of that name is one of a timeframe, and not of an instrument."""
    return name.upper() in TIMEFRAMES


def _of(folder: Path, timeframe: Timeframe) -> Path:
    return folder if timeframe == M1 else folder / timeframe.slug
