"""What people see of assets: owners, column tables, small plots, links."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from fx_pipeline.market.links import is_web_link

OWNERS = ["team:quant"]


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
