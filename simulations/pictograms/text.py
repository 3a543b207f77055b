"""The Pictograms text side: a truncated CLIP tokenizer and a small CLIP text encoder.

The byte-pair merges are the first 4,000 of CLIP's (Radford et al. 2021), from the package
open-clip-torch; the weights are trained here.
"""

from __future__ import annotations

import gzip
import json
from importlib.util import find_spec
from pathlib import Path

from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MERGES = 4000
LENGTH = 20
"""Tokens in a caption, both ends included; the longest one trained on has 20."""
WIDTH = 192


def byte_symbols() -> list[str]:
    """Return the 256 printable symbols that byte-level BPE writes bytes with, in CLIP's order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(rest))]


def write_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write the truncated vocabulary as an ordinary `CLIPTokenizer` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    spec = find_spec("open_clip")  # found, never imported: only its vocabulary is wanted
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the vocabulary of open-clip-torch is missing: pip install open-clip-torch --no-deps")
    packed = Path(spec.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
    merges = gzip.decompress(packed.read_bytes()).decode().split("\n")[1 : MERGES + 1]
    symbols = byte_symbols()
    words = [*symbols, *(s + "</w>" for s in symbols), *("".join(m.split()) for m in merges)]
    vocabulary = {word: i for i, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]))
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=LENGTH
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return the untrained text encoder: two layers of width 192."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=6,
        max_position_embeddings=LENGTH,
        projection_dim=WIDTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)
