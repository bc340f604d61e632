"""A GPU that scores is not waited for but to take what it finished long before: seen on tensors without values."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from launches import Launches
from torch._subclasses.fake_tensor import FakeTensorMode

from bench.testing import blocks
from bench.testing.blocks import UNDER_WAY, BlockScorer
from variants import build
from variants._base import Repr

T, WIDTH, LEVELS = 24, 32, 2


class Event:
    """An event of a GPU that is not there: how often each was waited for, and with how many others under way."""

    waited: list[int]
    recorded: int

    def __init__(self) -> None:
        self.number = 0

    def record(self, stream: object = None) -> None:
        Event.recorded += 1
        self.number = Event.recorded

    def synchronize(self) -> None:
        Event.waited.append(Event.recorded - self.number)


@pytest.fixture
def fake_gpu(monkeypatch):
    Event.waited, Event.recorded = [], 0
    monkeypatch.setattr(blocks.torch.cuda, "Event", Event)
    monkeypatch.setattr(blocks.torch.cuda, "current_stream", lambda _device: SimpleNamespace())
    with FakeTensorMode(), torch.device("cuda"):
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_block_waits_for_itself(fake_gpu, dtype):
    head = build("transmatcher", (WIDTH, 6, 4), layers=LEVELS, feedforward=48).eval()
    query, gallery = (Repr(levels=torch.empty(count, LEVELS, T, WIDTH, dtype=dtype)) for count in (8, 40))
    out = torch.empty(8, 40, device="cpu")
    landed: list[int] = []
    scorer = BlockScorer(head, 32 * head.pair_bytes())
    with Launches() as counted:
        scorer.score(query, gallery, out, lambda block: landed.append(block.numel()))
        early = len(Event.waited)
        scorer.finish()
    assert not counted.waits
    number = Event.recorded
    assert number > 2 * UNDER_WAY and early == number - UNDER_WAY
    # Each was waited for while so many blocks behind it kept the GPU busy, but for the last ones.
    assert Event.waited[:early] == [UNDER_WAY] * early and sum(landed) == 8 * 40
    copies = counted.operations["aten::copy_"]
    assert copies == 2 * number  # to pinned memory, and from there to the scores
    assert counted.launches / number < 60
