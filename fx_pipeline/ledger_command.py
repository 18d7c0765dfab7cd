"""The commands `fx-pipeline ledger check` and `fx-pipeline ledger recover`."""

from typing import TYPE_CHECKING, Annotated

import typer

from fx_pipeline.commands.console import clear_errors, console
from fx_pipeline.progress_display import plain

if TYPE_CHECKING:
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.tracking.ledger_witness import Witness

ledger = typer.Typer(help="The trial ledger: is it whole, and what to do when it is gone.", no_args_is_help=True)


@ledger.command()
def check() -> None:
    """Walk the chain of the ledger, and compare it with reports and MLflow; status 1 where something is wrong."""
    from fx_pipeline.tracking.ledger_witness import find_faults

    with clear_errors():
        known, witnesses = _heard()
        faults = find_faults(known, witnesses)
        head = known.head()
        plain(console, f"{known.path}: {known.count()} trials, {head.rows} rows, head {head.hash or 'none'}")
        for fault in faults:
            plain(console, f"  - {fault}")
    if faults:
        raise typer.Exit(1)


@ledger.command()
def recover(
    reason: Annotated[str, typer.Option(help="Why the file is gone, for everyone who reads the ledger later.")],
) -> None:
    """Carry over what reports and MLflow tell of a ledger that is gone; each of its other trials counts as lost."""
    from fx_pipeline.tracking.ledger_witness import recover as carry_over

    with clear_errors():
        known, witnesses = _heard()
        done = carry_over(known, witnesses, reason)
        plain(
            console,
            f"{known.path}: {done.recovered} trials carried over, {done.lost} lost; all of them count from now on. "
            "Validate again: reports are deflated by them.",
        )


def _heard() -> "tuple[Ledger, list[Witness]]":
    from fx_pipeline.settings import load_settings
    from fx_pipeline.tracking.ledger import Ledger
    from fx_pipeline.tracking.ledger_witness import report_witnesses, run_witnesses

    layout = load_settings().layout
    return Ledger(layout.ledger), [*report_witnesses(layout.data_dir), *run_witnesses(layout.mlflow_database)]
