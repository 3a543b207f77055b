"""A tiny random backbone: the real classes with next to no weights, so that tests take seconds."""

from __future__ import annotations

import json
import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _keys_of_vaults(tmp_path_factory):
    """Keep the keys of all vaults that tests make in one file: no keyring and no passphrase are asked for."""
    os.environ.setdefault("SHOAL_KEY_FILE", str(tmp_path_factory.mktemp("key") / "vault.key"))


QUIET = {"steps_offset": 1, "clip_sample": False}
"""What diffusers would otherwise set itself, with a warning."""

WORDS = ["a", "photo", "of", "picture", "in", "the", "style", "dog", "cat", "red"]


def write_vocabulary(folder):
    """Write letters and a few whole words as a byte-pair vocabulary."""
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges = []
    for word in WORDS:
        left = word[0]
        for i, letter in enumerate(word[1:], start=1):
            right = letter + ("</w>" if i == len(word) - 1 else "")
            if f"{left} {right}" not in merges:
                merges.append(f"{left} {right}")
            left += right
            if left not in vocabulary:
                vocabulary.append(left)
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))


def new_tokenizer(folder):
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    write_vocabulary(folder)
    return CLIPTokenizer(vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=16)


def new_text_encoder(tokenizer):
    from transformers import CLIPTextConfig, CLIPTextModel

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=32,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_pipeline(folder):
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
        sample_size=32,
    )
    schedule = DDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing", **QUIET
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=new_text_encoder(tokenizer),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=schedule,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory):
    """The folder of a random pipeline: width 32, pictures of 32 pixels. Nobody may write into it."""
    folder = tmp_path_factory.mktemp("backbone")
    new_pipeline(folder / "words").save_pretrained(folder / "tiny", safe_serialization=True)
    return folder / "tiny"
