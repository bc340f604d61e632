"""A run that is cut off anywhere, by whatever means, ends with the bits of an undisturbed one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch
from places import ROOT

from bench.config import Evaluation
from bench.errors import CellFailed
from bench.journal.checkpoint import load_checkpoint, previous_of, save_checkpoint
from bench.journal.heartbeat import read_heartbeat
from bench.journal.pulse import Pulse
from bench.journal.record import CHECKPOINT, LOG, read_records
from bench.journal.signals import Interrupted, Interruption
from bench.network.matcher import Matcher
from bench.randomness import random_states, restore_random_states
from bench.testing.evaluator import evaluate
from bench.training.trainer import Trainer


class CutAt(Pulse):
    """Saves at every chance, and at the given one behaves as if a signal had come."""

    def __init__(self, chance: int) -> None:
        super().__init__(save_seconds=0.0)
        self.chances, self.chance = 0, chance

    def safe_point(self, save):
        self.chances += 1
        if self.chances == self.chance:
            self.interruption.signal_name = "SIGTERM"
        super().safe_point(save)


def trainer_of(config, few_persons, folder, pulse=None) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(Matcher(config, config.head, None), config, *few_persons, folder, pulse)


@pytest.fixture
def small_blocks(tiny_config):
    """A configuration whose sampling and testing go in blocks of one or a few pairs."""

    def make(**training):
        return tiny_config(training={"epochs": 2, **training}, evaluation={"memory_gib": 7 / 2**20, "batch": 4})

    return make


def test_training_cut_at_any_safe_point_ends_with_the_same_bits(small_blocks, few_persons, tmp_path):
    """Every place: before, within and after sampling, and between steps."""
    config = small_blocks()
    counting = CutAt(0)
    whole = trainer_of(config, few_persons, tmp_path / "whole", counting).run()
    assert counting.chances > 2 * (1 + 6)
    log = (tmp_path / "whole" / LOG).read_text()
    for chance in range(1, counting.chances + 1, 3):
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


def test_a_head_that_draws_random_numbers_goes_on_with_the_same_ones(tiny_config, few_persons, tmp_path, monkeypatch):
    """Dropout takes torch's global generator, whose state is in the checkpoint."""
    config = tiny_config(training={"epochs": 2})
    encode = Matcher.encode

    def with_dropout(self, images):
        return encode(self, torch.nn.functional.dropout(images, 0.3, self.training))

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


@pytest.mark.parametrize("kib", [100_000, 12, 7])
def test_a_test_cut_at_any_safe_point_ends_with_the_same_ranks(tiny_config, small_dataset, tmp_path, kib):
    """With the gallery's representations in memory, on disk, and scores in many blocks."""
    dataset, images = small_dataset
    model = Matcher(tiny_config(), "transmatcher", None).eval()
    settings = Evaluation(memory_gib=kib / 2**20, batch=5)
    counting = CutAt(0)
    (tmp_path / "whole").mkdir()
    whole = evaluate(model, dataset, images, settings, folder=tmp_path / "whole", pulse=counting)
    for chance in range(1, counting.chances + 1, max(1, counting.chances // 12)):
        folder = tmp_path / str(chance)
        folder.mkdir()
        with pytest.raises(Interrupted):
            evaluate(model, dataset, images, settings, folder=folder, pulse=CutAt(chance))
        done = evaluate(model, dataset, images, settings, folder=folder)
        assert done.first_rank == whole.first_rank and done.average_precision == whole.average_precision, chance
        assert list(folder.iterdir()) == []


def test_nothing_is_encoded_or_scored_again(tiny_config, small_dataset, tmp_path, monkeypatch):
    dataset, images = small_dataset
    model = Matcher(tiny_config(), "transmatcher", None).eval()
    settings = Evaluation(memory_gib=12 / 2**20, batch=5)
    encoded, scored = [], []
    encode, match = Matcher.encode, type(model.head).match
    monkeypatch.setattr(Matcher, "encode", lambda self, x: encoded.append(len(x)) or encode(self, x))
    monkeypatch.setattr(
        type(model.head), "match", lambda self, q, g: scored.append(len(q) * len(g)) or match(self, q, g)
    )
    counting = CutAt(0)
    evaluate(model, dataset, images, settings, folder=tmp_path, pulse=counting)
    whole = sum(encoded), sum(scored)
    encoded.clear(), scored.clear()
    with pytest.raises(Interrupted):
        evaluate(model, dataset, images, settings, folder=tmp_path, pulse=CutAt(counting.chances // 2))
    evaluate(model, dataset, images, settings, folder=tmp_path)
    assert whole[1] == sum(scored) == 6 * 42
    # The first batch of queries tells how large a representation is, once in each life.
    assert sum(encoded) <= whole[0] + 2 * settings.batch


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


def test_a_first_signal_is_noted_and_outside_of_saved_work_ends_the_run_at_once():
    interruption = Interruption()
    with interruption.watching():
        with interruption.deferred():
            os.kill(os.getpid(), signal.SIGUSR2)
            assert interruption.signal_name == "SIGUSR2"
            with pytest.raises(Interrupted):  # a second Ctrl-C does not wait
                os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_work_is_saved_when_it_is_time(monkeypatch):
    saved = []
    pulse = Pulse(save_seconds=60.0)
    now = time.monotonic()
    pulse.safe_point(lambda: saved.append("early") or "early")
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    pulse.safe_point(lambda: saved.append("due") or "due")
    pulse.safe_point(lambda: saved.append("again") or "again")
    assert saved == ["due"]


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
    from bench.running.cell import FAILED, MOST_DEATHS

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
    script = tmp_path / "once.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\n"
        "from bench.running.cell import run_cell\nfrom bench.study.plan import *\n"
        "from bench.running.preflight import *\n"
        f"cells = plan(load_study('table2'), load_preset('tiny'), {{}}, [{str(head)!r}])\n"
        f"[task] = preflight(cells, RunOptions(Path({str(tmp_path / 'results')!r}),"
        f" Path({str(tiny_data / 'standin-tiny')!r}), lambda _: local_target('cpu'), tests=('market',)))\n"
        "sys.exit(run_cell(task))\n"
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
    assert set(state) == {"model"}  # nothing will be resumed any more
    state["model"]["backbone.neck.weight"].mul_(2)
    save_checkpoint(path, state)
    found = bench(*command, "--results", tmp_path, "--test", "msmt")
    assert found.code == 1 and "does not hold the trained network" in found.out
