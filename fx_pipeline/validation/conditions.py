"""The conditions of the promotion gate on what a model made, each a function from figures and thresholds.

Significance rests on the walk-forward record of the configuration, so each reads its figures by name from
``figures["record"]`` of a report, and says what would have to change where it fails. Whether the figures can be
believed at all is asked in `soundness.py`, and what else was tried in `selection.py`; the lists of all are here.
"""

from collections.abc import Mapping

from fx_pipeline.validation.gate import Condition, Figures, GateConfig, Rule, condition, figure_of, record_of
from fx_pipeline.validation.numbers import MAX_RATE, number
from fx_pipeline.validation.selection import deflated, not_overfitted, superior, worst_seed
from fx_pipeline.validation.soundness import (
    accounting_agrees,
    broker_agrees,
    disjoint_sessions,
    enough_runs,
    ledger_complete,
    no_leak,
    record_complete,
    unseen_holdout,
)


def enough_trades(figures: Figures, config: GateConfig) -> Condition:
    """At least so many closed trades (`trades`)."""
    figure, sessions = figure_of(record_of(figures), "trades"), figure_of(record_of(figures), "sessions")
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
    figure, needed = figure_of(record_of(figures), "trades"), figure_of(record_of(figures), "min_track_record_trades")
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
    figure, limit = figure_of(record_of(figures), "stressed_expectancy_pips"), config.min_expectancy_pips
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
    total, figure = (
        figure_of(record_of(figures), "total_pips"),
        figure_of(record_of(figures), "probability_not_positive"),
    )
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
            f"The total is {total:,.1f} pips, and at most {number(figure, 'probability')} of resampled histories end "
            f"no better than staying flat; the total must be positive and at most {limit:.0%} may."
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
    """More a session than holding and a moving average explain, and not by luck (`baseline_p`, `alpha`)."""
    figure, found = figure_of(record_of(figures), "baseline_p"), record_of(figures).get("alpha")
    alpha = figure_of(found, "pips") if isinstance(found, Mapping) else None
    if figure is None or alpha is None:
        text = "There is no comparison with baselines: it did not trade, or on fewer than 8 sessions."
        remedy = "It would have to trade at all, on more sessions."
    else:
        text = (
            f"Beyond what buy and hold and the SMA cross explain of its sessions it made {alpha:+.2f} pips a session; "
            f"chance alone looks as good with a probability of at most {number(figure, 'probability')}, and "
            f"{config.max_baseline_p:.0%} is allowed. (Selling and holding is the negative of buying, and staying flat "
            "makes 0.)"
        )
        remedy = "It would have to make more, or more steadily, than being in the market would have made."
    return condition(
        "better_than_baselines",
        "Better than what needs no skill",
        figure,
        "<=",
        config.max_baseline_p,
        "probability",
        text,
        remedy,
        also=alpha is not None and alpha > 0,
    )


def better_than_random(figures: Figures, config: GateConfig) -> Condition:
    """Random traders with the same turnover seldom do as well (`random_p`)."""
    figure = figure_of(record_of(figures), "random_p")
    text = "There are no random traders to compare with: it did not trade."
    remedy = "It would have to trade at all."
    if figure is not None:
        text = (
            f"Random traders with its number, length and direction of trades do as well with a probability of "
            f"{number(figure, 'probability')}; at most {config.max_random_p:.0%} may."
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


def worth_its_risk(figures: Figures, config: GateConfig) -> Condition:
    """CAR25 at safe-f is above the risk-free rate (`car25`)."""
    figure, rate = figure_of(record_of(figures), "car25"), config.risk_free_rate
    if figure is None:
        text, remedy = "There is no return to weigh: no trade was closed.", "It would have to trade at all."
    else:
        text = (
            f"Sized so that a deep drawdown stays unlikely, three histories in four earn more than "
            f"{_rate(figure)} a year; more than {rate:.1%}, which needs no risk, is wanted."
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


#: The gate. A new condition is a new function in this list.
CONDITIONS: tuple[Rule, ...] = (
    record_complete,
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
    ledger_complete,
    enough_runs,
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
    ledger_complete,
    enough_runs,
    accounting_agrees,
    broker_agrees,
    no_leak,
    disjoint_sessions,
    unseen_holdout,
)


def _rate(value: float) -> str:
    return "1,000%" if value >= MAX_RATE else f"{value:.1%}"
