"""Settings: environment variables with the prefix `FX_`, or a `.env` file in the working directory."""

import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from fx_pipeline.agents.registry import check_preset
from fx_pipeline.layout import Layout
from fx_pipeline.market.addresses import refuse_credentials, server_address
from fx_pipeline.market.calendar import FxCalendar, trading_day_start
from fx_pipeline.market.costs import CostConfig, judged_costs
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import holidays_with
from fx_pipeline.market.hours import instrument_calendar, parse_breaks
from fx_pipeline.market.instrument import instrument
from fx_pipeline.market.links import is_web_link
from fx_pipeline.market.spreads import FIXED_PIPS, default_fixed_pips, require_known_spread
from fx_pipeline.sessions.windows import MIN_EMBARGO_BARS, WalkForwardConfig
from fx_pipeline.validation.gate import GateConfig, refuse_meaningless
from fx_pipeline.validation.promotion_config import PromotionConfig, refuse_replaced

if TYPE_CHECKING:
    from fx_pipeline.recipes.loader import Recipes
    from fx_pipeline.recipes.recipe import Recipe

_INGEST_CRON = "7 * * * *"
_ENV_FILE = ".env"
_SECRETS = ("fx_oanda_token", "fx_paper_token")
_logger = logging.getLogger(__name__)
#: Settings of the shell as JSON, in the environment of the processes of `fx-pipeline ui`: Dagster's code server lets
#: `.env` win over the shell, and its runs would then have another data folder than the one that was asked for.
PINNED = "FX_PINNED"


def pin_settings() -> None:
    """Let what the shell sets win over `.env` in this process and all that it starts, whatever they load later."""
    shell = {name: value for name, value in os.environ.items() if name.startswith("FX_") and name != PINNED}
    os.environ[PINNED] = json.dumps(shell)


