"""Dropout whose masks cost a fraction of torch's on a processor.

torch draws one Bernoulli number after another: a tenth of an update of the full networks. Here 16 random bits decide
on an element, so the probability is exact to 1 / 65536.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_LEVELS = 1 << 16


class FastDropout(nn.Module):
    """`torch.nn.Dropout`; its masks, too, depend on torch's random state alone.

    Parameters
    ----------
    probability : float
        Of an element to be set to zero, in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the input itself while evaluating."""
        if not self.training or self.probability == 0.0:
            return x
        if x.device.type != "cpu":
            return functional.dropout(x, self.probability)
        dropped = round(self.probability * _LEVELS)
        seed, size = int(torch.randint(2**62, ())), x.element_size()
        # The generator's own words, and the scale as bits that are there or not: a third of the price of bytes and of
        # converting truth values to bfloat16.
        bits = np.random.SFC64(seed).random_raw(-(-x.numel() // 4)).view(np.uint16)[: x.numel()]
        pattern = (
            torch.tensor([_LEVELS / (_LEVELS - dropped)], dtype=x.dtype).view(torch.uint8).numpy().view(f"u{size}")
        )
        scale = torch.from_numpy((bits >= dropped) * pattern).view(x.dtype)
        # In the order in which x lies in memory: with another one, the product costs as much as torch's own dropout.
        return x * scale.as_strided(x.shape, torch.empty_like(x).stride())
