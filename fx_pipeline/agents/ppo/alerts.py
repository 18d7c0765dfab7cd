"""What may go wrong with a training of PPO, and which of its settings help."""

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

#: A policy that changes more than this in an update leaves what it has learned.
MOST_KL = 0.1


def too_large_steps(history: History) -> str | None:
    """Updates that change the policy too much."""
    value = mean("policy_kl", recent(history))
    if value is None or value <= MOST_KL:
        return None
    return (
        f"an update of the last {RECENT_WAVES} rollouts changed the policy by {value:.2f} nats, above {MOST_KL:g}: "
        "lower learner.learning_rate or learner.epochs."
    )


ALERTS = (
    finite("Lower learner.learning_rate and train again; the checkpoints in `kept` are from before."),
    bearable_expectancy(
        "compare the costs with the range of a session, lower learner.entropy, and look whether the reward counts "
        "losses."
    ),
    some_wins("Train longer, or lower learner.entropy."),
    still_trades(
        "raise learner.entropy, let costs rise (curriculum.start), and see whether the costs leave anything to earn."
    ),
    Alert("updates_are_small", "An update does not change the policy by much.", False, too_large_steps),
)
