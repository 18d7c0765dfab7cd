"""A recipe: one value that says all that a model is made of, read from a YAML file."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fx_pipeline.environment.action_sets import ActionSet, action_set
from fx_pipeline.environment.rewards import RewardConfig
from fx_pipeline.features.names import FeatureTable
from fx_pipeline.market.session_rules import SessionRules
from fx_pipeline.market.timeframe import Timeframe, timeframe
from fx_pipeline.sessions.names import SessionTable


class SessionFields(BaseModel):
    """Rules of sessions, as of `fx_pipeline.market.session_rules.SessionRules`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bars: int = Field(360, ge=2, description="Decisions of a session.")
    window_bars: int = Field(32, ge=1, description="Bars that one observation covers.")
    max_gap_bars: int = Field(10, ge=1, description="A longer time between two bars, in bars, is a gap.")
    min_range_pips: float = Field(1.0, ge=0, description="A session that moves less is no market.")
    within_week: bool = Field(True, description="Whether a session lies inside one trading week.")


class Recipe(BaseModel):
    """What is trained and traded; every field stands in the YAML file under this name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", description="Name of the recipe, its folder and its assets.")
    title: str = Field("", description="One line for people.")
    agent: str = Field(description="Name of the agent, as in the registry of agents.")
    preset: str | None = Field(None, description="Preset of the agent; absent: FX_PRESET.")
    instruments: tuple[str, ...] | None = Field(
        None, description="Instruments by OANDA's names; absent: those of FX_INSTRUMENTS."
    )
    timeframe: str = Field("M1", description="Length of the bars: M1, M5, M15, H1, H4 or D.")
    feature_set: str = Field("temporal9", description="Name of the feature set.")
    sessions: SessionFields = Field(SessionFields(), description="What a session is.")  # type: ignore[call-arg]
    action_set: str = Field("unit4", description="Name of the action set.")
    costs: dict[str, Any] | None = Field(
        None, description="Fields of the cost model of training; absent: FX_COST_KIND and the settings beside it."
    )
    reward: dict[str, Any] | None = Field(None, description="Fields of the reward; absent: the preset's.")
    episodes: int | None = Field(None, ge=1, description="Training budget; absent: FX_EPISODES or the preset's.")
    seeds: tuple[int, ...] | None = Field(None, description="Seeds of each window; absent: FX_SEEDS or FX_SEED.")
    retrain: Literal["weekly", "never"] = Field("never", description="Whether the schedule retrains it.")

    @property
    def bars(self) -> Timeframe:
        """The timeframe."""
        return timeframe(self.timeframe)

    @property
    def setting(self) -> dict[str, Any]:
        """What an agent of it sees and may do, JSON-able: another one is another configuration of the same family."""
        return {
            "timeframe": self.timeframe,
            "feature_set": self.feature_set,
            "action_set": self.action_set,
            "sessions": self.sessions.model_dump(),
        }

    @property
    def rewarded(self) -> RewardConfig | None:
        """The reward that it names itself; None where it is the preset's."""
        return None if self.reward is None else RewardConfig(**self.reward)

    @property
    def actions(self) -> ActionSet:
        """The action set."""
        return action_set(self.action_set)

    @property
    def rules(self) -> SessionRules:
        """The rules of sessions."""
        return SessionRules(**self.sessions.model_dump())

    @property
    def sessions_table(self) -> SessionTable:
        """The sessions that it is trained and judged on, and the features behind them."""
        return SessionTable(FeatureTable(self.feature_set, self.bars), self.rules)
