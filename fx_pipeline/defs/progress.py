"""How far a long asset is: to the terminal of the demo when there is one, else to the run's log."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

import dagster as dg

#: (stage, fraction done 0..1, figures)
Listener = Callable[[str, float, Mapping[str, float]], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)
_LOG_STEP = 0.1


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the progress of assets that run in this thread to `listener`."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def reporter(context: dg.AssetExecutionContext, stage: str) -> Callable[[float, Mapping[str, float]], None]:
    """Return a callback for a long loop: (fraction, figures); the run's log gets a line every tenth."""
    listener = _LISTENER.get()
    logged = -_LOG_STEP

    def report(fraction: float, figures: Mapping[str, float]) -> None:
        nonlocal logged
        if listener is not None:
            listener(stage, fraction, figures)
        if fraction >= min(1.0, logged + _LOG_STEP):
            logged = fraction if fraction < 1.0 else float("inf")
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            context.log.info(f"{stage}: {fraction:.0%} {shown}".rstrip())

    return report
