"""A network that carries one base point and the differences from it, instead of many points.

A zeroth-order search lives on differences of losses between points a step μ apart. In bfloat16 the points' own rounding
drowns them: eight bits of mantissa are spent on what the points have in common. So the first rows of a batch are the
base, and every further row is what a candidate *adds* to the base's row:

    linear maps      y = W x + b for the base, dy = W dx for a difference: the same matrix product, no bias
    everything else  dy = f(x + dx) - f(x), taken in float32

Each difference then has its own eight bits, however small it is against the base. In exact arithmetic this is the
network on the points themselves; nothing is linearized and μ may be of any size. It is to finite differences what
forward-mode differentiation is to derivatives, with the layers' own kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from diffusers.models import activations
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import Timesteps
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import GELUActivation, QuickGELUActivation
from transformers.models.clip.modeling_clip import CLIPAttention

from client.backbone.stored import Stored
from common.errors import BackboneError

LINEAR = (nn.Linear, nn.Conv2d, Stored)
CURVED = (nn.GroupNorm, nn.LayerNorm, nn.SiLU, nn.GELU, GELUActivation, QuickGELUActivation)
"""Layers of which the difference is taken point by point."""

AT_ONCE = 2**19
"""Numbers that are points in float32 at once where no GPU computes: few enough for caches, and for the heap
to give them out again and again. Whole layers of them would be a step's largest blocks, each on fresh pages."""

PLACES_AT_ONCE = 1024
"""Places that go through a feed-forward layer together."""

HARMLESS = (nn.Dropout, nn.Identity, nn.Embedding)


@dataclass(slots=True)
class Rows:
    """How many candidates a batch holds, the base among them; all layers of a network share one."""

    candidates: int = 1
    alike: bool = False
    """Whether no difference is anything but zero yet, as in a U-Net before the first layer that hears a text."""

    def base(self, rows: Tensor) -> int:
        """Return how many of the rows are the base's."""
        return len(rows) // self.candidates

    def once(self, compute: Callable[..., Tensor], *given: Tensor) -> Tensor:
        """Return what comes of the base's rows alone, and zeros for rows that add nothing to it."""
        y = compute(*(x[: self.base(x)] for x in given))
        return torch.cat([y, y.new_zeros(len(given[0]) - len(y), *y.shape[1:])])


class Mapped(nn.Module):
    """A linear layer or convolution: its bias belongs to the base alone."""

    def __init__(self, layer: Any, rows: Rows) -> None:  # noqa: ANN401 - one of LINEAR
        super().__init__()
        self.layer, self.rows = layer, rows
        self.bias = layer.bias
        layer.bias = None

    def forward(self, x: Tensor) -> Tensor:
        """Map base and differences alike."""
        if self.rows.alike:
            return self.rows.once(lambda base: self._mapped(base, len(base)), x)
        return self._mapped(x, self.rows.base(x))

    def _mapped(self, x: Tensor, base: int) -> Tensor:
        y: Tensor = self.layer(x)
        if self.bias is not None:
            across = (-1, 1, 1) if y.ndim == 4 else (-1,)
            y[:base].add_(self.bias.to(y.dtype).view(across))
        return y


