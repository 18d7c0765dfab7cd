"""The conditions of the promotion gate, each a function from figures and thresholds to a judged condition.

Each reads its figures by name from the report's `figures`, and says what would have to change where it fails.
"""

from collections.abc import Mapping
from typing import Any

from fx_pipeline.validation.gate import Condition, GateConfig, Rule, condition, figure_of

Figures = Mapping[str, Any]


def enough_trades(figures: Figures, config: GateConfig) -> Condition:
    """At least so many closed trades (`trades`)."""
    figure, sessions = figure_of(figures, "trades"), figure_of(figures, "sessions")
    count = "No" if not figure else f"{figure:,.0f}"
    remedy = "It would have to trade at all."
    if figure:
        missing = config.min_trades - figure
        remedy = f"{missing:.0f} more unseen trades"
        remedy += (
            f": at its rate of trading, about {missing * sessions / figure:,.0f} more sessions." if sessions else "."
        )
    return condition(
        "enough_trades",
        "Enough trades to judge",
        figure,
        ">=",
        config.min_trades,
        "trades",
        f"{count} trades were closed; at least {config.min_trades} are needed to say anything.",
        remedy,
    )


def long_enough_record(figures: Figures, config: GateConfig) -> Condition:
    """As many trades as this Sharpe ratio needs (`trades`, `min_track_record_trades`)."""
    figure, needed = figure_of(figures, "trades"), figure_of(figures, "min_track_record_trades")
    if needed is None:
        text = "No number of such trades would show a Sharpe ratio above 0."
        remedy = "The mean trade would have to be positive."
    else:
        text = (
            f"A Sharpe ratio of this size, with these tails, takes {needed:,.0f} trades to tell from 0 at 95 %; there "
            f"are {figure or 0:,.0f}."
        )
        remedy = (
            f"{max(needed - (figure or 0), 0):,.0f} more trades as good as these, or the same result with less spread."
        )
    return condition(
        "long_enough_record",
        "A record long enough for its Sharpe ratio",
        figure,
        ">=",
        needed,
        "trades",
        text,
        remedy,
    )


def positive_expectancy(figures: Figures, config: GateConfig) -> Condition:
    """The mean P&L after spread, financing and a tick of slippage is high enough (`stressed_expectancy_pips`)."""
    figure, limit = figure_of(figures, "stressed_expectancy_pips"), config.min_expectancy_pips
    if figure is None:
        text, remedy = "There is no expectancy: no trade was closed.", "It would have to trade at all."
    else:
        text = (
            f"A trade made {figure:.2f} pips on average after spread, financing and a tick of slippage a fill; more "
            f"than {limit:g} is needed."
        )
        remedy = f"Each trade would have to make {limit - figure:.2f} pips more, or cost that much less."
    return condition(
        "positive_expectancy",
        "A trade makes money after all costs",
        figure,
        ">",
        limit,
        "pips",
        text,
        remedy,
    )


def better_than_flat(figures: Figures, config: GateConfig) -> Condition:
    """Total P&L above 0, and few bootstrap paths at or below it (`total_pips`, `probability_not_positive`)."""
    total, figure = figure_of(figures, "total_pips"), figure_of(figures, "probability_not_positive")
    limit = config.max_probability_not_positive
    remedy = "More trades of the same mean, or a mean further above 0 for their spread."
    if total is None or figure is None:
        # Without a total or a simulation nothing is known of how far this is from luck.
        figure, text = None, "Nothing can be said against staying flat: there is no simulated total."
    elif total <= 0:
        text = f"The total is {total:,.1f} pips: staying flat would have been at least as good."
        remedy = f"It would have to make at least {-total:,.1f} pips more: staying flat makes 0."
    else:
        text = (
            f"The total is {total:,.1f} pips, and {figure:.1%} of the resampled histories end no better than staying "
            f"flat; the total must be positive and at most {limit:.0%} may."
        )
    return condition(
        "better_than_flat",
        "Better than not trading, and not by luck",
        figure,
        "<=",
        limit,
        "probability",
        text,
        remedy,
        also=total is not None and total > 0,
    )


def better_than_baselines(figures: Figures, config: GateConfig) -> Condition:
    """A larger total than flat, buy and hold, sell and hold and the SMA cross (`margin_over_baselines_pips`)."""
    figure = figure_of(figures, "margin_over_baselines_pips")
    if figure is None:
        text, remedy = "There is no comparison with baselines.", "Validate again: the baselines are missing."
    else:
        place = f"{abs(figure):,.1f} pips {'above' if figure > 0 else 'below'}" if figure else "the same as"
        text = f"Its total is {place} the best baseline's (flat, buy and hold, sell and hold, SMA cross)."
        remedy = f"It would have to make over {abs(figure):,.1f} pips more than it did on these sessions."
    return condition(
        "better_than_baselines",
        "Better than what needs no skill",
        figure,
        ">",
        0.0,
        "pips",
        text,
        remedy,
    )


