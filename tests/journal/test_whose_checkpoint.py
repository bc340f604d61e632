"""A checkpoint is taken up by the run whose it is and by no other; a foreign file is told in one sentence of ours."""

from __future__ import annotations

import pickle
import zipfile

import numpy as np
import pytest
import torch

from bench.errors import CellFailed
from bench.journal.checkpoint import FORMAT, load_checkpoint, previous_of, save_checkpoint
from bench.journal.record import CHECKPOINT

STATE = {"model": {"weight": torch.ones(3)}}


@pytest.fixture
def path(tmp_path):
    """Where the checkpoint of a run called vit-msmt-s0-aaaa lies."""
    folder = tmp_path / "vit-msmt-s0-aaaa"
    folder.mkdir()
    return folder / CHECKPOINT


def test_a_checkpoint_bears_its_runs_name_and_a_format(path):
    save_checkpoint(path, STATE)
    state = load_checkpoint(path, "cpu")
    assert (state["cell"], state["format"]) == ("vit-msmt-s0-aaaa", FORMAT)


def test_what_another_checkpoint_said_of_itself_is_not_handed_on(path):
    save_checkpoint(path, {**STATE, "cell": "cosine-msmt-s0-bbbb", "format": 99})
    assert load_checkpoint(path, "cpu")["cell"] == "vit-msmt-s0-aaaa"


@pytest.mark.parametrize("newest", [True, False])
def test_another_runs_checkpoint_is_refused_by_name_and_left_alone(newest, path, tmp_path):
    other = tmp_path / "vit-msmt-s1-bbbb" / CHECKPOINT
    other.parent.mkdir()
    save_checkpoint(other, STATE)
    if newest:
        save_checkpoint(path, STATE)
        save_checkpoint(path, STATE)
        path.write_bytes(other.read_bytes())
    else:
        previous_of(path).write_bytes(other.read_bytes())
    with pytest.raises(CellFailed, match="is the checkpoint of vit-msmt-s1-bbbb; put this run"):
        load_checkpoint(path, "cpu")
    assert (path if newest else previous_of(path)).read_bytes() == other.read_bytes()


def test_a_checkpoint_of_another_format_is_refused(path):
    torch.save({**STATE, "cell": "vit-msmt-s0-aaaa", "format": FORMAT + 1}, path)
    with pytest.raises(CellFailed, match="of another version of bench"):
        load_checkpoint(path, "cpu")


class Code:
    """What an unsafe load would run."""

    def __reduce__(self):
        return (print, ("code was run",))


def archive(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("holiday.txt", "sun")


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b"broken"),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(pickle.dumps(STATE)),
        lambda path: torch.save(Code(), path),
        lambda path: torch.save(torch.ones(3), path),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save({"state_dict": {}, "epoch": 3}, path),
        lambda path: torch.save({"model": "resnet50"}, path),
        lambda path: torch.save({"model": {"weight": "heavy"}}, path),
        lambda path: np.savez(path.open("wb"), model=np.ones(3)),
        archive,
        lambda path: path.mkdir(),
    ],
)
def test_a_foreign_file_is_told_in_one_sentence_that_never_advises_to_load_it_unsafely(write, path, capsys):
    write(path)
    with pytest.raises(CellFailed) as fault:
        load_checkpoint(path, "cpu")
    told = str(fault.value)
    assert str(path) in told and "delete it to start this run anew" in told
    assert "\n" not in told and "weights_only" not in told and len(told) < 200 + len(str(path))
    assert fault.value.__cause__ is None and fault.value.__context__ is None  # so error.log says no more either
    assert capsys.readouterr().out == ""


def test_memory_that_is_short_is_no_fault_of_the_file(path, monkeypatch):
    save_checkpoint(path, STATE)

    def short(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "load", short)
    with pytest.raises(torch.OutOfMemoryError):
        load_checkpoint(path, "cpu")
