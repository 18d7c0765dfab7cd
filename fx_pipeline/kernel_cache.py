"""Where compiled kernels are kept, so that none of them outlives its source.

numba keys its cache by the file of a function alone: a kernel that calls one of another file would go on with the old
code after that file has changed. Here the folder's name is a hash of all files that declare kernels.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent
_MARKS = (b"njit", b"intrinsic")


def kernel_digest(package: Path = PACKAGE) -> str:
    """Hash of the sources below `package` that declare kernels."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if any(mark in source for mark in _MARKS):
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + source)
    return digest.hexdigest()[:16]


def use_kernel_cache(package: Path = PACKAGE) -> None:
    """Point numba's cache at a folder that belongs to the present sources, unless NUMBA_CACHE_DIR names another.

    Folders of earlier sources are removed.
    """
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    home = package / "__pycache__"
    if not os.access(package, os.W_OK):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fx_pipeline"
    folder = home / f"kernels-{kernel_digest(package)}"
    if not folder.exists():
        for old in home.glob("kernels-*"):
            shutil.rmtree(old, ignore_errors=True)
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    if "numba" in sys.modules:
        sys.modules["numba"].config.CACHE_DIR = str(folder)
