"""Freezes a network at eight-bit weights."""

from __future__ import annotations

from typing import TypeVar

from optimum.quanto import freeze, qint8, quantize
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def frozen(module: Module, *, int8: bool = True) -> Module:
    """Return the module in evaluation mode, without gradients, its weights int8 if asked.

    Weights are quantized per output channel by optimum-quanto (qint8), activations stay floating point.
    """
    module.eval().requires_grad_(requires_grad=False)
    if int8:
        quantize(module, weights=qint8)
        freeze(module)
        module.requires_grad_(requires_grad=False)
    return module
