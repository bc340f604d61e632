"""A compiled backbone is the same function; a machine that cannot compile is told of in one sentence."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch import nn
from torch._dynamo.exc import TorchDynamoException

from bench.errors import CellFailed
from bench.network.backbone import Backbone
from bench.network.compiled import compiled
from bench.network.norms import BatchNorm, NormedSequential
from bench.network.stages import Stages


def one_layer() -> Backbone:
    """With a frozen batch norm, a ReLU and a neck: compiling more takes long."""
    norm = BatchNorm(4)
    norm.frozen = True
    layers = NormedSequential(nn.Conv2d(3, 4, 3, bias=False), norm, nn.ReLU())
    return Backbone(Stages(layers, 4, 1, ()), 2)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_backbone_gives_the_same_maps_and_gradients():
    backbone = one_layer().train()
    images = torch.rand(2, 3, 8, 4)
    found = []
    for run in (backbone, compiled(backbone)):
        backbone.zero_grad()
        maps = run(images)
        maps.square().mean().backward()
        found.append([maps, *(parameter.grad for parameter in backbone.parameters())])
    for plain, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-3, atol=1e-5)


def test_a_machine_that_cannot_compile_is_told(monkeypatch):
    def refuse(images):
        raise TorchDynamoException("no compiler\nand many lines more")

    monkeypatch.setattr("torch.compile", lambda function, dynamic: refuse)
    with pytest.raises(CellFailed, match=r"compiled on this machine \(no compiler\); .*training.compile=false"):
        compiled(one_layer())(torch.rand(1, 3, 32, 16))
