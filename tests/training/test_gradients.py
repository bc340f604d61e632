"""A gradient that is not finite is never taken for training: in fp16 its step is skipped and counted, else told."""

from __future__ import annotations

import contextlib
import json
import math
import warnings

import numpy as np
import pytest
import torch
from cut_at import CutAt

from bench.errors import CellFailed
from bench.journal.record import LOG
from bench.network.matcher import Matcher
from bench.system.signals import Interrupted
from bench.training.batches import Batch
from bench.training.trainer import Trainer

EUCLID = '''
from variants import cosine
class Euclid(cosine.Cosine):
    """Minus the Euclidean distance, whose root has no gradient at 0: every image is at 0 from itself."""
    def match(self, query, gallery):
        squares = (query.feature[:, None] - gallery.feature[None]).pow(2).sum(dim=2)
        return self.norm(-squares.sqrt())
'''


@pytest.fixture
def euclid(tmp_path):
    path = tmp_path / "euclid.py"
    path.write_text(EUCLID)
    return path


@pytest.fixture
def trainer(few_persons, tmp_path, monkeypatch):
    """A trainer, by default of the cosine head. Its network computes in float32 whatever the precision.

    Half precision is slow on a CPU, and what follows from it, the scale of the loss, is here all the same.
    """
    monkeypatch.setattr(Matcher, "autocast", lambda _: contextlib.nullcontext())

    def make(config, head="cosine", folder="run", pulse=None) -> Trainer:
        (tmp_path / folder).mkdir(exist_ok=True)
        return Trainer(Matcher(config, str(head), None), config, *few_persons, tmp_path / folder, pulse)

    return make


def overflow_in(trainer: Trainer, *steps: int) -> None:
    """Make the loss of steps, counted from 0, so large that its scaled gradient overflows, but itself finite."""
    backward = trainer.optimizer.scaler.scale
    count = iter(range(10**6))

    def scale(value):
        return backward(value) * (math.inf if value.requires_grad and next(count) in steps else 1)

    trainer.optimizer.scaler.scale = scale


def first_batch(trainer: Trainer) -> Batch:
    return trainer.batches.make(0, 0, np.arange(8))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_is_told_with_its_step_and_parameters(precision, euclid, trainer, tiny_config):
    broken = trainer(tiny_config(str(euclid), training={"precision": precision}), euclid)
    before = {name: value.clone() for name, value in broken.model.named_parameters()}
    with pytest.raises(CellFailed, match="the gradient is not finite in step 1 \\(epoch 1\\)") as fault:
        broken.run()
    assert "backbone.neck" in str(fault.value) and "root" in str(fault.value) and "training.lr" in str(fault.value)
    # The norm of the scores comes after the root, and has a gradient.
    assert "head.norm" not in str(fault.value)
    assert all(torch.equal(value, before[name]) for name, value in broken.model.named_parameters())


@pytest.mark.parametrize("epochs", [1, 4])
def test_in_fp16_a_run_of_nothing_but_skipped_steps_fails(epochs, euclid, trainer, tiny_config):
    """A short one at its end, a long one as soon as the scale of the loss cannot be what is at fault."""
    config = tiny_config(str(euclid), training={"precision": "fp16", "epochs": epochs})
    expected = "only 0 of 6 steps were taken" if epochs == 1 else r"not finite in step 17 \(epoch 3\)"
    with pytest.raises(CellFailed, match=expected) as fault:
        trainer(config, euclid).run()
    assert "training.precision=fp32" in str(fault.value)


def test_skipped_steps_are_counted_and_do_not_move_the_schedule(trainer, tiny_config, tmp_path):
    config = tiny_config("cosine", training={"precision": "fp16", "epochs": 3, "schedule": "step", "decay_after": 1})
    skipping = trainer(config)
    overflow_in(skipping, 2, 3, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns where the schedule goes on before the optimizer does
        done = skipping.run()
    lines = [json.loads(line) for line in (tmp_path / "run" / LOG).read_text().splitlines()]
    assert (done.steps, done.skipped_steps) == (18, 3)
    assert [line["skipped"] for line in lines] == [3, 0, 0]
    assert skipping.optimizer.schedule.last_epoch == 15
    # Epochs of six steps: when the second begins, six have not been taken yet, so that the rate has not fallen.
    assert [line["learning_rate"][-1] for line in lines] == pytest.approx([0.02, 0.02, 0.002])


def test_a_first_step_that_is_skipped_leaves_the_weights(trainer, tiny_config):
    skipping = trainer(tiny_config("cosine", training={"precision": "fp16"}))
    overflow_in(skipping, 0)
    before = {name: value.clone() for name, value in skipping.model.named_parameters()}
    assert skipping.step(first_batch(skipping), "step 1") is None
    assert not skipping.optimizer.settle().taken
    assert all(torch.equal(value, before[name]) for name, value in skipping.model.named_parameters())
    assert skipping.optimizer.scaler.get_scale() == 2**15


def test_skipped_steps_survive_an_interruption(trainer, tiny_config):
    config = tiny_config("cosine", training={"precision": "fp16", "epochs": 2})
    whole = trainer(config, folder="whole")
    overflow_in(whole, 0, 1)
    expected = whole.run()
    cut = trainer(config, folder="cut", pulse=CutAt(6))
    overflow_in(cut, 0, 1)
    with pytest.raises(Interrupted):
        cut.run()
    done = trainer(config, folder="cut").run()
    assert done.skipped_steps == expected.skipped_steps == 2
    assert done.model.weights_hash() == expected.model.weights_hash()


def test_without_clipping_gradients_stay_as_they_are(trainer, tiny_config):
    lengths = {}
    for clip in (None, 0.01):
        running = trainer(tiny_config("cosine", training={"clip": clip}), folder=str(clip))
        running.step(first_batch(running), "step 1")
        lengths[clip] = max(value.grad.norm().item() for value in running.model.parameters() if value.grad is not None)
    assert lengths[None] > 0.02 > 0.01 + 1e-6 > lengths[0.01]


def test_what_training_says_is_json_that_anybody_reads(trainer, tiny_config, tmp_path):
    trainer(tiny_config("cosine")).run()

    def refuse(word):
        raise AssertionError(word)

    for line in (tmp_path / "run" / LOG).read_text().splitlines():
        assert json.loads(line, parse_constant=refuse)["skipped"] == 0
