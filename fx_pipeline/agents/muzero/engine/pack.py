"""The networks' weights, folded and laid out for the tiles of `vectors`.

Folded: batch norm into its convolution, the scale and shift of a layer norm into the linear layer behind it, one-hot
inputs into tables of rows that are added. A layer lies in panels of up to 48 columns, each with its whole depth in the
order in which a tile reads it, in bfloat16 pairs or in floats.
"""

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fx_pipeline.agents.muzero.engine.kernels import kernel_addresses
from fx_pipeline.agents.muzero.engine.vectors import LANES, MAX_VECTORS
from fx_pipeline.agents.muzero.networks import CausalBlock, ConditionedLinear, MuZeroNetworks, ResidualBlock

Precision = Literal["fp32", "bf16"]

#: Places in `Packed.sizes`: sizes, then each part's number of blocks and its first row in `Packed.layers`, then a flag.
WINDOW, FEATURES, CHANNELS, HIDDEN, STATIC, BINS, KERNEL = range(7)
TEMPORAL_BLOCKS, AFTERSTATE_BLOCKS, DYNAMICS_BLOCKS, POLICY_BLOCKS, VALUE_BLOCKS = range(7, 12)
TEMPORAL_LAYERS, AFTERSTATE_LAYERS, DYNAMICS_LAYERS, POLICY_LAYERS, VALUE_LAYERS = range(12, 17)
VALUE_PREFIX = 17
#: Places in `Packed.rows`: where each vector starts in `Packed.floats`.
ATTENTION, PLACE, STATIC_WEIGHT, STATIC_BIAS, STATIC_SCALE, STATIC_SHIFT, STATE_SCALE, STATE_SHIFT = range(8)
AFTERSTATE_ACTIONS, DYNAMICS_ACTIONS, DYNAMICS_OUTCOMES, NEXT_SCALE, NEXT_SHIFT, CENTRES, ZEROS = range(8, 15)

_CACHE_LINE = 64


class Packed(NamedTuple):
    """Weights as the compiled loops take them.

    Attributes
    ----------
    weights : (N,) uint8
        Panels and biases of all layers, on cache lines.
    layers : (L, 5) int64
        One row a layer; its columns are named in `kernels`.
    floats : (M,) float32
        Vectors that are used as they are; `rows` says where each starts.
    rows, sizes : (15,), (18,) int64
        Places are named above.
    kernels : (4,) int64
        Addresses of what depends on the precision; see `kernels`.
    """

    weights: npt.NDArray[np.uint8]
    layers: npt.NDArray[np.int64]
    floats: npt.NDArray[np.float32]
    rows: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    kernels: npt.NDArray[np.int64]


