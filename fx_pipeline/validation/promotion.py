"""Which report makes a champion, and what ends one: pure decisions, used by the sensor and by the asset alike."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fx_pipeline.validation.context import SYNTHETIC


@dataclass(frozen=True)
class PromotionConfig:
    """When a champion is replaced, and when it is demoted.

    Attributes
    ----------
    max_paired_p : float
        A challenger replaces the champion when the p-value of the paired test is below it.
    demote_after : int
        Windows in a row on which a champion fails before it is demoted. Those of fewer than `telling_trades` trades are
        passed over.
    telling_trades : int
        Fewer trades on a window say neither that a champion is good nor that it is bad. One that never makes as many
        again keeps its place, even if it loses, until a drawdown demotes it or a challenger is better.
    drawdown_percentile : float
        A champion whose drawdown on a newer window goes beyond this percentile of what its own trades allow is
        demoted at once.
    """

    # A misspelt threshold must not leave the default in place unseen.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    max_paired_p: float = 0.05
    demote_after: int = 2
    telling_trades: int = 30
    drawdown_percentile: float = 99.0

    def __post_init__(self) -> None:
        """Refuse thresholds that mean nothing.

        Raises
        ------
        ValueError
        """
        if not 0.0 < self.max_paired_p <= 1.0:
            raise ValueError(f"max_paired_p is a probability above 0, not {self.max_paired_p}.")
        if self.demote_after < 1:
            raise ValueError(f"demote_after is at least 1, not {self.demote_after}.")
        if self.telling_trades < 1:
            raise ValueError(f"telling_trades is at least 1, not {self.telling_trades}.")
        if not (math.isfinite(self.drawdown_percentile) and 50.0 <= self.drawdown_percentile <= 100.0):
            raise ValueError(f"drawdown_percentile lies between 50 and 100, not {self.drawdown_percentile}.")


@dataclass(frozen=True)
class Decision:
    """Whether a candidate becomes champion, and why or why not.

    Attributes
    ----------
    promote : bool
    reason : str
    missing : str or None
        Hash of the champion where only the comparison with it is missing: validating the window again makes it.
    """

    promote: bool
    reason: str
    missing: str | None = None


def decide_promotion(
    report: Mapping[str, Any],
    champion: Mapping[str, Any] | None,
    demotion: Mapping[str, Any] | None = None,
    config: PromotionConfig | None = None,
) -> Decision:
    """Decide whether the model behind a report becomes the champion of its instrument.

    Parameters
    ----------
    report : Mapping
        A validation report.
    champion : Mapping, optional
        Record of the present champion: `window`, `sha256`, `source` and `costs`.
    demotion : Mapping, optional
        Record of the last demotion of the instrument: `sha256`, `source`, `last_window` and `reason`.
    config : PromotionConfig, optional

    Returns
    -------
    Decision
        No, when the gate rejected the report; when the model was demoted, or the report is of an older window than the
        one that demoted the last champion; when it is this very model; when the model saw a synthetic market only and
        the champion, or the last one, a real one; when the two were validated under other costs; when the champion was
        validated on newer data; when the paired test does not call it better, or was not made beside this champion. A
        model validated on real candles always replaces one of a synthetic market, whatever their windows.
    """
    config = config or PromotionConfig()
    figures, lineage = report["figures"], report["lineage"]
    sha256, window, expectancy = lineage["checkpoint_sha256"], figures["window"], figures["expectancy_pips"]
    if figures["verdict"] != "promoted":
        return Decision(False, f"the gate rejected window {window}: {'; '.join(figures['reasons'])}")
    if expectancy is None:
        return Decision(False, f"the report of window {window} passed the gate without a trade: validate it again.")
    if demotion is not None and demotion["sha256"] == sha256:
        return Decision(False, f"the model of window {window} was demoted: {demotion['reason']}")
    synthetic = lineage["source"] == SYNTHETIC
    if champion is None:
        if demotion is not None and synthetic and demotion["source"] != SYNTHETIC:
            return Decision(
                False, f"window {window} is of a synthetic market, and the last champion was validated on real candles."
            )
        same_market = demotion is not None and synthetic == (demotion["source"] == SYNTHETIC)
        if demotion is not None and same_market and window < demotion["last_window"]:
            return Decision(
                False,
                f"the last champion failed as late as window {demotion['last_window']}, and window {window} is older: "
                "a successor is judged on newer days.",
            )
        which = "first champion" if demotion is None else "champion in place of the demoted one"
        return Decision(True, f"window {window} passed the gate with {expectancy:.2f} pips a trade; it is the {which}.")
    if champion["sha256"] == sha256:
        return Decision(False, f"the model of window {window} is the champion already.")
    if synthetic and champion["source"] != SYNTHETIC:
        return Decision(
            False, f"window {window} is of a synthetic market, and the champion was validated on real candles."
        )
    if champion["source"] == SYNTHETIC and not synthetic:
        return Decision(
            True, f"window {window} passed the gate on real candles; the champion knew a synthetic market only."
        )
    if dict(lineage["costs"]) != dict(champion["costs"]):
        return Decision(
            False,
            "the champion passed the gate under other costs, so the two cannot be compared: validate under its costs "
            f"({champion['costs']}), or retire it by removing its record in data/champion.",
        )
    if window < champion["window"]:
        return Decision(False, f"the champion was validated on newer data (window {champion['window']}, not {window}).")
    return _beside(figures["paired"], champion, window, config)


def _beside(
    paired: Mapping[str, Any] | None, champion: Mapping[str, Any], window: str, config: PromotionConfig
) -> Decision:
    if paired is None or paired["champion_sha256"] != champion["sha256"]:
        return Decision(
            False,
            f"window {window} was not validated beside the present champion: materialise its report again; if the "
            "champion cannot be replayed, the log of that run says what to do.",
            missing=str(champion["sha256"]),
        )
    low, high = paired["interval_pips"]
    shown = (
        f"{paired['mean_difference_pips']:+.2f} pips a session against the champion of window {champion['window']} on "
        f"{paired['sessions']} sessions (95% interval {low:+.2f} to {high:+.2f}, p {paired['p_value']:.3g}"
    )
    if not paired["p_value"] < config.max_paired_p:
        return Decision(
            False,
            f"window {window} made {shown}, needed below {config.max_paired_p:g}): not better enough to replace it.",
        )
    return Decision(True, f"window {window} passed the gate and made {shown}): it replaces the champion.")


def telling_standings(champion: Mapping[str, Any], standings: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the standings that say something of a champion, oldest window first.

    Parameters
    ----------
    champion : Mapping
        Its record: `window`, `sha256`, `source` and `costs`.
    standings : sequence of Mapping
        From `judge_standing`, in any order. Those of other models, other costs or older windows say nothing, nor does a
        synthetic market of a champion that was validated on real candles.
    """
    told = [
        standing
        for standing in standings
        if standing["sha256"] == champion["sha256"]
        and standing["window"] > champion["window"]
        and dict(standing["costs"]) == dict(champion["costs"])
        and (standing["source"] != SYNTHETIC or champion["source"] == SYNTHETIC)
    ]
    return sorted(told, key=lambda standing: str(standing["window"]))


