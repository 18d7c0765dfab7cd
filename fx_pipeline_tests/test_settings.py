"""Settings: what may be set, what is refused, and that a token never shows."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

import fx_pipeline.settings as settings_module
from fx_pipeline.market.calendar import FxCalendar
from fx_pipeline.market.errors import ConfigurationError
from fx_pipeline.market.holidays import holidays_with
from fx_pipeline.settings import PINNED, Settings, load_settings, pin_settings

TOKEN = "0123456789abcdef-a-token-that-must-not-show"
ACCOUNT = "101-001-1234567-001"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's variables nor a `.env` decide."""
    for name in [name for name in os.environ if name.startswith("FX_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing() -> None:
    settings = load_settings()
    assert settings.oanda_environment == "paper" and settings.paper_url is None
    assert settings.data_dir == Path("data") and settings.preset == "small"
    costs = settings.costs_of("GBP_JPY")
    assert costs.kind == "fixed" and costs.fixed_pips == 4.0
    assert settings.walk_forward.embargo_bars == 1_860 and settings.walk_forward.train_days is None


def test_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values = {
        "FX_DATA_DIR": str(tmp_path / "elsewhere"),
        "FX_INSTRUMENTS": " GBP_JPY, EUR_USD ,,GBP_JPY",
        "FX_SEED": "3",
        "FX_EPISODES": "12",
        "FX_TRAIN_DAYS": "30",
        "FX_EMBARGO_BARS": "2000",
        "FX_COST_KIND": "quoted",
        "FX_MC_RUNS": "500",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.instruments == ("GBP_JPY", "EUR_USD")
    assert (settings.seed, settings.episodes, settings.mc_runs) == (3, 12, 500)
    assert (settings.walk_forward.train_days, settings.walk_forward.embargo_bars) == (30, 2_000)
    assert settings.costs_of("GBP_JPY").kind == "quoted"
    assert settings.layout.warehouse == tmp_path / "elsewhere" / "warehouse.duckdb"


def test_dotenv_works_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        f"FX_OANDA_ENVIRONMENT=practice\nFX_OANDA_TOKEN={TOKEN}\nFX_OANDA_ACCOUNT={ACCOUNT}\nFX_SEED=5\nOTHER=1\n"
    )
    monkeypatch.setenv("FX_SEED", "6")
    settings = load_settings()
    assert settings.oanda_environment == "practice" and settings.oanda_account == ACCOUNT
    assert settings.oanda_token is not None and settings.oanda_token.get_secret_value() == TOKEN
    assert settings.seed == 6


def test_token_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_OANDA_TOKEN", TOKEN)
    monkeypatch.setenv("FX_PAPER_TOKEN", TOKEN)
    settings = load_settings()
    for text in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.model_dump()}"):
        assert TOKEN not in text


@pytest.mark.parametrize("environment", ["practice", "live"])
@pytest.mark.parametrize("missing", ["FX_OANDA_TOKEN", "FX_OANDA_ACCOUNT"])
def test_credentials_are_asked_for(monkeypatch: pytest.MonkeyPatch, environment: str, missing: str) -> None:
    monkeypatch.setenv("FX_OANDA_ENVIRONMENT", environment)
    for name, value in {"FX_OANDA_TOKEN": TOKEN, "FX_OANDA_ACCOUNT": ACCOUNT}.items():
        # An empty value, as `FX_OANDA_TOKEN=` in a .env gives, is a missing one.
        monkeypatch.setenv(name, "" if name == missing else value)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    said = str(caught.value)
    assert f"FX_OANDA_ENVIRONMENT={environment} needs {missing}" in said and ".env" in said
    assert TOKEN not in said and caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("FX_OANDA_ENVIRONMENT", "demo", "FX_OANDA_ENVIRONMENT: Input should be 'paper', 'practice' or 'live'"),
        ("FX_INSTRUMENTS", "GBP_JPY,GBP_XXX", "FX_INSTRUMENTS: .*GBP_XXX"),
        ("FX_INSTRUMENTS", " , ", "FX_INSTRUMENTS: name at least one instrument"),
        ("FX_HISTORY_START", "2005-13", "FX_HISTORY_START: "),
        ("FX_PRESET", "huge", "FX_PRESET: no agent has a preset 'huge': muzero has full, small, tiny, legacy"),
        ("FX_EPISODES", "0", "FX_EPISODES: Input should be greater than or equal to 1"),
        ("FX_SEED", "minus", "FX_SEED: Input should be a valid integer"),
        ("FX_MC_RUNS", "10", "FX_MC_RUNS: Input should be greater than or equal to 100"),
        ("FX_TRAIN_DAYS", "0", "FX_TRAIN_DAYS: "),
        ("FX_COST_FIXED_PIPS", "-1", "FX_COST_FIXED_PIPS: "),
        ("FX_INGEST_CRON", "hourly", "FX_INGEST_CRON: "),
        ("FX_INGEST_CRON", "99 * * * *", r"FX_INGEST_CRON: '99 \* \* \* \*' is not a time in cron's form: minute"),
        ("FX_INGEST_CRON", "0 0 31 2 *", "FX_INGEST_CRON: "),
        ("FX_PAPER_URL", "foo", r"FX_PAPER_URL: write it as http://host:port or https://host\."),
        ("FX_PAPER_URL", "127.0.0.1:8700", "FX_PAPER_URL: write it as"),
        ("FX_PAPER_URL", "http://:8700", "FX_PAPER_URL: write it as"),
        ("FX_PAPER_URL", "http://127.0.0.1:87000", "FX_PAPER_URL: "),
        ("FX_PAPER_URL", "http://me:secret@127.0.0.1:8700", "FX_PAPER_URL: it holds a user name or a password"),
        ("FX_PAPER_URL", "http://127.0.0.1:8700/?token=secret", "FX_PAPER_URL: leave out what begins with"),
        ("FX_REPORTS_URL", "http://me:secret@127.0.0.1:3001", "FX_REPORTS_URL: it holds a user name or a password"),
        ("FX_GATE", '{"secret": ', "FX_GATE: it cannot be read; write it as JSON"),
        ("FX_HOLIDAYS", "24.12.2026", "FX_HOLIDAYS: '24.12.2026' is not a holiday: write 2026-12-24 to close a day"),
        ("FX_DAILY_BREAK", "noon", "FX_DAILY_BREAK: 'noon' is not a daily break: write it as 16:58-17:03"),
        ("FX_STALE_MINUTES", "0", "FX_STALE_MINUTES: "),
        (
            "FX_EMBARGO_BARS",
            "100",
            "FX_EMBARGO_BARS=100 is too small: .* 1860 bars in all",
        ),
    ],
)
def test_what_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_settings()
    assert "\n" not in str(caught.value)


