"""Count what a checkpoint crosses on a walk through the package: calls from one file to another, files, and rooms.

Static, from the source: from an entry function on, every call whose name is bound by an import of this package, or by a
definition of the same file, is followed into the function that is meant. A crossing is a pair of functions in different
files of which one calls the other; it counts once. Methods of objects (`ledger.record(...)`) are not followed, as no
source says whose they are. The same count of two checkouts is comparable, and neither is a measure of time.

Run: python scripts/count_walk.py fx_pipeline.lifecycle.promotion:promote [--package FOLDER] [--show]
"""

import argparse
import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "fx_pipeline"
#: A function: its module, and its name there.
Function = tuple[str, str]


class Sources:
    """The functions of a package, and whom each calls.

    Parameters
    ----------
    package : Path
        Folder of the package.
    """

    def __init__(self, package: Path) -> None:
        self._package = package
        self.module = cache(self._module)

    def _module(self, name: str) -> tuple[dict[str, ast.AST], dict[str, Function | str]] | None:
        place = self._package.joinpath(*name.split(".")[1:])
        path = next((path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()), None)
        if path is None:
            return None
        tree = ast.parse(path.read_bytes())
        functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        return functions, self._bound([node for node in tree.body if not isinstance(node, ast.FunctionDef)])

    def _bound(self, nodes: list[ast.AST]) -> dict[str, Function | str]:
        found: dict[str, Function | str] = {}
        for node in (inner for outer in nodes for inner in ast.walk(outer)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fx_pipeline"):
                found |= {alias.asname or alias.name: (str(node.module), alias.name) for alias in node.names}
        return found

    def calls(self, function: Function) -> set[Function]:
        """Return the functions that one calls, itself left out."""
        read = self.module(function[0])
        if read is None or function[1] not in read[0]:
            return set()
        functions, imported = read
        node = functions[function[1]]
        bound = imported | self._bound([node])
        found: set[Function] = set()
        for inner in ast.walk(node):
            called = inner.func if isinstance(inner, ast.Call) else None
            if isinstance(called, ast.Name):
                if called.id in bound and isinstance(bound[called.id], tuple):
                    found.add(bound[called.id])
                elif called.id in functions:
                    found.add((function[0], called.id))
            elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
                base = bound.get(called.value.id)
                if isinstance(base, tuple) and self.module(".".join(base)) is not None:
                    found.add((".".join(base), called.attr))
        return {one for one in found if one != function}


def walk(sources: Sources, entry: Function) -> tuple[set[tuple[Function, Function]], set[str]]:
    """Return the crossings of the walk that begins at a function, and the files that it comes to."""
    waiting, seen = [entry], {entry}
    crossings: set[tuple[Function, Function]] = set()
    while waiting:
        function = waiting.pop()
        for called in sources.calls(function):
            if called[0] != function[0]:
                crossings.add((function, called))
            if called not in seen:
                seen.add(called)
                waiting.append(called)
    return crossings, {module for module, _ in seen}


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("entry", help="module:function")
    parser.add_argument("--package", type=Path, default=PACKAGE)
    parser.add_argument("--show", action="store_true", help="name each crossing")
    asked = parser.parse_args()
    module, _, function = asked.entry.partition(":")
    sources = Sources(asked.package)
    found = sources.module(module)
    if found is None or function not in found[0]:
        parser.error(f"{asked.package} has no {asked.entry}")
    crossings, files = walk(sources, (module, function))
    inner = {name for name in files if name.count(".") > 1}
    rooms = {name.split(".")[1] for name in inner}
    print(f"{asked.entry}: {len(crossings)} calls between files, {len(files)} files, {len(rooms)} rooms")
    if asked.show:
        for (caller, name), (called, other) in sorted(crossings):
            print(f"  {caller}.{name} -> {called}.{other}")


if __name__ == "__main__":
    main()
