"""What an edit makes stale, in a copy of the package: what imports the file, and nothing else."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import fx_pipeline
from fx_pipeline.agents.registry import ENTRIES
from fx_pipeline.features.registry import FEATURE_SETS
from fx_pipeline.lifecycle import code
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.provenance import closure
from fx_pipeline.provenance.evaluation import rolled_out_by

SOURCE = Path(fx_pipeline.__file__).parent


def forget() -> None:
    for known in (closure._digest, closure._package, closure._file_of, closure._data_of):
        known.cache_clear()
    closure.code_version.cache_clear()
    for known in (code.training_code, code.report_code, code.evaluation_code):
        known.cache_clear()


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("package") / "fx_pipeline"
    shutil.copytree(SOURCE, place, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return place


@pytest.fixture
def package(copied: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package's sources, which digests are taken of; as it was before each test."""
    monkeypatch.setattr(fx_pipeline, "__file__", str(copied / "__init__.py"))
    kept = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file()}
    forget()
    yield copied
    for path in copied.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, content in kept.items():
        if path.read_bytes() != content:
            path.write_bytes(content)
    forget()


def digests() -> dict[str, str]:
    forget()
    return {
        "checkpoint": code.training_code("muzero", "temporal9"),
        "report": code.report_code("muzero", "temporal9"),
        "trial": code.evaluation_code("muzero"),
        "family": rolled_out_by(code.evaluation_code("muzero")),
        "proof": closure.code_digest("fx_pipeline.proofs.seeds"),
        "configuration": closure.code_version("fx_pipeline.agents.muzero.entry"),
    }


OF_ALL = {"checkpoint", "report", "trial", "family", "proof", "configuration"}
OF_MUZERO = {"checkpoint", "report", "trial", "configuration"}


@pytest.mark.parametrize(
    ("file", "stale"),
    [
        ("agents/alerts.py", set()),
        ("agents/muzero/alerts.py", set()),
        ("agents/registry.py", set()),
        ("features/registry.py", set()),
        ("recipes/recipe.py", set()),
        ("settings.py", set()),
        ("layout.py", set()),
        ("defs/models.py", set()),
        ("lifecycle/promotion.py", set()),
        ("provenance/closure.py", set()),
        ("broker/paper/server.py", set()),
        ("ingest/lake.py", set()),
        ("environment/position.py", OF_ALL),
        ("market/costs.py", OF_ALL),
        ("agents/base.py", OF_ALL),
        ("agents/muzero/learner.py", OF_MUZERO),
        ("agents/muzero/config.yaml", OF_MUZERO),
        ("agents/muzero/engine/search.py", OF_MUZERO),
        ("search/tree.py", OF_MUZERO),
        ("features/temporal9/kernel.py", None),
        ("validation/rollout.py", {"report", "trial", "family"}),
        ("validation/conditions.py", {"report"}),
        ("validation/templates/report.html.j2", {"report"}),
        ("broker/paper/desk/desk.py", {"report"}),
        ("lifecycle/trials.py", set()),
        ("proofs/play.py", {"proof"}),
    ],
)
def test_an_edit_makes_stale_what_imports_the_file(package: Path, file: str, stale: set[str] | None) -> None:
    before = digests()
    path = package / file
    path.write_bytes(path.read_bytes() + b"\n# a comment\n")
    changed = {name for name, digest in digests().items() if digest != before[name]}
    if stale is None:
        # What it sees is a checkpoint's own, whatever else knows this set as the usual one.
        assert {"checkpoint", "report"} <= changed
    else:
        assert changed == stale


@pytest.mark.parametrize(
    "files",
    [
        ("agents/tabular/__init__.py", "agents/tabular/entry.py"),
        ("agents/muzero/not_imported.py",),
        ("features/wavelets/__init__.py", "features/wavelets/entry.py"),
        ("recipes/shipped/another.yaml",),
        ("proofs/another.py",),
        ("validation/another.py",),
    ],
)
def test_what_is_added_beside_makes_nothing_stale(package: Path, files: tuple[str, ...]) -> None:
    before = digests()
    for file in files:
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text("from fx_pipeline.environment import position\n")
    assert digests() == before


def test_imports_of_every_form_are_followed(package: Path) -> None:
    (package / "market" / "one.py").write_text("")
    forms = (
        "import fx_pipeline.market.one",
        "from fx_pipeline.market import one",
        "from fx_pipeline.market.one import x",
        "from ..market import one",
        "from ..market.one import x",
        "def f():\n    from fx_pipeline.market import one",
        "try:\n    pass\nexcept ValueError:\n    import fx_pipeline.market.one as two",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    from fx_pipeline.market import one",
    )
    for form in forms:
        (package / "proofs" / "form.py").write_text(form)
        forget()
        assert "market/one.py" in closure.closure(("fx_pipeline.proofs.form",)), form
    (package / "proofs" / "form.py").write_text(
        "import typing\nif typing.TYPE_CHECKING:\n    from fx_pipeline.market import one"
    )
    forget()
    assert not any(file.startswith("market/") for file in closure.closure(("fx_pipeline.proofs.form",)))


def test_packages_around_a_module_run_before_it(package: Path) -> None:
    found = closure.closure(("fx_pipeline.agents.muzero.engine.search",))
    assert {"__init__.py", "agents/__init__.py", "agents/muzero/__init__.py"} <= set(found)


def test_an_entry_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"fx_pipeline\.agents\.nobody"):
        closure.code_digest("fx_pipeline.agents.nobody")


def test_names_of_modules_are_put_together_in_tables_of_names_alone() -> None:
    """An import that is not written down cannot be followed: the registries may have one, and lead to entries."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            called = node.func if isinstance(node, ast.Call) else None
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in ("import_module", "__import__", "spec_from_file_location", "exec", "run_module"):
                found.add(path.relative_to(SOURCE).as_posix())
    assert found == {"agents/registry.py", "features/registry.py"}
    for entry in (*ENTRIES.values(), *FEATURE_SETS.values()):
        assert closure.closure((entry,)), "each is an entry of its own"


def data_of(path: Path) -> list[Path]:
    return list(closure._named_data(path.parent, closure._read(path).texts))


def test_each_file_of_data_belongs_to_a_module_that_names_it() -> None:
    data = {path for path in SOURCE.rglob("*") if path.suffix in closure._DATA}
    named = {file for path in SOURCE.rglob("*.py") for file in data_of(path)}
    # Recipes are read as data of a folder: what they say is part of what a result is made from.
    shipped = {path for path in data if "shipped" in path.parts}
    assert data - named - shipped == set()


def test_what_is_left_out_is_there() -> None:
    for name in closure.LEFT_OUT:
        assert closure._file_of(name) is not None, name
