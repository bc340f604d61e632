"""The backbone of all heads: a published network up to a cut, and the neck behind it (PROTOCOL, section 1)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from bench.architectures import ARCHITECTURES
from bench.network.architectures import build_stages
from bench.network.common_start import start_file
from bench.network.norms import BatchNorm
from bench.network.published_weights import fetch_weights
from bench.network.stages import Stages
from bench.network.weight_file import WeightFile, read_file, read_state
from bench.network.weight_keys import fit
from bench.starts import name_of


class Backbone(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> feature maps [B, d, H/s, W/s]; s = 16 at the cuts that are the default.

    `stages` holds the layers that published weight files know, `neck` the 3 x 3 convolution to d channels (none if
    d is None: then the channels are those of the cut). With `freeze_batchnorm` the batch norms of `stages` keep
    their running statistics in training mode; their weights and biases still learn. They are then folded into the
    convolutions before them, in evaluation mode as well, so that the network is the same function in both.
    """

    def __init__(self, stages: Stages, neck: int | None) -> None:
        super().__init__()
        self.stages = stages.layers
        self.neck = nn.Conv2d(stages.channels, neck, kernel_size=3, padding=1) if neck else nn.Identity()
        self.channels = neck or stages.channels
        self.stride = stages.stride
        self.weights_sha256: str | None = None
        """SHA-256 of the file that the weights of `stages` come from; None where they were drawn."""

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.stages(images))

    @property
    def freeze_batchnorm(self) -> bool:
        """Whether all batch norms of `stages` are frozen."""
        return all(norm.frozen for norm in self._norms())

    @freeze_batchnorm.setter
    def freeze_batchnorm(self, frozen: bool) -> None:
        for norm in self._norms():
            norm.frozen = frozen
            norm.train(self.training)

    def _norms(self) -> Iterator[BatchNorm]:
        return (module for module in self.stages.modules() if isinstance(module, BatchNorm))

    def feature_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(d, h, w) of the feature map of an image of height x width pixels."""
        return self.channels, -(-height // self.stride), -(-width // self.stride)


def build_backbone(
    arch: str = "resnet50",
    ibn: str | None = None,
    cut: str | None = None,
    neck: int | None = None,
    weights: str | Path | None = None,
) -> Backbone:
    """A published network up to and with the stage or block `cut`, with a neck of `neck` channels or none.

    ibn, cut: None takes the architecture's own (`bench.architectures.ARCHITECTURES`): b and layer3 for a ResNet.
    weights: None draws them (torch's global generator), "imagenet" takes the published file from torch's hub cache,
    downloading it if there is a network; a start's name (`bench.starts`) takes what was made on this machine, or makes
    it; a path reads that file. Raises ValueError for unknown names, UserError
    where weights cannot be had.
    """
    if arch in ARCHITECTURES:
        ibn, cut = ibn or ARCHITECTURES[arch].ibn[0], cut or ARCHITECTURES[arch].cut
    stages = build_stages(arch, ibn, cut)
    backbone = Backbone(stages, neck)
    if weights is not None:
        file = _weight_file(weights, arch, ibn)
        stages.layers.load_state_dict(fit(read_state(file), stages, file.path, arch, ibn, cut), strict=False)
        backbone.weights_sha256 = file.sha256
    return backbone


def _weight_file(weights: str | Path, arch: str, ibn: str) -> WeightFile:
    if weights == "imagenet":
        return fetch_weights(arch, ibn)
    return start_file(weights, arch, ibn) if isinstance(weights, str) and name_of(weights) else read_file(Path(weights))
