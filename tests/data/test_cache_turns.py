"""Of several processes that need the same images one decodes them; what dead ones left behind goes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from places import ROOT

from bench.data import ImageRecord, cache, turns
from bench.data.cache import load_images
from bench.data.dataset import Dataset
from bench.data.turns import remove_leftovers, turn
from bench.errors import UserError
from bench.progress import QUIET, Progress
from bench.system.locks import NoLocks, try_lock

NAME = "five-train-" + 16 * "a" + "-12x6.npy"


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    records = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 16), (number, 20, 30)).save(path)
        records.append(ImageRecord(path, number, 0))
    return Dataset("five", tmp_path, tuple(records), (), (), "a" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@dataclass(frozen=True)
class Listener(Progress):
    """Keeps what is said, and the bars."""

    lines: list[str] = field(default_factory=list)
    bars: list[tuple[str, int]] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.lines.append(text)

    def bar(self, total: int, what: str, unit: str, initial: int = 0):
        self.bars.append((what, total))
        return super().bar(total, what, unit, initial)


def load(dataset: Dataset, folder: Path, progress: Progress = QUIET) -> np.ndarray:
    return load_images(dataset, "train", 12, 6, folder, 1, progress)


def wait_for(condition) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_the_second_waits_with_a_bar_and_takes_what_the_first_made(dataset, folder, monkeypatch):
    monkeypatch.setattr(turns, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(turns, "LOOK_SECONDS", 0.01)
    may_go_on, decoded, decode = threading.Event(), [], cache.decode_bytes

    def slowly(content: bytes, path: Path, height: int, width: int, box=None) -> np.ndarray:
        decoded.append(path)
        if len(decoded) > 3:
            assert may_go_on.wait(20)
        return decode(content, path, height, width, box)

    monkeypatch.setattr(cache, "decode_bytes", slowly)
    first, second = Listener(), Listener()
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(load, dataset, folder, first)
        wait_for(lambda: len(decoded) > 3)
        two = pool.submit(load, dataset, folder, second)
        wait_for(lambda: second.bars)
        assert not two.done()
        may_go_on.set()
        assert np.array_equal(one.result(), two.result())
    assert sorted(decoded) == [record.path for record in dataset.train]
    holder = f"process {os.getpid()} on "
    [(bar, total), *_] = second.bars
    assert bar.startswith(f"wait for {holder}") and "decode five train" in bar and total == 5
    assert first.lines == []
    assert [line.startswith(f"waits for {holder}") for line in second.lines] == [True]


def test_the_one_who_waits_sees_how_far_the_other_is(folder, monkeypatch):
    monkeypatch.setattr(turns, "BEAT_SECONDS", 0.01)
    lease = turns._Lease(folder / NAME)
    with turn(folder / NAME, "five train", 5, QUIET) as tell:
        tell(3)
        wait_for(lambda: lease.holder()[1])
        assert lease.holder() == (f"process {os.getpid()} on {os.uname().nodename}", 3)
    assert lease.holder() == ("another process", 0)


def test_who_waits_goes_on_alone_when_the_other_is_killed(dataset, folder):
    program = (
        "import pathlib, sys, time\n"
        "from bench.data.turns import temporary, turn\n"
        "from bench.progress import QUIET\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "with turn(path, 'five train', 5, QUIET):\n"
        "    temporary(path, 'half').write_bytes(bytes(1000))\n"
        "    print('has it', flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program, str(folder / NAME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout.readline() == b"has it\n"
        progress = Listener()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(load, dataset, folder, progress)
            time.sleep(0.3)
            assert not waiting.done() and (folder / f".{NAME}.half").exists()
            other.kill()
            assert waiting.result()[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert not (folder / f".{NAME}.half").exists()
    assert f".{NAME}.half (0.0 MB)" in progress.lines[-1]


def test_leftovers_of_any_set_go_and_those_of_the_living_stay(dataset, folder):
    load(dataset, folder)
    before = {path.name for path in folder.iterdir()}
    dead = [f".{name}-train-{16 * 'b'}-8x4.npy.{end}" for name in ("market", "a+b") for end in ("x1y2z3", "note-0a")]
    for name in dead:
        (folder / name).write_bytes(bytes(100))
    with turn(folder / "msmt-train.npy", "msmt train", 5, QUIET):
        alive = turns.temporary(folder / "msmt-train.npy", "0123")
        alive.write_bytes(b"half")
        progress = Listener()
        load(dataset, folder, progress)
        assert alive.exists()
    assert not [name for name in dead if (folder / name).exists()]
    assert len(progress.lines) == len(dead) and all(name in " ".join(progress.lines) for name in dead)
    assert before <= {path.name for path in folder.iterdir()}
    remove_leftovers(folder, progress)
    assert not alive.exists()


def test_a_file_system_without_locks_is_named_at_once(dataset, folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(NoLocks):
        try_lock(0)
    with pytest.raises(UserError, match=r"cache is on a file system without file locks \(Function not implemented\)"):
        load(dataset, folder)


def test_a_lock_file_of_a_colleague_that_may_not_be_written_is_good_enough(dataset, folder, monkeypatch):
    open_file = os.open

    def refuse_writing(path: Path, flags: int, *more: int) -> int:
        if flags & os.O_RDWR and str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return open_file(path, flags, *more)

    monkeypatch.setattr(os, "open", refuse_writing)
    with pytest.raises(UserError, match=r"cannot write the image cache .*: Permission denied"):
        load(dataset, folder)
    (folder / f".{NAME}.lock").touch()
    assert load(dataset, folder).shape == (5, 3, 12, 6)


def test_work_that_is_cut_off_leaves_nothing_and_stops_decoding(dataset, folder, monkeypatch):
    decoded, decode = [], cache.decode_bytes

    def interrupted(content: bytes, path: Path, height: int, width: int, box=None) -> np.ndarray:
        decoded.append(path)
        if len(decoded) == 1:
            raise KeyboardInterrupt
        time.sleep(0.2)  # what is decoded beside it takes its time
        return decode(content, path, height, width, box)

    monkeypatch.setattr(cache, "decode_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(dataset, folder)
    assert len(decoded) < 5
    assert [path.name for path in folder.iterdir()] == [f".{NAME}.lock"]
