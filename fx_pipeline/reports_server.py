"""Serves the report pages, for the links of the Dagster UI."""

from collections.abc import Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.ui.health import judge, read_health
from fx_pipeline.validation.report_page import page_environment

_INDEX = """<!doctype html><meta charset="utf-8"><title>reports</title><h1>Reports</h1>
{% if pages %}<ul>{% for page in pages %}<li><a href="/{{ page|urlencode }}">{{ page }}</a></li>{% endfor %}</ul>
{% else %}<p>There is none yet: run make demo, or materialise validation_report.{% endif %}"""


def reports_app(folder: Path, health: Path) -> Starlette:
    """Return the application that serves the pages of a folder, their list, and whether the pipeline is well.

    Parameters
    ----------
    folder : Path
        `Layout.reports`; made if it is not there.
    health : Path
        The file that `fx-pipeline ui` writes.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def index(request: Request) -> Response:
        if (folder / "leaderboard.html").is_file():
            return RedirectResponse("/leaderboard.html")
        pages = sorted(page.relative_to(folder).as_posix() for page in folder.rglob("*.html"))
        return HTMLResponse(page_environment().from_string(_INDEX).render(pages=pages))

    return Starlette(
        routes=[
            Route("/", index),
            Route("/health", health_endpoint(health)),
            Mount("/", StaticFiles(directory=folder)),
        ]
    )


def health_endpoint(path: Path) -> Callable[[Request], Response]:
    """Return the endpoint that answers 200 while the pipeline is well, and 503 else, with the line that says why."""

    def endpoint(request: Request) -> Response:
        try:
            well, line = judge(read_health(path))
        except FxPipelineError:
            # Here nobody has shown a token: no paths.
            well, line = False, "ui/health.json in the data folder cannot be read: fx-pipeline health says why"
        return JSONResponse({"well": well, "line": line}, 200 if well else 503)

    return endpoint
