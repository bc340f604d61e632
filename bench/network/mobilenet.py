"""MobileNetV2 of width 1.0, cut behind any of its blocks (PROTOCOL, section 1)."""

from __future__ import annotations

from collections import OrderedDict
from math import prod

from torch import Tensor, nn
from torchvision.models import MobileNetV2, mobilenetv2

from bench.network.folding import Folded
from bench.network.norms import BatchNorm, NormedLayer, NormedSequential
from bench.network.stages import Stages


class _InvertedResidual(mobilenetv2.InvertedResidual, NormedLayer):
    """torchvision's block."""

    def forward(self, x: Tensor, folded: Folded) -> Tensor:
        out = self.conv(x, folded)
        return x + out if self.use_res_connect else out


def mobilenet_stages(cut: str) -> Stages:
    """MobileNetV2 up to and with the block `cut`, "features.0" to "features.18"; weights drawn as torchvision does."""
    blocks = MobileNetV2(block=_InvertedResidual, norm_layer=BatchNorm).features
    kept = blocks[: int(cut.removeprefix("features.")) + 1]
    channels = kept[-1].out_channels
    layers = NormedSequential()
    layers.add_module("features", _normed(kept))
    # No convolution of this network lies beside another, so that their strides multiply.
    stride = prod(module.stride[0] for module in kept.modules() if isinstance(module, nn.Conv2d))
    beyond = tuple(f"features.{number}." for number in range(len(kept), len(blocks)))
    return Stages(layers, channels, stride, (*beyond, "classifier."))


def _normed(module: nn.Module) -> nn.Module:
    """The same layers under the same names, each sequence of them one that takes convolutions and norms together."""
    for name, part in module.named_children():
        setattr(module, name, _normed(part))
    return NormedSequential(OrderedDict(module.named_children())) if isinstance(module, nn.Sequential) else module