class Curved(nn.Module):
    """A layer that is not linear, applied to the points themselves, a part at a time."""

    def __init__(self, layer: nn.Module, rows: Rows) -> None:
        super().__init__()
        self.layer, self.rows = layer, rows

    def forward(self, x: Tensor) -> Tensor:
        """Return f of the base and f(x + dx) - f(x)."""
        if self.rows.alike:
            return self.rows.once(lambda base: self.layer(base.float()).to(x.dtype), x)
        if isinstance(self.layer, nn.GroupNorm):
            return self._normalized(self.layer, x)
        # Of places of a text or picture each is mapped on its own: dimension 1, or 2 where channels come before.
        if x.ndim == 2:
            return apart(self.layer(together(x, self.rows)), self.rows, x.dtype)
        # What a picture's SiLU is given is a norm's, for it alone; a LayerNorm's input goes around it too.
        into = x if isinstance(self.layer, nn.SiLU) and x.ndim == 4 else torch.empty_like(x)
        return by_parts(self.layer, into, x.ndim - 2, self.rows, x)

    def _normalized(self, layer: nn.GroupNorm, x: Tensor) -> Tensor:
        """Return what a norm over groups of channels does, some groups at a time."""
        y, each = torch.empty_like(x), x.shape[1] // layer.num_groups
        for start, length in stretches(x, 1, each):
            own = slice(start, start + length)
            points = together(x[:, own], self.rows)
            weight, bias = (None if given is None else given[own] for given in (layer.weight, layer.bias))
            points = functional.group_norm(points, length // each, weight, bias, layer.eps)
            y[:, own] = apart(points, self.rows, torch.float32)
        return y


class GatedGelu(nn.Module):
    """GEGLU (Shazeer, arXiv:2002.05202) of the points themselves."""

    def __init__(self, layer: GEGLU, rows: Rows) -> None:
        super().__init__()
        self.proj, self.rows = layer.proj, rows

    def forward(self, x: Tensor) -> Tensor:
        """Return h * gelu(g) and its differences."""
        x = self.proj(x)
        return by_parts(_gated, x.new_empty(*x.shape[:-1], x.shape[-1] // 2), 1, self.rows, x)


class InParts(nn.Module):
    """A feed-forward layer, some places at a time: what is within it is four and eight times as wide."""

    def __init__(self, layer: FeedForward) -> None:
        super().__init__()
        self.net = layer.net

    def forward(self, x: Tensor) -> Tensor:
        """Return the layer's output, shape (rows, places, width)."""
        parts = [self._mapped(part.contiguous()) for part in x.split(PLACES_AT_ONCE, dim=1)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _mapped(self, x: Tensor) -> Tensor:
        for layer in self.net:
            x = layer(x)
        return x


def _gated(points: Tensor) -> Tensor:
    value, gate = points.chunk(2, dim=-1)
    return value.mul_(functional.gelu(gate))


class Constant(nn.Module):
    """An embedding of the timestep: all candidates share it, so that its differences are zero."""

    def __init__(self, layer: nn.Module, rows: Rows) -> None:
        super().__init__()
        self.layer, self.rows = layer, rows

    def forward(self, x: Tensor) -> Tensor:
        """Return the base's embedding, then zeros."""
        y: Tensor = self.layer(x)
        y[self.rows.base(y) :] = 0
        return y


class DifferenceAttention:
    """What diffusers' `Attention` computes, on the points themselves."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __call__(
        self,
        attn: Any,  # noqa: ANN401 - diffusers has no types
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        """Attend from ``hidden_states`` to the text, or to themselves."""
        del attention_mask, temb  # checked when the network was made: no such use
        if encoder_hidden_states is not None:
            self.rows.alike = False  # from here on candidates are told apart
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        parts = [
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        ]
        if self.rows.alike:
            seen = self.rows.once(_attended, *parts)
        else:
            seen = by_parts(_attended, torch.empty_like(parts[0]), 1, self.rows, *parts)
        mapped: Tensor = attn.to_out[0](seen.transpose(1, 2).flatten(2))
        return mapped if attn.rescale_output_factor == 1 else mapped / attn.rescale_output_factor


class CausalAttention(nn.Module):
    """What transformers' `CLIPAttention` computes in a text encoder, on the points themselves."""

    def __init__(self, layer: CLIPAttention, rows: Rows) -> None:
        super().__init__()
        self.maps = nn.ModuleList((layer.q_proj, layer.k_proj, layer.v_proj))
        self.out, self.heads, self.rows = layer.out_proj, layer.num_heads, rows

    def forward(self, hidden_states: Tensor, attention_mask: None = None) -> tuple[Tensor, None]:
        """Attend to the words before each word."""
        del attention_mask
        points = [together(part(hidden_states), self.rows) for part in self.maps]
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in points)
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        return self.out(apart(seen, self.rows, hidden_states.dtype)), None


CARRYING: Final[tuple[tuple[Any, Callable[[Any, Rows], nn.Module]], ...]] = (
    (LINEAR, Mapped),
    (CURVED, Curved),
    (CLIPAttention, CausalAttention),
    (FeedForward, lambda layer, _: InParts(layer)),
    (GEGLU, GatedGelu),
    (Timesteps, Constant),
)
"""What stands for which layers."""


def _attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend in float32."""
    seen = functional.scaled_dot_product_attention(query.float(), key.float(), value.float())
    return seen.to(query.dtype)


def stretches(x: Tensor, dim: int, unit: int = 1) -> Iterator[tuple[int, int]]:
    """Yield (start, length) along a dimension, in whole units, of parts of `AT_ONCE` numbers at most if units allow."""
    size = x.shape[dim]
    length = max(1, AT_ONCE * size // (x.numel() * unit)) * unit if x.device.type == "cpu" else size
    for start in range(0, size, length):
        yield start, min(length, size - start)


def by_parts(compute: Callable[..., Tensor], into: Tensor, dim: int, rows: Rows, *given: Tensor) -> Tensor:
    """Fill ``into`` with what a function makes of points, and its differences, a stretch of a dimension at a time."""
    for start, length in stretches(max(given, key=Tensor.numel), dim):
        points = (together(x.narrow(dim, start, length), rows) for x in given)
        into.narrow(dim, start, length).copy_(apart(compute(*points), rows, torch.float32))
    return into


def together(x: Tensor, rows: Rows) -> Tensor:
    """Return the points, float32, of base and differences."""
    points = x.float() if x.dtype != torch.float32 else x.clone()
    grouped = points.unflatten(0, (rows.candidates, -1))
    grouped[1:] += grouped[0]
    return points


def apart(points: Tensor, rows: Rows, dtype: torch.dtype) -> Tensor:
    """Return base and differences of points; `together` is its inverse."""
    grouped = points.unflatten(0, (rows.candidates, -1))
    grouped[1:] -= grouped[0]
    return points.to(dtype)


def carry_differences(network: nn.Module, rows: Rows) -> None:
    """Make a U-Net or text encoder carry differences, in place; ``rows`` is told before each batch what it holds.

    Raises:
        BackboneError: the network has a layer that this does not know.
    """
    for name, child in network.named_children():
        new = _carrying(child, rows)
        if new is not None:
            setattr(network, name, new)
            child = new  # noqa: PLW2901 - its own layers come next
        if not isinstance(child, (Mapped, Curved, Constant)):
            carry_differences(child, rows)


def _carrying(layer: nn.Module, rows: Rows) -> nn.Module | None:
    """Return what stands for a layer; None for a container, whose layers are looked at one by one."""
    for kinds, carrying in CARRYING:
        if isinstance(layer, kinds):
            return carrying(layer, rows)
    if isinstance(layer, Attention):
        _attend(layer, rows)
    elif not isinstance(layer, HARMLESS) and (next(layer.children(), None) is None or _bends(layer)):
        raise BackboneError(f"no arithmetic of differences for {type(layer).__name__}: choose --engine quanto")
    return None


def _bends(layer: nn.Module) -> bool:
    """Return whether a layer that holds others is more than what they make of its input, one after the other."""
    return bool(type(layer).__module__ == activations.__name__)


def _attend(layer: Any, rows: Rows) -> None:  # noqa: ANN401 - diffusers has no types
    unknown = ("spatial_norm", "group_norm", "norm_q", "norm_k", "norm_cross")
    used = [name for name in unknown if getattr(layer, name, None)]
    if used or layer.residual_connection:
        raise BackboneError(f"no arithmetic of differences for attention with {used}: choose --engine quanto")
    layer.set_processor(DifferenceAttention(rows))
