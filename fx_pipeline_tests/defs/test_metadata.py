"""What was read from a file becomes a link only where it leads to a page."""

import dagster as dg
import pytest

from fx_pipeline.defs.metadata import link
from fx_pipeline.validation.report_page import page_environment


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000/#/runs/1", "https://mlflow.example.com/"])
def test_pages_are_links(address: str) -> None:
    assert link(address) == dg.MetadataValue.url(address)


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", ""])
def test_the_rest_is_text(address: str) -> None:
    assert link(address) == dg.MetadataValue.text(address)
    page = page_environment().from_string("{{ 'link' if address is web_link else 'text' }}")
    assert page.render(address=address) == "text"