def test_calendar_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().calendar_of("GBP_JPY") == FxCalendar()
    monkeypatch.setenv("FX_HOLIDAYS", "2026-12-24")
    monkeypatch.setenv("FX_DAILY_BREAK", "")
    calendar = load_settings().calendar_of("GBP_JPY")
    assert calendar.holidays == holidays_with("2026-12-24")
    assert calendar.break_start_minute == calendar.break_end_minute


def test_breaks_of_currency_pairs_are_not_those_of_gold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_DAILY_BREAK", "16:59-17:05")
    settings = load_settings()
    assert settings.calendar_of("EUR_USD").break_end_minute == 17 * 60 + 5
    assert settings.calendar_of("XAU_USD").break_end_minute == 18 * 60
    monkeypatch.setenv("FX_DAILY_BREAK", "16:58-17:03,XAU_USD=16:59-18:01")
    assert load_settings().calendar_of("XAU_USD").break_end_minute == 18 * 60 + 1


def test_default_cost_is_that_of_the_instrument(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings()
    costs = {name: settings.costs_of(name).fixed_pips for name in ("GBP_JPY", "EUR_USD", "XAU_USD", "USD_TRY")}
    assert costs == {"GBP_JPY": 4.0, "EUR_USD": 4.0, "XAU_USD": 79.0, "USD_TRY": 1600.0}
    for kind in ("fixed", "profile"):
        monkeypatch.setenv("FX_COST_KIND", kind)
        with pytest.raises(ConfigurationError, match="EUR_CZK costs is not known"):
            load_settings().costs_of("EUR_CZK")


def test_a_cost_that_is_set_is_the_users_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_COST_FIXED_PIPS", "7.5")
    settings = load_settings()
    for name in ("GBP_JPY", "XAU_USD", "EUR_CZK"):
        assert settings.costs_of(name).fixed_pips == 7.5


@pytest.mark.parametrize(
    ("values", "moves"),
    [
        ({}, False),
        ({"FX_PAPER_URL": " "}, False),
        ({"FX_PAPER_URL": "http://127.0.0.1:8700", "FX_PAPER_TOKEN": TOKEN}, True),
        ({"FX_OANDA_ENVIRONMENT": "live", "FX_OANDA_TOKEN": TOKEN, "FX_OANDA_ACCOUNT": ACCOUNT}, True),
    ],
)
def test_source_that_gets_new_candles(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], moves: bool) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert load_settings().has_moving_source is moves