def better_than_random(figures: Figures, config: GateConfig) -> Condition:
    """Random traders with the same turnover seldom do as well (`random_p`)."""
    figure = figure_of(figures, "random_p")
    text = "There are no random traders to compare with: it did not trade."
    remedy = "It would have to trade at all."
    if figure is not None:
        text = (
            f"Random traders with its number, length and direction of trades do as well with a probability of "
            f"{figure:.1%}; at most {config.max_random_p:.0%} may."
        )
        remedy = "When it trades would have to matter: its moments of entry and exit beat chance too seldom."
    return condition(
        "better_than_random",
        "Better than chance with the same turnover",
        figure,
        "<=",
        config.max_random_p,
        "probability",
        text,
        remedy,
    )


def deflated(figures: Figures, config: GateConfig) -> Condition:
    """The Sharpe ratio is above that of the best of as many worthless trials (`deflated_sharpe`, `trials`)."""
    figure, trials = figure_of(figures, "deflated_sharpe"), figure_of(figures, "trials")
    if figure is None:
        text = "There is no deflated Sharpe ratio: fewer than two different trades, or no ledger of trials."
        remedy = "It needs trades, and a ledger that counts every trial."
    else:
        many = f"{trials:,.0f} trials were" if trials != 1 else "1 trial was"
        text = (
            f"{many} looked at. That this one is better than the best of as many worthless ones has a probability of "
            f"{figure:.1%}; {config.min_deflated_sharpe:.0%} is needed."
        )
        remedy = "A higher Sharpe ratio a trade or a longer record; fewer attempts, which cannot be undone."
    return condition(
        "deflated_sharpe",
        "Not the luckiest of many trials",
        figure,
        ">=",
        config.min_deflated_sharpe,
        "probability",
        text,
        remedy,
    )


