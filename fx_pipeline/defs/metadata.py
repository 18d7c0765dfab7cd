"""What people see of assets: owners, column tables, small plots, links."""

import base64
import datetime as dt
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np

from fx_pipeline.market.links import is_web_link

OWNERS = ["team:quant"]


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata that Dagster can store: all of it goes through here.

    Dagster takes a `numpy.float64` for a float when it is handed over, and cannot write it down at the end of the run,
    which then fails. Numbers of numpy become Python's, also in tables, lists and mappings; a figure that is not finite
    and a date become text, as JSON has neither.
    """
    return {str(name): _plain(value) for name, value in metadata.items()}


def table(rows: Iterable[Mapping[str, Any]], schema: dg.TableSchema | None = None) -> dg.MetadataValue:
    """Return rows as a table; None is an empty cell."""
    return dg.MetadataValue.table([dg.TableRecord(_cells(row)) for row in rows], schema=schema)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {str(name): "" if value is None else _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dg.TableMetadataValue):
        return table((record.data for record in value.records), schema=value.schema)
    if isinstance(value, dg.JsonMetadataValue):
        return dg.MetadataValue.json(_plain(value.data))
    if isinstance(value, dg.FloatMetadataValue | dg.IntMetadataValue | dg.BoolMetadataValue):
        return _plain(value.value)
    if isinstance(value, dg.MetadataValue):
        return value
    if isinstance(value, Path | dt.date | dt.timedelta | np.datetime64 | np.timedelta64):
        return str(value)
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def column_schema(schema: Any, notes: Mapping[str, str]) -> dg.TableSchema:
    """Describe the columns of a pyarrow schema, with a note where there is one."""
    return dg.TableSchema(
        [dg.TableColumn(field.name, str(field.type), description=notes.get(field.name)) for field in schema]
    )


def link(address: str) -> dg.MetadataValue:
    """Show an address that was read from a file: as a link where it leads to a web page, else as text."""
    return dg.MetadataValue.url(address) if is_web_link(address) else dg.MetadataValue.text(address)


def curve_plot(history: Sequence[Mapping[str, float]], names: Sequence[str]) -> dg.MetadataValue:
    """Draw training metrics over the iterations, one panel each."""

    def draw(figure: Any) -> None:
        shown = [name for name in names if any(name in row for row in history)]
        for number, name in enumerate(shown):
            axes = figure.add_subplot(1, len(shown), number + 1)
            points = [(k, row[name]) for k, row in enumerate(history) if name in row]
            axes.plot([k for k, _ in points], [value for _, value in points], color="#3465a4")
            axes.set_title(name, fontsize=8)
            axes.tick_params(labelsize=6)

    return picture(draw, whole=True)


def picture(draw: Any, whole: bool = False, height: float = 2.2) -> dg.MetadataValue:
    """Return a PNG as markdown metadata; `draw` gets the axes, or the whole figure. `height` is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, height), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure if whole else figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return dg.MetadataValue.md(f"![plot](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})")
