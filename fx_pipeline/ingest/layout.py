"""Where data lie below the data folder: one place that knows the names."""

from pathlib import Path

DEFAULT_DATA_DIR = Path("data")


def paper_store(data_dir: Path = DEFAULT_DATA_DIR) -> Path:
    """Folder of the paper server's candle store."""
    return data_dir / "paper"


def raw_folder(data_dir: Path, instrument: str, month: str) -> Path:
    """Folder of the raw pages of a month."""
    return data_dir / "raw" / instrument / month


def lake_folder(data_dir: Path = DEFAULT_DATA_DIR) -> Path:
    """Folder of the M1 lake and its gap tables."""
    return data_dir / "lake"


def lake_path(lake: Path, instrument: str, month: str) -> Path:
    """M1 candles of a month."""
    return lake / "m1" / instrument / f"{month}.parquet"


def lake_months(lake: Path, instrument: str) -> list[str]:
    """Return the months of an instrument that the lake has, in order."""
    return sorted(path.stem for path in lake_path(lake, instrument, "x").parent.glob("[0-9]*.parquet"))


def gaps_path(lake: Path, instrument: str, month: str) -> Path:
    """Gap table of a month."""
    return lake / "gaps" / instrument / f"{month}.parquet"


def revisions_path(lake: Path, instrument: str, month: str) -> Path:
    """Bars of a month that the broker changed or withdrew after they were in the lake."""
    return lake / "revisions" / instrument / f"{month}.parquet"


def built_path(lake: Path, instrument: str, month: str) -> Path:
    """What a month of the lake was built from; it is written when all else of the month is there."""
    return lake / "built" / instrument / f"{month}.json"


def quarantine_path(data_dir: Path, instrument: str, name: str) -> Path:
    """Refused rows: `name` is the month for candles of the broker, and the file's stem and hash for an import."""
    return data_dir / "quarantine" / instrument / f"{name}.parquet"
