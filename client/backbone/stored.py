"""Linear layers and convolutions whose weights rest in few bits and become numbers only while they are used.

int8 weights are symmetric per output channel, as optimum-quanto's qint8 are. What differs is the arithmetic: it is that
of the layer's input, bfloat16 (which the matrix units of recent processors are made for) or float32. The weights may be
memory-mapped: they are read where they lie, and a layer's weights exist in floating point only while it runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 127
"""Symmetric: -128 is not used."""

SCALE = "scale"
"""How the scales of ``X.weight`` are named: ``X.scale``."""


def quantized(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 weights and the scale of each output channel, weight ≈ int8 * scale.

    Args:
        weight: floating point, the output channels first.

    Returns:
        int8 of the same shape, and float32 of shape (channels,); a channel of zeros gets scale 1.
    """
    rows = weight.detach().float().flatten(1)
    largest = rows.abs().amax(dim=1)
    scale = torch.where(largest > 0, largest / LARGEST, torch.ones(()))
    whole = (rows / scale[:, None]).round_()
    return whole.to(torch.int8).view(weight.shape), scale


class Scratch:
    """Memory that the layers of a network take turns to have their weights in floating point in.

    Taken once: the system would otherwise hand out fresh pages for each layer of each pass, which costs as much as the
    convolution they are for.
    """

    def __init__(self) -> None:
        self._memory: Tensor | None = None

    def numbers(self, weight: Tensor, dtype: torch.dtype) -> Tensor:
        """Return weights as numbers, good until the next call."""
        if weight.dtype == dtype:
            return weight
        memory = self._memory
        if memory is None or memory.numel() < weight.numel() or memory.dtype != dtype or memory.device != weight.device:
            self._memory = memory = torch.empty(weight.numel(), dtype=dtype, device=weight.device)
        return memory[: weight.numel()].as_strided(weight.shape, weight.stride()).copy_(weight)


class Stored(nn.Module):
    """`nn.Linear` or `nn.Conv2d` on weights at rest; with a scale they are int8, without one as the model's file is."""

    def __init__(self, layer: Any, scratch: Scratch) -> None:  # noqa: ANN401 - nn.Linear or nn.Conv2d
        """Take a layer's geometry; its numbers, in whatever form, come by name afterwards."""
        super().__init__()
        self._scratch = scratch
        self.weight: Tensor = nn.Parameter(layer.weight, requires_grad=False)
        self.scale: Tensor | None = None
        self.bias: Tensor | None = layer.bias
        self.geometry: tuple[Any, Any, Any, int] | None = None
        if isinstance(layer, nn.Conv2d):
            self.geometry = (layer.stride, layer.padding, layer.dilation, layer.groups)

    def rest(self, weight: Tensor, scale: Tensor | None) -> None:
        """Take weights in their resting form; a convolution's come with channels last in memory."""
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.scale = None if scale is None else nn.Parameter(scale, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Compute in the input's arithmetic; scales are applied to the output, where there are fewer numbers."""
        y = self._map(x, self._scratch.numbers(self.weight, x.dtype))
        across = (-1, 1, 1) if self.geometry else (-1,)
        if self.scale is not None:
            y.mul_(self.scale.to(x.dtype).view(across))
        if self.bias is not None:
            y.add_(self.bias.to(x.dtype).view(across))
        return y

    def _map(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.geometry is None:
            return functional.linear(x, weight)
        # Channels last, as the weights are: mixed orders take twice as long in bfloat16.
        return functional.conv2d(x.contiguous(memory_format=torch.channels_last), weight, None, *self.geometry)


def store(network: nn.Module, scratch: Scratch) -> None:
    """Put a `Stored` layer in the place of every linear layer and convolution, in place."""
    for name, child in network.named_children():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            setattr(network, name, Stored(child, scratch))
        else:
            store(child, scratch)
