"""ResNet with instance normalisation, cut behind a stage, and the neck in front of all heads (PROTOCOL, section 1)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, ResNet34_Weights, ResNet50_Weights, ResNet101_Weights
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from bench.errors import UserError

_BLOCKS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
_STAGES = ("layer1", "layer2", "layer3", "layer4")

_IBN_RELEASE = "https://github.com/XingangPan/IBN-Net/releases/download/v1.0/"
WEIGHTS_URLS = {
    ("resnet18", "none"): ResNet18_Weights.IMAGENET1K_V1.url,
    ("resnet34", "none"): ResNet34_Weights.IMAGENET1K_V1.url,
    ("resnet50", "none"): ResNet50_Weights.IMAGENET1K_V1.url,
    ("resnet101", "none"): ResNet101_Weights.IMAGENET1K_V1.url,
    ("resnet18", "a"): _IBN_RELEASE + "resnet18_ibn_a-2f571257.pth",
    ("resnet34", "a"): _IBN_RELEASE + "resnet34_ibn_a-94bc1577.pth",
    ("resnet50", "a"): _IBN_RELEASE + "resnet50_ibn_a-d9d0bb7b.pth",
    ("resnet101", "a"): _IBN_RELEASE + "resnet101_ibn_a-59ea0ac6.pth",
    ("resnet18", "b"): _IBN_RELEASE + "resnet18_ibn_b-bc2f3c11.pth",
    ("resnet34", "b"): _IBN_RELEASE + "resnet34_ibn_b-04134c37.pth",
    ("resnet50", "b"): _IBN_RELEASE + "resnet50_ibn_b-9ca61e85.pth",
    ("resnet101", "b"): _IBN_RELEASE + "resnet101_ibn_b-c55f6dba.pth",
}
"""Published ImageNet weights by (architecture, IBN): torchvision's and IBN-Net's."""


class Backbone(nn.Module):
    """Images [B, 3, H, W] in [0, 1] -> feature maps [B, d, H/s, W/s]; s = 16 behind layer3.

    `stages` holds the layers that published weight files know, `neck` the 3 x 3 convolution to d channels (none if
    d is None: then the channels are those of the cut). With `freeze_batchnorm` the batch norms of `stages` keep
    their running statistics in training mode; their weights and biases still learn.
    """

    def __init__(self, stages: nn.Sequential, channels: int, neck: int | None, stride: int) -> None:
        super().__init__()
        self.stages = stages
        self.neck = nn.Conv2d(channels, neck, kernel_size=3, padding=1) if neck else nn.Identity()
        self.channels = neck or channels
        self.stride = stride
        self.freeze_batchnorm = False

    def forward(self, images: Tensor) -> Tensor:
        return self.neck(self.stages(images))

    def train(self, mode: bool = True) -> Backbone:
        """Training or evaluation mode; frozen batch norms stay in evaluation mode."""
        super().train(mode)
        if self.freeze_batchnorm:
            for module in self.stages.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def feature_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(d, h, w) of the feature map of an image of height x width pixels."""
        return self.channels, -(-height // self.stride), -(-width // self.stride)

    def load_published(self, state: dict[str, Tensor]) -> None:
        """Load weights under the published keys of the whole network.

        Entries beyond the cut are dropped by name. Raises ValueError naming any other surplus or missing key;
        `num_batches_tracked`, which old files lack and nothing here reads, may be missing.
        """
        beyond = tuple(f"{name}." for name in (*_STAGES, "fc") if name not in dict(self.stages.named_children()))
        state = {key: value for key, value in state.items() if not key.startswith(beyond)}
        missing, surplus = self.stages.load_state_dict(state, strict=False)
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
        for problem, keys in (("lacks", missing), ("has unexpected", surplus)):
            if keys:
                raise ValueError(f"the weight file {problem} keys: {', '.join(keys[:5])} ({len(keys)} in all)")


def build_backbone(
    arch: str = "resnet50",
    ibn: str = "b",
    cut: str = "layer3",
    neck: int | None = None,
    weights: str | Path | None = None,
) -> Backbone:
    """A ResNet up to and with stage `cut`, with a neck of `neck` channels or none.

    weights: None draws them (torch's global generator), "imagenet" takes the published file from torch's hub cache,
    downloading it if there is a network; a path reads that file. Raises ValueError for unknown names, UserError
    where weights cannot be had.
    """
    if arch not in _BLOCKS or ibn not in ("none", "a", "b") or cut not in _STAGES:
        raise ValueError(
            f"no backbone {arch!r} with ibn {ibn!r} cut at {cut!r}; known: {', '.join(_BLOCKS)}, "
            f"ibn none, a, b, cut at {', '.join(_STAGES)}"
        )
    block, counts = _BLOCKS[arch]
    network = ResNet(block, list(counts))
    if ibn == "a":
        _insert_ibn_a(network)
    elif ibn == "b":
        _insert_ibn_b(network)
    kept = _STAGES[: _STAGES.index(cut) + 1]
    stages = nn.Sequential()
    for name in ("conv1", "bn1", "relu", "maxpool", *kept):
        stages.add_module(name, getattr(network, name))
    backbone = Backbone(stages, 64 * 2 ** (len(kept) - 1) * block.expansion, neck, 4 * 2 ** (len(kept) - 1))
    if weights is not None:
        _load_weights(backbone, arch, ibn, weights)
    return backbone


def weights_path(arch: str, ibn: str) -> Path:
    """Where torch's hub cache keeps the published weights of an architecture."""
    return Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS_URLS[arch, ibn].rsplit("/", 1)[1]


def fetch_weights(arch: str, ibn: str, progress: bool = True) -> Path:
    """Fill the cache with the published weights, if they are not there; returns their path.

    Raises UserError with the address and the path if there is neither file nor network.
    """
    path, url = weights_path(arch, ibn), WEIGHTS_URLS[arch, ibn]
    if not path.exists():
        try:
            torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=progress, check_hash=True)
        except (OSError, RuntimeError) as fault:
            raise UserError(
                f"ImageNet weights of {arch} (IBN {ibn}) are not in the cache ({path}) and cannot be downloaded "
                f"({fault}). On a machine with a network run `bench weights fetch --arch {arch} --ibn {ibn}` and copy "
                f"the file there, or name a file with --set backbone.weights=PATH. Source: {url}"
            ) from fault
    return path


def _load_weights(backbone: Backbone, arch: str, ibn: str, weights: str | Path) -> None:
    path = fetch_weights(arch, ibn) if weights == "imagenet" else Path(weights)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        backbone.load_published(state)
    except Exception as fault:  # torch.load raises whatever a foreign file leads it to
        raise UserError(
            f"cannot load backbone weights from {path} ({type(fault).__name__}: {fault}); if the file is damaged, "
            "delete it and fetch it again"
        ) from fault


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
