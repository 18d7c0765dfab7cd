"""Dropout by bits against its definition."""

import pytest
import torch

from fx_pipeline.agents.muzero.dropout import FastDropout


def test_the_share_dropped_the_scale_and_the_gradient() -> None:
    dropout = FastDropout(0.1)
    x = torch.ones(300, 20, 33, requires_grad=True)
    torch.manual_seed(0)
    y = dropout(x)
    assert (y == 0).double().mean().item() == pytest.approx(0.1, abs=0.003)
    torch.testing.assert_close(y[y > 0], torch.full_like(y[y > 0], 1 / 0.9), rtol=1e-4, atol=0.0)
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
