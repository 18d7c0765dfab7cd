"""The code location on a clean environment, and one run of the chain on a synthetic market that the tests look at."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

INSTRUMENT = "EUR_USD"
MONTH = "2024-01"
SETTINGS = {
    "FX_INSTRUMENTS": "EUR_USD,GBP_USD",
    "FX_PRESET": "tiny",
    "FX_EPISODES": "4",
    "FX_MC_RUNS": "200",
    "FX_TRAIN_DAYS": "8",
    "FX_VALIDATION_DAYS": "4",
}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@contextmanager
def environment(data_dir: Path, changes: Mapping[str, str] | None = None) -> Iterator[None]:
    """Neither variables of the user nor a `.env` of the working directory decide what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FX_")]:
            patch.delenv(name)
        for name, value in {**SETTINGS, "FX_DATA_DIR": str(data_dir), **(changes or {})}.items():
            patch.setenv(name, value)
        patch.chdir(data_dir)
        yield


# The axes of the code location are read from the settings when it loads, which is when a test module imports it.
with tempfile.TemporaryDirectory() as _folder, environment(Path(_folder)):
    from fx_pipeline.definitions import defs


@dataclass
class Chain:
    """A data folder, a Dagster instance, and the jobs of the pipeline on them."""

    data_dir: Path
    instance: dg.DagsterInstance
    instrument: str = INSTRUMENT
    window: str = ""
    results: dict[str, dg.ExecuteInProcessResult] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)

    def environment(self) -> Any:
        return environment(self.data_dir, self.changes)

    def definitions(self) -> dg.Definitions:
        from fx_pipeline.defs.resources import build_resources
        from fx_pipeline.settings import load_settings

        with self.environment():
            resources = build_resources(load_settings())
        return dg.Definitions(assets=defs.assets, asset_checks=defs.asset_checks, jobs=defs.jobs, resources=resources)

    def job(
        self, name: str, key: str | None = None, config: Mapping[str, Any] | None = None, fails: bool = False
    ) -> dg.ExecuteInProcessResult:
        """Run a job in this process; with `fails` the result of a failed run comes back."""
        job = self.definitions().resolve_job_def(name)
        with self.environment():
            return job.execute_in_process(
                instance=self.instance,
                partition_key=key,
                run_config={**QUIET, **(config or {})},
                raise_on_error=not fails,
            )

    def materialize(
        self,
        asset: dg.AssetsDefinition,
        key: str,
        fails: bool = False,
        config: Mapping[str, Any] | None = None,
    ) -> dg.ExecuteInProcessResult:
        """Materialise one asset with its checks; `config` is the asset's own."""
        ops = {"ops": {asset.key.to_python_identifier(): {"config": dict(config)}}} if config else {}
        checks = [check for check in defs.asset_checks or () if asset.key in {k.asset_key for k in check.check_keys}]
        resources = self.definitions().resources
        with self.environment():
            return dg.materialize(
                [asset, *checks],
                instance=self.instance,
                partition_key=key,
                resources=resources,
                run_config={**QUIET, **ops},
                raise_on_error=not fails,
            )

    def check(self, name: str) -> dg.AssetCheckEvaluation:
        """Run one check by hand, as the button of the UI does: without a partition."""
        asset, check = name.split(".")
        selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), check))
        definitions = self.definitions()
        job = dg.Definitions(
            assets=definitions.assets,
            asset_checks=definitions.asset_checks,
            resources=definitions.resources,
            jobs=[dg.define_asset_job("by_hand", selection=selection)],
        ).resolve_job_def("by_hand")
        with self.environment():
            result = job.execute_in_process(instance=self.instance, run_config=QUIET, raise_on_error=False)
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    def report_materialization(self, asset: str, key: str) -> None:
        """Put a materialisation into the event log, as a run elsewhere would."""
        self.instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(asset), partition=key))

    @staticmethod
    def month_key(month: str = MONTH, instrument: str = INSTRUMENT) -> dg.MultiPartitionKey:
        return dg.MultiPartitionKey({"instrument": instrument, "month": month})

    def key(self, window: str | None = None, instrument: str = INSTRUMENT) -> dg.MultiPartitionKey:
        return dg.MultiPartitionKey({"instrument": instrument, "window": window or self.window})

    @property
    def checkpoint(self) -> Path:
        return self.trainings / "seed-7"

    @property
    def trainings(self) -> Path:
        return self.data_dir / "checkpoints" / "muzero" / INSTRUMENT / self.window

    @property
    def report(self) -> Path:
        return self.data_dir / "reports" / "muzero" / INSTRUMENT / self.window

    @contextmanager
    def copied(self, folder: Path, **changes: str) -> Iterator["Chain"]:
        """A copy that a test may change, with an instance of its own that knows the same partitions."""
        shutil.copytree(self.data_dir, folder, dirs_exist_ok=True)
        with dg.DagsterInstance.ephemeral() as instance:
            windows = self.instance.get_dynamic_partitions("walk_forward_window")
            instance.add_dynamic_partitions("walk_forward_window", list(windows))
            yield Chain(folder, instance, window=self.window, changes=dict(changes))


