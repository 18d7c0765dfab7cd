"""What is known of a champion's time in office: the record that it was promoted for, and how it stood since.

The trial ledger is believed, and files beside it as far as they agree with it: results of a replay that differ from the
ledger's row are no results, and a row whose file was removed still counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fx_pipeline.lifecycle.needs import Terms
from fx_pipeline.lifecycle.verified import file_sha256, open_ledger
from fx_pipeline.market.errors import FxPipelineError
from fx_pipeline.validation.champion import Champion, Standing
from fx_pipeline.validation.records import read_standing_record
from fx_pipeline.validation.same_costs import harsher_anywhere

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger, ScoredTrial
    from fx_pipeline.validation.evidence import Evidence
    from fx_pipeline.validation.tenure import PromisedRecord

_REPLAY = "replay "


def read_standings(settings: Terms, champion: Champion) -> tuple[list[Standing], list[str]]:
    """Read how a champion did on newer windows, and on which of them it could not be judged.

    Returns
    -------
    list of Standing
        One that the ledger does not bear out is not sound.
    list of str
        Why a file is left out, each: it is damaged, or of an earlier version, and the ledger has no row of it.
    """
    instrument = champion.instrument
    folder, ledger = settings.layout.standings(instrument, champion.weights_sha256), open_ledger(settings)
    found, unread, known = [], [], set()
    # A name that begins with a dot is a file that is being written, or that a kill left half written.
    for path in sorted(folder.glob("[!.]*.json")):
        try:
            standing = read_standing_record(path)
        except FileNotFoundError:
            # Removed since it was listed.
            continue
        except FxPipelineError as error:
            unread.append(str(error))
            continue
        known.add(standing.window)
        rows = _replays(ledger, champion, standing.window)
        if rows and not standing.sound and not standing.session_ns:
            # It could be judged once: that it cannot now takes nothing back.
            found.append(_removed(champion, standing.window, rows[-1]))
        elif standing.session_ns is not None:
            found.append(_borne_out(standing, champion, rows))
        elif not standing.sound:
            # Of an earlier version: such a replay said nothing, and was passed over.
            continue
        elif rows:
            found.append(replace(standing, **_of_row(rows[-1])))
        else:
            unread.append(
                f"{path} is of an earlier version, and the ledger has no row of it: validate its window again."
            )
    # Whatever has become of files: reports of these windows may be gone, too.
    for window in ledger.replayed(instrument, champion.weights_sha256):
        if window not in known and (rows := _replays(ledger, champion, window)):
            found.append(_removed(champion, window, rows[-1]))
    return found, unread


def promise_of(settings: Terms, champion: Champion) -> "PromisedRecord | str":
    """Return the record that a champion was promoted for, or why nobody knows it any more.

    Its sessions are those of the frozen report's windows, by the ledger's evidence; of a champion of an earlier
    version, of which none was kept, those of the frozen report alone.
    """
    from fx_pipeline.validation.report import read_report

    model = champion.model
    try:
        report = read_report(model)
        recorded = champion.report_sha256
        if recorded is not None and file_sha256(model / "report.json") != recorded:
            return f"{model / 'report.json'} is not the report that it was promoted by: restore it."
        figures = report["figures"]
        facts = figures.get("record") or {}
        evidence = _evidence(open_ledger(settings), champion, facts.get("windows") or ())
        return _of_evidence(evidence, facts) if evidence else _of_report(report)
    except (FxPipelineError, KeyError, TypeError, ValueError) as error:
        return f"the record that it was promoted for cannot be read ({error})"


def _replays(ledger: "Ledger", champion: Champion, window: str) -> "list[ScoredTrial]":
    """Rows of a champion's replays on a window at its own costs, oldest first."""
    costs, instrument = champion.costs, champion.instrument
    return [
        row
        for row in ledger.scored(instrument, f"{_REPLAY}{window}")
        if row.checkpoint_hash == champion.weights_sha256
        and not harsher_anywhere(row.costs, costs, instrument)
        and not harsher_anywhere(costs, row.costs, instrument)
    ]


