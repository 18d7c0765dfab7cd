"""The search grows the trees that mctx grows (`scripts/make_search_golden.py` made the files)."""

from pathlib import Path

import numpy as np
import pytest

from fx_pipeline.search import RootOutput, SearchConfig, StochasticSearch, gumbel_noise

GOLDEN = Path(__file__).parent / "golden"
FILES = ("mctx_stochastic", "mctx_stochastic_gumbel", "mctx_muzero", "mctx_gumbel")
MODELS = (
    "plain",
    "pips",
    "sharp_prior",
    "impossible_outcomes",
    "certain_outcome",
    "all_zero",
    "all_equal",
    "impossible_actions",
)
MODEL_TABLES = ("prior_logits", "values", "chance_logits", "afterstate_values", "rewards", "next_states")


@pytest.fixture(scope="module", params=FILES)
def golden(request):
    with np.load(GOLDEN / f"{request.param}.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_golden_file_covers_what_it_promises(golden):
    assert tuple(golden["model_names"]) == MODELS
    assert len(golden["rows_visits"]) >= 300
    assert set(golden["rows_model"]) == set(range(len(MODELS)))
    assert {8, 25, 50} <= set(golden["rows_simulations"])
    assert set(golden["rows_noisy"]) == {True, False}
    assert set(golden["rows_considered"]) == ({1, 2, 3, 16} if golden["uses_gumbel"] else {16})
    masks = {tuple(int(legal) for legal in row) for row in golden["rows_legal"]}
    assert {(1, 1, 1, 0), (1, 0, 0, 1), (1, 0, 0, 0), (1, 1, 1, 1)} <= masks
    assert np.isneginf(golden["model_chance_logits"]).any()
    assert np.isneginf(golden["model_prior_logits"]).any()


def test_golden_files_are_small():
    assert sum((GOLDEN / f"{name}.npz").stat().st_size for name in FILES) < 500_000


def test_gumbel_noise_is_that_of_the_golden_files(golden):
    if not golden["uses_gumbel"]:
        return
    noisy = golden["rows_noisy"]
    drawn = gumbel_noise(4, seed=int(golden["gumbel_seed"]), counters=golden["rows_counters"][noisy])
    np.testing.assert_allclose(drawn, golden["rows_gumbel"][noisy], rtol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_trees_equal_those_of_mctx(golden, table_model, name):
    number = MODELS.index(name)
    model = table_model(**{table: golden[f"model_{table}"][number] for table in MODEL_TABLES})
    uses_gumbel = bool(golden["uses_gumbel"])
    # Equal values differ by rounding alone, which the rescaling of completed Q makes larger by its 1e8.
    policy_tolerance = 1e-6 if name == "all_equal" else 1e-12
    of_model = golden["rows_model"] == number
    kinds = {key: golden[f"rows_{key}"][of_model] for key in ("simulations", "noisy", "considered")}
    for simulations, noisy, considered in set(zip(*(values.tolist() for values in kinds.values()), strict=True)):
        rows = of_model.copy()
        for key, value in (("simulations", simulations), ("noisy", noisy), ("considered", considered)):
            rows &= golden[f"rows_{key}"] == value
        states = golden["rows_root_states"][rows].astype(np.int64)
        root = RootOutput(states.astype(np.float32)[:, None], golden["rows_root_logits"][rows], model.values[states])
        config = SearchConfig(
            simulations=simulations,
            discount=float(golden["model_discount"][number]),
            root_action_selection="gumbel" if uses_gumbel else "puct",
            max_num_considered_actions=considered,
        )

        result = StochasticSearch(config, 4, 3 if golden["stochastic"] else 0).run(
            root,
            golden["rows_legal"][rows],
            model,
            seed=int(golden["gumbel_seed"]),
            counters=golden["rows_counters"][rows],
            # The noise of Dirichlet is in the root's logits already.
            noise=float(noisy and uses_gumbel),
        )

        np.testing.assert_array_equal(result.visits, golden["rows_visits"][rows])
        np.testing.assert_array_equal(result.max_depth, golden["rows_max_depth"][rows])
        np.testing.assert_array_equal(result.actions, golden["rows_actions"][rows])
        np.testing.assert_allclose(result.values, golden["rows_root_values"][rows], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.q_values, golden["rows_q_values"][rows], rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(result.policy, golden["rows_policy"][rows], rtol=1e-9, atol=policy_tolerance)
