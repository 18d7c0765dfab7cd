"""The networks of Stochastic MuZero (SPEC section 9), as one torch module.

    temporal (B, T, F) -> encode_market -> market code (B, channels) ---+
    static (B, 6) -----------------------> static code (B, static) -----+-> state (B, H)
    state, action ----------> afterstate -> chance logits (B, C), afterstate value
    state, action, outcome -> dynamics ---> next state (B, H), reward
    state -> policy logits (B, A), value

The market code depends on market data only, so a bar can be encoded once for each version of the weights. Rewards and
values come as logits over the two-hot bins of `support`. With `value_prefix` the reward head gives the sum of rewards
since the root, which it reads from the state alone: unlike EfficientZero's it has no LSTM and is never reset.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from fx_pipeline.agents.muzero.config import NetworkConfig
from fx_pipeline.agents.muzero.dropout import FastDropout
from fx_pipeline.agents.muzero.support import bin_centres
from fx_pipeline.environment.actions import NUM_OUTCOMES
from fx_pipeline.environment.spec import ObservationSpec

#: At first, attention falls off by a factor e every so many bars back: the newest bars matter most.
ATTENTION_DECAY_BARS = 4.0


class CausalBlock(nn.Module):
    """Two dilated causal convolutions with batch norm, and a residual path (Bai et al. 2018).

    Time is the second of two image axes, channels lie innermost in memory: a fifth faster than one axis of time.
    """

    def __init__(self, inputs: int, channels: int, kernel_size: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.padding = (kernel_size - 1) * dilation
        self.first = nn.Conv1d(inputs, channels, kernel_size, dilation=dilation)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv1d(channels, channels, kernel_size, dilation=dilation)
        self.second_norm = nn.BatchNorm2d(channels)
        self.skip = nn.Conv1d(inputs, channels, 1) if inputs != channels else nn.Identity()
        self.dropout = FastDropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, 1, T) -> (B, channels, 1, T)."""
        hidden = torch.relu_(self.first_norm(_convolve(self.first, x, self.padding)))
        hidden = self.dropout(hidden)
        hidden = torch.relu_(self.second_norm(_convolve(self.second, hidden, self.padding)))
        skipped = _convolve(self.skip, x, 0) if isinstance(self.skip, nn.Conv1d) else x
        return torch.relu_(self.dropout(hidden) + skipped)


def _convolve(layer: nn.Conv1d, x: Tensor, padding: int) -> Tensor:
    padded = functional.pad(x, (padding, 0)) if padding else x
    return functional.conv2d(padded, layer.weight.unsqueeze(2), layer.bias, dilation=(1, layer.dilation[0]))


class TemporalEncoder(nn.Module):
    """TCN and attention pooling over the bars of a window.

    A bar's attention score is a linear function of its code plus a learned score of its place in the window: the
    convolutions alone cannot tell the newest bar from the others.
    """

    def __init__(self, config: NetworkConfig, window_bars: int, features: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            *(
                CausalBlock(
                    config.channels if index else features,
                    config.channels,
                    config.kernel_size,
                    2**index,
                    config.dropout,
                )
                for index in range(config.temporal_blocks)
            )
        )
        self.score = nn.Linear(config.channels, 1)
        self.place = nn.Parameter(torch.arange(1.0 - window_bars, 1.0) / ATTENTION_DECAY_BARS)

    def forward(self, temporal: Tensor) -> Tensor:
        """(B, T, F) -> (B, channels)."""
        codes = self.blocks(temporal.transpose(1, 2).unsqueeze(2)).squeeze(2).transpose(1, 2)
        attention = torch.softmax(self.score(codes).squeeze(-1) + self.place, dim=1)
        return torch.bmm(attention.unsqueeze(1), codes).squeeze(1)


class ResidualBlock(nn.Module):
    """x + W2 relu(W1 norm(x))."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.first = nn.Linear(size, size)
        self.second = nn.Linear(size, size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, size) -> (B, size)."""
        return x + self.second(torch.relu_(self.first(self.norm(x))))


