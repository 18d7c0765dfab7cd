"""Conditions of the promotion gate on the search: what else was tried, and whether other seeds do as well."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from fx_pipeline.validation.gate import Condition, Figures, GateConfig, condition, figure_of, record_of
from fx_pipeline.validation.numbers import number
from fx_pipeline.validation.sequential import RHO, spending_boundary


def deflated(figures: Figures, config: GateConfig) -> Condition:
    """Better than the luckiest of what was chosen among, at this look (`deflated_z`, `looks`, `trials`).

    The z of the record, by trade or by session, whichever is smaller, less the largest that as many worthless ones are
    expected to show, must be above the sequential boundary of this look at the record.
    """
    record = record_of(figures)
    figure, trials = figure_of(record, "deflated_z"), figure_of(record, "trials")
    looks = _looks(record.get("looks"))
    bound = None if looks is None else _boundary(looks, config.min_deflated_sharpe)
    if figure is None or trials is None or looks is None or bound is None:
        figure, text = (
            None,
            "There is no deflated Sharpe ratio: fewer than two different trades, or no ledger of trials.",
        )
        remedy = "It needs trades, and a ledger that counts every trial."
    else:
        days = figure_of(record, "days") or 0
        text = (
            f"Its Sharpe ratio is {figure_of(record, 'z') or 0:.2f} standard errors above 0, and the luckiest of "
            f"{_chosen(trials, record.get('chosen'))} is expected at {figure_of(record, 'lucky_z') or 0:.2f}: that "
            f"leaves {figure:.2f}. At look {len(looks)} of its year, after {days:,.0f} trading days, more than "
            f"{bound:.2f} is needed, so that of a hundred worthless ones that are looked at all year at most "
            f"{100 * (1 - config.min_deflated_sharpe):.0f} pass."
        )
        remedy = "A higher Sharpe ratio or a longer record; fewer attempts, which cannot be undone."
    return condition(
        "deflated_sharpe",
        "Not the luckiest of many trials",
        figure,
        ">",
        bound,
        "standard errors",
        text,
        remedy,
    )


def not_overfitted(figures: Figures, config: GateConfig) -> Condition:
    """Choosing on one half of the sessions works on the other (`overfitting_probability`, `family_absent`)."""
    figure = figure_of(record_of(figures), "overfitting_probability")
    if figure is None:
        text, remedy = _no_family(figures, "Overfitting cannot be tested")
    else:
        text = (
            f"The candidate that is best on one half of the sessions is in the lower half on the others, or no better "
            f"than flat, in {figure:.0%} of the splits; at most {config.max_overfitting:.0%} may."
        )
        remedy = (
            "The best candidate would have to stay the best on other sessions: a real difference, or more sessions."
        )
    return condition(
        "not_overfitted",
        "Choosing among candidates means something",
        figure,
        "<=",
        config.max_overfitting,
        "probability",
        text,
        remedy,
    )


def superior(figures: Figures, config: GateConfig) -> Condition:
    """SPA rejects "no trial beats flat", and StepM names this one (`spa_p`, `superior`)."""
    figure, own = figure_of(record_of(figures), "spa_p"), record_of(figures).get("superior") is True
    if figure is None:
        text, remedy = _no_family(figures, "Data snooping cannot be tested")
    else:
        names = "is among" if own else "is not among"
        text = (
            f"If no trial of these sessions were better than staying flat, the best would look as good with a "
            f"probability of at most {number(figure, 'probability')}; {config.max_snooping_p:.0%} is allowed. This one "
            f"{names} those that are better."
        )
        remedy = "A larger or steadier result of this very model on the same sessions, or more sessions."
    return condition(
        "superior",
        "Better than flat although it was searched for",
        figure,
        "<=",
        config.max_snooping_p,
        "probability",
        text,
        remedy,
        also=own,
    )


def worst_seed(figures: Figures, config: GateConfig) -> Condition:
    """Enough seeds that differ, each with enough trades; none loses, and none is missing.

    Reads `seeds`, `seed_trades`, `seed_copies`, `worst_seed_pips` and `seeds_left_out`: a losing seed must not drop out
    by judging the others anew, nor be replaced by a copy of a good one or by one that stays flat.
    """
    record = record_of(figures)
    figure, count = figure_of(record, "worst_seed_pips"), figure_of(record, "seeds") or 0
    missing, trades = figure_of(record, "seeds_left_out"), record.get("seed_trades")
    idle = _idle(trades, config.min_seed_trades)
    enough = count >= config.min_seeds
    if figure is None or idle is None:
        figure, text = None, "No seed of this configuration is in the ledger on these sessions."
    else:
        text = (
            f"The worst of {count:.0f} {'seed' if count == 1 else 'different seeds'} of this configuration made "
            f"{figure:,.1f} pips in total; {config.min_seeds} are needed, none below {config.min_worst_seed_pips:g}."
        )
        if idle:
            text += (
                f" Fewer than {config.min_seed_trades} trades, which shows nothing, were made by seed "
                f"{', '.join(idle)}."
            )
        copies = record.get("seed_copies") or ()
        if copies:
            same = "; ".join(" and ".join(str(seed) for seed in group) for group in copies)
            text += f" The same model under several numbers counts once: {same}."
    if missing:
        text += f" {missing:.0f} more of its seeds were judged at other costs, on other data or by other code only."
    remedy = "Learning that does not depend on the seed: even the worst one must not lose."
    if idle:
        remedy = "Learning that does not depend on the seed: each must trade, and none may lose."
    if not enough:
        more = config.min_seeds - count
        remedy = f"Train and validate {more:.0f} more {'seed' if more == 1 else 'seeds'} of the same configuration."
    if missing:
        remedy = "Validate the seeds that are left out as this one was; train those again whose checkpoint is gone."
    return condition(
        "worst_seed",
        "Even the worst seed does not lose",
        figure,
        ">=",
        config.min_worst_seed_pips,
        "pips",
        text,
        remedy,
        also=enough and missing == 0 and not idle,
    )


def _idle(trades: Any, least: int) -> list[str] | None:
    """Seeds with fewer trades; None where they are not known."""
    if not isinstance(trades, Mapping) or not trades:
        return None
    return [str(seed) for seed, count in trades.items() if not isinstance(count, int) or count < least]


def _looks(found: Any) -> tuple[float, ...] | None:
    """Increasing shares of a year; None where these are none."""
    if isinstance(found, str) or not isinstance(found, Sequence) or not found:
        return None
    if not all(isinstance(share, int | float) and 0 < share <= 1 for share in found):
        return None
    return tuple(float(share) for share in found) if (np.diff(found) > 0).all() else None


@lru_cache(maxsize=256)
def _boundary(looks: tuple[float, ...], confidence: float) -> float | None:
    if not 0.0 < confidence < 1.0:
        return None
    bound = float(spending_boundary(looks, alpha=1.0 - confidence, rho=RHO)[-1])
    return bound if np.isfinite(bound) else None


def _chosen(trials: float, chosen: Any) -> str:
    """What was chosen among, in words."""
    if trials <= 1:
        return "one, as it was chosen among no others,"
    parts = chosen.items() if isinstance(chosen, Mapping) else ()
    said = ", ".join(f"{count:,} {what}" for what, count in parts if what != "instruments" and count)
    return f"{trials:,.0f} worthless ones that were chosen among{f' ({said})' if said else ''}"


def _no_family(figures: Figures, what: str) -> tuple[str, str]:
    absent = record_of(figures).get("family_absent") or "the report has no family of trials."
    return (
        f"{what}: {absent}",
        "Validate other seeds or configurations on the same sessions: the ledger keeps their scores.",
    )
