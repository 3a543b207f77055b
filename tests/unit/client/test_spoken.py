"""What networks are told at each step of a drawing: stages, several vectors, XL's two encoders, 2.x's one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from client.backbone.compact import EXACT, CompactEngine
from client.backbone.engine import fingerprint
from client.backbone.schedulers import use_scheduler
from client.generate import Request, add_concepts, generate, load_pipeline
from client.spoken import Spoken, Stages
from client.taught import Taught
from common.errors import BackboneError
from simulations.benchmarks.shapes import write_shape

WIDTHS = {"tiny": 32, "tiny-2": 64, "tiny-xl": 80}


@pytest.fixture(scope="module", params=list(WIDTHS))
def folder(request, tmp_path_factory):
    return write_shape(request.param, tmp_path_factory.mktemp("model") / request.param, dtype=torch.float32)


@pytest.fixture
def pipeline(folder):
    return load_pipeline(folder)


@pytest.fixture
def width(folder):
    return WIDTHS[folder.name]


def token(width, rows=1, seed=0):
    return np.random.default_rng(seed).normal(size=rows * width).astype(np.float32)


def drawn(pipeline, stages, **changes):
    request = Request(**{"prompt": "a <rex>", "steps": 4, "guidance": 2.0, "seed": 7, **changes})
    return [np.asarray(picture).astype(int) for picture in generate(pipeline, request, lambda _: None, stages=stages)]


def seen_by(pipeline, stages, monkeypatch, **changes):
    """Return at which timestep the U-Net was told what, the row of the prompt."""
    found, forward = [], pipeline.unet.forward

    def noted(sample, timestep, encoder_hidden_states, **rest):
        more = rest.get("added_cond_kwargs")
        told = [encoder_hidden_states[-1].flatten(), *([more["text_embeds"][-1]] if more else [])]
        found.append((float(timestep), torch.cat(told)))
        return forward(sample, timestep, encoder_hidden_states, **rest)

    monkeypatch.setattr(pipeline.unet, "forward", noted)
    pictures = drawn(pipeline, stages, **changes)
    monkeypatch.undo()
    return found, pictures


def taught(pipeline, folder, vectors, name="rex", stages=1):
    return add_concepts(pipeline, folder, [Taught(name, fingerprint(folder), vectors, stages)])


def told(pipeline, text):
    """Return what the pipeline itself makes of a prompt."""
    wanted = {"device": pipeline.device, "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
    found = pipeline.encode_prompt(text, **wanted)
    return torch.cat([found[0].flatten(), *([found[2].flatten()] if len(found) > 2 else [])])


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "HeunDiscreteScheduler"])
@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_each_step_is_told_its_stage(pipeline, folder, width, monkeypatch, scheduler, guidance):
    use_scheduler(pipeline, scheduler)
    stages = taught(pipeline, folder, token(width, 3), stages=3)
    assert stages == Stages(timesteps=(500, 900), counts={"rex": 3})
    words = [told(pipeline, f"a <rex#{number}>") for number in (1, 2, 3)]
    assert not torch.equal(words[0], words[1])
    found, _ = seen_by(pipeline, stages, monkeypatch, steps=10, guidance=guidance, count=2)
    asked = {time for time, _ in found}
    assert min(asked) < 633
    assert any(633 <= time < 767 for time in asked)
    assert max(asked) >= 767
    for time, states in found:
        wanted = words[0 if time >= 767 else 1 if time >= 633 else 2]
        torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-5)


def test_equal_stages_draw_what_one_token_draws(pipeline, folder, width):
    one = token(width)
    plain = taught(pipeline, folder, one)
    staged = taught(pipeline, folder, np.tile(one, 4), name="max", stages=4)
    whole = drawn(pipeline, plain, count=2)
    assert [p.tolist() for p in drawn(pipeline, staged, prompt="a <max>", count=2)] == [p.tolist() for p in whole]


def test_the_first_stage_alone_changes_the_picture_and_so_does_the_last(pipeline, folder, width):
    one, other = token(width), token(width, seed=1)
    stages = {"a": [one, one], "b": [other, one], "c": [one, other]}
    pictures = []
    for name, rows in stages.items():
        known = taught(pipeline, folder, np.concatenate(rows), name=name, stages=2)
        pictures.append(drawn(pipeline, known, prompt=f"a <{name}>", steps=10)[0])
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] != pictures[2]).any()


def test_concepts_of_different_stages_stand_in_one_prompt(pipeline, folder, width, monkeypatch):
    concepts = [
        Taught("rex", fingerprint(folder), token(width, 2), 2),
        Taught("max", fingerprint(folder), token(width)),
    ]
    stages = add_concepts(pipeline, folder, concepts)
    found, _ = seen_by(pipeline, stages, monkeypatch, prompt="<rex> beside <max>", negative="<rex>", steps=10)
    for time, states in found:
        wanted = told(pipeline, f"<rex#{1 if time >= 700 else 2}> beside <max>")
        torch.testing.assert_close(states, wanted, rtol=1e-4, atol=1e-5)


def test_the_networks_hear_in_drawing_what_they_heard_in_learning(pipeline, folder, width, tmp_path):
    """Two vectors, through the tokenizer and the loader of diffusers, beside the engine's own rows."""
    vectors = token(width, 2)
    stages = taught(pipeline, folder, vectors)
    engine = CompactEngine(folder, tmp_path, form=EXACT)
    with torch.inference_mode():
        candidates = torch.from_numpy(vectors)[None]
        states = torch.cat([said.states[0, 0] for said in engine._encoded(candidates, ["a {} red"])], dim=1)
    spoken = Spoken(pipeline, stages, "a <rex> red", "", guided=False)
    torch.testing.assert_close(spoken.at(700.0)["prompt_embeds"][0], states, rtol=1e-4, atol=1e-5)


def test_a_seed_decides_and_the_concept_counts(pipeline, folder, width):
    stages = taught(pipeline, folder, token(width))
    one, together = drawn(pipeline, stages)[0], drawn(pipeline, stages, count=2, batch=2)[0]
    assert np.abs(one - together).max() <= 1
    assert (one != drawn(pipeline, stages, prompt="a dog")[0]).any()
    assert (one != drawn(pipeline, stages, negative="red")[0]).any()


def test_another_model_is_refused(pipeline, folder, width):
    with pytest.raises(BackboneError, match="learned on model"):
        add_concepts(pipeline, folder, [Taught("rex", "0" * 64, token(width))])
