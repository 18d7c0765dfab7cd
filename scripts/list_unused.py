"""List what the package defines and nothing but tests uses: functions, classes, methods and constants.

A name counts as used where it stands anywhere else in the package, the benchmarks, the scripts, the notebooks or the
docs, as a name, an attribute, an import, a word in a template or in a text. So what is listed is a suspect, and what
is not may be unused all the same where another thing has its name. Functions that a framework calls by a decorator, and
methods that override, are left out.

Run: python scripts/list_unused.py
"""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "fx_pipeline"
_WORD = re.compile(r"\w+")
#: Hooks of visitors, protocols and frameworks.
_CALLED_BY_NAME = re.compile(r"visit_\w+|model_config|config_type|from_config_value|__\w+__")


def defined(path: Path) -> dict[str, int]:
    """Return the names that a module defines, with their lines: those that a decorator may hand on are left out."""
    found: dict[str, int] = {}
    for node in ast.parse(path.read_bytes()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not node.decorator_list or isinstance(node, ast.ClassDef):
                found[node.name] = node.lineno
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef) and not any(
                    "validator" in ast.unparse(decorator) for decorator in inner.decorator_list
                ):
                    found[inner.name] = inner.lineno
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node.lineno for target in targets if isinstance(target, ast.Name)}
    return {name: line for name, line in found.items() if not _CALLED_BY_NAME.fullmatch(name)}


def words() -> Counter[str]:
    """Return how often each word stands outside of the tests."""
    counted: Counter[str] = Counter()
    folders = [PACKAGE, *(ROOT / name for name in ("benchmarks", "scripts", "notebooks", "docs", "findings"))]
    files = [path for folder in folders if folder.exists() for path in folder.rglob("*")]
    for path in [*files, ROOT / "README.md", ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "dagster.yaml"]:
        if path.is_file() and path.suffix in (".py", ".md", ".j2", ".js", ".yaml", ".toml", ".ipynb", ".sh", ""):
            counted.update(_WORD.findall(path.read_text(errors="ignore")))
    return counted


def main() -> None:
    """Print file, line and name of each."""
    used = words()
    for path in sorted(PACKAGE.rglob("*.py")):
        for name, line in defined(path).items():
            if used[name] == 1:
                print(f"{path.relative_to(ROOT)}:{line} {name}")


if __name__ == "__main__":
    main()
