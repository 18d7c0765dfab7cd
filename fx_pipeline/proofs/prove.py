"""The proof itself: train on one path of a market, play another one, for several seeds."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fx_pipeline.agents.base import Budget, Progress, TrainingData
from fx_pipeline.agents.registry import agent as find_agent
from fx_pipeline.environment.action_sets import UNIT4, ActionSet, action_set
from fx_pipeline.market.arrays import MarketArrays
from fx_pipeline.proofs.markets import BARS, COSTS, MarketName, proof_market
from fx_pipeline.proofs.play import SESSIONS, Played, draw_starts, play
from fx_pipeline.proofs.recorder import Recorder
from fx_pipeline.sessions.index import valid_starts

#: More than any clock allows: the minutes end a training.
UNLIMITED_EPISODES = 1_000_000_000

#: Opens a stage with that title; what it yields is told how far the stage is, and at the end what came out of it.
Watch = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Proof:
    """What is to be proved.

    Attributes
    ----------
    agent, preset : str
    market : str
    minutes : float
        Wall time of each training.
    seeds : int
        Trainings, with seeds 0, 1, ...; each has a path of its own to train and another to be judged on.
    episodes : int
        Ends a training early.
    sessions : int
        Sessions that are judged.
    bars : int
        Bars of each path.
    jobs : int
        Trainings at once.
    milestones : tuple of int
        Episodes, increasing, after which the weights of that moment are judged as well. An agent keeps weights now and
        then (muzero at the end of a wave): those before the mark are taken where it keeps none at the mark.
    action_set : str
        Name of what the agent may do.
    """

    agent: str
    market: MarketName
    preset: str = "small"
    minutes: float = 5.0
    seeds: int = 5
    episodes: int = UNLIMITED_EPISODES
    sessions: int = SESSIONS
    bars: int = BARS
    jobs: int = 1
    milestones: tuple[int, ...] = ()
    action_set: str = "unit4"

    @property
    def actions(self) -> ActionSet:
        """What the agent may do."""
        return action_set(self.action_set)

    @property
    def case(self) -> str:
        """What files of the proof are called."""
        return case_of(self.market, self.action_set)


def case_of(market: str, actions: str) -> str:
    """Name a market together with an action set, where that is not the first one."""
    return market if actions == UNIT4.name else f"{market}_{actions}"


@dataclass(frozen=True)
class Milestone:
    """What the weights of a moment of a training make, on the sessions that judge the training.

    Attributes
    ----------
    episodes : int
        The mark: the weights are the newest that the training had kept when it passed it.
    seconds : float
        Of training until then.
    pips_per_episode : float
    policy_pips_per_episode : float or None
        Without search; None for agents that do not search.
    """

    episodes: int
    seconds: float
    pips_per_episode: float
    policy_pips_per_episode: float | None


@dataclass(frozen=True)
class SeedResult:
    """What one training brought.

    Attributes
    ----------
    seed : int
    pips_per_episode, trades_per_episode : float
        Greedy, on the evaluation path.
    standard_error_pips : float
        Of `pips_per_episode`.
    policy_pips_per_episode : float or None
        The same sessions by the policy head without search; None for agents that do not search.
    seconds : float
        Wall time of the training.
    evaluation_seconds : float
    curve : list of (float, float)
        (seconds of training, pips per episode) as it learned, with its exploration on.
    counters : Mapping
        How much it trained.
    milestones : list of Milestone
        Those of the proof that it passed.
    """

    seed: int
    pips_per_episode: float
    trades_per_episode: float
    standard_error_pips: float
    policy_pips_per_episode: float | None
    seconds: float
    evaluation_seconds: float
    curve: list[tuple[float, float]] = field(default_factory=list)
    counters: Mapping[str, float] = field(default_factory=dict)
    milestones: list[Milestone] = field(default_factory=list)


@contextmanager
def unwatched(title: str) -> Iterator[Progress]:
    """A `Watch` that tells nobody."""
    yield lambda fraction, figures: None


def path_seeds(seed: int) -> tuple[int, int]:
    """Seeds of the training and the evaluation path; those of different seeds have nothing in common."""
    return 1 + 2 * seed, 2 + 2 * seed


def training_data(proof: Proof, seed: int) -> TrainingData:
    """Return the training path of a seed."""
    market = proof_market(proof.market, path_seeds(seed)[0], proof.bars)
    window = {"key": f"proof-{proof.case}-{seed}"}
    return TrainingData(market, valid_starts(market), COSTS, window, actions=proof.actions)


def evaluation_sessions(proof: Proof, seed: int) -> tuple[MarketArrays, npt.NDArray[np.int64]]:
    """Return the evaluation path of a seed and the starts (B,) of the sessions that it is judged on."""
    market = proof_market(proof.market, path_seeds(seed)[1], proof.bars)
    return market, draw_starts(market, proof.sessions, seed)


def prove_seed(
    proof: Proof,
    seed: int,
    progress: Progress = lambda fraction, figures: None,
    clock: Callable[[], float] = time.perf_counter,
) -> SeedResult:
    """Train with one seed and judge what came out.

    Parameters
    ----------
    proof : Proof
    seed : int
    progress : callable
        Called with the fraction of the training done and its figures, and at the end with 1.0 and the result's.
    clock : callable
        Seconds.

    Returns
    -------
    SeedResult
    """
    found = find_agent(proof.agent)
    trainer, data = found.trainer(proof.preset), training_data(proof, seed)
    with tempfile.TemporaryDirectory(prefix="fx-proof-") as folder:
        training = Path(folder) / "training"
        training.mkdir()
        newest = None if found.newest is None else found.newest(training)
        recorder = Recorder(proof.milestones, newest, Path(folder) / "milestones", progress, clock)
        checkpoint = trainer.train(
            data,
            Budget(proof.episodes, minutes=proof.minutes),
            seed=seed,
            folder=training,
            resume=False,
            progress=recorder.listen,
        )
        trained = clock()
        market, starts = evaluation_sessions(proof, seed)

        def judge(weights: Path, part: int) -> tuple[Played, Played | None]:
            def judged(fraction: float) -> None:
                progress(0.999, {"of the judging": (part + fraction) / (1 + len(recorder.passed))})

            policy = found.load_policy(weights)
            done = play(market, starts, policy, progress=judged, actions=proof.actions)
            if found.without_search is None:
                return done, None
            return done, play(market, starts, found.without_search(policy), actions=proof.actions)

        done, alone = judge(training, 0)
        milestones = []
        for part, (mark, seconds) in enumerate(recorder.passed.items(), 1):
            then, head = judge(recorder.copy_of(mark), part)
            pips = None if head is None else head.pips_per_episode
            milestones.append(Milestone(mark, seconds, then.pips_per_episode, pips))
    result = SeedResult(
        seed=seed,
        pips_per_episode=done.pips_per_episode,
        trades_per_episode=done.trades_per_episode,
        standard_error_pips=done.standard_error_pips,
        policy_pips_per_episode=None if alone is None else alone.pips_per_episode,
        seconds=trained - recorder.began,
        evaluation_seconds=clock() - trained,
        curve=recorder.curve,
        counters={
            name: float(checkpoint.metrics[name])
            for name in ("episodes", "steps", "updates")
            if name in checkpoint.metrics
        },
        milestones=milestones,
    )
    progress(1.0, outcome(result))
    return result


def outcome(result: SeedResult) -> dict[str, float]:
    """The figures of a result that are shown as soon as it is there."""
    shown = {"pips an episode": result.pips_per_episode, "trades an episode": result.trades_per_episode}
    if result.policy_pips_per_episode is not None:
        shown["pips without search"] = result.policy_pips_per_episode
    return shown


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def provenance(proof: Proof) -> dict[str, Any]:
    """What a result must say of what made it: code, configuration and machine."""
    found = find_agent(proof.agent)
    return {
        "code_version": found.code_version(),
        "config_digest": found.config_digest(proof.preset),
        "cores": cores(),
    }
