"""ResNets with and without instance normalisation (IBN-Net), cut behind a stage (PROTOCOL, section 1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from bench.network.stages import Stages

_BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
_STAGES = ("layer1", "layer2", "layer3", "layer4")


def resnet_stages(arch: str, ibn: str, cut: str) -> Stages:
    """A ResNet up to and with the stage `cut`, with IBN "none", "a" or "b"; weights drawn as torchvision does."""
    block, counts = _BLOCKS[arch]
    network = ResNet(block, list(counts))
    if ibn == "a":
        _insert_ibn_a(network)
    elif ibn == "b":
        _insert_ibn_b(network)
    number = _STAGES.index(cut)
    layers = nn.Sequential()
    for name in ("conv1", "bn1", "relu", "maxpool", *_STAGES[: number + 1]):
        layers.add_module(name, getattr(network, name))
    beyond = tuple(f"{name}." for name in (*_STAGES[number + 1 :], "fc"))
    return Stages(layers, 64 * 2**number * block.expansion, 4 * 2**number, beyond)


class _InstanceNormBottleneck(Bottleneck):
    """IBN-b: instance norm after the residual sum, before the last ReLU."""

    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__(inplanes, planes)
        self.IN = nn.InstanceNorm2d(planes * self.expansion, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.IN(self.bn3(self.conv3(out)) + x))


class _InstanceNormBasicBlock(BasicBlock):
    """IBN-b: instance norm after the residual sum, before the last ReLU."""

    def __init__(self, inplanes: int, planes: int) -> None:
        super().__init__(inplanes, planes)
        self.IN = nn.InstanceNorm2d(planes, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.IN(self.bn2(self.conv2(out)) + x))


class _HalfInstanceNorm(nn.Module):
    """IBN-a: instance norm on the first half of the channels, batch norm on the rest."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.IN = nn.InstanceNorm2d(self.half, affine=True)
        self.BN = nn.BatchNorm2d(channels - self.half)

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.split((self.half, x.shape[1] - self.half), dim=1)
        return torch.cat((self.IN(first.contiguous()), self.BN(second.contiguous())), dim=1)


def _insert_ibn_b(network: ResNet) -> None:
    network.bn1 = nn.InstanceNorm2d(64, affine=True)
    for layer, planes in ((network.layer1, 64), (network.layer2, 128)):
        if isinstance(layer[-1], Bottleneck):
            layer[-1] = _InstanceNormBottleneck(planes * Bottleneck.expansion, planes)
        else:
            layer[-1] = _InstanceNormBasicBlock(planes, planes)
        _draw_convolutions(layer[-1])


def _insert_ibn_a(network: ResNet) -> None:
    for layer in (network.layer1, network.layer2, network.layer3):
        for block in layer:
            block.bn1 = _HalfInstanceNorm(block.bn1.num_features)


def _draw_convolutions(module: nn.Module) -> None:
    """Initial weights as torchvision draws them for a whole ResNet."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