def aligned(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros whose first element lies on a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + _CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % _CACHE_LINE
    return raw[start : start + size].view(dtype).reshape(shape)


def unsupported(networks: MuZeroNetworks) -> str | None:
    """Why the engine cannot run networks of this shape; None when it can."""
    config = networks.config
    for name, size in (("channels", config.channels), ("channels + static_size", config.hidden_size)):
        if size % LANES:
            return f"network.{name} is {size}, which is no multiple of {LANES}"
    return None


@torch.no_grad()
def pack(networks: MuZeroNetworks, precision: Precision) -> Packed:
    """Lay out the present weights of `networks`, in evaluation mode (no dropout, fixed batch norm).

    Raises
    ------
    ValueError
        If `unsupported` has a reason.
    """
    reason = unsupported(networks)
    if reason is not None:
        raise ValueError(f"the fast engine cannot run these networks: {reason}. Use the torch engine.")
    return _Packer(networks, precision).packed()


class _Packer:
    def __init__(self, networks: MuZeroNetworks, precision: Precision) -> None:
        self.networks = networks
        self.precision: Precision = precision
        self.parts: list[npt.NDArray[np.uint8]] = []
        self.size = 0
        self.layers: list[list[int]] = []
        self.floats: list[npt.NDArray[np.float32]] = []
        self.starts: list[int] = []
        self.float_size = 0

    def packed(self) -> Packed:
        networks, config = self.networks, self.networks.config
        window = len(networks.temporal.place)
        first = networks.temporal.blocks[0]
        assert isinstance(first, CausalBlock)
        features = _rounded(first.first.in_channels)
        begins = [self._temporal(features)]
        begins.append(
            self._part(networks.afterstate_input, networks.afterstate_blocks, networks.chance_head,
                       networks.afterstate_value_head)
        )  # fmt: skip
        # The norm behind the dynamics makes the next state, so it is not folded into the reward head.
        begins.append(self._part(networks.dynamics_input, networks.dynamics_blocks, networks.reward_head, folds=False))
        begins.append(self._part(None, networks.policy_blocks, networks.policy_head))
        begins.append(self._part(None, networks.value_blocks, networks.value_head))
        sizes = [window, features, config.channels, config.hidden_size, config.static_size, _rounded(config.bins),
                 config.kernel_size, config.temporal_blocks, config.afterstate_blocks, config.dynamics_blocks,
                 config.policy_blocks, config.value_blocks, *begins, int(config.value_prefix)]  # fmt: skip
        self._vectors()
        weights = aligned((self.size,), np.uint8)
        place = 0
        for part in self.parts:
            weights[place : place + len(part)] = part
            place += len(part)
        floats = aligned((self.float_size,), np.float32)
        for start, vector in zip(self.starts, self.floats, strict=True):
            floats[start : start + len(vector)] = vector
        return Packed(
            weights,
            np.array(self.layers, dtype=np.int64),
            floats,
            np.array(self.starts, dtype=np.int64),
            np.array(sizes, dtype=np.int64),
            kernel_addresses(self.precision),
        )

    def _vectors(self) -> None:
        networks = self.networks
        size, actions = networks.config.hidden_size, networks.spec.actions
        static, state = networks.static, networks.state_norm
        linear, norm = static[0], static[1]
        following = networks.dynamics_blocks[-1]
        for tensor in (
            networks.temporal.score.weight[0],
            networks.temporal.place,
            linear.weight,
            linear.bias,
            norm.weight,
            norm.bias,
            state.weight,
            state.bias,
            networks.afterstate_input.linear.weight[:, size:].t(),
            networks.dynamics_input.linear.weight[:, size : size + actions].t(),
            networks.dynamics_input.linear.weight[:, size + actions :].t(),
            following.weight,
            following.bias,
            torch.cat([networks.centres, torch.zeros(_rounded(len(networks.centres)) - len(networks.centres))]),
            torch.zeros(LANES * MAX_VECTORS),
        ):
            assert isinstance(tensor, torch.Tensor)
            vector = tensor.detach().float().contiguous().numpy().reshape(-1)
            self.starts.append(self.float_size)
            self.floats.append(vector)
            self.float_size += _rounded(len(vector))

    def _temporal(self, features: int) -> int:
        begin = len(self.layers)
        for index, block in enumerate(self.networks.temporal.blocks):
            assert isinstance(block, CausalBlock)
            for convolution, norm in ((block.first, block.first_norm), (block.second, block.second_norm)):
                weight, bias = _convolution(convolution, norm)
                depth = features if convolution is block.first and index == 0 else None
                # The newest bar comes first, and the bias with it.
                for age, tap in enumerate(weight.flip(0)):
                    self._layer(tap, torch.zeros_like(bias) if age else bias, depth)
            if isinstance(block.skip, nn.Conv1d):
                skip_bias = block.skip.bias
                assert skip_bias is not None
                self._layer(block.skip.weight[..., 0].t(), skip_bias, features if index == 0 else None)
        return begin

    def _part(
        self, conditioned: ConditionedLinear | None, blocks: nn.Sequential, *heads: nn.Linear, folds: bool = True
    ) -> int:
        begin = len(self.layers)
        if conditioned is not None:
            linear = conditioned.linear
            self._layer(linear.weight[:, : conditioned.size].t(), linear.bias)
        *residual, last = blocks
        assert isinstance(last, nn.LayerNorm)
        for block in residual:
            assert isinstance(block, ResidualBlock)
            self._layer(*_folded(block.norm, block.first))
            self._layer(block.second.weight.t(), block.second.bias)
        for head in heads:
            weight, bias = _folded(last, head) if folds else (head.weight.t(), head.bias)
            self._layer(weight, bias)
        return begin

    def _layer(self, weight: torch.Tensor, bias: torch.Tensor, depth: int | None = None) -> None:
        """Add a layer of weights (inputs, outputs), with `depth` inputs after padding."""
        inputs, outputs = weight.shape
        pair = 2 if self.precision == "bf16" else 1
        depth = depth or inputs
        columns = _rounded(outputs)
        blocks = columns // LANES
        vectors = next(width for width in range(MAX_VECTORS, 0, -1) if blocks % width == 0)
        padded = torch.zeros(depth, columns)
        padded[:inputs, :outputs] = weight
        # Padded logits of a two-hot head have no probability; other padded columns meet zero weights behind them.
        biases = torch.full((columns,), -1e30)
        biases[:outputs] = bias
        laid = padded.reshape(depth // pair, pair, blocks // vectors, vectors, LANES).permute(2, 0, 3, 4, 1)
        if self.precision == "bf16":
            values = laid.contiguous().to(torch.bfloat16).view(torch.int16).numpy()
        else:
            values = laid.contiguous().float().numpy()
        panels = blocks // vectors
        self.layers.append([self._bytes(values), self._bytes(biases.numpy()), depth // pair, panels, vectors])

    def _bytes(self, values: npt.NDArray[Any]) -> int:
        flat = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        padding = -len(flat) % _CACHE_LINE
        start = self.size
        self.parts.append(np.concatenate([flat, np.zeros(padding, dtype=np.uint8)]))
        self.size += len(flat) + padding
        return start


def _rounded(size: int) -> int:
    return -(-size // LANES) * LANES


def _convolution(convolution: nn.Conv1d, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (taps, inputs, outputs) and bias of a convolution with the batch norm behind it."""
    mean, variance, bias = norm.running_mean, norm.running_var, convolution.bias
    assert mean is not None and variance is not None and bias is not None
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return (convolution.weight * scale[:, None, None]).permute(2, 1, 0), (bias - mean) * scale + norm.bias


def _folded(norm: nn.LayerNorm, linear: nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (inputs, outputs) and bias of a linear layer with the scale and shift of the norm before it."""
    return (linear.weight * norm.weight).t(), linear.bias + linear.weight @ norm.bias
