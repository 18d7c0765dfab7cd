"""The rows of the page's tables of significance and of the account: title, value as text, and what it means."""

from collections.abc import Mapping
from typing import Any

from fx_pipeline.validation.numbers import MAX_RATE, number

Row = tuple[str, str, str]


def significance_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Rows on how surely the result is neither luck nor a defect: Sharpe ratios, trials, seeds, the paper broker."""
    found, family, seeds = figures["significance"], figures["family"], figures["seed_totals"]
    return [
        *_sequential(figures.get("record") or {}),
        (
            "Probabilistic Sharpe ratio",
            number(found["psr"], "percent"),
            "Probability that the true Sharpe ratio is above 0, given the length, skew and tails of this list (Bailey "
            "and Lopez de Prado 2012).",
        ),
        (
            "Deflated Sharpe ratio",
            number(_probability(found["deflated"]), "percent"),
            _deflated(found["deflated"], found["trials_counted"]),
        ),
        (
            "The same, spread measured",
            number(_probability(found["deflated_measured"]), "percent"),
            "With the spread of the trials' own Sharpe ratios, as in the paper. Where trials differ in worth, it takes "
            "that for luck, and refuses good ones: it is shown, and is no condition.",
        ),
        (
            "The same, trials that differ",
            number(_probability(found["deflated_effective"]), "percent"),
            "Trials of the newest window that resemble each other count for less: "
            + (
                f"they amount to {found['deflated_effective']['trials']:.1f} independent ones."
                if found["deflated_effective"]
                else "there are none to compare."
            ),
        ),
        (
            "Minimum track record",
            number(found["min_track_record_trades"], "trades"),
            "Trades needed to call this Sharpe ratio positive with 95% confidence; none when it is not.",
        ),
        (
            "Trades still needed",
            number(_missing(figures), "trades"),
            "Until the mean is significant at 95%, one-sided, if they are like these; none when it is not positive.",
        ),
        *_family(family),
        (
            "Seeds",
            str(seeds["count"]),
            "Trainings of this configuration that differ in chance only. "
            + (
                f"Totals from {number(seeds['worst_pips'], 'pips')} to "
                f"{number(max(seeds['total_pips'].values()), 'pips')}, mean {number(seeds['mean_pips'], 'pips')}."
                if seeds["count"] > 1
                else "One seed can be luck."
            ),
        ),
        (
            "Worst seed",
            number(seeds["worst_pips"], "pips"),
            "Its total on the sessions of the record. The gate looks at this one.",
        ),
        (
            "Trades that the broker makes otherwise",
            f"{figures['parity']['differing']:,}",
            _replayed(figures["parity"]),
        ),
    ]


def account_rows(figures: Mapping[str, Any]) -> list[Row]:
    """Rows on what the trades mean for an account: ratios of returns, activity, safe-f and CAR25."""
    risk = figures["risk"]
    ratios, active, fallen, sized = risk["ratios"], risk["activity"], risk["drawdown"], risk["safe_f"]
    rows = [
        ("Compound return", _percent(ratios["cagr"]), "A year, of an unlevered position of one unit."),
        ("Volatility", number(ratios["volatility"], "percent"), "Standard deviation of the sessions' returns, a year."),
        ("Sharpe ratio", number(ratios["sharpe"]), "Mean over standard deviation of the sessions' returns, a year."),
        ("Sortino ratio", number(ratios["sortino"]), "The same over the losses only."),
        ("Calmar ratio", number(ratios["calmar"]), "Compound return over the largest drawdown."),
        ("Omega ratio", number(ratios["omega"]), "Sum of the sessions' gains over the sum of their losses."),
        (
            "Drawdown by sessions",
            number(fallen["depth_pips"], "size"),
            f"Deepest fall of the sessions' results from their peak; the longest lasted {fallen['longest_sessions']} "
            f"sessions, and {fallen['sessions_below']} of {figures['sessions']} ended below a former peak.",
        ),
        (
            "Drawdown bar by bar",
            number(fallen["bars_pips"], "size"),
            "The same with open positions marked after costs at the close of each bar: what safe-f keeps within its "
            "tolerance.",
        ),
        ("Exposure", number(figures["exposure"], "percent"), "Share of the bars with a position open."),
        ("Turnover", number(active["turnover"], "count"), "Position values traded a year, both sides counted."),
        ("Mean holding time", _bars(active["mean_bars_held"]), "From the fill of the entry to that of the exit."),
    ]
    if sized:
        limits = {limit["limited_by"] for limit in sized["sets"]}
        rows += [
            (
                "safe-f",
                f"{sized['safe_f']:.2f} ± {sized['safe_f_sd']:.2f}",
                f"Position over capital at which one history in twenty falls by more than {risk['tolerance']:.0%} "
                f"within {risk['horizon_years']:g} years ({risk['horizon_trades']:,} trades). Limited by "
                f"{' and '.join(sorted(limits))}.",
            ),
            (
                "CAR25",
                f"{number(sized['car25'], 'percent')} ± {number(sized['car25_sd'], 'percent')}",
                "Compound return a year at safe-f that three histories in four exceed (Bandy). Below what a deposit "
                "pays it says: do not trade.",
            ),
        ]
    return rows


def _sequential(record: Mapping[str, Any]) -> list[Row]:
    """Rows on the record, by which is judged: what is left after the luck of the search, at this look."""
    if not record or record.get("z") is None:
        return []
    chosen = record.get("chosen") or {}
    parts = [f"{count:,} {what}" for what, count in chosen.items() if count and what != "instruments"]
    trials = record["trials"]
    among = (
        "Trials were not counted."
        if trials is None
        else f"Chosen among {trials:,}{': ' * bool(parts)}{', '.join(parts)}."
    )
    names = chosen.get("instruments", 0)
    if names > 1:
        among += f" The same candles were judged under {names} names, which are one."
    rows = [
        (
            "Above chance",
            f"{record['z']:.2f}",
            f"Standard errors of the record's Sharpe ratio above 0: {record['z_by_trade']:.2f} by trade, "
            f"{record['z_by_session']:.2f} by session; the smaller counts.",
        )
    ]
    if record["deflated_z"] is not None:
        rows.append(
            (
                "After the luck of the search",
                f"{record['deflated_z']:.2f}",
                f"{among} The luckiest of so many worthless ones is expected at {record['lucky_z']:.2f}. What is left "
                f"is held against the bound of look {len(record['looks'])} in the year: of the conditions, "
                '"Not the luckiest of many trials" has it.',
            )
        )
    return rows


def _probability(deflated: Mapping[str, Any] | None) -> float | None:
    return deflated["probability"] if deflated else None


def _deflated(deflated: Mapping[str, Any] | None, counted: bool) -> str:
    if deflated is None:
        return "Needs at least two different trades."
    count = deflated["trials"]
    text = (
        f"The same against {deflated['benchmark']:.3f}, the best Sharpe ratio expected of {count:,.0f} worthless "
        f"{'trial' if count == 1 else 'trials'} (2014)."
    )
    return text if counted else f"{text} Trials were not counted."


def _family(family: Mapping[str, Any]) -> list[Row]:
    chosen, tests = family["overfitting"], family["snooping"]
    if chosen is None or tests is None:
        return [("Overfitting and snooping", number(None), f"Not tested: {family['absent']}")]
    low, high = chosen["interval"]
    return [
        (
            "Probability of overfitting",
            number(chosen["probability"], "percent"),
            f"How often the best of {chosen['candidates']} candidates (configurations, and staying flat) on one half "
            f"of the sessions is in the lower half on the other, or no better than flat; {chosen['splits']:,} splits "
            f"of {chosen['blocks']} blocks, 95% interval {low:.0%} to {high:.0%}. Worthless candidates give about 50%."
            f"{_not_voting(family)}",
        ),
        (
            "White's Reality Check",
            number(tests["reality_check_p"], "probability"),
            f"Chance that the best of {family['trials']} worthless trials looks as good. Terrible trials among them "
            "make it large.",
        ),
        (
            "Hansen's SPA",
            number(tests["spa_consistent_p"], "probability"),
            f"The same, studentised and without the terrible ones; bounds {tests['spa_lower_p']:.3g} and "
            f"{tests['spa_upper_p']:.3g}, blocks of {tests['block_length']:.1f} sessions. Judged is the upper bound of "
            f"what {tests['runs']:,} resamples say, {number(family['spa_p_upper'], 'probability')}.",
        ),
        (
            "StepM",
            "yes" if family["superior"] else "no",
            "Whether this very trial is among those that are better than flat, with one error in twenty for all "
            "together (Romano and Wolf).",
        ),
    ]


def _not_voting(family: Mapping[str, Any]) -> str:
    said = [
        f"{family[name]:,} {what}"
        for name, what in (
            ("duplicates", "that nearly equal another one"),
            ("hopeless", "that lose by more than chance"),
        )
        if family[name]
    ]
    return f" Configurations {' and '.join(said)} do not vote." if said else ""


def _replayed(parity: Mapping[str, Any]) -> str:
    text = (
        f"Sent the same decisions, the paper broker closed {parity['replayed']:,} of {parity['trades']:,} trades, "
        f"whose results differ by at most {number(parity['largest_difference_pips'], 'size')}."
    )
    if parity["left_out"]:
        text += f" {parity['left_out']:,} more, of sessions that were not drawn, were not replayed."
    if not parity["over_gaps"]:
        return text
    return (
        f"{text} {parity['over_gaps']:,} had an order that waited over missing minutes; a live order fills at once, at "
        "the price that stands."
    )


def _missing(figures: Mapping[str, Any]) -> float | None:
    needed = figures["metrics"]["trades_needed"]
    return None if needed is None else max(needed - figures["trades"], 0)


def _percent(value: float | None) -> str:
    return number(value, "percent") if value is None or abs(value) >= MAX_RATE else f"{value:+.1%}"


def _bars(value: float | None) -> str:
    return number(None) if value is None else f"{value:,.1f} bars"
