"""Runs that are interrupted, die or meet a full disk."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from places import ROOT

from bench.journal.checkpoint import load_checkpoint, save_checkpoint
from bench.journal.heartbeat import read_heartbeat
from bench.journal.record import CHECKPOINT, read_records
from bench.running.cell import FAILED, MOST_DEATHS
from bench.running.preflight import RunOptions, local_target, preflight
from bench.study.plan import load_preset, load_study, plan


@pytest.fixture
def started(tiny_data, tmp_path):
    """`bench run` of ViT on tiny data as a process, once a checkpoint is there; and its results folder."""
    results = tmp_path / "results"
    processes = []

    def start(*arguments: str) -> subprocess.Popen:
        command = [
            sys.executable, "-m", "bench", "run", "--variants", "ViT", "--train", "msmt", "--preset", "tiny",
            "--data-dir", str(tiny_data), "--results", str(results), *arguments,
        ]  # fmt: skip
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        deadline = time.monotonic() + 60
        while not list(results.glob(f"runs/*/{CHECKPOINT}")) and time.monotonic() < deadline:
            time.sleep(0.02)
        return processes[-1]

    yield start, results
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_to_the_run_itself_saves_and_leaves_no_failure(number, started, bench, tiny_data):
    start, results = started
    process = start("--set", "training.epochs=500")
    [folder] = results.glob("runs/*")
    os.kill(read_heartbeat(folder).pid, number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted" in out
    assert read_heartbeat(folder).state == "interrupted" and read_heartbeat(folder).reason == number.name
    assert not (folder / "record.json").exists() and not list(folder.glob(".*.pt.*"))
    status = bench("status", "--preset", "tiny", "--variants", "ViT", "--set", "training.epochs=500",
                   "--results", results, "--data-dir", tiny_data)  # fmt: skip
    assert "interrupted, epoch" in status.out


def test_a_run_that_dies_three_times_at_the_same_place_fails_with_its_reason(tiny_data, tmp_path):
    """As a cluster's job runs it: nobody but the run itself counts."""
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
    [cell] = plan(load_study("table2"), load_preset("tiny"), {}, [str(head)])
    data = tiny_data / "standin-tiny"
    [task] = preflight([cell], RunOptions(tmp_path / "results", data, lambda _: local_target("cpu"), tests=("market",)))
    (tmp_path / "task").write_bytes(pickle.dumps(task))
    script = tmp_path / "once.py"
    script.write_text(
        "import pickle, sys\nfrom pathlib import Path\nfrom bench.running.cell import run_cell\n"
        f"sys.exit(run_cell(pickle.loads(Path({str(tmp_path / 'task')!r}).read_bytes())))\n"
    )

    def once() -> int:
        return subprocess.run([sys.executable, script], capture_output=True, cwd=ROOT).returncode

    assert [once() for _ in range(MOST_DEATHS)] == [-signal.SIGKILL] * MOST_DEATHS
    assert once() == FAILED
    [record] = read_records(tmp_path / "results")
    assert "ended 3 times at the same place (epoch 1 of 1" in record.failure.reason
    flag.unlink()
    assert once() == 0  # asked for again, it gets its three tries anew
    [record] = read_records(tmp_path / "results")
    assert record.status == "done"


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


def test_a_disk_that_is_full_while_saving_fails_the_run_and_costs_no_checkpoint(bench, small_disk, tiny_data, tmp_path):
    """ViT's checkpoint on tiny data has 22 MiB while it trains: one fits, not the next beside it."""
    command = ("run", "--variants", "ViT", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data)
    found = bench(*command, "--set", "training.epochs=4", "--results", small_disk)
    assert found.code == 1 and "cannot save the checkpoint" in found.out and "No space left on device" in found.out
    [folder] = small_disk.glob("runs/*")
    saved = load_checkpoint(folder / CHECKPOINT, "cpu")
    assert saved["finished_epochs"] == 1
    [record] = read_records(small_disk)
    assert record.status == "failed" and "No space left" in record.failure.reason
    shutil.copytree(small_disk / "runs", tmp_path / "roomy" / "runs")
    assert bench(*command, "--set", "training.epochs=4", "--results", tmp_path / "roomy").code == 0
    assert bench(*command, "--set", "training.epochs=4", "--results", tmp_path / "whole").code == 0
    [resumed], [whole] = read_records(tmp_path / "roomy"), read_records(tmp_path / "whole")
    assert resumed.provenance.segments == 2 and resumed.weights_hash == whole.weights_hash


def test_a_checkpoint_that_is_not_the_trained_network_is_refused(bench, tiny_data, tmp_path):
    command = ("run", "--variants", "ViT", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data)
    assert bench(*command, "--results", tmp_path).code == 0
    [path] = tmp_path.glob(f"runs/*/{CHECKPOINT}")
    state = torch.load(path, weights_only=True)
    assert set(state) == {"format", "cell", "model"}  # nothing will be resumed any more
    state["model"]["backbone.neck.weight"].mul_(2)
    save_checkpoint(path, state)
    found = bench(*command, "--results", tmp_path, "--test", "msmt")
    assert found.code == 1 and "does not hold the trained network" in found.out
