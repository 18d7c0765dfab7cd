"""Whether all that names a champion names the same model: its record, the registry's alias, and the weights.

A difference is a state with a name. It is shown, it stops the live job, and it is never followed.
"""

from dataclasses import dataclass
from typing import Any

import dagster as dg

from fx_pipeline.defs.metadata import plain
from fx_pipeline.defs.promotion import read_champion, read_demotion
from fx_pipeline.defs.resources import Tracking
from fx_pipeline.defs.verified import UnverifiedError, open_ledger, refuse_swapped_model, refuse_unpromoted
from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.market.origin import candle_origin, is_from_broker
from fx_pipeline.settings import Settings
from fx_pipeline.validation.gate import laxer

CHECK = "champion_is_what_was_judged"
#: Digits of a model's hash that name it.
NAME_DIGITS = 12


@dataclass(frozen=True)
class ChampionState:
    """What the record, the registry and the weights of a champion say together.

    Attributes
    ----------
    instrument, name : str
        The name of the state.
    said : str
        A sentence, with what to do.
    stops : bool
        Whether nothing may be traded in it.
    """

    instrument: str
    name: str
    said: str
    stops: bool


def champion_state(settings: Settings, tracking: Tracking, instrument: str) -> ChampionState:
    """Reconcile the champion of an instrument.

    Returns
    -------
    ChampionState
        "agrees"; "no champion" or "demoted", in which nothing trades; or one that stops the live job: "record
        unreadable", "weights are others", "not promoted by the gate", "registry out of reach", "version missing",
        "version of other weights", "alias missing", "alias moved".
    """

    def state(name: str, said: str, stops: bool = True) -> ChampionState:
        return ChampionState(instrument, name, said, stops)

    try:
        record, demotion = read_champion(settings, instrument), read_demotion(settings, instrument)
    except FxPipelineError as error:
        return state("record unreadable", str(error))
    if record is None:
        if demotion is not None:
            return state(
                "demoted", f"the model of window {demotion['window']} was demoted: {demotion['reason']}", False
            )
        return state("no champion", "no model was promoted.", False)
    try:
        refuse_swapped_model(record)
    except UnverifiedError as error:
        return state("weights are others", str(error))
    try:
        # Those of earlier versions were promoted before the ledger knew reports.
        if record.get("promoted") is not None:
            refuse_unpromoted(settings, open_ledger(settings), record)
    except FxPipelineError as error:
        return state("not promoted by the gate", str(error))
    name, version, sha256 = record["registered_model"], record["version"], record["sha256"]
    again = f"put the alias champion of {name} back to version {version}, or promote the model that shall trade"
    try:
        alias = tracking.mlflow().champion(name)
        known = {found.version: found for found in tracking.mlflow().versions(name)}
    except FxPipelineError as error:
        return state("registry out of reach", f"nobody can tell what it names as champion: {error}")
    registered = known.get(version)
    if registered is None:
        return state("version missing", f"{name} has no version {version} any more, which the record names: {again}.")
    if registered.checkpoint_sha256 != sha256:
        tagged = registered.checkpoint_sha256[:NAME_DIGITS] or "unknown"
        return state(
            "version of other weights",
            f"version {version} of {name} is of weights {tagged}, and the record of {sha256[:NAME_DIGITS]}: promote "
            "the model that shall trade again.",
        )
    if alias is None:
        return state("alias missing", f"no version of {name} has the alias champion: {again}.")
    if alias.version != version:
        return state(
            "alias moved",
            f"the alias champion of {name} is on version {alias.version} (weights "
            f"{alias.checkpoint_sha256[:NAME_DIGITS] or 'unknown'}), and version {version} was promoted: {again}. An "
            "alias that was moved by hand is not followed: what it names was not judged for it.",
        )
    return state("agrees", f"record, alias and weights name version {version} of {name}.", False)


def state_evaluation(state: ChampionState, asset: dg.AssetKey) -> dg.AssetCheckEvaluation:
    """Return a state as the check on the asset `champion` shows it."""
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=CHECK,
        passed=not state.stops,
        metadata=plain(states_metadata([state])),
    )


def report_state(instance: dg.DagsterInstance, asset: dg.AssetKey, state: ChampionState) -> None:
    """Show in Dagster a state in which nothing may be traded, whatever run came upon it."""
    if state.stops:
        instance.report_runless_asset_event(state_evaluation(state, asset))


def states_metadata(states: "list[ChampionState]") -> dict[str, Any]:
    """Return what the check shows: each instrument's state by name, and what to do."""
    return {f"{state.instrument}: {state.name}": state.said for state in states}


def require_acknowledged(settings: Settings, champion: dict[str, Any]) -> None:
    """Refuse to trade real money with a model that was never judged on candles from a broker, or by a gate that asks
    for less than the default one, unless it is named.

    Raises
    ------
    ConfigurationError
        Saying where its candles came from, and what to set.
    """
    attested = champion.get("promoted") is not None
    less = laxer(settings.gate)
    if settings.oanda_environment != "live" or (attested and is_from_broker(champion["source"]) and not less):
        return
    name = champion["sha256"][:NAME_DIGITS]
    if name in settings.live_unproven:
        return
    if attested and is_from_broker(champion["source"]):
        raise ConfigurationError(
            f"the champion of {champion['instrument']} is judged by a gate that FX_GATE made laxer ({', '.join(less)}): "
            f"take FX_GATE back, or, to trade real money with it all the same, set FX_LIVE_UNPROVEN={name}."
        )
    why = "was never judged on candles from a broker" if attested else "was promoted by an earlier version"
    raise ConfigurationError(
        f"the champion of {champion['instrument']} {why}. {candle_origin(champion['source'])} Validate and promote it "
        "on OANDA's candles; or, to trade real money with it all the same, set "
        f"FX_LIVE_UNPROVEN={name}."
    )
