"""The code that makes a result: the files of this package that its entry modules import, directly or not.

Imports are read from the source and nothing is run, so imports inside functions count as well. Imports that only types
need (`if TYPE_CHECKING`) make nothing, and do not count. A file of data (YAML, a template) belongs to the modules of
its package that name it, or the folder that it lies in.

What holds: a file that is not in the closure is not imported by what is, so it cannot change the result. Where it
stops: a module whose name is put together at run time is not seen. Only the tables of names (`LEFT_OUT`) may do that,
and a test says so; what they lead to is an entry of its own.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from fx_pipeline.market.errors import ConfigurationError

ROOT = "fx_pipeline"
#: Neither read nor followed: tables that lead from names to modules, which are entries of their own; what only watches
#: a training; and this room, which tells what was made and makes nothing.
LEFT_OUT = (
    "fx_pipeline.agents.registry",
    "fx_pipeline.features.registry",
    "fx_pipeline.agents.alerts",
    "fx_pipeline.provenance",
)
#: As above, of each agent.
_WATCHES = "alerts"
_DATA = frozenset({".yaml", ".j2", ".css", ".js"})
#: Digits of a digest.
_DIGITS = 12


def code_digest(*entry_modules: str) -> str:
    """Return a short hash of all code that these modules import, directly or not, and of themselves.

    Parameters
    ----------
    entry_modules : str
        Names of modules of this package.

    Raises
    ------
    ConfigurationError
        If one is not there.
    """
    return _digest(tuple(sorted(set(entry_modules))))


@cache
def code_version(*entry_modules: str) -> str:
    """Return the version of the package and the digest of the code of some modules, such as `0.1.0+3f2a9c0b71de`."""
    try:
        release = version("fx-pipeline")
    except PackageNotFoundError:
        release = "0"
    return f"{release}+{code_digest(*entry_modules)}"


@cache
def _digest(entry_modules: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for name in closure(entry_modules):
        digest.update(name.encode() + b"\0" + (_package() / name).read_bytes() + b"\0")
    return digest.hexdigest()[:_DIGITS]


def closure(entry_modules: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files of the closure of some modules, relative to the package, sorted; errors as of `code_digest`."""
    waiting, seen, found = list(entry_modules), set(entry_modules), set()
    for name in entry_modules:
        if _file_of(name) is None:
            raise ConfigurationError(f"{name} is no module of {_package()}: it was named as what makes a result.")
    while waiting:
        name = waiting.pop()
        path = _file_of(name)
        if path is None:
            continue
        read = _read(path)
        found.add(path)
        found.update(_named_data(path.parent, read.texts))
        # The packages around a module run before it does.
        around = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        for imported in (*around, *read.imports):
            if imported not in seen and not is_left_out(imported):
                seen.add(imported)
                waiting.append(imported)
    return tuple(sorted(path.relative_to(_package()).as_posix() for path in found))


def is_left_out(module: str) -> bool:
    """Whether a module makes nothing of any result: see `LEFT_OUT`."""
    of_an_agent = module.startswith(f"{ROOT}.agents.") and module.count(".") == 3 and module.endswith(f".{_WATCHES}")
    return of_an_agent or any(module == name or module.startswith(f"{name}.") for name in LEFT_OUT)


class _Source(NamedTuple):
    """What a source file imports of this package, and the texts in it, which may name files of data."""

    imports: tuple[str, ...]
    texts: frozenset[str]


class _Imports(ast.NodeVisitor):
    def __init__(self, module: str, is_package: bool) -> None:
        self._package = module if is_package else module.rpartition(".")[0]
        self.imports: set[str] = set()
        self.texts: set[str] = set()

    def visit_If(self, node: ast.If) -> None:
        if not _is_for_types(node.test):
            self.generic_visit(node)
            return
        for statement in node.orelse:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.update(alias.name for alias in node.names if _is_ours(alias.name))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self._package.split(".")
            base = ".".join([*above[: len(above) - node.level + 1], *([base] if base else [])])
        if _is_ours(base):
            # A name may be a module of a package, or something inside a module.
            self.imports.update((base, *(f"{base}.{alias.name}" for alias in node.names)))

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self.texts.add(node.value)


def _is_ours(name: str) -> bool:
    return name == ROOT or name.startswith(f"{ROOT}.")


def _is_for_types(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", None)
    return name == "TYPE_CHECKING"


@cache
def _parsed(module: str, is_package: bool, source: bytes) -> _Source:
    visitor = _Imports(module, is_package)
    visitor.visit(ast.parse(source, filename=module))
    return _Source(tuple(sorted(visitor.imports)), frozenset(visitor.texts))


def _read(path: Path) -> _Source:
    return _parsed(_module_of(path), path.name == "__init__.py", path.read_bytes())


@cache
def _package() -> Path:
    return Path(str(sys.modules[ROOT].__file__)).parent


@cache
def _file_of(module: str) -> Path | None:
    """The file of a module of this package; None where it is something inside of one."""
    place = _package().joinpath(*module.split(".")[1:])
    return next((path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()), None)


def _module_of(path: Path) -> str:
    parts = path.relative_to(_package()).with_suffix("").parts
    return ".".join((ROOT, *(parts[:-1] if parts[-1] == "__init__" else parts)))


@cache
def _data_of(folder: Path) -> tuple[Path, ...]:
    return tuple(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in _DATA:
            yield path
        elif path.is_dir() and not (path / "__init__.py").exists():
            yield from _walk(path)


def _named_data(folder: Path, texts: frozenset[str]) -> Iterator[Path]:
    for path in _data_of(folder):
        if not texts.isdisjoint(path.relative_to(folder).parts):
            yield path
