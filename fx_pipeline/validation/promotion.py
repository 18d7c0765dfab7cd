"""Which report makes a champion: a pure decision, used by the sensor and by the asset alike.

Nothing that a report says of itself decides. Its figures are judged again by the gate of now; that they are those which
were once computed is for the caller to find out (`lifecycle.verified`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fx_pipeline.validation.champion import Champion, Demotion
from fx_pipeline.validation.conditions import CONDITIONS
from fx_pipeline.validation.context import SYNTHETIC
from fx_pipeline.validation.gate import PROMOTED, GateConfig, judge, laxer
from fx_pipeline.validation.promotion_config import PromotionConfig
from fx_pipeline.validation.same_costs import harsher_anywhere
from fx_pipeline.validation.spans import said_ns, span_ns


@dataclass(frozen=True)
class Decision:
    """Whether a candidate becomes champion, and why or why not.

    Attributes
    ----------
    promote : bool
    reason : str
    missing : str or None
        What the report lacks of what there is now, where validating the window again mends it: the hash of the champion
        that it was not compared with, or what has been added since.
    """

    promote: bool
    reason: str
    missing: str | None = None


def decide_promotion(
    report: Mapping[str, Any],
    champion: Champion | None,
    demotion: Demotion | None = None,
    config: PromotionConfig | None = None,
    gate: GateConfig | None = None,
) -> Decision:
    """Decide whether the model behind a report becomes the champion of its instrument.

    Parameters
    ----------
    report : Mapping
        A validation report. The verdict in it is shown and decides nothing.
    champion : Champion, optional
        The present one.
    demotion : Demotion, optional
        The last one of the instrument.
    config : PromotionConfig, optional
    gate : GateConfig, optional
        Of now.

    Returns
    -------
    Decision
        No, when the gate rejects the figures; when the model was demoted, or the report is not of bars after those of
        the champion that was; when it is this very model; when the model saw a synthetic market only and the champion,
        or the last one, a real one; when it was judged at lower costs than the champion, or on bars that the champion
        was chosen by; when the paired test does not call it better, or was not made beside this champion. A model
        validated on real candles always replaces one of a synthetic market, whatever their windows.
    """
    config, gate = config or PromotionConfig(), gate or GateConfig()
    figures, lineage = report["figures"], report["lineage"]
    sha256, window, expectancy = lineage["checkpoint_sha256"], figures["window"], figures["expectancy_pips"]
    verdict = judge(figures, gate, CONDITIONS)
    if not verdict.promoted:
        believed = "" if figures["verdict"] != PROMOTED else f" Its file says {PROMOTED}: {_otherwise(figures, gate)}."
        return Decision(False, f"the gate rejected window {window}: {'; '.join(verdict.reasons)}{believed}")
    gate_name = _named(gate)
    if expectancy is None:
        return Decision(False, f"the report of window {window} passed the gate without a trade: validate it again.")
    if demotion is not None and demotion.weights_sha256 == sha256:
        return Decision(False, f"the model of window {window} was demoted: {demotion.reason}")
    synthetic = lineage["source"] == SYNTHETIC
    if champion is None:
        refused = _after_demotion(report, demotion)
        if refused is not None:
            return Decision(False, refused)
        which = "first champion" if demotion is None else "champion in place of the demoted one"
        return Decision(
            True, f"window {window} passed {gate_name} with {expectancy:.2f} pips a trade; it is the {which}."
        )
    if champion.weights_sha256 == sha256:
        return Decision(False, f"the model of window {window} is the champion already.")
    if synthetic and champion.source != SYNTHETIC:
        return Decision(
            False, f"window {window} is of a synthetic market, and the champion was validated on real candles."
        )
    if champion.source == SYNTHETIC and not synthetic:
        return Decision(
            True, f"window {window} passed {gate_name} on real candles; the champion knew a synthetic market only."
        )
    cheaper = harsher_anywhere(champion.costs, lineage["costs"], figures.get("instrument", ""))
    if cheaper:
        return Decision(
            False,
            f"the champion was judged at higher costs ({', '.join(cheaper)}), so window {window} proves less than it "
            "did: validate at costs that are nowhere lower.",
        )
    start_ns, end_ns = span_ns(lineage)
    seen_ns = champion.valid_end_ns
    older = end_ns <= seen_ns if seen_ns is not None else window < champion.window
    if older:
        return Decision(False, f"the champion was validated on newer data (window {champion.window}, not {window}).")
    if seen_ns is not None and start_ns < seen_ns:
        return Decision(
            False,
            f"window {window} begins {said_ns(start_ns)}, and the champion was chosen by bars until "
            f"{said_ns(seen_ns)}: who is better is judged on later ones.",
        )
    return _beside(figures["paired"], champion, window, config, gate_name)


def _named(gate: GateConfig) -> str:
    """The gate in words: whoever reads of a promotion learns how much was asked for."""
    less = laxer(gate)
    return f"a gate that FX_GATE made laxer ({', '.join(less)})" if less else "the gate"


def _otherwise(figures: Mapping[str, Any], gate: GateConfig) -> str:
    """How a report may have come to a verdict that its figures do not bear out."""
    now, then = vars(gate), dict(figures.get("gate") or {})
    other = [f"{name} {then[name]:g} and not {now[name]:g}" for name in now if name in then and then[name] != now[name]]
    if other:
        return f"it was judged under another FX_GATE ({', '.join(other)}), and the gate of now decides"
    return "its figures do not bear that out"


def _after_demotion(report: Mapping[str, Any], demotion: Demotion | None) -> str | None:
    """Why a model does not take the place of a demoted one; None where it may."""
    if demotion is None:
        return None
    window, synthetic = report["figures"]["window"], report["lineage"]["source"] == SYNTHETIC
    if synthetic and demotion.source != SYNTHETIC:
        return f"window {window} is of a synthetic market, and the last champion was validated on real candles."
    if synthetic != (demotion.source == SYNTHETIC):
        return None
    start_ns, end_ns = span_ns(report["lineage"])
    judged_ns, last_ns = demotion.judged_until_ns, demotion.last_end_ns
    if end_ns < last_ns if last_ns is not None else window < demotion.last_window:
        return (
            f"the last champion failed as late as window {demotion.last_window}, and window {window} is older: "
            "a successor is judged on newer days."
        )
    if judged_ns is not None and start_ns < judged_ns:
        return (
            f"window {window} begins {said_ns(start_ns)}, and the last champion was chosen by bars until "
            f"{said_ns(judged_ns)}: a successor is judged on newer days."
        )
    return None


def _beside(
    paired: Mapping[str, Any] | None, champion: Champion, window: str, config: PromotionConfig, gate: str
) -> Decision:
    if paired is None or paired["champion_sha256"] != champion.weights_sha256:
        return Decision(
            False,
            f"window {window} was not validated beside the present champion: materialise its report again; if the "
            "champion cannot be replayed, the log of that run says what to do.",
            missing=champion.weights_sha256,
        )
    low, high = paired["interval_pips"]
    shown = (
        f"{paired['mean_difference_pips']:+.2f} pips a session against the champion of window {champion.window} on "
        f"{paired['sessions']} sessions (95% interval {low:+.2f} to {high:+.2f}, p {paired['p_value']:.3g}"
    )
    if not paired["p_value"] < config.max_paired_p:
        return Decision(
            False,
            f"window {window} made {shown}, needed below {config.max_paired_p:g}): not better enough to replace it.",
        )
    return Decision(True, f"window {window} passed {gate} and made {shown}): it replaces the champion.")
