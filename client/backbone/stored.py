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

DEEP = 1280
"""Channels, in and out, from which on a convolution is a matrix product: Stable Diffusion's two innermost levels."""

FEW = 512
"""Places, over all rows, up to which it is: with more, each place's neighbours, nine times what there was, are a step's
largest block of memory, and a convolution is as fast."""

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
        if self._is_deep(x):
            return gathered(x, weight)
        # Channels last, as the weights are: mixed orders take twice as long in bfloat16.
        return functional.conv2d(x.contiguous(memory_format=torch.channels_last), weight, None, *self.geometry)

    def _is_deep(self, x: Tensor) -> bool:
        """Return whether a convolution has so many weights that putting them in order costs more than it saves."""
        few = x[:, 0].numel() <= FEW
        many = min(self.weight.shape[:2]) >= DEEP
        plain = self.weight.shape[2:] == (3, 3) and self.geometry == ((1, 1), (1, 1), (1, 1), 1)
        return few and many and plain and x.device.type == "cpu" and x.dtype == torch.bfloat16


def gathered(x: Tensor, weight: Tensor) -> Tensor:
    """Return a convolution of 3 x 3, padded by one, as one matrix product on every place's neighbours.

    Weights that have just become numbers would be put into another order for each convolution, which takes as long as
    the convolution where there are few places: 39 ms against 17 for 2,560 to 1,280 channels of 4 x 4 in three rows.

    Args:
        x: shape (rows, channels, height, width).
        weight: shape (out, channels, 3, 3), channels last in memory.
    """
    rows, channels, height, width = x.shape
    padded = functional.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    row, line, place, channel = padded.stride()
    around = padded.as_strided((rows, height, width, 3, 3, channels), (row, line, place, line, place, channel))
    neighbours = around.reshape(rows * height * width, 9 * channels)
    mapped = functional.linear(neighbours, weight.permute(0, 2, 3, 1).reshape(len(weight), -1))
    return mapped.view(rows, height, width, -1).permute(0, 3, 1, 2)


def store(network: nn.Module, scratch: Scratch) -> None:
    """Put a `Stored` layer in the place of every linear layer and convolution, in place."""
    for name, child in network.named_children():
        if isinstance(child, (nn.Linear, nn.Conv2d)):
            setattr(network, name, Stored(child, scratch))
        else:
            store(child, scratch)
