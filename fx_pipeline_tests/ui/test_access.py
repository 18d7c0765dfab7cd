"""The token of the start address."""

import stat
from pathlib import Path

import pytest

from fx_pipeline.market.errors import ConfigurationError, DataError
from fx_pipeline.ui.access import access_token


def test_it_is_made_once_for_its_owner(tmp_path: Path) -> None:
    token = access_token(tmp_path / "ui")
    assert len(token) >= 40 and access_token(tmp_path / "ui") == token
    assert stat.S_IMODE((tmp_path / "ui" / "token").stat().st_mode) == 0o600
    assert access_token(tmp_path / "other") != token


def test_one_that_others_may_read_is_refused(tmp_path: Path) -> None:
    access_token(tmp_path)
    (tmp_path / "token").chmod(0o644)
    with pytest.raises(ConfigurationError, match="can be read by others: remove it"):
        access_token(tmp_path)


@pytest.mark.parametrize("text", ["", "short", "with blanks " * 9, "ä" * 50, b"\xff\xfe" * 40])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str | bytes) -> None:
    (tmp_path / "token").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(ConfigurationError, match="is no token: remove it"):
        access_token(tmp_path)


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").mkdir()
    with pytest.raises(DataError, match=r"token is no file .*: move what lies there away"):
        access_token(tmp_path)
