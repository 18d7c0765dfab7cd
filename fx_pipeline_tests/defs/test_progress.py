"""How far an asset is: each tenth to the run's log, everything to a listener."""

from typing import Any

from fx_pipeline.defs.progress import listening, reporter


class Context:
    """An asset's context, as far as progress needs one."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.log: Any = self

    def info(self, line: str) -> None:
        self.lines.append(line)


def test_log_gets_a_line_every_tenth() -> None:
    context: Any = Context()
    report = reporter(context, "train")
    for step in range(101):
        report(step / 100, {"loss": 1.0})
    report(1.0, {"loss": 1.0})
    assert 10 <= len(context.lines) <= 12
    assert context.lines[0] == "train: 0% loss 1" and context.lines[-1] == "train: 100% loss 1"


def test_listener_hears_everything_while_it_listens() -> None:
    heard: list[tuple[str, float]] = []
    with listening(lambda stage, fraction, figures: heard.append((stage, fraction))):
        report = reporter(Context(), "train")  # type: ignore[arg-type]
        report(0.1, {})
        report(0.15, {})
    assert heard == [("train", 0.1), ("train", 0.15)]
    reporter(Context(), "train")(0.5, {})  # type: ignore[arg-type]
    assert len(heard) == 2
