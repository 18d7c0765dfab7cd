"""Starts processes to be killed: everything is imported once, and each child is forked from there in milliseconds.

Reads a task a line from standard input, as JSON, and answers with the child's process id.
"""

import json
import os
import signal
import sys
from pathlib import Path

# The command imports these when it runs, and here that is to be done before.
import fx_pipeline.paper_desk
import fx_pipeline.settings  # noqa: F401
from fx_pipeline.broker.client import OandaClient
from fx_pipeline.cli import app
from fx_pipeline.ingest.lake import build_month
from fx_pipeline.ingest.layout import raw_folder
from fx_pipeline.ingest.raw import download_month


def serve(arguments: list[str]) -> None:
    """Run the real command."""
    app(["broker", *arguments], standalone_mode=False)


def ingest(url: str, token: str, data_dir: str, instrument: str, month: str, done: str) -> None:
    """Download a month in small pages and build it; `done` is a file that says that it came to the end."""
    client = OandaClient("paper", token, url=url)
    client._page_limit = 700
    download_month(client, instrument, month, raw_folder(Path(data_dir), instrument, month))
    build_month(Path(data_dir), instrument, month)
    Path(done).touch()


TASKS = {"serve": serve, "ingest": ingest}


def main() -> None:
    """Fork until the input ends."""
    # Children that are killed are then not left as zombies, and their end shows.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        task = json.loads(line)
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                TASKS[task["run"]](**task["with"])
            except BaseException as error:
                sys.stderr.write(f"{type(error).__name__}: {error}\n")
            finally:
                sys.stderr.flush()
                os._exit(0)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
