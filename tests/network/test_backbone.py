"""The backbone: sizes, IBN, frozen norms. Golden numbers: test_golden.py."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.network.backbone import build_backbone


@pytest.mark.parametrize(
    ("arch", "channels"), [("resnet18", 256), ("resnet34", 256), ("resnet50", 1024), ("resnet101", 1024)]
)
@pytest.mark.parametrize("ibn", ["none", "a", "b"])
def test_every_architecture_gives_the_map_it_announces(arch, channels, ibn):
    backbone = build_backbone(arch, ibn=ibn, cut="layer3").eval()
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 48, 32))
    assert found.shape[1:] == backbone.feature_shape(48, 32) == (channels, 3, 2)


def test_the_papers_map_is_24_by_8():
    assert build_backbone("resnet50", neck=512).feature_shape(384, 128) == (512, 24, 8)


@pytest.mark.parametrize(("cut", "stride"), [("layer1", 4), ("layer2", 8), ("layer3", 16), ("layer4", 32)])
def test_cuts_differ_in_stride_also_for_odd_sizes(cut, stride):
    backbone = build_backbone("resnet18", cut=cut, neck=8).eval()
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 50, 35))
    assert found.shape[1:] == backbone.feature_shape(50, 35)
    assert backbone.stride == stride


def test_ibn_b_has_three_instance_norms_where_the_paper_puts_them():
    backbone = build_backbone("resnet50", ibn="b")
    found = {name for name, module in backbone.named_modules() if isinstance(module, nn.InstanceNorm2d)}
    assert found == {"stages.bn1", "stages.layer1.2.IN", "stages.layer2.3.IN"}


def test_ibn_a_splits_the_first_norm_of_each_block():
    names = build_backbone("resnet18", ibn="a").state_dict()
    assert names["stages.layer1.0.bn1.IN.weight"].shape == names["stages.layer1.0.bn1.BN.weight"].shape == (32,)
    assert "stages.layer1.0.bn2.BN.weight" not in names


def test_frozen_norms_keep_statistics_and_learn_weights():
    backbone = build_backbone("resnet18", neck=8)
    backbone.freeze_batchnorm = True
    backbone.train()
    before = {key: value.clone() for key, value in backbone.state_dict().items() if "running" in key}
    backbone(torch.rand(2, 3, 32, 32)).sum().backward()
    assert all(torch.equal(value, backbone.state_dict()[key]) for key, value in before.items())
    assert backbone.stages.layer1[0].bn1.weight.grad is not None
    backbone.freeze_batchnorm = False
    backbone.train()(torch.rand(2, 3, 32, 32))
    assert any(not torch.equal(value, backbone.state_dict()[key]) for key, value in before.items())


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="resnet18, resnet34"):
        build_backbone("resnet19")
