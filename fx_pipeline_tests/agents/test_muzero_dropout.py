"""Dropout by bits against its definition."""

import pytest
import torch

from fx_pipeline.agents.muzero.dropout import FastDropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_share_dropped_the_scale_and_the_gradient(dtype: torch.dtype) -> None:
    dropout = FastDropout(0.1)
    # Not a multiple of the four elements that one random word decides on.
    x = torch.ones(299, 21, 33, dtype=dtype, requires_grad=True)
    torch.manual_seed(0)
    y = dropout(x)
    assert y.dtype == dtype
    assert (y == 0).double().mean().item() == pytest.approx(0.1, abs=0.003)
    scale = torch.tensor(65_536 / (65_536 - 6_554)).to(dtype)
    torch.testing.assert_close(
        y[y > 0], scale.expand_as(y[y > 0]), rtol=0.0 if dtype != torch.float64 else 1e-7, atol=0.0
    )
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 1, 0)])
def test_any_order_in_memory(order: tuple[int, int, int]) -> None:
    x = torch.randn(40, 30, 20).permute(order)
    for view in (x, x[:, 1::2]):
        y = FastDropout(0.5)(view)
        dropped = y == 0
        assert dropped.double().mean().item() == pytest.approx(0.5, abs=0.05)
        torch.testing.assert_close(y[~dropped], 2.0 * view[~dropped])


def test_the_mask_follows_torch_random_state() -> None:
    dropout, x = FastDropout(0.5), torch.ones(1000)
    masks = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        masks.append(dropout(x))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_nothing_is_dropped_in_evaluation_or_without_a_probability() -> None:
    x = torch.ones(10)
    assert FastDropout(0.5).eval()(x) is x
    assert FastDropout(0.0)(x) is x
