"""Weights, searches and configurations are, to the byte, what they were: see `scripts/make_muzero_golden.py`."""

import json

import pytest

from scripts import make_muzero_golden as golden

KNOWN = json.loads(golden.GOLDEN.read_bytes())
here = pytest.mark.skipif(
    KNOWN["machine"] != golden.machine(), reason=f"bytes of another machine: {KNOWN['machine']}, not {golden.machine()}"
)


def test_configurations_have_the_digests_that_they_had() -> None:
    assert golden.config_digests() == KNOWN["config_digests"]


@here
@pytest.mark.parametrize("name", list(golden.TRAININGS))
def test_trainings_give_the_weights_that_they_gave(name: str) -> None:
    assert golden.weights(name) == KNOWN["weights_sha256"][name]


@here
@pytest.mark.parametrize("engine", ["fp32", "torch"])
def test_searches_visit_what_they_visited(engine: str) -> None:
    assert golden.searches(engine) == KNOWN["searches_sha256"][engine]
