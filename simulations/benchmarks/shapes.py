"""Folders of pipelines with a real model's exact architecture and random weights: for cost, never for quality.

Every number below is the published configuration's; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from client.backbone.folder import SHIPPED

UNETS: dict[str, dict[str, Any]] = {
    "sd15": {
        "sample_size": 64,
        "block_out_channels": (320, 640, 1280, 1280),
        "cross_attention_dim": 768,
        "attention_head_dim": 8,
    },
    "tiny": {
        "sample_size": 8,
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    },
}
UNETS["sd2"] = UNETS["sd15"] | {
    "sample_size": 96,
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
}
UNETS["tiny-2"] = UNETS["tiny"] | {
    "attention_head_dim": (1, 2),
    "cross_attention_dim": 64,
    "use_linear_projection": True,
}
"""``sd2``: Stable Diffusion 2.1's at 768 pixels: heads of 64 numbers, linear projections, a wider text encoder."""

_XL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "addition_embed_type": "text_time",
    "use_linear_projection": True,
}
UNETS["sdxl"] = _XL | {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
UNETS["tiny-xl"] = _XL | {
    "sample_size": 8,
    "block_out_channels": (16, 32, 32),
    "layers_per_block": 1,
    "transformer_layers_per_block": (1, 1, 2),
    "attention_head_dim": (1, 2, 2),
    "cross_attention_dim": 80,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 96,
    "norm_num_groups": 8,
}
"""``sd15``: Stable Diffusion 1.5's U-Net; the rest of it is diffusers' defaults, which are that model's."""

TEXTS: dict[str, dict[str, Any]] = {
    "sd15": {
        "vocab_size": 49408,
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
    },
    "tiny": {
        "vocab_size": 4514,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 20,
    },
}
TEXTS |= {"sdxl": TEXTS["sd15"], "tiny-xl": TEXTS["tiny"]}
"""``sd15``: the text encoder of CLIP ViT-L/14."""

TEXTS["sd2"] = TEXTS["sd15"] | {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 23,
    "num_attention_heads": 16,
    "hidden_act": "gelu",
    "projection_dim": 512,
}
TEXTS["tiny-2"] = TEXTS["tiny"] | {"hidden_size": 64, "num_hidden_layers": 3, "hidden_act": "gelu"}
"""``sd2``: OpenCLIP ViT-H/14 of 24 layers, whose last one Stable Diffusion 2 leaves out; as converted for diffusers it
has 23, so that the last state is the penultimate one's."""

SECOND_TEXTS: dict[str, dict[str, Any]] = {
    "sdxl": TEXTS["sd15"]
    | {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
    },
    "tiny-xl": TEXTS["tiny"] | {"hidden_size": 48, "num_hidden_layers": 2, "projection_dim": 48},
}
"""The second text encoder of Stable Diffusion XL (arXiv:2307.01952): OpenCLIP ViT-bigG/14."""

VAES: dict[str, dict[str, Any]] = {
    "sd15": {"block_out_channels": (128, 256, 512, 512), "layers_per_block": 2, "sample_size": 512},
    "tiny": {"block_out_channels": (8, 16, 16), "layers_per_block": 1, "sample_size": 32, "norm_num_groups": 8},
}

VAES |= {"sdxl": VAES["sd15"] | {"sample_size": 1024}, "tiny-xl": VAES["tiny"]}
VAES |= {"sd2": VAES["sd15"] | {"sample_size": 768}, "tiny-2": VAES["tiny"]}

NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
"""Stable Diffusion's noise schedule."""

PREDICTIONS = {"sd2": "v_prediction", "tiny-2": "v_prediction"}
"""What a U-Net predicts (Salimans & Ho, arXiv:2202.00512) where it is not the noise."""

PADDING = {"sd2": "!", "tiny-2": "!"}
"""What fills a prompt up where it is not the end of the text: OpenCLIP's tokenizers pad with the word of id 0."""


def write_shape(shape: str, folder: Path, *, seed: int = 0, dtype: torch.dtype = torch.float16) -> Path:
    """Write a pipeline's folder with the architecture of ``shape`` and random weights; return it.

    Args:
        shape: a key of `UNETS`.
        folder: is made; one that is there already is taken as it is.
        seed: decides the weights.
        dtype: of the files, as models are published.
    """
    if (folder / "unet").exists():
        return folder
    torch.manual_seed(seed)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # in float32 XL's networks would take 14 GB while they are made
    try:
        parts = _parts(shape)
    finally:
        torch.set_default_dtype(usual)
    if shape in SECOND_TEXTS:
        pipeline = StableDiffusionXLPipeline(**parts)
    else:
        pipeline = StableDiffusionPipeline(**parts, safety_checker=None, requires_safety_checker=False)
    pipeline.to(dtype).save_pretrained(folder)
    return folder


def _parts(shape: str) -> dict[str, Any]:
    """Return a pipeline's parts by name, their weights drawn."""
    tokenizer = CLIPTokenizer.from_pretrained(
        SHIPPED,
        subfolder="tokenizer",
        model_max_length=TEXTS[shape]["max_position_embeddings"],
        **({"pad_token": PADDING[shape]} if shape in PADDING else {}),
    )
    ends = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    vae = VAES[shape]
    blocks = len(vae["block_out_channels"])
    parts: dict[str, Any] = {
        "vae": AutoencoderKL(
            **vae, down_block_types=("DownEncoderBlock2D",) * blocks, up_block_types=("UpDecoderBlock2D",) * blocks
        ),
        "text_encoder": CLIPTextModel(CLIPTextConfig(**{"hidden_act": "quick_gelu"} | TEXTS[shape] | ends)),
        "tokenizer": tokenizer,
        "unet": UNet2DConditionModel(**UNETS[shape]),
        "scheduler": DDIMScheduler(**NOISE, prediction_type=PREDICTIONS.get(shape, "epsilon")),
        "feature_extractor": None,
    }
    if shape in SECOND_TEXTS:
        second = CLIPTextModelWithProjection(CLIPTextConfig(**SECOND_TEXTS[shape], **ends, hidden_act="gelu"))
        parts |= {"text_encoder_2": second, "tokenizer_2": tokenizer}
    return parts