def warehouse_of(settings: Any) -> Any:
    """The warehouse as a run of Dagster gets it."""
    from fx_pipeline.defs.resources import build_resources

    return build_resources(settings)["warehouse"]


def attest(
    chain: Chain,
    window: str | None = None,
    lineage: Mapping[str, Any] | None = None,
    record: Mapping[str, Any] | None = None,
    **figures: Any,
) -> None:
    """Let a report say what a few episodes of training never earn, as if the validation had computed it.

    Unlike who edits a report, this has the trial ledger name the figures, and the stamp the files.
    """
    from fx_pipeline.lifecycle.verified import figures_sha256
    from fx_pipeline.reuse import stamp
    from fx_pipeline.tracking.ledger import Ledger, lineage_sha256
    from fx_pipeline_tests.validation.test_gate import GOOD

    path = chain.report.with_name(window or chain.window) / "report.json"
    report = json.loads(path.read_text())
    was = report["figures"]
    kept = {name: was["record"][name] for name in ("windows", "looks", "days", "trials", "chosen", "sessions")}
    # A few days are worth a look at a record only where it is far above chance.
    facts = GOOD["record"] | kept | {"z": 40.0, "lucky_z": 0.0, "deflated_z": 40.0} | (record or {})
    report["figures"] = was | GOOD | {"record": facts, "holdout_openings": was["holdout_openings"]}
    report["figures"] |= {"verdict": "promoted", "expectancy_pips": 3.2} | figures
    report["lineage"] |= lineage or {}
    report["figures_sha256"] = figures_sha256(report["figures"])
    path.write_text(json.dumps(report))
    ledger, sha256 = Ledger(chain.data_dir / "ledger.db"), report["lineage"]["checkpoint_sha256"]
    for row in ledger.scored(report["figures"]["instrument"], report["figures"]["window"]):
        if row.checkpoint_hash == sha256:
            ledger.attach_report(row.key, report["figures_sha256"], lineage_sha256(report["lineage"]))
    made_from = json.loads((path.parent / "made_from.json").read_text())
    stamp(path.parent, made_from["identity"], *made_from["files"])


def skip_of(result: dg.ExecuteInProcessResult, asset: str) -> str:
    """Why a run made nothing of an asset, as its materialisation says."""
    (event,) = result.asset_materializations_for_node(asset)
    return str(event.metadata["skipped"].value)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """January 2024 of a synthetic EUR_USD, from raw pages to the report. Tests look at it and leave it as it is."""
    with dg.DagsterInstance.ephemeral() as instance:
        made = Chain(tmp_path_factory.mktemp("chain"), instance)
        made.results["ingest"] = made.job("ingest", made.month_key())
        made.results["prepare"] = made.job("prepare", INSTRUMENT)
        made.window = instance.get_dynamic_partitions("walk_forward_window")[-1]
        made.results["train"] = made.job("train", made.key())
        made.results["validate"] = made.job("validate", made.key())
        yield made


@pytest.fixture
def copy(chain: Chain, tmp_path: Path) -> Iterator[Chain]:
    """A copy of the chain that a test may change."""
    with chain.copied(tmp_path / "data") as copied:
        yield copied


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Chain]:
    """An empty data folder."""
    with dg.DagsterInstance.ephemeral() as instance:
        (tmp_path / "data").mkdir()
        yield Chain(tmp_path / "data", instance)