def not_overfitted(figures: Figures, config: GateConfig) -> Condition:
    """Choosing on one half of the sessions works on the other (`overfitting_probability`, `family_absent`)."""
    figure = figure_of(figures, "overfitting_probability")
    if figure is None:
        text, remedy = _no_family(figures, "Overfitting cannot be tested")
    else:
        text = (
            f"The candidate that is best on one half of the sessions is in the lower half on the others in "
            f"{figure:.0%} of the splits; at most {config.max_overfitting:.0%} may."
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
    figure, own = figure_of(figures, "spa_p"), figures.get("superior") is True
    if figure is None:
        text, remedy = _no_family(figures, "Data snooping cannot be tested")
    else:
        names = "is among" if own else "is not among"
        text = (
            f"If no trial of this window were better than staying flat, the best would look as good with a probability "
            f"of {figure:.1%}; at most {config.max_snooping_p:.0%} may. This one {names} those that are better."
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


def worth_its_risk(figures: Figures, config: GateConfig) -> Condition:
    """CAR25 at safe-f is above the risk-free rate (`car25`)."""
    figure, rate = figure_of(figures, "car25"), config.risk_free_rate
    if figure is None:
        text, remedy = "There is no return to weigh: no trade was closed.", "It would have to trade at all."
    else:
        text = (
            f"Sized so that a deep drawdown stays unlikely, three histories in four earn more than {figure:.1%} a "
            f"year; more than {rate:.1%}, which needs no risk, is wanted."
        )
        remedy = "More profit for its drawdowns: larger expectancy, more trades a year, or shorter losing streaks."
    return condition(
        "worth_its_risk",
        "Earns more than a deposit at a bearable risk",
        figure,
        ">",
        rate,
        "percent",
        text,
        remedy,
    )


def worst_seed(figures: Figures, config: GateConfig) -> Condition:
    """Enough seeds of the configuration, the worst does not lose, and none is missing.

    Reads `seeds`, `worst_seed_pips` and `seeds_left_out`: a losing seed must not drop out by judging the others anew.
    """
    figure, count = figure_of(figures, "worst_seed_pips"), figure_of(figures, "seeds") or 0
    missing = figure_of(figures, "seeds_left_out")
    enough = count >= config.min_seeds
    if figure is None:
        text = "No seed of this configuration is in the ledger on these sessions."
    else:
        text = (
            f"The worst of {count:.0f} {'seed' if count == 1 else 'seeds'} of this configuration made {figure:,.1f} "
            f"pips in total; {config.min_seeds} seeds are needed, none below {config.min_worst_seed_pips:g}."
        )
    if missing:
        text += f" {missing:.0f} more of its seeds were judged at other costs, on other data or by other code only."
    remedy = "Learning that does not depend on the seed: even the worst one must not lose."
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
        also=enough and missing == 0,
    )


def accounting_agrees(figures: Figures, config: GateConfig) -> Condition:
    """Two computations of the P&L agree (`parity_error_pips`)."""
    figure = figure_of(figures, "parity_error_pips")
    if figure is None:
        text = "The profit of the trades was computed once only."
    else:
        text = f"The environment and an independent pricing of the same trades differ by at most {figure:.1g} pips."
    return condition(
        "accounting_agrees",
        "The profit is what the fills say",
        figure,
        "<=",
        config.max_parity_error_pips,
        "pips",
        text,
        "A defect in the accounting: no figure of this report can be relied on until it is mended.",
    )


def broker_agrees(figures: Figures, config: GateConfig) -> Condition:
    """The paper broker makes the same trades of the same decisions (`parity`)."""
    found = figures.get("parity")
    told = found if isinstance(found, Mapping) else {}
    figure, replayed, trades, left_out = (
        figure_of(told, key) for key in ("differing", "replayed", "trades", "left_out")
    )
    every = replayed is not None and replayed == trades
    if figure is None:
        text = "The decisions were not replayed at the paper broker."
        remedy = "Validate again: the replay at the paper broker is missing."
    else:
        text = (
            f"Sent the same decisions, the paper broker closed {replayed or 0:,.0f} of {trades or 0:,.0f} trades, and "
            f"{figure:,.0f} differ."
        )
        if left_out:
            text += f" {left_out:,.0f} more, of sessions that were not drawn, were not replayed."
        if not trades and not figure and not left_out:
            text = "No trade was closed, so there is none that the paper broker could make otherwise."
        remedy = "A defect in the fills of the environment or of the broker: find what differs before anything trades."
    return condition(
        "broker_agrees",
        "The paper broker makes the same trades",
        figure,
        "<=",
        0.0,
        "trades",
        text,
        remedy,
        also=every,
    )


def no_leak(figures: Figures, config: GateConfig) -> Condition:
    """Searches for knowledge of the future were made and found nothing (`leaks_found`, `leaks_searched`)."""
    figure, searched = figure_of(figures, "leaks_found"), figures.get("leaks_searched") or ()
    if figure is None or not searched:
        figure, text = None, "Nothing was searched for knowledge of the future."
    else:
        text = f"Searched: {', '.join(searched)}. Found: {figure:.0f}."
    return condition(
        "no_leak",
        "Nothing knows the future",
        figure,
        "<=",
        0.0,
        "count",
        text,
        "The searches for look-ahead and warm-up must have run and found nothing: materialise the features again."
        if figure
        else "The searches for look-ahead and warm-up must have run on the data of this report.",
    )


def disjoint_sessions(figures: Figures, config: GateConfig) -> Condition:
    """No two sessions share bars (`overlapping_sessions`): a trade must not be counted twice."""
    figure = figure_of(figures, "overlapping_sessions")
    if figure is None:
        text = "It is not known whether sessions overlap."
    elif figure > 0:
        text = f"{figure:.0f} sessions overlap the one before them: the same bars, and so the same trades, count twice."
    else:
        text = "No two sessions share a bar: every trade counts once."
    return condition(
        "disjoint_sessions",
        "Every trade counts once",
        figure,
        "<=",
        0.0,
        "sessions",
        text,
        "Validate on sessions that do not overlap.",
    )


def unseen_holdout(figures: Figures, config: GateConfig) -> Condition:
    """The sealed days were opened for few candidates (`holdout_openings`)."""
    figure = figure_of(figures, "holdout_openings")
    if figure is None:
        text = "It is not known how often the sealed days were opened."
    else:
        many = "candidate" if figure == 1 else "candidates"
        text = f"The sealed days of this instrument were opened for {figure:.0f} {many}."
        if not figure:
            text = "No candidate of this instrument has seen the sealed days, if there are any."
    return condition(
        "unseen_holdout",
        "The hold-out is still one",
        figure,
        "<=",
        config.max_holdout_openings,
        "count",
        text,
        "Seal newer days (FX_HOLDOUT_START): these have been looked at too often to be unseen.",
    )


#: The gate. A new condition is a new function in this list.
CONDITIONS: tuple[Rule, ...] = (
    enough_trades,
    long_enough_record,
    positive_expectancy,
    better_than_flat,
    better_than_baselines,
    better_than_random,
    deflated,
    not_overfitted,
    superior,
    worth_its_risk,
    worst_seed,
    accounting_agrees,
    broker_agrees,
    no_leak,
    disjoint_sessions,
    unseen_holdout,
)

#: What a candidate is asked on the sealed days: it was chosen elsewhere, so nothing is asked of its family and seeds.
HOLDOUT_CONDITIONS: tuple[Rule, ...] = (
    positive_expectancy,
    better_than_flat,
    better_than_baselines,
    better_than_random,
    accounting_agrees,
    broker_agrees,
    no_leak,
    disjoint_sessions,
    unseen_holdout,
)


def _no_family(figures: Figures, what: str) -> tuple[str, str]:
    absent = figures.get("family_absent") or "the report has no family of trials."
    return (
        f"{what}: {absent}",
        "Validate other seeds or configurations on the same sessions: the ledger keeps their scores.",
    )
