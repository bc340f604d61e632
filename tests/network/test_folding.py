"""Frozen batch norms stand in the convolutions' weights; nothing else about a backbone follows from it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models import MobileNetV2, resnet18, resnet50

from bench.network.backbone import Backbone, build_backbone
from bench.network.norms import BatchNorm

NETWORKS = [
    ("resnet18", "none", "layer3"),
    ("resnet18", "a", "layer3"),
    ("resnet18", "b", "layer3"),
    ("resnet50", "none", "layer1"),
    ("resnet50", "a", "layer1"),
    ("resnet50", "b", "layer2"),
    ("mobilenet_v2", "none", "features.5"),
]


class Counted(TorchDispatchMode):
    """Counts the calls of operators by name."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, int] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.calls[name] = self.calls.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


def learnt(arch: str, ibn: str, cut: str) -> Backbone:
    """A float64 backbone whose norms have statistics, weights and biases of their own, as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        backbone = build_backbone(arch, ibn=ibn, cut=cut, neck=8).double()
        for norm in backbone.modules():
            if isinstance(norm, nn.BatchNorm2d | nn.InstanceNorm2d):
                norm.weight.data.uniform_(0.5, 1.5)
                norm.bias.data.uniform_(-0.5, 0.5)
            if isinstance(norm, nn.BatchNorm2d):
                norm.running_mean.uniform_(-0.5, 0.5)
                norm.running_var.uniform_(0.5, 1.5)
    return backbone


def images(count: int = 2, height: int = 33, width: int = 17) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


@pytest.mark.parametrize(("arch", "ibn", "cut"), NETWORKS)
def test_folded_the_map_and_all_gradients_are_those_of_norms_apart(arch, ibn, cut):
    folded, inputs = learnt(arch, ibn, cut), images().requires_grad_()
    apart = copy.deepcopy(folded).eval()
    folded.freeze_batchnorm = True
    results = []
    for backbone in (folded.train(), apart):
        found = backbone(inputs)
        weights = torch.sin(torch.arange(found.numel(), dtype=found.dtype)).view(found.shape)
        named = dict(backbone.named_parameters())
        gradients = torch.autograd.grad((found * weights).sum(), [inputs, *named.values()])
        results.append({"map": found, **dict(zip(["images", *named], gradients, strict=True))})
    for name, expected in results[1].items():
        # An instance norm voids the shift in front of it, whose gradient is noise.
        length = expected.norm().clamp(min=1e-3)
        assert (results[0][name] - expected).norm() / length < 1e-10, name


@pytest.mark.parametrize(("arch", "ibn", "cut"), NETWORKS)
def test_frozen_no_map_passes_through_a_batch_norm(arch, ibn, cut):
    backbone = build_backbone(arch, ibn=ibn, cut=cut)
    instance_norms = sum(isinstance(module, nn.InstanceNorm2d) for module in backbone.modules())
    backbone.freeze_batchnorm = True
    for mode in (True, False):
        with Counted() as counted, torch.no_grad():
            backbone.train(mode)(images().float())
        norms = sum(count for name, count in counted.calls.items() if "batch_norm" in name)
        assert norms == instance_norms, counted.calls


def test_a_frozen_backbone_is_the_same_function_in_training_and_evaluation():
    backbone = build_backbone("resnet18", ibn="a")
    backbone.freeze_batchnorm = True
    with torch.no_grad():
        assert torch.equal(backbone.train()(images().float()), backbone.eval()(images().float()))


@pytest.mark.parametrize(
    ("arch", "cut", "torchvisions"),
    [
        ("resnet18", "layer3", resnet18),
        ("resnet50", "layer2", resnet50),
        ("mobilenet_v2", "features.8", MobileNetV2),
    ],
)
def test_norms_that_learn_their_statistics_leave_torchvisions_network_to_the_last_bit(arch, cut, torchvisions):
    torch.manual_seed(5)
    backbone = build_backbone(arch, ibn="none", cut=cut).train()
    torch.manual_seed(5)
    whole = torchvisions().train()
    taken = [child for name, child in whole.named_children() if name in dict(backbone.stages.named_children())]
    layers = nn.Sequential(*taken) if arch != "mobilenet_v2" else whole.features[:9]
    assert type(next(module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d))) is BatchNorm
    for network in (backbone, layers):
        network(images(3).float()).square().mean().backward()
    ours, theirs = list(backbone.stages.named_parameters()), list(layers.parameters())
    assert len(ours) == len(theirs)
    for (name, parameter), other in zip(ours, theirs, strict=True):
        assert torch.equal(parameter.grad, other.grad), name
    for buffer, other in zip(backbone.stages.buffers(), layers.buffers(), strict=True):
        assert torch.equal(buffer, other)


@pytest.mark.parametrize("torchvisions", [resnet18, resnet50, MobileNetV2])
def test_the_names_of_weights_are_torchvisions(torchvisions):
    arch = "mobilenet_v2" if torchvisions is MobileNetV2 else torchvisions.__name__
    cut = "features.18" if arch == "mobilenet_v2" else "layer4"
    backbone = build_backbone(arch, ibn="none", cut=cut)
    published = [name for name in torchvisions().state_dict() if not name.startswith(("fc.", "classifier."))]
    assert list(backbone.stages.state_dict()) == published


def test_thawed_norms_learn_their_statistics_again():
    backbone = build_backbone("resnet18").train()
    backbone.freeze_batchnorm = True
    assert backbone.freeze_batchnorm and not backbone.stages.layer1[0].bn1.training
    backbone.freeze_batchnorm = False
    assert not backbone.freeze_batchnorm and backbone.stages.layer1[0].bn1.training
