"""The configuration tree of Stochastic MuZero: `full` defaults and named overlays, in `config.yaml`."""

import dataclasses
import difflib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_type_hints

from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.search.types import SearchConfig

CONFIG_PATH = Path(__file__).with_name("config.yaml")
BASE_PRESET = "full"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)


@dataclass(frozen=True)
class NetworkConfig:
    """Sizes of the networks.

    Attributes
    ----------
    channels : int
        Channels of the temporal encoder, and size of its code.
    static_size : int
        Size of the code of the position features. H = channels + static_size.
    temporal_blocks : int
        Residual blocks of two causal convolutions; block i has dilation 2 ** i.
    kernel_size : int
    dropout : float
        In the temporal encoder, while learning.
    afterstate_blocks, dynamics_blocks, policy_blocks, value_blocks : int
        MLP residual blocks of each part.
    bins : int
        Bins of the two-hot value and reward heads; odd, so that 0 is one of them.
    support_pips : float
        The bins reach from -support_pips to support_pips, for instruments whose unit is not a pip so many units
        (`market.units`).
    value_prefix : bool
        Whether the reward head gives the sum of the rewards since the root, of which a step's reward is the difference
        (the value prefix of EfficientZero, Ye et al. 2021, section 4.2). Theirs has an LSTM over the unrolled states,
        reset every five steps. Here the head reads the sum from the state itself, which the dynamics carry on: no LSTM,
        no reset, and beyond `learner.unroll_steps` the sum is extrapolated. A sum reaches the last bin sooner than a
        reward.
    """

    channels: int
    static_size: int
    temporal_blocks: int
    kernel_size: int
    dropout: float
    afterstate_blocks: int
    dynamics_blocks: int
    policy_blocks: int
    value_blocks: int
    bins: int
    support_pips: float
    value_prefix: bool

    def __post_init__(self) -> None:
        for name in ("channels", "static_size", "temporal_blocks", "kernel_size"):
            _require(getattr(self, name) >= 1, f"network.{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("afterstate_blocks", "dynamics_blocks", "policy_blocks", "value_blocks"):
            _require(getattr(self, name) >= 0, f"network.{name} must be 0 or more, not {getattr(self, name)}.")
        _require(0.0 <= self.dropout < 1.0, f"network.dropout must lie in [0, 1), not {self.dropout}.")
        _require(self.bins >= 3 and self.bins % 2 == 1, f"network.bins must be odd and at least 3, not {self.bins}.")
        _require(self.support_pips > 0, f"network.support_pips must be positive, not {self.support_pips}.")

    @property
    def hidden_size(self) -> int:
        """H."""
        return self.channels + self.static_size


@dataclass(frozen=True)
class SelfPlayConfig:
    """How experience is collected.

    Attributes
    ----------
    environments : int
        Sessions that run in lock-step.
    segment_bars : int
        Bars that each of them moves between two rounds of learning; fewer at the end of a session that they do not
        divide.
    epsilon : float
        Probability of a uniformly random legal action in place of the search's.
    temperature_start, temperature_end : float
        Visit counts are sampled with exponent 1 / temperature, which moves linearly between them.
    noise_end : float
        The noise at the search's root falls linearly to this share of itself.
    root_value : str
        What a search says that its root is worth, from which returns are bootstrapped: the "mean" of its simulations,
        as in MuZero, or the Q of the "best", the most visited action. The mean counts what noise and exploration in
        the tree would cost, which is most where most is to be lost by a wrong step: flat, at four pips an entry.
    anneal_episodes : int
        Episodes that temperature and noise take to reach their ends; 0 takes the whole budget.
    warmup_bars : int
        Bars that each environment first plays without search, sticky at random: an untrained agent that closes at
        random learns that entering is bad, and then never sees a position again.
    sticky_enter, sticky_close : float
        Probabilities, a bar, to enter (either side) and to close in the warm-up.
    """

    environments: int
    segment_bars: int
    epsilon: float
    temperature_start: float
    temperature_end: float
    noise_end: float
    root_value: Literal["mean", "best"]
    anneal_episodes: int
    warmup_bars: int
    sticky_enter: float
    sticky_close: float

    def __post_init__(self) -> None:
        for name in ("environments", "segment_bars"):
            _require(getattr(self, name) >= 1, f"selfplay.{name} must be at least 1, not {getattr(self, name)}.")
        kinds = ("mean", "best")
        _require(self.root_value in kinds, f"selfplay.root_value must be mean or best, not {self.root_value!r}.")
        for name in ("epsilon", "noise_end", "sticky_enter", "sticky_close"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"selfplay.{name} must lie in [0, 1], not {value}.")
        for name in ("temperature_start", "temperature_end", "anneal_episodes", "warmup_bars"):
            _require(getattr(self, name) >= 0, f"selfplay.{name} must be 0 or more, not {getattr(self, name)}.")

    def annealed(self, episodes: int, budget: float) -> float:
        """Share of the way, 0..1, that exploration has come after `episodes` and a share `budget` of the budget."""
        return min(episodes / self.anneal_episodes if self.anneal_episodes else budget, 1.0)

    def temperature(self, annealed: float) -> float:
        """Temperature at a share of the way."""
        return self.temperature_start + annealed * (self.temperature_end - self.temperature_start)

    def noise(self, annealed: float) -> float:
        """Factor of the root's noise at a share of the way."""
        return 1.0 + annealed * (self.noise_end - 1.0)


@dataclass(frozen=True)
class ReplayConfig:
    """What is kept, and what is learned from.

    Attributes
    ----------
    capacity_steps : int
        Steps of whole episodes that are kept.
    in_trade_share : float
        Share of a batch that starts in an open position, as far as there are any.
    priority_weight : float
        0: every step is as likely as any other. 1: a step is drawn in proportion to its quality (`quality`) and to its
        episode's recency, which falls from 1 for the newest to 0.5 for the oldest. Between them, a mixture of the two.
    importance : float
        Exponent, 0..1, of the weights by which the losses of value, reward and outcome make up for drawing some steps
        more often than others; without them those heads learn that the market favours winners. The policy loss takes
        the steps as they are drawn.
    evict : str
        Which episodes make room: the "oldest", or those of the least mean "quality", 2 % of the capacity at a time,
        not while they are played, so that at least 30 % of the episodes have a trade, and those with one of the newest
        1,000 successes last.
    success_share : float
        Share of a batch that starts at one of the newest 1,000 successes: steps with a reward of more than 5 pips.
    share_trade_reward : bool
        Whether each step of a trade gets the trade's whole reward when it closes. Off: the reward of a step then
        depends on what comes after it, and a return counts the trade once for every bar it was held. In the project's
        trials an agent learned to lose by it.
    """

    capacity_steps: int
    in_trade_share: float
    priority_weight: float
    importance: float
    evict: Literal["oldest", "quality"]
    success_share: float
    share_trade_reward: bool

    def __post_init__(self) -> None:
        _require(self.capacity_steps >= 1, f"replay.capacity_steps must be at least 1, not {self.capacity_steps}.")
        for name in ("in_trade_share", "priority_weight", "importance", "success_share"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, f"replay.{name} must lie in [0, 1], not {value}.")
        both = self.in_trade_share + self.success_share
        _require(both <= 1.0, f"replay.in_trade_share and success_share must not exceed 1 together, they are {both}.")
        _require(self.evict in ("oldest", "quality"), f"replay.evict must be oldest or quality, not {self.evict!r}.")

    @property
    def weighted(self) -> bool:
        """Whether some steps are drawn more often than others for their quality or success."""
        return self.priority_weight > 0.0 or self.success_share > 0.0


@dataclass(frozen=True)
class LearnerConfig:
    """How the networks are fitted.

    Attributes
    ----------
    batch_size : int
    unroll_steps : int
        K, steps that the model is unrolled.
    td_steps : int
        n of the n-step value targets.
    td_steps_decay_waves : float
        Off-policy correction (EfficientZero, Ye et al. 2021, appendix A.4): a return looks one step less far for every
        so many waves of episodes that have been begun since it was played, down to 1. 0: all look n steps.
    exploration_cut : float
        A return ends, with the search's value, before the first action of less than this share of the weight that the
        search gave to the best one: what exploration costs is not what a state is worth. 0: no return ends so.
    bootstrap_at_end : bool
        Whether a session's end cuts the return short with the last search value (an agent cannot see how much of
        the session is left) or counts as value 0.
    replay_ratio : float
        Samples learned from for each step collected.
    reanalyze_share : float
        Steps in the replay whose policy and value targets are searched again with the present weights, for each step
        collected (MuZero, appendix H). 0: none.
    mirror : bool
        Whether every other sample of a batch is turned upside down: a price that falls where it rose, sold where it was
        bought; none is where the feature set or the action set has no mirror. Wrong where the two sides differ:
        financing, fills at quoted prices with a spread of their own, a drift.
    target_ema : float
        Decay of the moving average of the weights (Polyak and Juditsky 1992) that plays in place of the newest ones.
        0: none.
    learning_rate, weight_decay : float
        Of Adam.
    final_learning_rate_fraction : float
        The learning rate falls linearly to this fraction of itself over the budget.
    clip_norm : float
        Greatest norm of the gradient.
    precision : str
        Of the matrix products: "fp32", or "bf16" by torch's autocast; "auto" is bf16 where the processor multiplies it.
        Weights depend on it.
    policy_weight, value_weight, reward_weight, outcome_weight : float
        Weights of the losses; the afterstate value counts with the value.
    consistency_weight : float
        Weight of EfficientZero's loss: the states that the model foresees shall look like those seen. 0: none.
    consistency_steps : int
        Unrolled steps that it compares. Each costs as much as encoding a batch.
    """

    batch_size: int
    unroll_steps: int
    td_steps: int
    td_steps_decay_waves: float
    exploration_cut: float
    bootstrap_at_end: bool
    replay_ratio: float
    reanalyze_share: float
    mirror: bool
    target_ema: float
    learning_rate: float
    final_learning_rate_fraction: float
    weight_decay: float
    clip_norm: float
    precision: Literal["auto", "fp32", "bf16"]
    policy_weight: float
    value_weight: float
    reward_weight: float
    outcome_weight: float
    consistency_weight: float
    consistency_steps: int

    def __post_init__(self) -> None:
        for name in ("batch_size", "unroll_steps", "td_steps", "consistency_steps"):
            _require(getattr(self, name) >= 1, f"learner.{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("replay_ratio", "learning_rate", "clip_norm"):
            _require(getattr(self, name) > 0, f"learner.{name} must be positive, not {getattr(self, name)}.")
        names = ("weight_decay", "policy_weight", "value_weight", "reward_weight", "outcome_weight",
                 "consistency_weight", "td_steps_decay_waves", "reanalyze_share")  # fmt: skip
        for name in (*names, "final_learning_rate_fraction"):
            _require(getattr(self, name) >= 0, f"learner.{name} must be 0 or more, not {getattr(self, name)}.")
        cut = self.exploration_cut
        _require(0.0 <= cut <= 1.0, f"learner.exploration_cut must lie in [0, 1], not {cut}.")
        _require(0.0 <= self.target_ema < 1.0, f"learner.target_ema must lie in [0, 1), not {self.target_ema}.")
        _require(
            self.consistency_steps <= self.unroll_steps,
            f"learner.consistency_steps {self.consistency_steps} must not exceed unroll_steps {self.unroll_steps}.",
        )
        known = ("auto", "fp32", "bf16")
        _require(self.precision in known, f"learner.precision must be auto, fp32 or bf16, not {self.precision!r}.")


@dataclass(frozen=True)
class SelectionConfig:
    """How the best weights of a training are chosen; see `selection`.

    Attributes
    ----------
    share : float
        Share of the session starts, the last ones, that are kept from self-play and judge the weights instead. 0: the
        newest weights are the result.
    sessions : int
        Most sessions that are played to judge.
    every_episodes : int
        Episodes of self-play between two judgements; at the end there is one in any case.
    standard_errors : float
        Subtracted from the mean pips of a session: of many judgements the best is too good by luck, the more so the
        more its sessions differ.
    """

    share: float
    sessions: int
    every_episodes: int
    standard_errors: float

    def __post_init__(self) -> None:
        _require(0.0 <= self.share <= 0.5, f"selection.share must lie in [0, 0.5], not {self.share}.")
        for name in ("sessions", "every_episodes"):
            _require(getattr(self, name) >= 1, f"selection.{name} must be at least 1, not {getattr(self, name)}.")
        _require(self.standard_errors >= 0, f"selection.standard_errors must be 0 or more, not {self.standard_errors}.")


@dataclass(frozen=True)
class DecisionConfig:
    """How the trained agent decides, in validation, paper and live.

    Attributes
    ----------
    simulations : int
        Of one search. Self-play, and the judging of checkpoints within a training, make `search.simulations`.
    """

    simulations: int

    def __post_init__(self) -> None:
        _require(self.simulations >= 1, f"decision.simulations must be at least 1, not {self.simulations}.")


@dataclass(frozen=True)
class RuntimeConfig:
    """How it runs.

    Attributes
    ----------
    threads : int
        Threads of torch. Weights depend on it in their last bits, so it is a setting and not the machine's. More than
        one pays for large networks where no other program wants the cores (see `torch_settings`). Where they leave
        none free, learning and self-play take turns.
    device : str
        Where the learner learns: "cpu", "cuda", or "auto", a GPU where there is one; self-play is on the CPU. Weights
        depend on it.
    engine : str
        Who plays: "fp32" or "bf16", compiled loops; "torch", the oracle, many times slower; or "auto", the best
        precision that the processor has. Weights depend on it.
    workers : int
        Threads of self-play; 0 for the cores that the learner's `threads` leave, but at least one. Nothing depends on
        it but the time.
    bundle_every : int
        Iterations between two bundles, from which a killed training is taken up.
    keep_every : int
        Episodes between two checkpoints that are kept while it trains; see `retention`.
    """

    threads: int
    device: Literal["auto", "cpu", "cuda"]
    engine: Literal["auto", "torch", "fp32", "bf16"]
    workers: int
    bundle_every: int
    keep_every: int

    def __post_init__(self) -> None:
        for name in ("threads", "bundle_every", "keep_every"):
            _require(getattr(self, name) >= 1, f"runtime.{name} must be at least 1, not {getattr(self, name)}.")
        _require(self.workers >= 0, f"runtime.workers must be 0 or more, not {self.workers}.")
        devices = ("auto", "cpu", "cuda")
        _require(self.device in devices, f"runtime.device must be one of {', '.join(devices)}, not {self.device!r}.")
        engines = ("auto", "torch", "fp32", "bf16")
        _require(self.engine in engines, f"runtime.engine must be one of {', '.join(engines)}, not {self.engine!r}.")


@dataclass(frozen=True)
class MuZeroConfig:
    """The whole tree; see the classes of its parts.

    Attributes
    ----------
    preset : str
        The overlay that it began with.
    """

    preset: str
    network: NetworkConfig
    search: SearchConfig
    reward: RewardConfig
    selfplay: SelfPlayConfig
    replay: ReplayConfig
    learner: LearnerConfig
    selection: SelectionConfig
    decision: DecisionConfig
    runtime: RuntimeConfig

    def check_session(self, session_bars: int) -> None:
        """Refuse sessions of a length with which a training cannot work.

        Raises
        ------
        ConfigurationError
            With what to change.
        """
        needed = self.selfplay.environments * session_bars
        _require(
            self.replay.capacity_steps >= needed,
            f"replay.capacity_steps {self.replay.capacity_steps} cannot hold the {self.selfplay.environments} episodes "
            f"of {session_bars} bars that run at once: it must be at least {needed}.",
        )
        window = self.learner.unroll_steps + 1
        _require(
            session_bars >= window,
            f"a session of {session_bars} bars is shorter than an unroll of {window}: make it longer, or "
            "learner.unroll_steps less.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The tree as plain values, which `config_from_dict` reads back."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """SHA-256 of the tree without the preset's name and what no result depends on."""
        tree = self.to_dict()
        del tree["preset"]
        # These lay here before sessions had rules of their own; digests of that time stay what they are.
        tree["selfplay"] |= _FORMER
        for name in ("workers", "bundle_every", "keep_every"):
            del tree["runtime"][name]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


#: What the section `selfplay` of checkpoints of earlier versions holds besides, with the only values it ever had.
_FORMER = {"session_bars": 360, "window_bars": 32}
_SECTIONS = {
    "network": NetworkConfig,
    "search": SearchConfig,
    "reward": RewardConfig,
    "selfplay": SelfPlayConfig,
    "replay": ReplayConfig,
    "learner": LearnerConfig,
    "selection": SelectionConfig,
    "decision": DecisionConfig,
    "runtime": RuntimeConfig,
}


@cache
def _document() -> Mapping[str, Any]:
    import yaml

    return MappingProxyType(yaml.safe_load(CONFIG_PATH.read_text(encoding="utf-8")))


def presets() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_document())


def load_config(preset: str = BASE_PRESET, overrides: Mapping[str, Any] | None = None) -> MuZeroConfig:
    """Build a configuration.

    Parameters
    ----------
    preset : str
        One of `presets()`.
    overrides : Mapping, optional
        By section, `{"learner": {"batch_size": 64}}`, or dotted, `{"learner.batch_size": 64}`.

    Returns
    -------
    MuZeroConfig

    Raises
    ------
    ConfigurationError
        On an unknown preset, section or key (naming near matches), or a value of the wrong type or range.
    """
    if preset not in _document():
        raise ConfigurationError(f"preset {preset!r} is unknown{_near(preset, presets())}")
    tree = {section: dict(values) for section, values in _document()[BASE_PRESET].items()}
    if preset != BASE_PRESET:
        _overlay(tree, _document()[preset])
    _overlay(tree, overrides or {})
    return _build(preset, tree)


def config_from_dict(tree: Mapping[str, Any]) -> MuZeroConfig:
    """Read what `MuZeroConfig.to_dict` wrote, now or before sessions had rules of their own; it must be complete.

    Raises
    ------
    ConfigurationError
        If a section or key is missing, unknown or invalid.
    """
    sections = {name: values for name, values in tree.items() if name != "preset"}
    if isinstance(sections.get("selfplay"), Mapping):
        former = _FORMER.items()
        sections["selfplay"] = {key: value for key, value in sections["selfplay"].items() if (key, value) not in former}
    checked: dict[str, dict[str, Any]] = {section: {} for section in _SECTIONS}
    _overlay(checked, sections)
    return _build(str(tree.get("preset", BASE_PRESET)), checked)


def _overlay(tree: dict[str, dict[str, Any]], overlay: Mapping[str, Any]) -> None:
    for key, value in overlay.items():
        section, dot, name = str(key).partition(".")
        if section not in _SECTIONS:
            raise ConfigurationError(f"configuration section {section!r} is unknown{_near(section, _SECTIONS)}")
        if not dot and not isinstance(value, Mapping):
            raise ConfigurationError(f"configuration section {section!r} needs keys and values, not {value!r}.")
        for field, setting in ({name: value} if dot else value).items():
            known = tuple(item.name for item in dataclasses.fields(_SECTIONS[section]))
            if field not in known:
                raise ConfigurationError(f"configuration key {section}.{field} is unknown{_near(field, known)}")
            tree[section][field] = setting


def _build(preset: str, tree: Mapping[str, Mapping[str, Any]]) -> MuZeroConfig:
    parts: dict[str, Any] = {}
    for section, kind in _SECTIONS.items():
        hints = get_type_hints(kind)
        missing = [field.name for field in dataclasses.fields(kind) if field.name not in tree[section]]
        if missing:
            raise ConfigurationError(f"configuration section {section} lacks {', '.join(missing)}.")
        values = {name: _typed(f"{section}.{name}", value, hints[name]) for name, value in tree[section].items()}
        try:
            parts[section] = kind(**values)
        except ConfigurationError:
            raise
        except ValueError as error:
            raise ConfigurationError(f"configuration section {section}: {error}.") from error
    return MuZeroConfig(preset=preset, **parts)


def _typed(name: str, value: Any, kind: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number and math.isfinite(value):
        return float(value)
    if kind is int and number and value == int(value):
        return int(value)
    if kind is bool and isinstance(value, bool):
        return value
    if kind not in (int, float, bool):
        return value
    raise ConfigurationError(f"configuration key {name} must be a {kind.__name__}, not {value!r}.")


def _near(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f": did you mean {' or '.join(close)}?" if close else f": known are {', '.join(known)}."
