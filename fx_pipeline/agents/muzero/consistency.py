"""EfficientZero's self-supervised consistency loss (Ye et al. 2021, section 4.1), after SimSiam (Chen and He 2020).

A state that the model foresees for step t + k shall point the same way as the state made of what was then observed.
Three outcomes do not determine a bar, so the loss stays well above 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Module):
    """Projector of both states, and predictor of the foreseen one.

    Parameters
    ----------
    size : int
        H.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(size, size), nn.LayerNorm(size), nn.ReLU(), nn.Linear(size, size))
        self.predictor = nn.Sequential(nn.Linear(size, size), nn.LayerNorm(size), nn.ReLU(), nn.Linear(size, size))

    def forward(self, foreseen: Tensor, seen: Tensor) -> Tensor:
        """1 - cosine (B,) of states (B, H), (B, H); no gradient goes into `seen`."""
        # First: autocast keeps the first copy that it makes of a weight, and one made without gradient gives none.
        predicted = self.predictor(self.projector(foreseen))
        with torch.no_grad():
            target = self.projector(seen)
        return 1.0 - functional.cosine_similarity(predicted, target, dim=-1)


def build_projection(size: int, seed: int) -> Projection:
    """Make a projection whose initial weights depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Projection(size)
