"""Whether the agent learns what there is to learn: its proofs on synthetic markets, and how old they are."""

import datetime as dt
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field

from fx_pipeline.agents.base import Progress
from fx_pipeline.agents.registry import agent
from fx_pipeline.defs.metadata import OWNERS, picture, plain
from fx_pipeline.defs.progress import reporter
from fx_pipeline.recipes.loader import default_recipe
from fx_pipeline.settings import load_settings


class CertifyConfig(dg.Config):
    """What to prove in one run; `minutes` and `preset` come from the settings when they are not given."""

    markets: list[str] = Field(default=["ou", "regime", "walk"])
    seeds: int = 1
    minutes: float | None = None
    preset: str | None = None
    ppo: bool = False


@cache
def certification_asset(name: str) -> dg.AssetsDefinition:
    """Return the asset of the proofs of an agent; of one the very same one."""

    @dg.asset(
        key=dg.AssetKey("agent_certification" if name == default_recipe().agent else [name, "certification"]),
        description=(
            "How near the agent comes to the best policy on synthetic markets whose best policy is known.\n\n"
            "The same as `fx-pipeline prove`: each seed trains for the minutes of the budget on one path and is judged "
            "on another. Results lie in `proofs/` of the data folder; those of the command count as well."
        ),
        group_name="certification",
        kinds={"pytorch", "numba"},
        owners=OWNERS,
        pool="training",
        # The UI then shows by itself that the code has changed since the proof.
        code_version=agent(name).code_version(),
    )
    def agent_certification(context: dg.AssetExecutionContext, config: CertifyConfig) -> dg.MaterializeResult:
        from fx_pipeline.proofs.bars import milestones_of
        from fx_pipeline.proofs.certify import prove_market
        from fx_pipeline.proofs.markets import known_market
        from fx_pipeline.proofs.prove import Proof
        from fx_pipeline.proofs.result import read_results, write_result

        settings = load_settings()

        @contextmanager
        def watch(title: str) -> Iterator[Progress]:
            yield reporter(context, title)

        for market in [known_market(found) for found in config.markets]:
            preset = config.preset or settings.preset
            proof = Proof(
                name,
                market,
                preset=preset,
                minutes=config.minutes or settings.proof_minutes,
                seeds=config.seeds,
                milestones=milestones_of(name, preset, market),
            )
            folder = settings.layout.proofs
            result = prove_market(
                proof, ppo=config.ppo, watch=watch, now=lambda: dt.datetime.now(dt.UTC), folder=folder
            )
            write_result(result, folder)
        return dg.MaterializeResult(metadata=plain(certification_metadata(read_results(settings.layout.proofs, name))))

    return agent_certification


def certification_checks(name: str) -> list[dg.AssetChecksDefinition]:
    """Return the checks of the proofs of an agent."""
    certification = certification_asset(name)

    @dg.asset_check(asset=certification)
    def proof_is_newer_than_the_code() -> dg.AssetCheckResult:
        """Every market was proved with the agent's present code and configuration. A warning: a proof takes minutes."""
        from fx_pipeline.proofs.certify import outdated
        from fx_pipeline.proofs.result import read_results

        problems = outdated(read_results(load_settings().layout.proofs, name), name)
        return dg.AssetCheckResult(
            passed=not problems,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain({"outdated": problems, "agent": name}),
        )

    @dg.asset_check(asset=certification)
    def proof_reaches_its_bars() -> dg.AssetCheckResult:
        """The newest proof of each market misses none of the bars that are set for its preset."""
        from fx_pipeline.proofs.result import read_results

        results = read_results(load_settings().layout.proofs, name)
        missed = [f"{market}: {reason}" for market, result in results.items() for reason in result["missed"]]
        not_measured = [f"{market}: {bar}" for market, result in results.items() for bar in result["not_measured"]]
        return dg.AssetCheckResult(
            passed=bool(results) and not missed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=plain({"missed": missed, "not measured": not_measured, "proved": list(results)}),
        )

    return [proof_is_newer_than_the_code, proof_reaches_its_bars]


#: Of the agent of the default recipe.
agent_certification = certification_asset(default_recipe().agent)
CHECKS = certification_checks(default_recipe().agent)

_COLUMNS = (
    "market",
    "share_worst",
    "share_mean",
    "pips_per_episode",
    "trades_per_episode",
    "policy_share_mean",
    "learning_share_mean",
    "learning_policy_share_mean",
    "ppo_share_mean",
    "preset",
    "minutes",
    "date",
    "code_version",
)


def certification_metadata(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the table of the proofs, their curves and where their pages lie."""

    def draw(figure: Any) -> None:
        for number, (market, result) in enumerate(results.items()):
            axes = figure.add_subplot(1, len(results), number + 1)
            for seed in result["seeds"]:
                axes.plot([at / 60 for at, _ in seed["curve"]], [pips for _, pips in seed["curve"]], linewidth=1)
                axes.plot([seed["seconds"] / 60], [seed["pips_per_episode"]], "D", color="#2457c5", markersize=4)
            axes.axhline(result["optimum_pips"], color="#66727f", linestyle="--", linewidth=0.8)
            axes.set_title(f"{market}: pips by minutes", fontsize=8)
            axes.tick_params(labelsize=6)

    head = "| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS) + "\n"
    rows = "".join("| " + " | ".join(_shown(row[name]) for name in _COLUMNS) + " |\n" for row in results.values())
    return {"proofs": dg.MetadataValue.md(head + rows), "curves": picture(draw, whole=True)} | {
        f"{market} {name}": float(row[name])
        for market, row in results.items()
        for name in ("share_worst", "pips_per_episode", "trades_per_episode")
        if row[name] is not None
    }


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)
