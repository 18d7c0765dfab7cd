"""What may go wrong with a training of MuZero, and which of its settings help."""

from fx_pipeline.agents.alerts import (
    RECENT_WAVES,
    Alert,
    History,
    bearable_expectancy,
    finite,
    mean,
    recent,
    some_wins,
    still_trades,
)

MOST_SATURATION = 0.01


def saturated_values(history: History) -> str | None:
    """Returns that the value head cannot represent."""
    value = mean("value_saturation", recent(history))
    if value is None or value <= MOST_SATURATION:
        return None
    return (
        f"{value:.1%} of the value targets of the last {RECENT_WAVES} waves lay at or beyond the support, above "
        f"{MOST_SATURATION:.0%}: raise network.support_pips, or lower search.discount."
    )


ALERTS = (
    finite("Lower learner.learning_rate and train again; the checkpoints in `kept` are from before."),
    bearable_expectancy(
        "compare the costs with the range of a session, lower selfplay.epsilon, and look whether the reward counts "
        "losses."
    ),
    some_wins("Train longer, raise selfplay.warmup_bars and replay.in_trade_share."),
    still_trades(
        "raise selfplay.warmup_bars, selfplay.epsilon and replay.in_trade_share, and see whether the costs leave "
        "anything to earn.",
        also="search_depth",
    ),
    Alert("values_fit_their_support", "The value head can represent its targets.", False, saturated_values),
)
