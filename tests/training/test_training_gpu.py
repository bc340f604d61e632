"""Training on a GPU: the same id gives the same bits, also after a kill, and a step waits for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from cut_at import CutAt
from networks import fresh

from bench.journal.record import LOG
from bench.system.signals import Interrupted
from bench.training.trainer import Trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]


@pytest.fixture(autouse=True)
def _as_a_run_is() -> Iterator[None]:
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture
def trainer(few_persons, tmp_path):
    def make(config, folder: str, pulse=None) -> Trainer:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Trainer(fresh(config).cuda(), config, *few_persons, tmp_path / folder, pulse)

    return make


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_killed_training_ends_with_the_same_bits(precision, trainer, tiny_config, tmp_path):
    config = tiny_config(training={"epochs": 2, "precision": precision})
    counting = CutAt(0)
    whole = trainer(config, "whole", counting).run()
    within_the_second_epoch = counting.places["training", "", 2][2]
    with pytest.raises(Interrupted):
        trainer(config, "cut", CutAt(within_the_second_epoch)).run()
    done = trainer(config, "cut").run()
    assert done.segments == 2 and done.model.weights_hash() == whole.model.weights_hash()
    logs = [
        [json.loads(line) for line in (tmp_path / name / LOG).read_text().splitlines()] for name in ("whole", "cut")
    ]
    for line in logs[0] + logs[1]:
        del line["seconds"]
    assert logs[0] == logs[1]


@pytest.mark.parametrize("key", [{}, {"compile": True}])
def test_a_training_twice_ends_with_the_same_bits(key, trainer, tiny_config):
    config = tiny_config(training={"epochs": 2, **key})
    assert len({trainer(config, name).run().model.weights_hash() for name in ("a", "b")}) == 1


def test_where_the_images_lie_changes_no_bit(trainer, tiny_config, monkeypatch):
    config = tiny_config(training={"epochs": 2})
    kept = trainer(config, "kept")
    expected = kept.run().model.weights_hash()
    assert kept.batches.resident_bytes > 0
    monkeypatch.setattr("bench.training.batches.RESIDENT_SHARE", 0.0)
    from_the_host = trainer(config, "from-the-host")
    assert from_the_host.run().model.weights_hash() == expected and not from_the_host.batches.resident_bytes


def test_a_step_waits_for_nothing(trainer, tiny_config):
    training = trainer(tiny_config(training={"precision": "bf16"}), "run")
    training.model.train()
    batch = training.batches.make(0, 0, torch.arange(8).numpy())
    for number in range(3):  # kernels are compiled, buffers taken
        training.step(batch, f"step {number}")
    try:
        torch.cuda.set_sync_debug_mode("error")
        for number in range(3):
            training.step(batch, f"step {number}")
    finally:
        torch.cuda.set_sync_debug_mode("default")