def _borne_out(standing: Standing, champion: Champion, rows: "Sequence[ScoredTrial]") -> Standing:
    if not standing.sound:
        return standing
    for row in rows:
        times, pips = np.asarray(standing.session_ns, np.int64), np.asarray(standing.session_pnl_pips)
        places = np.searchsorted(row.session_ns, times).clip(max=max(len(row.session_ns) - 1, 0))
        same = len(row.session_ns) > 0 and np.array_equal(row.session_ns[places], times)
        if same and np.allclose(row.session_pnl_pips[places], pips, rtol=0.0, atol=1e-6):
            return standing
    said = (
        f"the trial ledger has no replay of window {standing.window} at the champion's own costs with these "
        "results: validate the window again."
    )
    return replace(standing, sound=False, reasons=(said,))


def _of_row(row: "ScoredTrial") -> dict[str, Any]:
    return {
        "session_ns": row.session_ns.tolist(),
        "session_pnl_pips": row.session_pnl_pips.tolist(),
        "valid_start_ns": row.valid_start_ns,
        "valid_end_ns": row.valid_end_ns,
    }


def _removed(champion: Champion, window: str, row: "ScoredTrial") -> Standing:
    """The standing whose file is not there (any more), of what the ledger knows."""
    return Standing(
        window=window,
        weights_sha256=champion.weights_sha256,
        costs=dict(row.costs),
        source=champion.source,
        sound=True,
        trades=row.trades,
        **_of_row(row),
    )


def _evidence(ledger: "Ledger", champion: Champion, windows: Sequence[Mapping[str, Any]]) -> "list[Evidence]":
    """The evidence of each window of a record, oldest first; empty where one of them has none."""
    from fx_pipeline.validation.evidence import Evidence

    found = []
    for window in windows:
        rows = [
            row
            for row in ledger.scored(champion.instrument, window["window"])
            if row.checkpoint_hash == window["checkpoint"] and row.evidence
        ]
        alike = [row for row in rows if not harsher_anywhere(champion.costs, row.costs, champion.instrument)]
        if not alike:
            return []
        # Of several scores of the same weights the worst: nothing is promised that one of them does not bear out.
        found.append(Evidence.from_bytes(min(alike, key=lambda row: float(row.session_pnl_pips.sum())).evidence))
    return found


def _of_evidence(evidence: "Sequence[Evidence]", facts: Mapping[str, Any]) -> "PromisedRecord":
    from fx_pipeline.validation.demotion import SessionShapes
    from fx_pipeline.validation.tenure import PromisedRecord, looks_of, shapes_of_trades

    parts, times, cost, until = [], [], 0.0, np.iinfo(np.int64).min
    for one in evidence:
        shapes = shapes_of_trades(
            len(one.session_ns),
            one.trade_session,
            one.trade_pnl_pips,
            one.trade_max_drawdown_pips,
            one.trade_peak_pips,
            one.trade_low_pips,
        )
        kept = one.session_ns >= until
        parts.append([part[kept] for part in (shapes.total, shapes.lowest, shapes.highest, shapes.fall)])
        times.append(one.session_ns[kept])
        cost -= float(one.random_moments[kept, 0].sum())
        until = int(one.session_ns[-1]) + one.session_length_ns
    joined = [np.concatenate(columns) for columns in zip(*parts, strict=True)]
    session_ns = np.concatenate(times)
    looks = tuple(facts.get("looks") or looks_of(session_ns))
    lucky = float(facts.get("lucky_z") or 0.0)
    return PromisedRecord(SessionShapes(*joined), max(cost, 0.0) / len(session_ns), looks, lucky)


def _of_report(report: Mapping[str, Any]) -> "PromisedRecord":
    from fx_pipeline.validation.spans import span_ns
    from fx_pipeline.validation.tenure import YEAR_DAYS, PromisedRecord, shapes_of_trades

    figures, lineage = report["figures"], report["lineage"]
    trades, sessions = figures["trade_list"], int(figures["sessions"])
    columns = ("session", "pnl_pips", "max_drawdown_pips", "peak_pips")
    shapes = shapes_of_trades(sessions, *(trades[name] for name in columns))
    random = (figures.get("baselines") or {}).get("random")
    cost = -float(random["mean"]["total_pips"]) if random else float(np.sum(trades["cost_pips"]))
    start_ns, end_ns = span_ns(lineage)
    # Five trading days a week.
    days = (end_ns - start_ns) / (86_400 * 1_000_000_000) * 5 / 7
    return PromisedRecord(shapes, max(cost, 0.0) / sessions, (float(np.clip(days / YEAR_DAYS, 1 / YEAR_DAYS, 1.0)),))
