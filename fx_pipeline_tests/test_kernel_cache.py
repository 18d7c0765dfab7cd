import os
from pathlib import Path

import pytest

from fx_pipeline.kernel_cache import kernel_digest, use_kernel_cache


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with one kernel and one other file; the real cache folder is put back afterwards."""
    numba = pytest.importorskip("numba")
    monkeypatch.setattr(numba.config, "CACHE_DIR", numba.config.CACHE_DIR)
    monkeypatch.setenv("NUMBA_CACHE_DIR", "unset below")
    monkeypatch.delenv("NUMBA_CACHE_DIR")
    (tmp_path / "kernel.py").write_text("@njit\ndef f(): ...")
    (tmp_path / "other.py").write_text("x = 1")
    return tmp_path


def test_the_folder_changes_with_any_kernel_and_with_nothing_else(package: Path) -> None:
    before = kernel_digest(package)
    (package / "other.py").write_text("x = 2")
    assert kernel_digest(package) == before
    (package / "kernel.py").write_text("@njit\ndef f(): return 1")
    assert kernel_digest(package) != before


def test_kernels_of_earlier_sources_are_removed(package: Path) -> None:
    use_kernel_cache(package)
    first = Path(os.environ.pop("NUMBA_CACHE_DIR"))
    first.mkdir(parents=True)
    (package / "kernel.py").write_text("@njit\ndef f(): return 1")
    use_kernel_cache(package)
    assert not first.exists()
    assert Path(os.environ["NUMBA_CACHE_DIR"]).parent == first.parent


def test_a_folder_of_the_user_stands(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/of/the/user")
    use_kernel_cache(package)
    assert os.environ["NUMBA_CACHE_DIR"] == "/of/the/user"
