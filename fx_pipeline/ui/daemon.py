"""Dagster's daemon as a process of `fx-pipeline ui`.

    python -m fx_pipeline.ui.daemon --workspace FILE

It is what `dagster-daemon run` is, but for one thing: that command lets `.env` win over the shell, and would then look
after another data folder than the one that was asked for.
"""

import argparse
from pathlib import Path

import dagster as dg
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import daemon_controller_from_instance
from dagster._utils.interrupts import capture_interrupts, setup_interrupt_handlers


def main() -> None:
    """Run the process until it is interrupted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workspace", type=Path, required=True)
    target = WorkspaceFileTarget([str(parser.parse_args().workspace)])
    setup_interrupt_handlers()
    try:
        with (
            capture_interrupts(),
            dg.DagsterInstance.get() as instance,
            daemon_controller_from_instance(instance, target, code_server_log_level="warning") as controller,
        ):
            controller.check_daemon_loop()
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
