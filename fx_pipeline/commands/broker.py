"""The command `fx-pipeline broker`."""

from pathlib import Path
from typing import Annotated

import typer

from fx_pipeline.commands.console import clear_errors, errors


def broker(
    token: Annotated[
        str | None,
        typer.Option(
            help="Bearer token that clients must show. The list of processes shows it: better FX_PAPER_TOKEN, in the "
            "environment or in .env, or --token-file."
        ),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File whose first line is the token; - for the standard input.")
    ] = None,
    candles: Annotated[
        Path | None,
        typer.Option(
            help="Store of imported candles, a data folder that has one, or a folder of M1 candle files; absent: the "
            "store of the data folder, and where that is empty, a synthetic market."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8700,
    speed: Annotated[
        float | None,
        typer.Option(min=0, help="Market seconds in a second, 1 by default; 0: the control surface steps the clock."),
    ] = None,
    control_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port of the control surface: clock, price jumps, halts, faults."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="Market time at which a new account begins, such as 2024-01-09T14:30:00Z; absent: a day before the "
            "newest candles end."
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the account's journal; absent: one for each --candles.")
    ] = None,
    new: Annotated[bool, typer.Option("--new", help="Put the old account aside and open a fresh one.")] = False,
    account: Annotated[str | None, typer.Option(help="Id of a new account, such as 101-001-1000000-001.")] = None,
    home_currency: Annotated[str | None, typer.Option(help="Currency of a new account; USD by default.")] = None,
    balance: Annotated[str | None, typer.Option(help="First deposit of a new account; 100000 by default.")] = None,
    conversion_charge: Annotated[
        str | None,
        typer.Option(help="Share by which gains and losses are converted worse than at mid; 0.005 by default."),
    ] = None,
    hedging: Annotated[
        bool | None, typer.Option("--hedging/--netting", help="Whether long and short trades stand side by side.")
    ] = None,
    margin_rate: Annotated[
        str | None,
        typer.Option(help="Margin as a share of the value, for every instrument of a new account; 0.02 is 50:1."),
    ] = None,
    financing: Annotated[
        list[str] | None,
        typer.Option(
            help="Annual financing rates of a new account for an instrument's long and short trades, such as "
            "EUR_USD=-0.021,0.004 (positive pays the account); may be given again."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; another than loopback needs --public.")
    ] = "127.0.0.1",
    public: Annotated[bool, typer.Option("--public", help="Let other machines reach the broker.")] = False,
    wall_clock: Annotated[
        bool, typer.Option("--wall-clock", help="Serve all candles at the machine's time: history only, no trading.")
    ] = False,
) -> None:
    """Serve a paper broker that speaks OANDA's v20 API, and replays stored candles, until it is interrupted.

    The account survives: started again on the same candles, it goes on where it was.
    """
    with clear_errors():
        from fx_pipeline.paper_desk import BrokerOptions, account_terms, find_token, run_broker
        from fx_pipeline.settings import load_settings

        def say(line: str) -> None:
            errors.print(line, highlight=False, markup=False, soft_wrap=True)

        settings = load_settings()
        run_broker(
            BrokerOptions(
                token=find_token(token, token_file, settings, say),
                candles=candles,
                host=host,
                port=port,
                control_port=control_port,
                public=public,
                speed=speed,
                start=start,
                state=state,
                new=new,
                terms=account_terms(
                    account, home_currency, balance, conversion_charge, hedging, margin_rate, financing or ()
                ),
                wall_clock=wall_clock,
            ),
            settings,
            say,
        )