@pytest.mark.parametrize("cron", ["*/30 * * * *", "0 6-18/2 * * mon-fri", " 7 * * * * "])
def test_schedule_is_configured(monkeypatch: pytest.MonkeyPatch, cron: str) -> None:
    monkeypatch.setenv("FX_INGEST_CRON", cron)
    assert load_settings().ingest_cron == cron.strip()


def test_several_mistakes_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_PRESET", "huge")
    monkeypatch.setenv("FX_SEED", "x")
    with pytest.raises(ConfigurationError, match=r"FX_PRESET: .*; FX_SEED: "):
        load_settings()


def test_data_folder_that_is_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FX_DATA_DIR", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="file is a file: name a folder"):
        load_settings()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().seed = 3


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description and field.description.endswith("."), name


def test_thresholds_of_the_gate_are_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().gate.min_trades == 200
    monkeypatch.setenv("FX_GATE", '{"min_trades": 300, "max_overfitting": 0.1}')
    gate = load_settings().gate
    assert (gate.min_trades, gate.max_overfitting, gate.min_seeds) == (300, 0.1, 5)
    monkeypatch.setenv("FX_GATE", '{"min_trade": 300}')
    with pytest.raises(ConfigurationError, match="FX_GATE"):
        load_settings()
    monkeypatch.setenv("FX_GATE", '{"min_trades": 0, "max_random_p": 1}')
    with pytest.raises(ConfigurationError, match="min_trades is at least 30, and not 0; max_random_p is at most"):
        load_settings()


def test_sealed_days_begin_with_their_trading_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().sealed_from_ns is None and load_settings().sealed_span == ""
    monkeypatch.setenv("FX_HOLDOUT_START", "2024-01-22")
    settings = load_settings()
    # 17:00 New York of the day before.
    assert pd.Timestamp(settings.sealed_from_ns, tz="UTC").isoformat() == "2024-01-21T22:00:00+00:00"
    assert settings.sealed_span == "hold-out 2024-01-22"


def test_seeds_of_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().training_seeds == (7,)
    assert load_settings().judged_seeds == (7, 8, 9, 10, 11)
    monkeypatch.setenv("FX_SEEDS", "3, 1,3,40")
    assert load_settings().training_seeds == (3, 1, 40)
    assert load_settings().judged_seeds == (3, 1, 40, 41, 42)
    monkeypatch.setenv("FX_GATE", '{"min_seeds": 2}')
    assert load_settings().judged_seeds == (3, 1, 40)


@pytest.mark.parametrize("value", ["-1", "1,x", "2147483648"])
def test_seeds_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FX_SEEDS", value)
    with pytest.raises(ConfigurationError, match="FX_SEEDS"):
        load_settings()