class ConditionedLinear(nn.Module):
    """A linear layer over [state, one-hot codes]."""

    def __init__(self, size: int, codes: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        self.codes = codes
        self.linear = nn.Linear(size + sum(codes), size)

    def forward(self, state: Tensor, *indices: Tensor) -> Tensor:
        """(B, size) and one (B,) int64 per code -> (B, size)."""
        # Rows of a unit matrix: `one_hot` checks its indices, which takes longer than the layer.
        one_hot = [
            torch.eye(count, dtype=state.dtype, device=state.device)[index]
            for index, count in zip(indices, self.codes, strict=True)
        ]
        return self.linear(torch.cat([state, *one_hot], dim=-1))


def _blocks(size: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(ResidualBlock(size) for _ in range(count)), nn.LayerNorm(size))


class MuZeroNetworks(nn.Module):
    """All networks of the agent.

    Parameters
    ----------
    config : NetworkConfig
    spec : ObservationSpec
        What they see: T, F and A.
    unit_pips : float
        Pips of a unit of the instrument (`market.units`), in which the value axis is laid out. It is in the weights:
        a checkpoint brings its own.
    """

    centres: Tensor

    def __init__(
        self, config: NetworkConfig, spec: ObservationSpec = ObservationSpec(), unit_pips: float = 1.0
    ) -> None:
        super().__init__()
        size = config.hidden_size
        self.config = config
        self.spec = spec
        self.temporal = TemporalEncoder(config, spec.window_bars, spec.features)
        self.static = nn.Sequential(
            nn.Linear(spec.static, config.static_size), nn.LayerNorm(config.static_size), nn.ReLU()
        )
        self.state_norm = nn.LayerNorm(size)
        self.afterstate_input = ConditionedLinear(size, (spec.actions,))
        self.afterstate_blocks = _blocks(size, config.afterstate_blocks)
        self.chance_head = nn.Linear(size, NUM_OUTCOMES)
        self.afterstate_value_head = nn.Linear(size, config.bins)
        self.dynamics_input = ConditionedLinear(size, (spec.actions, NUM_OUTCOMES))
        self.dynamics_blocks = _blocks(size, config.dynamics_blocks)
        self.reward_head = nn.Linear(size, config.bins)
        self.policy_blocks = _blocks(size, config.policy_blocks)
        self.policy_head = nn.Linear(size, spec.actions)
        self.value_blocks = _blocks(size, config.value_blocks)
        self.value_head = nn.Linear(size, config.bins)
        self.register_buffer("centres", torch.from_numpy(bin_centres(config.bins, config.support_pips, unit_pips)))
        # Zero heads predict no reward, no value and no preference until something has been learned.
        heads = (self.chance_head, self.afterstate_value_head, self.reward_head, self.policy_head, self.value_head)
        for head in heads:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    def encode_market(self, temporal: Tensor) -> Tensor:
        """Encode feature windows (B, T, F) as market codes (B, channels)."""
        return self.temporal(temporal)

    def embed(self, market_code: Tensor, static: Tensor) -> Tensor:
        """Join market codes (B, channels) and position features (B, 6) to states (B, H)."""
        return self.state_norm(torch.cat([market_code, self.static(static)], dim=-1))

    def represent(self, temporal: Tensor, static: Tensor) -> Tensor:
        """States (B, H) of observations (B, T, F), (B, 6)."""
        return self.embed(self.encode_market(temporal), static)

    def afterstate(self, states: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Chance logits (B, C) and afterstate value logits (B, bins) of states (B, H) under actions (B,)."""
        hidden = self.afterstate_blocks(torch.relu_(self.afterstate_input(states, actions)))
        return self.chance_head(hidden), self.afterstate_value_head(hidden)

    def dynamics(self, states: Tensor, actions: Tensor, outcomes: Tensor) -> tuple[Tensor, Tensor]:
        """Next states (B, H) and their logits (B, bins) of the reward head after actions (B,) and outcomes (B,)."""
        following = self.dynamics_blocks(states + torch.relu_(self.dynamics_input(states, actions, outcomes)))
        return following, self.reward_head(following)

    def rewards(self, states: Tensor, logits: Tensor) -> Tensor:
        """Pips (B,) of the steps from `states` (B, H), for which `dynamics` gave `logits` (B, bins)."""
        pips = self.decode(logits)
        return pips - self.decode(self.reward_head(states)) if self.config.value_prefix else pips

    def predict(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Policy logits (B, A) and value logits (B, bins) of states (B, H)."""
        return self.policy_head(self.policy_blocks(states)), self.value_head(self.value_blocks(states))

    def decode(self, logits: Tensor) -> Tensor:
        """Pips (B,) of two-hot logits (B, bins)."""
        return torch.mv(torch.softmax(logits, dim=-1), self.centres)


def build_networks(
    config: NetworkConfig, seed: int, spec: ObservationSpec = ObservationSpec(), unit_pips: float = 1.0
) -> MuZeroNetworks:
    """Make networks whose initial weights depend on `seed` alone; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MuZeroNetworks(config, spec, unit_pips)
