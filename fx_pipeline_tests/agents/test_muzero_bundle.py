"""The bundle: what it restores, what it refuses, and how long a history it holds."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from fx_pipeline.agents.muzero.bundle import read_bundle, write_bundle
from fx_pipeline.agents.muzero.config import load_config
from fx_pipeline.agents.muzero.learner import Learner
from fx_pipeline.agents.muzero.networks import build_networks
from fx_pipeline.agents.muzero.replay import Replay

IDENTITY = {"seed": 1}


def parts(seed: int) -> tuple[Learner, Replay]:
    config = load_config("tiny")
    return Learner(build_networks(config.network, seed), config.learner), Replay(config.replay, 20)


def test_a_history_beyond_what_metadata_may_hold_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "bundle"
    learner, replay = parts(0)
    replay.written = 3
    history = "x" * 101_000_000
    write_bundle(path, {"identity": IDENTITY, "history": history}, learner, replay, {"w": torch.ones(2)})
    with safe_open(path, framework="pt") as file:
        assert len(str(file.metadata())) < 100
    other, empty = parts(1)
    found = read_bundle(path, IDENTITY, other, empty)
    assert found is not None
    header, best = found
    assert header["history"] == history and best["w"].tolist() == [1.0, 1.0] and empty.written == 3
    pairs = zip(learner.modules.state_dict().values(), other.modules.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_changed_byte_of_header_or_tensors_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "bundle"
    learner, replay = parts(0)
    write_bundle(path, {"identity": IDENTITY, "history": [{"loss": 1234567.0}]}, learner, replay, {})
    content = path.read_bytes()
    assert content.count(b"1234567.0") == 1
    values = np.frombuffer(content, dtype=np.uint8).copy()
    values[-1] ^= 1
    for damaged in (content.replace(b"1234567.0", b"1234568.0"), values.tobytes()):
        caplog.clear()
        path.write_bytes(damaged)
        assert read_bundle(path, IDENTITY, learner, replay) is None
        assert "damaged" in caplog.text
    path.write_bytes(content)
    assert read_bundle(path, IDENTITY, learner, replay) is not None
