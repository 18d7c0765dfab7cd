"""The search grows the trees that mctx grows (`scripts/make_search_golden.py` made the file)."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.search import RootOutput, SearchConfig, StochasticSearch

GOLDEN = Path(__file__).parent / "golden" / "mctx_stochastic.npz"
MODELS = ("plain", "pips", "sharp_prior", "impossible_outcomes", "certain_outcome", "all_zero", "all_equal")
MODEL_TABLES = ("prior_logits", "values", "chance_logits", "afterstate_values", "rewards", "next_states")


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as archive:
        return {name: archive[name] for name in archive.files}


def test_golden_file_covers_what_it_promises(golden):
    assert GOLDEN.stat().st_size < 300_000
    assert tuple(golden["model_names"]) == MODELS
    assert len(golden["rows_visits"]) >= 200
    assert set(golden["rows_simulations"]) == {8, 25, 50}
    assert set(golden["rows_noisy"]) == {True, False}
    masks = {tuple(int(legal) for legal in row) for row in golden["rows_legal"]}
    assert {(1, 1, 1, 0), (1, 0, 0, 1), (1, 0, 0, 0), (1, 1, 1, 1)} <= masks
    assert np.isneginf(golden["model_chance_logits"]).any()


@pytest.mark.parametrize("simulations", [8, 25, 50])
@pytest.mark.parametrize("name", MODELS)
def test_trees_equal_those_of_mctx(golden, table_model, name, simulations):
    number = MODELS.index(name)
    rows = (golden["rows_model"] == number) & (golden["rows_simulations"] == simulations)
    assert rows.any()
    model = table_model(**{table: golden[f"model_{table}"][number] for table in MODEL_TABLES})
    states = golden["rows_root_states"][rows].astype(np.int64)
    root = RootOutput(states.astype(np.float32)[:, None], golden["rows_root_logits"][rows], model.values[states])
    config = SearchConfig(simulations=simulations, discount=float(golden["model_discount"][number]))

    result = StochasticSearch(config).run(
        root, golden["rows_legal"][rows], model, seed=0, counters=None, add_noise=False
    )

    np.testing.assert_array_equal(result.visits, golden["rows_visits"][rows])
    np.testing.assert_array_equal(result.max_depth, golden["rows_max_depth"][rows])
    np.testing.assert_allclose(result.values, golden["rows_root_values"][rows], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(result.q_values, golden["rows_q_values"][rows], rtol=1e-12, atol=1e-12)
