"""A training step at the paper's size as a GPU makes it, counted without one: kernels launched, and no wait."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from launches import Launches, mixed_precision
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.network.matcher import Matcher
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan
from bench.training.batches import Batches
from bench.training.losses import mean_of_finite, pairwise_matching_loss
from bench.training.optimizer import Optimizer

MOST = {"input": 12, "backbone": 150, "encode": 55, "match": 135, "loss": 22, "backward": 450, "update": 30}
"""Kernels of each part."""
MOST_OF_A_STEP = 850
"""Kernels of all parts, without a CUDA graph."""
KERNELS = {"pairbench::change_images": 2}


@dataclass
class Counted:
    """What the parts of a step launch."""

    parts: dict[str, Launches] = field(default_factory=dict)

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        with Launches(KERNELS) as self.parts[name]:
            return work()


@pytest.fixture(scope="module")
def step() -> Counted:
    """A step of table 2's TransMatcher in bfloat16. Made on "cpu", for which autograd takes fake tensors anywhere."""
    count = Counted()
    with pytest.MonkeyPatch.context() as patch, FakeTensorMode():
        patch.setattr("bench.training.optimizer._has_fused_step", lambda device: True)
        patch.setattr("bench.network.folding._saves_launches", lambda device: True)
        patch.setattr("variants.kernels.mlp._rows_at_a_time", lambda rows, width: len(rows))
        patch.setattr("variants.kernels.mlp._keeps", lambda rows, width: True)
        changes = {"backbone": {"weights": None, "batchnorm": "train"}, "training": {"precision": "bf16"}}
        cell = plan(load_study("table2"), load_preset(None), changes, ["TransMatcher"], ["msmt"], [0])[0]
        model = Matcher(cell.config, cell.head_path, None)
        model.backbone.freeze_batchnorm = True
        model.train()
        optimizer = Optimizer(model, cell.config, 10)
        size, settings = cell.config.input, cell.config.training
        batch = settings.persons * settings.images
        images, ids = torch.rand(batch, 3, size.height, size.width), torch.zeros(batch, dtype=torch.int64)
        with mixed_precision("cpu", torch.bfloat16):
            maps = count("backbone", lambda: model.backbone(images))
            found = count("encode", lambda: model.head.encode(maps))
            scores = count("match", lambda: model.head.match(found, found))
        losses, hit = count("loss", lambda: pairwise_matching_loss(scores.float(), ids))
        loss = count("mean", lambda: mean_of_finite(losses))
        count("backward", lambda: optimizer.backward(loss))
        count("update", lambda: optimizer.update(loss, hit, "step 1"))
    count.parts["loss"].operations.update(count.parts["mean"].operations)
    return count


@pytest.mark.slow
def test_a_step_waits_for_nothing(step):
    assert {name: dict(part.waits) for name, part in step.parts.items() if part.waits} == {}


@pytest.mark.slow
@pytest.mark.parametrize("part", sorted(MOST.keys() - {"input"}))
def test_a_part_of_a_step_launches_no_more_than_this(step, part):
    assert step.parts[part].launches <= MOST[part], step.parts[part].report()


@pytest.mark.slow
def test_a_whole_step_launches_no_more_than_this(step):
    counted = {name: part.launches for name, part in step.parts.items() if name in MOST}
    assert sum(counted.values()) + MOST["input"] <= MOST_OF_A_STEP, counted


def test_the_input_of_a_step_is_a_handful_of_kernels(monkeypatch, tiny_config):
    """Of images that the GPU keeps, and of those that come from the host."""
    monkeypatch.setattr("bench.training.augment.kernel_name", lambda device: "triton")
    monkeypatch.setattr("torch.Tensor.pin_memory", lambda self: self)
    settings = tiny_config().training.augmentation
    images, ids = np.zeros((99, 3, 32, 16), np.uint8), np.zeros(99, np.int64)
    for resident in (True, False):
        batches = Batches(images, ids, settings, 0, torch.device("cuda"))
        with FakeTensorMode():
            if resident:
                batches._resident = torch.empty(images.shape, dtype=torch.uint8, device="cuda")
            with Launches(KERNELS) as counted:
                made = batches.make(0, 0, np.arange(64))
        assert made.images.device.type == "cuda" and made.images.dtype == torch.float32
        assert counted.launches <= MOST["input"] and not counted.waits, counted.report()