class Settings(BaseSettings):
    """Everything that a user may set. `FX_SEED=3`, for example, sets `seed`."""

    model_config = SettingsConfigDict(env_prefix="FX_", env_file=_ENV_FILE, extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put what was pinned before the environment."""
        pinned = EnvSettingsSource(settings_cls)
        pinned.env_vars = {name.lower(): value for name, value in json.loads(os.environ.get(PINNED, "{}")).items()}
        init, *others = (*sources, *named.values())
        return (init, pinned, *others)

    data_dir: Path = Field(Path("data"), description="Folder of everything that the pipeline makes.")

    oanda_environment: Literal["paper", "practice", "live"] = Field(
        "paper", description="Where candles come from: the local paper server, or OANDA's practice or live servers."
    )
    oanda_token: SecretStr | None = Field(None, description="OANDA API token; needed for practice and live.")
    oanda_account: str | None = Field(None, description="OANDA account id, such as 101-001-1234567-001.")
    paper_url: str | None = Field(None, description="A running paper server; absent, one is started when needed.")
    paper_token: SecretStr | None = Field(None, description="Bearer token of the server at FX_PAPER_URL.")

    reports_url: str = Field("http://127.0.0.1:3001", description="Where `fx-pipeline ui` serves the report pages.")

    ui_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Names besides localhost under which browsers may reach `fx-pipeline ui`, separated by commas.",
    )

    instruments: Annotated[tuple[str, ...], NoDecode] = Field(
        ("GBP_JPY", "EUR_USD", "GBP_USD", "USD_JPY"), description="Instruments, separated by commas."
    )
    history_start: str = Field("2000-01", pattern=r"^\d{4}-(0[1-9]|1[0-2])$", description="First month offered.")

    ingest_cron: str = Field(
        _INGEST_CRON,
        description="When new candles are asked for, as cron in UTC; by default seven minutes past each hour.",
    )
    stale_minutes: int = Field(
        180, ge=1, description="Expected minutes without a new bar after which an instrument counts as stale."
    )
    holidays: str = Field(
        "",
        description="Closed days besides 25 December and 1 January, as ISO dates separated by commas; a minus before a "
        "date opens that day.",
    )
    daily_break: str = Field(
        "16:58-17:03",
        description="Daily break of currency pairs in New York time, when no candle is expected; empty for none. "
        "Metals and crypto have their own; XAU_USD=17:00-18:00 sets that of one instrument, several with commas.",
    )

    recipes: Path | None = Field(
        None,
        description="Folder of your own recipes, a YAML file each, beside those that are shipped (docs/recipes.md).",
    )
    use_recipes: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Recipes that are in the graph, separated by commas; absent: all that there are."
    )

    train_days: int | None = Field(None, ge=1, description="Trading days of a training span; absent: fitted.")
    validation_days: int | None = Field(None, ge=1, description="Trading days of a validation span; absent: fitted.")
    embargo_bars: int = Field(MIN_EMBARGO_BARS, description="Bars between training and validation.")

    holdout_start: date | None = Field(
        None,
        description="First trading day that is sealed: no window reaches it, and a candidate is judged on it once.",
    )

    preset: str = Field("small", description="Size and hyper-parameters of the agent: full, small or tiny.")
    episodes: int | None = Field(None, ge=1, description="Training episodes; absent: the preset's budget.")
    proof_minutes: float = Field(5.0, gt=0, description="Minutes of each training of the agent's certification.")
    seed: int = Field(7, ge=0, lt=2**31, description="The one seed that every random source is derived from.")
    seeds: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Seeds of the trainings of a window, separated by commas; absent: FX_SEED alone."
    )
    cost_kind: Literal["fixed", "quoted", "profile"] = Field(
        "fixed",
        description="Cost model of training; a model is judged at the worst of it, the modelled and the stored spread.",
    )
    cost_fixed_pips: float | None = Field(
        None,
        ge=0,
        description="Cost of entering a position, for the fixed cost model; absent: 4 pips, or more where an "
        "instrument's spread is wider than that of a currency cross.",
    )
    cost_slippage_pips: float = Field(
        0.0, ge=0, description="Added against the trader to every fill; a model is judged at no less than a tick."
    )
    cost_financing_pips: float = Field(
        0.0,
        ge=0,
        description="Charged to a position of either side that is held over 17:00 New York, a day; a model is judged "
        "at no less than the instrument's own (docs/costs.md).",
    )
    mc_runs: int = Field(10_000, ge=100, description="Monte Carlo runs of a validation report.")
    gate: GateConfig = Field(
        GateConfig(), description='Thresholds of the promotion gate as JSON, such as {"min_trades": 300}.'
    )
    promotion: PromotionConfig = Field(
        PromotionConfig(),
        description='When a champion is replaced or demoted, as JSON, such as {"max_paired_p": 0.01}.',
    )

    live_unproven: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Models that may trade real money though no candles from a broker judged them: the first 12 digits "
        "of the sha256 of each, separated by commas.",
    )

    @field_validator("promotion", mode="before")
    @classmethod
    def _not_replaced(cls, value: object) -> object:
        if isinstance(value, dict):
            refuse_replaced(value)
        return value

    @field_validator("gate")
    @classmethod
    def _asks_something(cls, value: GateConfig) -> GateConfig:
        refuse_meaningless(value)
        return value

    @field_validator("data_dir", mode="before")
    @classmethod
    def _folder(cls, value: object) -> object:
        # An empty line in .env would make the project's own folder the data folder.
        return (value.strip() or "data") if isinstance(value, str) else value

    @field_validator("recipes", mode="before")
    @classmethod
    def _own_folder(cls, value: object) -> object:
        return (value.strip() or None) if isinstance(value, str) else value

    @field_validator("data_dir", "recipes")
    @classmethod
    def _home(cls, value: Path | None) -> Path | None:
        # No shell reads .env, so nobody else would resolve ~ there.
        return value if value is None else value.expanduser()

    @field_validator("ui_hosts", "instruments", "use_recipes", "live_unproven", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
        return value

    @field_validator("seeds", mode="before")
    @classmethod
    def _numbers(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(dict.fromkeys(number.strip() for number in value.split(",") if number.strip()))
        return value

    @field_validator("seeds")
    @classmethod
    def _in_range(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not all(0 <= seed < 2**31 for seed in value):
            raise ValueError("a seed is at least 0 and below 2^31.")
        return value

    @field_validator("preset")
    @classmethod
    def _of_an_agent(cls, value: str) -> str:
        try:
            check_preset(value)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("instruments")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            instrument(name)
        if not value:
            raise ValueError("name at least one instrument.")
        return value

    @field_validator("holidays")
    @classmethod
    def _dates(cls, value: str) -> str:
        holidays_with(value)
        return value

    @field_validator("paper_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return server_address(value) if value and value.strip() else None

    @field_validator("reports_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        # It becomes a link in the Dagster UI: a browser would run javascript: there.
        if not is_web_link(value.strip()):
            raise ValueError("write it as http://host:port or https://host.")
        refuse_credentials(value)
        return value.strip().rstrip("/")

    @field_validator("live_unproven")
    @classmethod
    def _digits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[0-9a-f]{12}", name):
                raise ValueError(f"{name!r} is not the first 12 digits of a sha256.")
        return value

    @field_validator("ui_hosts")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z0-9._-]+(:\d+)?", name):
                raise ValueError(f"{name!r} is no host: write names such as fx.example.com, or name:port.")
        return tuple(name.lower() for name in value)

    @field_validator("ingest_cron")
    @classmethod
    def _schedule(cls, value: str) -> str:
        # Imported here: it takes a second, and the default is known to be right.
        from dagster._utils.schedules import is_valid_cron_schedule

        if value.strip() != _INGEST_CRON and not is_valid_cron_schedule(value):
            raise ValueError(
                f"{value!r} is not a time in cron's form: minute (0-59), hour (0-23), day of the month (1-31), month "
                f"(1-12) and day of the week (0-7), such as {_INGEST_CRON!r}."
            )
        return value.strip()

    @field_validator("daily_break")
    @classmethod
    def _times(cls, value: str) -> str:
        parse_breaks(value)
        return value

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        if self.oanda_environment != "paper":
            for name in ("oanda_token", "oanda_account"):
                if not getattr(self, name):
                    raise ValueError(
                        f"FX_OANDA_ENVIRONMENT={self.oanda_environment} needs FX_{name.upper()}: set it in the "
                        "environment or in .env (OANDA hub, 'Manage API access'), or use FX_OANDA_ENVIRONMENT=paper."
                    )
        return self

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.data_dir.exists() and not self.data_dir.is_dir():
            raise ValueError(f"FX_DATA_DIR={self.data_dir} is a file: name a folder.")
        # Spans that cannot be used are refused here, not after an hour of downloads.
        WalkForwardConfig(self.train_days, self.validation_days, self.embargo_bars)
        return self

    @cached_property
    def layout(self) -> Layout:
        """Where each kind of file lives."""
        return Layout(self.data_dir)

    @cached_property
    def known_recipes(self) -> "Recipes":
        """All recipes that there are: those shipped, and those of FX_RECIPES.

        Raises
        ------
        ConfigurationError
            If a file of them cannot be used.
        """
        from fx_pipeline.recipes.loader import read_recipes

        return read_recipes(self.recipes)

    @cached_property
    def used_recipes(self) -> "tuple[Recipe, ...]":
        """The recipes that are in the graph, the default one first.

        Where FX_USE_RECIPES names none, those that are shipped are in it if their instruments are offered.

        Raises
        ------
        ConfigurationError
            If FX_USE_RECIPES names one that is none, or a file cannot be used.
        """
        known, offered = self.known_recipes, set(self.offered_instruments)
        try:
            if self.use_recipes:
                return known.chosen(self.use_recipes)
            return known.chosen(
                recipe.name
                for recipe in known
                if not known.is_shipped(recipe.name) or offered.issuperset(recipe.instruments or ())
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"FX_USE_RECIPES: {error}" if self.use_recipes else str(error)) from None

    @cached_property
    def offered_instruments(self) -> tuple[str, ...]:
        """Configured instruments, and those whose candles were imported into the paper server."""
        from fx_pipeline.broker.paper.store import instruments as imported

        return tuple(dict.fromkeys([*self.instruments, *sorted(imported(self.layout.paper_store))]))

    @property
    def recipe(self) -> "Recipe":
        """The default recipe: settings alone are its terms."""
        from fx_pipeline.recipes.loader import default_recipe

        return default_recipe()

    def calendar_of(self, instrument: str) -> FxCalendar:
        """When candles of an instrument are expected."""
        return instrument_calendar(instrument, parse_breaks(self.daily_break), holidays_with(self.holidays))

    @property
    def has_moving_source(self) -> bool:
        """Whether the source gets new candles by itself: OANDA does, and a paper server that runs elsewhere.

        The embedded paper server has what was imported, or the synthetic market, and nothing after it.
        """
        return self.oanda_environment != "paper" or self.paper_url is not None

    @property
    def broker_has_the_clock(self) -> bool:
        """Whether "now" is for the broker to say: a paper server that runs elsewhere may replay the past."""
        return self.oanda_environment == "paper" and self.paper_url is not None

    @cached_property
    def walk_forward(self) -> WalkForwardConfig:
        """Spans of the walk-forward windows."""
        return WalkForwardConfig(self.train_days, self.validation_days, self.embargo_bars)

    @property
    def training_seeds(self) -> tuple[int, ...]:
        """Seeds that a training of a window goes through when none are named."""
        return self.seeds or (self.seed,)

    @property
    def judged_seeds(self) -> tuple[int, ...]:
        """`training_seeds` and as many of the numbers after the greatest as the gate asks for seeds beyond them."""
        return self.with_as_many_seeds_as_the_gate_asks_for(self.training_seeds)

    def with_as_many_seeds_as_the_gate_asks_for(self, known: tuple[int, ...]) -> tuple[int, ...]:
        """Return seeds, and as many of the numbers after the greatest as the gate asks for beyond them."""
        missing = max(0, self.gate.min_seeds - len(known))
        return known + tuple(range(max(known) + 1, max(known) + 1 + missing))

    @cached_property
    def sealed_from_ns(self) -> int | None:
        """Start of the sealed days, UTC nanoseconds; None when nothing is sealed."""
        if self.holdout_start is None:
            return None
        return trading_day_start((self.holdout_start - date(1970, 1, 1)).days)

    @property
    def sealed_span(self) -> str:
        """Name of the sealed days in the trial ledger and in reports."""
        return f"hold-out {self.holdout_start}" if self.holdout_start else ""

    def costs_of(self, instrument: str) -> CostConfig:
        """The cost model of training, and what a validation raises where the market is dearer.

        Raises
        ------
        ConfigurationError
            If it rests on the spread of an instrument of which none is known.
        """
        if self.cost_kind == "profile":
            require_known_spread(instrument)
        fixed = FIXED_PIPS if self.cost_fixed_pips is None else self.cost_fixed_pips
        if self.cost_fixed_pips is None and self.cost_kind == "fixed":
            fixed = default_fixed_pips(instrument)
        return CostConfig(
            kind=self.cost_kind,
            fixed_pips=fixed,
            slippage_pips=self.cost_slippage_pips,
            financing_long_pips=self.cost_financing_pips,
            financing_short_pips=self.cost_financing_pips,
        )

    def judged_costs_of(self, instrument: str) -> CostConfig:
        """The costs of every score that is validated: those of `costs_of`, and no lower than the market's.

        Raises
        ------
        ConfigurationError
            As of `costs_of`.
        """
        return judged_costs(self.costs_of(instrument), instrument)


def load_settings(**overrides: object) -> Settings:
    """Read the settings. A `.env` with a token that others may read is warned of, once.

    Raises
    ------
    ConfigurationError
        Naming each setting that cannot be used, and why.
    """
    for path in _exposed():
        _warn_of(path)
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except SettingsError as error:
        # It names the field, and not the value.
        field = re.search(r'field "(\w+)"', str(error))
        name = f"FX_{field[1].upper()}" if field else str(error)
        raise ConfigurationError(f"{name}: it cannot be read; write it as JSON, as .env.example does.") from None
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            name = "FX_" + "_".join(str(part) for part in problem["loc"]).upper() if problem["loc"] else "settings"
            # The value itself is not shown: it may be a token.
            lines.append(f"{name}: {problem['msg'].removeprefix('Value error, ')}")
        raise ConfigurationError("; ".join(lines)) from None


def readable_by_others(path: Path) -> bool:
    """Whether other users of this machine may read a file; where the system has no such modes, no."""
    return os.name == "posix" and path.is_file() and bool(path.stat().st_mode & 0o044)


def _exposed() -> Iterator[Path]:
    path = Path(_ENV_FILE).absolute()
    if readable_by_others(path) and os.access(path, os.R_OK):
        given = {name.lower(): value for name, value in dotenv_values(path).items()}
        if any(given.get(name) for name in _SECRETS):
            yield path


@cache
def _warn_of(path: Path) -> None:
    _logger.warning("%s holds a token, and other users of this machine may read it: chmod 600 %s", path, path.name)
