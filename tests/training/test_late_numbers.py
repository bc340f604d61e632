"""A step's numbers are read one step late, and what they decide about the weights is decided before."""

from __future__ import annotations

import contextlib
import json
import math

import pytest
import torch
from cut_at import CutAt, trainer_of

from bench.errors import CellFailed
from bench.journal.record import LOG
from bench.network.matcher import Matcher
from bench.system.signals import Interrupted
from bench.training.trainer import Trainer


@pytest.fixture
def decided_on_the_device(monkeypatch):
    """A step is one fused operation that looks itself whether it is to be taken, as on a GPU."""
    monkeypatch.setattr("bench.training.optimizer._has_fused_step", lambda device: True)


def spoil(trainer: Trainer, *steps: int, with_: float = math.nan) -> None:
    """Make the losses of steps, counted from 0, and so their gradients, what they must not be."""
    backward, count = trainer.optimizer.backward, iter(range(10**6))

    def spoilt(loss):
        backward(loss * with_ if next(count) in steps else loss)

    trainer.optimizer.backward = spoilt


def test_a_step_gives_the_outcome_of_the_one_before(tiny_config, few_persons, tmp_path):
    trainer = trainer_of(tiny_config("cosine"), few_persons, tmp_path)
    batch = trainer.batches.make(0, 0, torch.arange(8).numpy())
    assert trainer.optimizer.settle() is None
    assert trainer.step(batch, "first") is None
    first = trainer.step(batch, "second")
    second = trainer.optimizer.settle()
    assert first.taken and second.taken and second.loss < first.loss
    assert trainer.optimizer.settle() is None


@pytest.mark.parametrize("fused", [False, True])
def test_a_failure_names_its_own_step_and_leaves_the_weights_as_before_it(
    fused, tiny_config, few_persons, tmp_path, request
):
    if fused:
        request.getfixturevalue("decided_on_the_device")
    trainer = trainer_of(tiny_config("cosine"), few_persons, tmp_path)
    spoil(trainer, 3)
    taken = []
    trainer.optimizer.schedule.step = lambda: taken.append(
        {name: value.clone() for name, value in trainer.model.named_parameters()}
    )
    with pytest.raises(CellFailed, match=r"the gradient is not finite in step 4 \(epoch 1\)"):
        trainer.run()
    assert len(taken) == 3
    for name, value in trainer.model.named_parameters():
        assert value.isfinite().all()
        # The schedule goes on once the third step is known to be taken: then the weights are those behind it.
        assert torch.equal(value, taken[-1][name])


@pytest.mark.slow
def test_a_step_on_the_device_is_that_of_the_host(
    decided_on_the_device, tiny_config, few_persons, tmp_path, monkeypatch
):
    config = tiny_config("cosine", training={"epochs": 2})
    fused = trainer_of(config, few_persons, tmp_path / "fused").run()
    monkeypatch.undo()
    plain = trainer_of(config, few_persons, tmp_path / "plain").run()
    for ours, theirs in zip(fused.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_steps_that_the_device_skips_are_counted(
    decided_on_the_device, tiny_config, few_persons, tmp_path, monkeypatch
):
    """The very first among them, which must not begin with a momentum of whatever lay in memory."""
    monkeypatch.setattr(Matcher, "autocast", lambda _: contextlib.nullcontext())
    trainer = trainer_of(tiny_config("cosine", training={"precision": "fp16", "epochs": 3}), few_persons, tmp_path)
    spoil(trainer, 0, 4, with_=math.inf)
    done = trainer.run()
    assert (done.steps, done.skipped_steps) == (18, 2)
    assert trainer.optimizer.schedule.last_epoch == 16
    assert all(value.isfinite().all() for value in done.model.parameters())
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [line["skipped"] for line in lines] == [2, 0, 0]


@pytest.mark.slow
def test_a_checkpoint_of_the_host_goes_on_on_the_device(tiny_config, few_persons, tmp_path, monkeypatch):
    config = tiny_config("cosine", training={"epochs": 2})
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    with pytest.raises(Interrupted):
        trainer_of(config, few_persons, tmp_path / "cut", CutAt(7)).run()
    monkeypatch.setattr("bench.training.optimizer._has_fused_step", lambda device: True)
    done = trainer_of(config, few_persons, tmp_path / "cut").run()
    for ours, theirs in zip(done.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_what_is_saved_is_as_it_was_behind_the_last_step(tiny_config, few_persons, tmp_path):
    """A failing step is found out before a checkpoint is written that knows nothing of it."""
    trainer = trainer_of(tiny_config("cosine"), few_persons, tmp_path, CutAt(0))
    spoil(trainer, 2)
    saved = []
    state = trainer._state
    trainer._state = lambda: saved.append((trainer._steps_done(), trainer.optimizer.schedule.last_epoch)) or state()
    with pytest.raises(CellFailed, match="step 3"):
        trainer.run()
    assert saved[-3:] == [(0, 0), (1, 1), (2, 2)]
