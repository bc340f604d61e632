"""MobileNetV2: torchvision's layers up to any block, in the place of a ResNet."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.models import MobileNetV2

from bench.config import parse_overrides
from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.network.matcher import Matcher
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve
from bench.training.optimizer import Optimizer


@pytest.fixture
def torchvisions(tmp_path):
    """torchvision's network with random weights and statistics, and the file it would be published as."""
    torch.manual_seed(1)
    network = MobileNetV2().eval()
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.uniform_(0.5, 1.5)
    path = tmp_path / "mobilenet_v2.pth"
    torch.save(network.state_dict(), path)
    return network, path


@pytest.mark.parametrize("cut", [0, 3, 13, 18])
def test_up_to_the_cut_it_is_torchvisions_network(torchvisions, cut):
    network, path = torchvisions
    backbone = build_backbone("mobilenet_v2", cut=f"features.{cut}", weights=path).eval()
    images = torch.rand(2, 3, 96, 32)
    with torch.no_grad():
        assert (backbone(images) - network.features[: cut + 1](images)).abs().max() < 1e-5


def test_its_map_has_as_many_places_as_that_of_a_resnet():
    backbone = build_backbone("mobilenet_v2")
    assert backbone.feature_shape(384, 128) == (96, 24, 8)
    assert build_backbone("mobilenet_v2", neck=512).feature_shape(384, 128) == (512, 24, 8)
    assert list(backbone.stages.features)[-1] is backbone.stages.features[13]


@pytest.mark.parametrize(("cut", "stride"), [(0, 2), (1, 2), (2, 4), (4, 8), (7, 16), (14, 32), (18, 32)])
def test_every_cut_gives_the_map_it_announces_also_for_odd_sizes(cut, stride):
    backbone = build_backbone("mobilenet_v2", cut=f"features.{cut}", neck=8).eval()
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 50, 35))
    assert found.shape[1:] == backbone.feature_shape(50, 35)
    assert backbone.stride == stride


def test_frozen_norms_keep_their_statistics():
    backbone = build_backbone("mobilenet_v2", neck=8)
    backbone.freeze_batchnorm = True
    backbone.train()
    before = {key: value.clone() for key, value in backbone.state_dict().items() if "running" in key}
    backbone(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in before.items())
    norms = [module for module in backbone.stages.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 39 and all(norm.weight.grad is not None for norm in norms)


def config(*changes):
    cell = plan(load_study("table2"), load_preset(None), parse_overrides(changes), ["cosine"], seeds=[0])[0]
    return resolve(cell.config, "cpu")


def test_cut_and_norm_are_the_architectures_own_where_they_are_not_given():
    found = config("backbone.arch=mobilenet_v2").backbone
    assert (found.cut, found.ibn) == ("features.13", "none")
    assert config("backbone.arch=mobilenet_v2", "backbone.cut=features.6").backbone.cut == "features.6"
    found = config("backbone.arch=resnet18").backbone
    assert (found.cut, found.ibn) == ("layer3", "b")


def test_its_imagenet_layers_learn_at_the_low_rate_and_its_neck_at_the_other():
    asked = config("backbone.arch=mobilenet_v2", "training.clip=32", "width=16")
    model = Matcher(asked, "cosine", None)
    low, high = Optimizer(model, asked, 1).sgd.param_groups
    assert (low["lr"], high["lr"], asked.training.clip) == (0.0005, 0.005, 32)
    assert {id(parameter) for parameter in model.backbone.stages.parameters()} == set(map(id, low["params"]))
    assert model.backbone.neck.weight is high["params"][0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("backbone.arch=mobilenet_v2", "backbone.ibn=a"), "backbone.ibn=a: mobilenet_v2 is there with IBN none only"),
        (
            ("backbone.arch=mobilenet_v2", "backbone.cut=layer3"),
            "backbone.cut=layer3: mobilenet_v2 .* features.0 to features.18",
        ),
        (("backbone.cut=features.13",), "backbone.cut=features.13: resnet50 can be cut behind layer1 to layer4"),
        (("backbone.arch=mobilenet",), "backbone.arch: "),
        (("backbone.arch=[1]",), "backbone.arch: "),
    ],
)
def test_choices_that_do_not_go_together_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        config(*changes)
