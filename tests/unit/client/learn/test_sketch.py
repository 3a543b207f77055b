from __future__ import annotations

import torch

from client.learn.sketch import SKETCH, sketched


def test_a_sketch_keeps_how_states_differ():
    states = torch.randn(3, 20 * SKETCH + 7, generator=torch.Generator().manual_seed(0))
    found = sketched(states)
    assert found.shape == (3, SKETCH)
    torch.testing.assert_close(found @ found.T, states @ states.T, atol=0.1 * states.shape[1], rtol=0)
    assert torch.equal(sketched(states[:, :SKETCH]), states[:, :SKETCH])
