"""Training that is cut short goes on to the same bits."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from cut_at import CutAt, trainer_of

from bench.journal.checkpoint import load_checkpoint
from bench.journal.record import CHECKPOINT, LOG
from bench.network.matcher import Matcher
from bench.randomness import random_states, restore_random_states
from bench.system.signals import Interrupted


@pytest.mark.slow
def test_training_cut_at_any_safe_point_ends_with_the_same_bits(small_blocks, few_persons, tmp_path):
    """Every place: before, within and after sampling, and between steps."""
    config = small_blocks()
    counting = CutAt(0)
    whole = trainer_of(config, few_persons, tmp_path / "whole", counting).run()
    assert counting.chances > 2 * (1 + 6)
    log = (tmp_path / "whole" / LOG).read_text()
    assert {phase for phase, _, _ in counting.places} == {"sampling", "training"}
    for chance in sorted({1} | {chances[-2] for chances in counting.places.values()} | {counting.chances}):
        folder = tmp_path / f"cut-{chance}"
        with pytest.raises(Interrupted):
            trainer_of(config, few_persons, folder, CutAt(chance)).run()
        had_begun = (folder / CHECKPOINT).exists()  # before the first step there is nothing but scores to keep
        done = trainer_of(config, few_persons, folder).run()
        assert done.model.weights_hash() == whole.model.weights_hash(), chance
        assert done.segments == 1 + had_begun and done.steps == whole.steps
        lines, expected = (
            [json.loads(line) for line in text.splitlines()] for text in ((folder / LOG).read_text(), log)
        )
        for line in lines + expected:
            del line["seconds"]
        assert lines == expected
        assert not list(folder.glob("partial-*")) and not list(folder.glob("encoded-*"))


@pytest.mark.slow
def test_training_cut_after_every_save_ends_with_the_same_bits(small_blocks, few_persons, tmp_path):
    config = small_blocks()
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    for _ in range(200):
        try:
            done = trainer_of(config, few_persons, tmp_path / "cut", CutAt(3)).run()
            break
        except Interrupted:
            continue
    assert done.segments > 5
    assert done.model.weights_hash() == whole.model.weights_hash()


@pytest.mark.slow
def test_a_head_that_draws_random_numbers_goes_on_with_the_same_ones(tiny_config, few_persons, tmp_path, monkeypatch):
    """Dropout takes torch's global generator, whose state is in the checkpoint."""
    config = tiny_config(training={"epochs": 2})
    encode = Matcher.encode

    def with_dropout(self, images, backbone=None):
        return encode(self, torch.nn.functional.dropout(images, 0.3, self.training), backbone)

    monkeypatch.setattr(Matcher, "encode", with_dropout)
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    with pytest.raises(Interrupted):
        trainer_of(config, few_persons, tmp_path / "cut", CutAt(6)).run()
    assert load_checkpoint(tmp_path / "cut" / CHECKPOINT, "cpu")["epoch"] is not None
    done = trainer_of(config, few_persons, tmp_path / "cut").run()
    assert done.model.weights_hash() == whole.model.weights_hash()


def test_all_global_generators_go_on_where_they_were():
    import random

    device = torch.device("cpu")

    def draw():
        return torch.rand(1).item(), random.random(), np.random.rand()  # noqa: NPY002

    states = random_states(device)
    first = draw()
    assert draw() != first
    restore_random_states(states, device)
    assert draw() == first


@pytest.mark.slow
def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(tiny_config, few_persons, tmp_path):
    config = tiny_config(training={"epochs": 3})
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    with pytest.raises(Interrupted):
        trainer_of(config, few_persons, tmp_path / "cut", CutAt(20)).run()
    checkpoint = tmp_path / "cut" / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="cannot be read"):
        done = trainer_of(config, few_persons, tmp_path / "cut").run()
    assert done.model.weights_hash() == whole.model.weights_hash()
    assert len((tmp_path / "cut" / LOG).read_text().splitlines()) == 3
