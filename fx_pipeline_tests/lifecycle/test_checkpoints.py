"""Which of a window's seeds is the candidate."""

from pathlib import Path
from typing import Any

import pytest

from fx_pipeline.lifecycle.checkpoints import SeedCheckpoint, candidate


def made(seed: int, score: float | None, digest: str = "a", data: str = "d") -> SeedCheckpoint:
    record: dict[str, Any] = {"config_digest": digest, "code_version": "1", "counters": {"episodes": 9}, "seed": seed}
    record["data_fingerprint"] = data
    record |= {"selection": None if score is None else {"score": score, "pips": score}, "weights_sha256": f"w{seed}"}
    return SeedCheckpoint(Path(f"seed-{seed}"), record)


@pytest.mark.parametrize(
    ("checkpoints", "seed"),
    [
        ([made(3, None)], 3),
        ([made(3, None), made(1, None), made(2, None)], 1),
        ([made(1, 0.5), made(2, 4.0), made(3, -1.0)], 2),
        ([made(1, None), made(2, -9.0)], 2),
        ([made(1, 2.0), made(2, 2.0)], 1),
        # Another configuration with one seed cannot pass, however well it was selected.
        ([made(1, 0.5), made(2, 0.1), made(3, 90.0, "b")], 1),
        # Nor does a score at cheaper costs make one seed better than the others.
        ([made(1, 0.5), made(2, 0.1), made(3, 90.0, data="no costs")], 1),
        ([made(1, 0.5), made(2, 0.1, data="e"), made(3, 9.0, "b"), made(4, 8.0, "b"), made(5, 7.0, "b", "e")], 3),
    ],
)
def test_the_candidate_is_chosen_by_what_lies_before_the_validation(
    checkpoints: list[SeedCheckpoint], seed: int
) -> None:
    assert candidate(checkpoints).seed == seed
    assert candidate(checkpoints[::-1]).seed == seed
