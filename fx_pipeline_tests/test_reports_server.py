"""The report pages, for the links of the Dagster UI, behind the guard."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from fx_pipeline.reports_server import reports_app
from fx_pipeline.settings import load_settings
from fx_pipeline.ui.access import access_token
from fx_pipeline.ui.web import guarded_reports


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("no")
    page = tmp_path / "reports" / "muzero" / "EUR_USD" / "2024-01-02" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>report</h1>")
    return tmp_path / "reports"


def test_page_is_served_and_nothing_above_it(reports: Path, tmp_path: Path) -> None:
    client = TestClient(reports_app(reports, tmp_path / "health.json"))
    assert client.get("/muzero/EUR_USD/2024-01-02/report.html").text == "<h1>report</h1>"
    (reports / "link").symlink_to(tmp_path / "secret")
    for path in ("/../secret", "/%2e%2e/secret", "/..%2fsecret", "/link", "//etc/passwd", "/muzero"):
        assert client.get(path).status_code == 404


def test_the_pages_are_listed_or_the_leaderboard_is_shown(reports: Path, tmp_path: Path) -> None:
    client = TestClient(reports_app(reports, tmp_path / "health.json"))
    assert 'href="/muzero/EUR_USD/2024-01-02/report.html"' in client.get("/").text
    (reports / "<script>.html").write_text("")
    assert "<script>" not in client.get("/").text
    (reports / "leaderboard.html").write_text("the leaderboard")
    assert client.get("/").text == "the leaderboard"


def test_folder_need_not_exist_yet(tmp_path: Path) -> None:
    client = TestClient(reports_app(tmp_path / "reports", tmp_path / "health.json"))
    assert "There is none yet" in client.get("/").text
    done = client.get("/health")
    assert done.status_code == 503 and done.json()["line"].startswith("not running")


def test_a_garbled_health_file_is_not_well_and_tells_no_paths(tmp_path: Path) -> None:
    (tmp_path / "health.json").write_text('{"state": "ready"}')
    done = TestClient(reports_app(tmp_path / "reports", tmp_path / "health.json")).get("/health")
    assert done.status_code == 503 and not done.json()["well"]
    assert "cannot be read" in done.json()["line"] and str(tmp_path) not in done.text


def test_the_pages_are_guarded(reports: Path, tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    client = TestClient(guarded_reports(settings), base_url="http://127.0.0.1:3001")
    page = "/muzero/EUR_USD/2024-01-02/report.html"
    assert client.get(page).status_code == 401
    token = access_token(settings.layout.ui)
    assert client.get(page, headers={"host": "evil.example", "authorization": f"Bearer {token}"}).status_code == 403
    # The start address sets the cookie, and then links work.
    assert client.get(f"/?token={token}").status_code == 200
    assert client.get(page).text == "<h1>report</h1>"
