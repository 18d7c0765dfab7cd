"""The result of a proof: one JSON object and one page, below a folder of the agent."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fx_pipeline.market.arrays import SESSION_BARS
from fx_pipeline.market.atomic import atomic_write_bytes, atomic_write_json
from fx_pipeline.market.errors import OlderVersionError
from fx_pipeline.market.records import Shape, read_record
from fx_pipeline.proofs.bars import aims_reached, missed_bars, unmeasured
from fx_pipeline.proofs.markets import MARKETS
from fx_pipeline.proofs.optimum import optimum_pips
from fx_pipeline.proofs.prove import Proof, SeedResult, case_of
from fx_pipeline.proofs.unfinished import unfinished_path

SCHEMA = 2


class _Seed(Shape):
    seed: int
    seconds: float
    pips_per_episode: float
    trades_per_episode: float
    policy_pips_per_episode: float | None
    standard_error_pips: float
    share: float | None
    curve: list[list[float]]
    milestones: list[dict[str, Any]]


class _Result(Shape):
    agent: str
    market: str
    preset: str
    minutes: float
    training_minutes: float
    date: str
    code_version: str
    config_digest: str
    cores: int
    optimum_pips: float
    share_worst: float | None
    share_mean: float | None
    pips_per_episode: float
    trades_per_episode: float
    policy_share_mean: float | None
    ppo_share_mean: float | None
    milestones: list[dict[str, Any]]
    learning_share_mean: float | None
    learning_policy_share_mean: float | None
    seconds: float
    seeds: list[_Seed]
    ppo: list[_Seed]
    missed: list[str]
    not_measured: list[str]
    aims_reached: list[str]


#: What the first line of a table and a JSON consumer look at.
HEADLINE = (
    "market",
    "share_worst",
    "share_mean",
    "pips_per_episode",
    "trades_per_episode",
    "policy_share_mean",
    "ppo_share_mean",
    "seconds",
)


def summary(
    proof: Proof,
    results: Sequence[SeedResult],
    peers: Sequence[SeedResult],
    *,
    made_by: Mapping[str, Any],
    seconds: float,
    date: str,
) -> dict[str, Any]:
    """Summarise a proof.

    Parameters
    ----------
    proof : Proof
    results : sequence of SeedResult
        At least one.
    peers : sequence of SeedResult
        Of PPO; empty where it was not run.
    made_by : Mapping
        From `fx_pipeline.proofs.prove.provenance`.
    seconds : float
        Wall time of the whole proof, with that of its seeds from a run that was stopped.
    date : str
        When it ended, ISO 8601.

    Returns
    -------
    dict
        JSON-able. `minutes` is the budget, `training_minutes` what the slowest training took. Shares are of the
        optimum, null on `walk`, which has none. `pips_per_episode` is the worst seed's and `trades_per_episode` the
        greatest of any seed. `milestones` says, for each that all seeds passed, the mean share with and without search;
        `learning_share_mean` and `learning_policy_share_mean` are the means over them, null where there are none.
        `episodes_per_hour` is what self-play played beside learning, mean over seeds; null where
        an agent does not count its steps, or trainings shared the cores.
    """
    best = optimum_pips(proof.market, actions=proof.actions)

    def share(pips: float | None) -> float | None:
        return pips / best if pips is not None and best > 0 else None

    def mean_share(values: Sequence[float | None]) -> float | None:
        shares = [share(value) for value in values]
        known = [value for value in shares if value is not None]
        return sum(known) / len(known) if known and len(known) == len(shares) else None

    def details(all_of: Sequence[SeedResult]) -> list[dict[str, Any]]:
        return [{**asdict(one), "share": share(one.pips_per_episode)} for one in all_of]

    milestones: list[dict[str, Any]] = []
    for mark in proof.milestones:
        passed = [then for one in results for then in one.milestones if then.episodes == mark]
        if len(passed) == len(results):
            milestones.append(
                {
                    "episodes": mark,
                    "share_mean": mean_share([one.pips_per_episode for one in passed]),
                    "policy_share_mean": mean_share([one.policy_pips_per_episode for one in passed]),
                }
            )

    def over_milestones(name: str) -> float | None:
        known: list[float] = [one[name] for one in milestones if one[name] is not None]
        return sum(known) / len(known) if known else None

    pips = [one.pips_per_episode for one in results]
    made: dict[str, Any] = {
        "schema": SCHEMA,
        "agent": proof.agent,
        "market": proof.market,
        "action_set": proof.action_set,
        "preset": proof.preset,
        "minutes": proof.minutes,
        "training_minutes": max(one.seconds for one in results) / 60,
        "jobs": proof.jobs,
        "sessions": proof.sessions,
        "date": date,
        **made_by,
        "optimum_pips": best,
        "share_worst": share(min(pips)),
        "share_mean": mean_share(pips),
        "pips_per_episode": min(pips),
        "trades_per_episode": max(one.trades_per_episode for one in results),
        "policy_share_mean": mean_share([one.policy_pips_per_episode for one in results]),
        "ppo_share_mean": mean_share([one.pips_per_episode for one in peers]),
        "milestones": milestones,
        "learning_share_mean": over_milestones("share_mean"),
        "learning_policy_share_mean": over_milestones("policy_share_mean"),
        "episodes_per_hour": _episodes_per_hour(proof, results),
        "seconds": seconds,
        "seeds": details(results),
        "ppo": details(peers),
    }
    judged = {"missed": missed_bars(made), "not_measured": unmeasured(made), "aims_reached": aims_reached(made)}
    return {**made, **judged}


def _episodes_per_hour(proof: Proof, results: Sequence[SeedResult]) -> float | None:
    hours = sum(one.seconds for one in results) / 3_600
    if proof.jobs > 1 or not hours or not all("steps" in one.counters for one in results):
        return None
    return sum(one.counters["steps"] for one in results) / SESSION_BARS / hours


def without_curves(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result short enough for one line of JSON: headline first, curves left out."""
    rest = {name: value for name, value in result.items() if name not in HEADLINE}
    for name in ("seeds", "ppo"):
        rest[name] = [{key: value for key, value in seed.items() if key != "curve"} for seed in result[name]]
    return {**{name: result[name] for name in HEADLINE}, **rest}


def result_path(folder: Path, agent: str, case: str) -> Path:
    """Where the JSON of a proof lies below a folder of proofs; its page lies beside it."""
    return folder / agent / f"{case}.json"


def write_result(result: Mapping[str, Any], folder: Path) -> Path:
    """Write the page and then the JSON, each atomically; return the path of the page.

    The seeds that were kept against a stop are in the result now, and removed.
    """
    from fx_pipeline.proofs.page import render_page

    case = case_of(result["market"], result["action_set"])
    path = result_path(folder, result["agent"], case)
    page = path.with_suffix(".html")
    atomic_write_bytes(page, render_page(result).encode())
    atomic_write_json(path, result)
    unfinished_path(folder, result["agent"], case).unlink(missing_ok=True)
    return page


def read_results(folder: Path, agent: str) -> dict[str, dict[str, Any]]:
    """Read the newest result of each market that was proved; one of an older schema counts as none.

    Raises
    ------
    DataError
        If a file is damaged or of an unknown schema.
    """
    results: dict[str, dict[str, Any]] = {}
    for market in MARKETS:
        path = result_path(folder, agent, market)
        if not path.exists():
            continue
        try:
            results[market] = read_record(path, _Result, f"prove {agent} on {market} again.", SCHEMA)
        except OlderVersionError:
            continue
    return results