def decide_demotion(
    champion: Mapping[str, Any], standings: Sequence[Mapping[str, Any]], config: PromotionConfig
) -> str | None:
    """Decide whether a champion has to go, from how it did on newer windows.

    Parameters
    ----------
    champion : Mapping
        Its record.
    standings : sequence of Mapping
        What `telling_standings` leaves of them is asked.
    config : PromotionConfig

    Returns
    -------
    str or None
        Why it is demoted: it failed on the newest `demote_after` windows on which it traded enough to say so, or its
        drawdown on the newest window, however few trades made it, went beyond what its own trades allow. None when it
        stays.
    """
    told = telling_standings(champion, standings)
    if not told:
        return None
    newest = told[-1]
    limit = newest["drawdown_limit_pips"]
    if limit is not None and newest["max_drawdown_pips"] > limit:
        return (
            f"on window {newest['window']} it fell by {newest['max_drawdown_pips']:.1f} pips, beyond the "
            f"{limit:.1f} pips that {config.drawdown_percentile:g}% of the histories of its own trades stay within."
        )
    # Staying flat costs nothing, and a handful of trades fails by chance.
    recent = [standing for standing in told if standing["trades"] >= config.telling_trades][-config.demote_after :]
    if len(recent) < config.demote_after or any(standing["passed"] for standing in recent):
        return None
    said = "; ".join(f"{standing['window']}: {' '.join(standing['reasons'])}" for standing in recent)
    return f"it failed on {len(recent)} newer {'window' if len(recent) == 1 else 'windows'} in a row. {said}"
