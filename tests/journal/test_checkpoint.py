"""Checkpoints are whole or not there, and a damaged newest one costs little."""

from __future__ import annotations

import zipfile

import pytest
import torch

from bench.errors import CellFailed
from bench.journal.checkpoint import load_checkpoint, previous_of, save_checkpoint
from bench.journal.record import CHECKPOINT


def test_what_is_saved_is_whole_or_not_there(tmp_path, monkeypatch):
    path = tmp_path / CHECKPOINT
    save_checkpoint(path, {"value": torch.ones(1)})
    save_checkpoint(path, {"value": torch.full((1,), 2.0)})
    assert load_checkpoint(path, "cpu")["value"].item() == 2
    # Cut off between the two renames, only the one before is there.
    path.unlink()
    assert load_checkpoint(path, "cpu")["value"].item() == 1


@pytest.mark.parametrize("damage", ["cut short", "bits flipped", "emptied"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(damage, tmp_path):
    path = tmp_path / CHECKPOINT
    for value in (1.0, 2.0):
        save_checkpoint(path, {"value": torch.full((1000,), value)})
    content = bytearray(path.read_bytes())
    if damage == "bits flipped":
        with zipfile.ZipFile(path) as archive:
            [info] = [info for info in archive.infolist() if info.file_size == 4000]
        content[info.header_offset + 1000] ^= 0xFF
    path.write_bytes({"cut short": content[: len(content) // 2], "emptied": b""}.get(damage, content))
    with pytest.warns(UserWarning, match="goes on from the checkpoint before it"):
        assert load_checkpoint(path, "cpu")["value"][0].item() == 1
    previous_of(path).write_bytes(b"")
    with pytest.raises(CellFailed, match="delete it to start this run anew"):
        load_checkpoint(path, "cpu")
