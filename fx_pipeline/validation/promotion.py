"""Which report may make a champion: a pure decision, used by the promotion sensor and by the champion asset alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fx_pipeline.validation.context import SYNTHETIC


@dataclass(frozen=True)
class Decision:
    """Whether a candidate becomes champion, and why or why not."""

    promote: bool
    reason: str


def decide_promotion(report: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Decision:
    """Decide whether the model behind a report becomes the champion of its instrument.

    Parameters
    ----------
    report : Mapping
        A validation report.
    champion : Mapping, optional
        Record of the present champion: `window`, `sha256`, `expectancy_pips`, `source` and `costs`.

    Returns
    -------
    Decision
        No, when the gate rejected the report; when it is this very model; when the model saw a synthetic market only
        and the champion a real one; when the two were validated under other costs, so that their figures cannot be
        compared; when the champion was validated on newer data, or on the same window with the same or a higher
        expectancy. A model validated on real candles always replaces one of a synthetic market.
    """
    figures, sha256 = report["figures"], report["lineage"]["checkpoint_sha256"]
    window, expectancy = figures["window"], figures["expectancy_pips"]
    if figures["verdict"] != "promoted":
        return Decision(False, f"the gate rejected window {window}: {'; '.join(figures['reasons'])}")
    if champion is None:
        return Decision(
            True, f"window {window} passed the gate with {expectancy:.2f} pips a trade; it is the first champion."
        )
    if champion["sha256"] == sha256:
        return Decision(False, f"the model of window {window} is the champion already.")
    lineage = report["lineage"]
    synthetic = lineage["source"] == SYNTHETIC
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
            "the champion was validated under other costs, so the two cannot be compared: validate under its costs "
            f"({champion['costs']}), or retire it by removing its record in data/champion.",
        )
    if window < champion["window"]:
        return Decision(False, f"the champion was validated on newer data (window {champion['window']}, not {window}).")
    if window == champion["window"] and expectancy <= champion["expectancy_pips"]:
        return Decision(
            False,
            f"the champion made {champion['expectancy_pips']:.2f} pips a trade on window {window}, this one "
            f"{expectancy:.2f}.",
        )
    return Decision(
        True, f"window {window} passed the gate with {expectancy:.2f} pips a trade; it replaces {champion['window']}."
    )
