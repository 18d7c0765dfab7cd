"""Whether all that names a champion names the same model: its record, the registry's alias, and the weights.

A difference is a state with a name. It is shown, it stops the live job, and it is never followed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fx_pipeline.lifecycle.champions import read_champion, read_demotion
from fx_pipeline.lifecycle.needs import Terms, Tracking
from fx_pipeline.lifecycle.verified import UnverifiedError, open_ledger, refuse_swapped_model, refuse_unpromoted
from fx_pipeline.market.errors import ConfigurationError, FxPipelineError
from fx_pipeline.market.origin import candle_origin, is_from_broker
from fx_pipeline.validation.champion import Champion
from fx_pipeline.validation.gate import GateConfig, laxer

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


def champion_state(settings: Terms, tracking: Tracking, instrument: str) -> ChampionState:
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
            return state("demoted", f"the model of window {demotion.window} was demoted: {demotion.reason}", False)
        return state("no champion", "no model was promoted.", False)
    try:
        refuse_swapped_model(record)
    except UnverifiedError as error:
        return state("weights are others", str(error))
    try:
        # Those of earlier versions were promoted before the ledger knew reports.
        if record.promoted is not None:
            refuse_unpromoted(settings, open_ledger(settings), record)
    except FxPipelineError as error:
        return state("not promoted by the gate", str(error))
    name, version, sha256 = record.registered_model, record.version, record.weights_sha256
    again = f"put the alias champion of {name} back to version {version}, or promote the model that shall trade"
    try:
        alias = tracking.mlflow().champion(name)
        known = {found.version: found for found in tracking.mlflow().versions(name)}
    except FxPipelineError as error:
        return state("registry out of reach", f"nobody can tell what it names as champion: {error}")
    registered = known.get(version)
    if registered is None:
        return state("version missing", f"{name} has no version {version} any more, which the record names: {again}.")
    if registered.weights_sha256 != sha256:
        tagged = registered.weights_sha256[:NAME_DIGITS] or "unknown"
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
            f"{alias.weights_sha256[:NAME_DIGITS] or 'unknown'}), and version {version} was promoted: {again}. An "
            "alias that was moved by hand is not followed: what it names was not judged for it.",
        )
    return state("agrees", f"record, alias and weights name version {version} of {name}.", False)


def require_acknowledged(
    environment: str, unproven: Sequence[str], champion: Champion, gate: GateConfig | None = None
) -> None:
    """Refuse to trade real money with a model that was never judged on candles from a broker, or by a gate that asks
    for less than the default one, unless it is named.

    Parameters
    ----------
    environment : str
        Where orders go: "paper", "practice" or "live".
    unproven : sequence of str
        Models that were named: the first 12 digits of each one's hash.
    champion : Champion
    gate : GateConfig, optional
        Of now.

    Raises
    ------
    ConfigurationError
        Saying where its candles came from, or what its gate lacks, and what to set.
    """
    attested = champion.promoted is not None
    proven, less = attested and is_from_broker(champion.source), laxer(gate or GateConfig())
    if environment != "live" or (proven and not less):
        return
    name = champion.weights_sha256[:NAME_DIGITS]
    if name in unproven:
        return
    if proven:
        raise ConfigurationError(
            f"the champion of {champion.instrument} is judged by a gate that asks for less than the default one "
            f"({', '.join(less)}): take FX_GATE back; or, to trade real money with it all the same, set "
            f"FX_LIVE_UNPROVEN={name}."
        )
    why = "was never judged on candles from a broker" if attested else "was promoted by an earlier version"
    raise ConfigurationError(
        f"the champion of {champion.instrument} {why}. {candle_origin(champion.source)} Validate and promote it "
        "on OANDA's candles; or, to trade real money with it all the same, set "
        f"FX_LIVE_UNPROVEN={name}."
    )
