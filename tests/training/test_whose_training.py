"""Training goes on from its own checkpoint alone."""

from __future__ import annotations

import shutil

import pytest
import torch
from cut_at import CutAt, trainer_of

from bench.errors import CellFailed
from bench.journal.record import CHECKPOINT
from bench.progress import Progress
from bench.system.signals import Interrupted


@pytest.fixture
def cut_short(tiny_config, few_persons, tmp_path):
    """The checkpoint of a run of seed 0 that was cut in its second epoch, in the folder `seed-0`."""
    with pytest.raises(Interrupted):
        config = tiny_config("cosine", training={"epochs": 2})
        trainer_of(config, few_persons, tmp_path / "seed-0", CutAt(13)).run()
    return tmp_path / "seed-0" / CHECKPOINT


def test_a_checkpoint_of_another_seed_is_not_taken(cut_short, tiny_config, few_persons, tmp_path):
    other = trainer_of(tiny_config("cosine", seed=1, training={"epochs": 2}), few_persons, tmp_path / "seed-1")
    shutil.copy(cut_short, other.folder)
    before = other.model.weights_hash()
    with pytest.raises(CellFailed, match="is the checkpoint of seed-0; put this run"):
        other.run()
    assert other.model.weights_hash() == before
    assert (other.folder / CHECKPOINT).read_bytes() == cut_short.read_bytes()


def test_training_from_before_checkpoints_bore_names_begins_anew_with_a_line(
    cut_short, tiny_config, few_persons, tmp_path, capsys
):
    config = tiny_config("cosine", training={"epochs": 2})
    whole = trainer_of(config, few_persons, tmp_path / "whole").run()
    state = torch.load(cut_short, weights_only=True)
    torch.save({key: value for key, value in state.items() if key not in ("cell", "format")}, cut_short)
    done = trainer_of(config, few_persons, tmp_path / "seed-0").run(Progress())
    assert done.model.weights_hash() == whole.model.weights_hash() and done.segments == 1
    told = capsys.readouterr().err
    assert told == f"{cut_short} does not say whose it is; training begins anew\n"