@pytest.mark.parametrize("value", ['{"max_paired_p": 0}', '{"demote_after": 0}', '{"demote": 1}'])
def test_a_promotion_that_means_nothing_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FX_PROMOTION", value)
    with pytest.raises(ConfigurationError, match="FX_PROMOTION"):
        load_settings()


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What loading the settings warns of."""
    settings_module._warn_of.cache_clear()

    def messages() -> list[str]:
        load_settings()
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    yield messages
    settings_module._warn_of.cache_clear()


@pytest.mark.skipif(os.name != "posix", reason="files have no such modes")
@pytest.mark.parametrize(
    "line", [f"FX_OANDA_TOKEN={TOKEN}", f"fx_paper_token = '{TOKEN}'", f"export FX_PAPER_TOKEN={TOKEN}"]
)
def test_an_env_file_with_a_token_that_others_may_read_is_warned_of_once(
    said: Callable[[], list[str]], tmp_path: Path, line: str
) -> None:
    path = tmp_path / ".env"
    path.write_text(f"FX_SEED=3\n{line}\n")
    path.chmod(0o600)
    assert said() == []
    for mode in (0o644, 0o604, 0o640):
        settings_module._warn_of.cache_clear()
        path.chmod(mode)
        (message,) = said()
        assert str(path) in message and "chmod 600 .env" in message and TOKEN not in message
        assert said() == [], "once"


@pytest.mark.parametrize("content", ["FX_SEED=3\n", "FX_OANDA_TOKEN=\n", f"#FX_OANDA_TOKEN={TOKEN}\n", ""])
def test_an_env_file_without_a_token_is_nobodys_business(
    said: Callable[[], list[str]], tmp_path: Path, content: str
) -> None:
    (tmp_path / ".env").write_text(content)
    (tmp_path / ".env").chmod(0o644)
    assert said() == []


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "ftp://x", "reports"])
def test_reports_are_found_at_a_web_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("FX_REPORTS_URL", address)
    with pytest.raises(ConfigurationError, match="FX_REPORTS_URL: write it as http://host:port or https://host"):
        load_settings()
    monkeypatch.setenv("FX_REPORTS_URL", "https://fx.example.com/reports/")
    assert load_settings().reports_url == "https://fx.example.com/reports"


def test_names_of_the_ui(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FX_UI_HOSTS", "fx.Example.com, proxy:8443")
    assert load_settings().ui_hosts == ("fx.example.com", "proxy:8443")
    for bad in ("*", "http://fx.example.com", "a b", "x/y"):
        monkeypatch.setenv("FX_UI_HOSTS", bad)
        with pytest.raises(ConfigurationError, match="is no host: write names such as"):
            load_settings()


def test_an_empty_data_folder_is_the_default_and_home_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    for blank in ("", "  "):
        monkeypatch.setenv("FX_DATA_DIR", blank)
        assert load_settings().data_dir == Path("data")
    monkeypatch.setenv("FX_DATA_DIR", "~/fx")
    assert load_settings().data_dir == Path.home() / "fx"


def test_what_is_pinned_wins_over_what_is_loaded_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("FX_DATA_DIR=of the file\nFX_SEED=5\n")
    monkeypatch.setenv(PINNED, "{}")
    for name, value in {"DATA_DIR": "of the shell", "SEEDS": "1,2", "GATE": '{"min_trades": 300}'}.items():
        monkeypatch.setenv(f"FX_{name}", value)
    pin_settings()
    # What Dagster's code server does with .env.
    monkeypatch.setenv("FX_DATA_DIR", "of the file")
    monkeypatch.setenv("FX_GATE", '{"min_trades": 400}')
    settings = load_settings()
    assert settings.data_dir == Path("of the shell") and settings.seeds == (1, 2) and settings.gate.min_trades == 300
    assert settings.seed == 5 and load_settings(seed=6).seed == 6
