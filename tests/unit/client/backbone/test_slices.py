"""Out of memory is no end: the batch is cut until it fits, and gives what the whole would have given."""

from __future__ import annotations

import pytest
import torch

from client.backbone.latents import Batch
from client.backbone.slices import Slices, out_of_memory
from common.errors import BackboneError

SIDE = 4


def batch(draws):
    shape = (draws, 1, SIDE, SIDE)
    ones = torch.arange(draws, dtype=torch.long)
    return Batch(latents=torch.zeros(shape), noise=torch.zeros(shape), timesteps=ones, templates=ones)


def losses_of(candidates, draws):
    """Tell every candidate and draw apart."""
    return 100.0 * candidates[:, :1] + draws.timesteps[None].float()


class Memory:
    """Scores, as long as it holds the rows; remembers how many it was given."""

    def __init__(self, rows):
        self.rows, self.asked = rows, []

    def score(self, candidates, draws, _kind):
        self.asked.append(len(candidates) * len(draws))
        if self.asked[-1] > self.rows:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return losses_of(candidates, draws)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("with_base", [True, False])
def test_what_does_not_fit_is_cut_and_gives_the_same(rows, count, with_base):
    memory, slices = Memory(rows), Slices(with_base=with_base)
    candidates = torch.arange(float(count))[:, None]
    found = slices.losses(memory.score, candidates, batch(7), "object")
    torch.testing.assert_close(found, losses_of(candidates, batch(7)).mean(dim=1))
    memory.asked.clear()
    slices.losses(memory.score, candidates, batch(7), "object")
    assert max(memory.asked) <= rows, "it forgot what did not fit"
    if not with_base:
        assert sum(memory.asked) == 7 * count, "something was scored twice"


def test_a_model_that_never_fits_is_told_of():
    with pytest.raises(BackboneError, match="memory"):
        Slices().losses(Memory(0).score, torch.zeros(3, 1), batch(2), "object")


def test_other_errors_are_not_taken_for_memory():
    def broken(candidates, draws, kind):
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        Slices().losses(broken, torch.zeros(3, 1), batch(2), "object")


def test_memory_errors_are_known_by_what_pytorch_says():
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"))
    assert out_of_memory(RuntimeError("MPS backend out of memory"))
    assert not out_of_memory(RuntimeError("device-side assert triggered"))


def test_the_processor_says_so_in_these_words():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
