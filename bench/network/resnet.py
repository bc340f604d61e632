"""ResNets with and without instance normalisation (IBN-Net), cut behind a stage (PROTOCOL, section 1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet

from bench.network.norms import BatchNorm, NormedSequential, convolved, normed
from bench.network.stages import Stages

_STAGES = ("layer1", "layer2", "layer3", "layer4")


class _Bottleneck(resnet.Bottleneck):
    """torchvision's block; with IBN-b an instance norm `IN` stands behind the sum, before the last ReLU."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.IN: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(_first_normed(self.conv1, self.bn1, x))
        out = self.relu(normed(self.conv2, self.bn2, out))
        return _summed(self, normed(self.conv3, self.bn3, out), x)


class _BasicBlock(resnet.BasicBlock):
    """torchvision's block; with IBN-b an instance norm `IN` stands behind the sum, before the last ReLU."""

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.IN: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(_first_normed(self.conv1, self.bn1, x))
        return _summed(self, normed(self.conv2, self.bn2, out), x)


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
    for name in ("conv1", "bn1", "relu", "maxpool", *_STAGES[: number + 1]):
        layers.add_module(name, getattr(network, name))
    for name in _STAGES[: number + 1]:
        first = layers.get_submodule(name)[0]
        if first.downsample is not None:
            first.downsample = NormedSequential(*first.downsample)
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

    def behind(self, convolution: nn.Conv2d, x: Tensor) -> Tensor:
        """The norm of convolution(x), the frozen batch norm folded into the convolution."""
        scale, shift = self.BN.scale_and_shift()
        first, second = self._halves(
            convolved(
                convolution,
                torch.cat((scale.new_ones(self.half), scale)),
                torch.cat((shift.new_zeros(self.half), shift)),
                x,
            )
        )
        return torch.cat((self.IN(first.contiguous()), second), dim=1)

    def _halves(self, x: Tensor) -> tuple[Tensor, ...]:
        return x.split((self.half, x.shape[1] - self.half), dim=1)


def _first_normed(convolution: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """The first convolution of a block and its norm, which with IBN-a is one half an instance norm."""
    if isinstance(norm, _HalfInstanceNorm) and norm.BN.frozen:
        return norm.behind(convolution, x)
    return normed(convolution, norm, x)


def _summed(block: _Bottleneck | _BasicBlock, out: Tensor, x: Tensor) -> Tensor:
    """What a block gives for x: its last map `out` and x, or x brought to the map's size, summed."""
    out += x if block.downsample is None else block.downsample(x)
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
