"""ResNets with and without instance normalisation (IBN-Net), cut behind a stage (PROTOCOL, section 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from bench.network.folding import Folded, convolved
from bench.network.norms import BatchNorm, NormedLayer, NormedSequential, normed
from bench.network.stages import Stages

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Bottleneck(resnet.Bottleneck, NormedLayer):
    """torchvision's block; with IBN-b an instance norm `IN` stands behind the sum, before the last ReLU."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.IN: nn.Module | None = None

    def normed_convolutions(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        return [(self.conv1, _batch_norm(self.bn1)), (self.conv2, self.bn2), (self.conv3, self.bn3)]

    def forward(self, x: Tensor, folded: Folded) -> Tensor:
        out = self.relu(_first_normed(self.conv1, self.bn1, x, folded))
        out = self.relu(normed(self.conv2, self.bn2, out, folded))
        return _summed(self, normed(self.conv3, self.bn3, out, folded), x, folded)


class _BasicBlock(resnet.BasicBlock, NormedLayer):
    """torchvision's block; with IBN-b an instance norm `IN` stands behind the sum, before the last ReLU."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.IN: nn.Module | None = None

    def normed_convolutions(self) -> list[tuple[nn.Conv2d, nn.Module]]:
        return [(self.conv1, _batch_norm(self.bn1)), (self.conv2, self.bn2)]

    def forward(self, x: Tensor, folded: Folded) -> Tensor:
        out = self.relu(_first_normed(self.conv1, self.bn1, x, folded))
        return _summed(self, normed(self.conv2, self.bn2, out, folded), x, folded)


_BLOCKS = {
    "resnet18": (_BasicBlock, (2, 2, 2, 2)),
    "resnet34": (_BasicBlock, (3, 4, 6, 3)),
    "resnet50": (_Bottleneck, (3, 4, 6, 3)),
    "resnet101": (_Bottleneck, (3, 4, 23, 3)),
}


def resnet_stages(arch: str, ibn: str, cut: str) -> Stages:
    """A ResNet up to and with the stage `cut`, with IBN "none", "a" or "b"; weights drawn as torchvision does."""
    block, counts = _BLOCKS[arch]
    network = resnet.ResNet(block, list(counts), norm_layer=BatchNorm)
    if ibn == "a":
        _insert_ibn_a(network)
    elif ibn == "b":
        _insert_ibn_b(network, block)
    number = _STAGES.index(cut)
    layers = NormedSequential()
    for name in ("conv1", "bn1", "relu", "maxpool"):
        layers.add_module(name, getattr(network, name))
    for name in _STAGES[: number + 1]:
        blocks = NormedSequential(*getattr(network, name))
        if blocks[0].downsample is not None:
            blocks[0].downsample = NormedSequential(*blocks[0].downsample)
        layers.add_module(name, blocks)
    beyond = tuple(f"{name}." for name in (*_STAGES[number + 1 :], "fc"))
    return Stages(layers, 64 * 2**number * block.expansion, 4 * 2**number, beyond)


class _HalfInstanceNorm(nn.Module):
    """IBN-a: instance norm on the first half of the channels, batch norm on the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = BatchNorm(channels - self.half)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self._halves(x)
        return torch.cat((self.IN(first.contiguous()), self.BN(second.contiguous())), dim=1)

    def behind(self, x: Tensor) -> Tensor:
        """The norm of a map x whose second half is normed already."""
        first, second = self._halves(x)
        return torch.cat((self.IN(first.contiguous()), second), dim=1)

    def _halves(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split((self.half, x.shape[1] - self.half), dim=1)


def _batch_norm(norm: nn.Module) -> nn.Module:
    """What normalises the last channels of a map by statistics over images, if anything does."""
    return norm.BN if isinstance(norm, _HalfInstanceNorm) else norm


def _first_normed(convolution: nn.Conv2d, norm: nn.Module, x: Tensor, folded: Folded) -> Tensor:
    """The first convolution of a block and its norm, which with IBN-a is one half an instance norm."""
    if isinstance(norm, _HalfInstanceNorm) and convolution in folded:
        return norm.behind(convolved(convolution, x, folded))
    return normed(convolution, norm, x, folded)


def _summed(block: _Bottleneck | _BasicBlock, out: Tensor, x: Tensor, folded: Folded) -> Tensor:
    """What a block gives for x: its last map `out` and x, or x brought to the map's size, summed."""
    out += x if block.downsample is None else block.downsample(x, folded)
    return block.relu(out if block.IN is None else block.IN(out))


def _insert_ibn_b(network: resnet.ResNet, block: type[_Bottleneck] | type[_BasicBlock]) -> None:
    network.bn1 = nn.InstanceNorm2d(64, affine=True)
    for layer, planes in ((network.layer1, 64), (network.layer2, 128)):
        channels = planes * block.expansion
        last = block(channels, planes, norm_layer=BatchNorm)
        last.IN = nn.InstanceNorm2d(channels, affine=True)
        layer[-1] = last
        _draw_convolutions(last)


def _insert_ibn_a(network: resnet.ResNet) -> None:
    for layer in (network.layer1, network.layer2, network.layer3):
        for block in layer:
            block.bn1 = _HalfInstanceNorm(block.bn1.num_features)


def _draw_convolutions(module: nn.Module) -> None:
    """Initial weights as torchvision draws them for a whole ResNet."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
