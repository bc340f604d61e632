"""From the name of an architecture to its layers."""

from __future__ import annotations

from bench.architectures import check_architecture
from bench.network.mobilenet import mobilenet_stages
from bench.network.resnet import resnet_stages
from bench.network.stages import Stages


def build_stages(arch: str, ibn: str, cut: str) -> Stages:
    """The layers of an architecture up to a cut, with weights from torch's global generator.

    Raises ValueError for what `bench.architectures.ARCHITECTURES` does not hold.
    """
    check_architecture(arch, ibn, cut)
    return mobilenet_stages(cut) if arch == "mobilenet_v2" else resnet_stages(arch, ibn, cut)
