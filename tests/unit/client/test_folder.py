from __future__ import annotations

import json

import pytest

from client.backbone.folder import Sampling, find_backbone, sampling
from common.errors import BackboneError


def test_what_is_named_wins_over_the_environment(tiny_backbone, tmp_path):
    assert find_backbone(str(tiny_backbone), {"SHOAL_MODEL": str(tmp_path)}) == tiny_backbone


def test_the_environment_names_the_default(tiny_backbone):
    assert find_backbone(None, {"SHOAL_MODEL": str(tiny_backbone)}) == tiny_backbone


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    with pytest.raises(BackboneError, match=r"unet/config\.json is missing.*--model"):
        find_backbone(str(tmp_path), {})


@pytest.mark.parametrize("name", ["no/such/folder/here", "nobody/nothing", "..."])
def test_a_name_that_leads_nowhere_is_refused(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackboneError, match="name a local folder"):
        find_backbone(name, {})


def test_a_backbone_says_how_it_is_best_sampled(tmp_path):
    assert sampling(tmp_path) == Sampling()
    (tmp_path / "shoal.json").write_text(json.dumps({"sampling": {"guidance": 4.0, "steps": 20}}))
    assert sampling(tmp_path) == Sampling(guidance=4.0, steps=20)


@pytest.mark.parametrize("text", ["{", '{"sampling": {"guidence": 4}}', "[]"])
def test_a_damaged_note_on_sampling_is_named(tmp_path, text):
    (tmp_path / "shoal.json").write_text(text)
    with pytest.raises(BackboneError, match="mend it or delete it"):
        sampling(tmp_path)
