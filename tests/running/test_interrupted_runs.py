"""Runs that are interrupted, die or meet a full disk."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path

import apart
import pytest
import torch
from standing_head import standing_head
from waiting import wait_for

from bench.journal.checkpoint import load_checkpoint, save_checkpoint
from bench.journal.heartbeat import read_heartbeat
from bench.journal.record import CHECKPOINT, read_record, read_records
from bench.running.cell import DONE, FAILED, INTERRUPTED, MOST_DEATHS
from bench.running.preflight import RunOptions, preflight
from bench.running.targets import local_target
from bench.running.task import CellTask
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_run_itself_saves_and_leaves_no_failure(number, tiny_data, tmp_path, bench):
    head, results = standing_head(tmp_path), tmp_path / "results"
    longer = ("--variants", head, "--preset", "tiny", "--set", "training.epochs=3", "--results", results)
    [task] = tasks_of(head, tiny_data, results, {"training": {"epochs": 3}})
    run = apart.cell(task)
    wait_for("the first epoch", lambda: list(task.folder.glob("log.jsonl")))
    assert read_heartbeat(task.folder).pid == run.pid
    run.signal(number)
    assert run.wait().code == INTERRUPTED
    assert read_heartbeat(task.folder).state == "interrupted" and read_heartbeat(task.folder).reason == number.name
    assert not (task.folder / "record.json").exists() and not list(task.folder.glob(".*.pt.*"))
    assert "interrupted, epoch 2 of 3" in bench("status", *longer, "--data-dir", tiny_data).out


def tasks_of(head: Path, data: Path, results: Path, overrides: dict) -> list[CellTask]:
    """What `bench run` makes of a head on tiny data, tested on one set alone."""
    cells = plan(load_study("table2"), load_preset("tiny"), overrides, [str(head)])
    options = RunOptions(results, data / "standin-tiny", lambda _: local_target("cpu"), tests=("market",))
    return preflight(cells, options)


@pytest.mark.slow
def test_a_run_that_dies_three_times_at_the_same_place_fails_with_its_reason(tiny_data, tmp_path):
    head, flag = tmp_path / "dying.py", tmp_path / "flag"
    head.write_text(
        "import os\nfrom pathlib import Path\nfrom variants import vit\n"
        "class Dying(vit.ViT):\n"
        '    """Is killed in training."""\n'
        "    def match(self, query, gallery):\n"
        f"        if self.training and Path({str(flag)!r}).exists():\n"
        "            os.kill(os.getpid(), 9)\n"
        "        return super().match(query, gallery)\n"
    )
    flag.touch()
    [task] = tasks_of(head, tiny_data, tmp_path / "results", {})

    def once() -> int:
        return apart.cell(task).wait().code

    assert [once() for _ in range(MOST_DEATHS)] == [-signal.SIGKILL] * MOST_DEATHS
    assert once() == FAILED
    assert "ended 3 times at the same place (epoch 1 of 1" in read_record(task.folder).failure.reason
    flag.unlink()
    assert once() == DONE  # asked for again, it gets its three tries anew
    assert read_record(task.folder).status == "done"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB; needs the right to mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_while_saving_fails_the_run_and_costs_no_checkpoint(bench, small_disk, tiny_data, tmp_path):
    """ViT's checkpoint on tiny data has 22 MiB while it trains: one fits, not the next beside it."""
    command = ("run", "--variants", "ViT", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data)
    found = bench(*command, "--set", "training.epochs=2", "--results", small_disk)
    assert found.code == 1 and "cannot save the checkpoint" in found.out and "No space left on device" in found.out
    [folder] = small_disk.glob("runs/*")
    saved = load_checkpoint(folder / CHECKPOINT, "cpu")
    assert saved["finished_epochs"] == 1
    [record] = read_records(small_disk)
    assert record.status == "failed" and "No space left" in record.failure.reason
    shutil.copytree(small_disk / "runs", tmp_path / "roomy" / "runs")
    assert bench(*command, "--set", "training.epochs=2", "--results", tmp_path / "roomy").code == 0
    assert bench(*command, "--set", "training.epochs=2", "--results", tmp_path / "whole").code == 0
    [resumed], [whole] = read_records(tmp_path / "roomy"), read_records(tmp_path / "whole")
    assert resumed.provenance.segments == 2 and resumed.weights_hash == whole.weights_hash


@pytest.mark.slow
def test_a_checkpoint_that_is_not_the_trained_network_is_refused(bench, finished, tiny_data, tmp_path):
    command = ("run", "--variants", "ViT", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data)
    [trained] = finished.glob("runs/vit-*")
    shutil.copytree(trained, tmp_path / "runs" / trained.name)
    [path] = tmp_path.glob(f"runs/*/{CHECKPOINT}")
    state = torch.load(path, weights_only=True)
    assert set(state) == {"format", "cell", "model"}  # nothing will be resumed any more
    state["model"]["backbone.neck.weight"].mul_(2)
    save_checkpoint(path, state)
    found = bench(*command, "--results", tmp_path, "--test", "msmt")
    assert found.code == 1 and "does not hold the trained network" in found.out
