"""Where file locks are each machine's own, leases keep several machines from decoding the same images at once."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import wait_for

from bench.data import ImageRecord, cache, turns
from bench.data.cache import load_images
from bench.data.dataset import Dataset
from bench.data.turns import remove_leftovers, turn
from bench.progress import QUIET, Progress

NAME = "four-train-" + 16 * "a" + "-12x6.npy"


class Machines(threading.local):
    """Each thread is a machine of its own."""

    name = "node0"


@pytest.fixture
def machines(monkeypatch) -> Machines:
    """Machines that do not see one another's locks, and wait for a dead one for a third of a second."""
    found = Machines()
    monkeypatch.setattr(turns, "try_lock", lambda handle: True)
    monkeypatch.setattr(turns.socket, "gethostname", lambda: found.name)
    for name, seconds in (("LOOK", 0.01), ("BEAT", 0.02), ("LEASE", 0.3), ("SETTLING", 0.05)):
        monkeypatch.setattr(turns, f"{name}_SECONDS", seconds)
    return found


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    records = []
    for number in range(4):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (8, 16), (number, 20, 30)).save(path)
        records.append(ImageRecord(path, number, 0))
    return Dataset("four", tmp_path, tuple(records), (), (), "a" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cache").mkdir()
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch) -> list[Path]:
    """The images that were decoded to be kept."""
    found, decode = [], cache.decode_bytes

    def slowly(content: bytes, path: Path, *size, **more) -> np.ndarray:
        found.append(path)
        time.sleep(0.05)
        return decode(content, path, *size, **more)

    monkeypatch.setattr(cache, "decode_bytes", slowly)
    return found


def load(dataset: Dataset, folder: Path, progress: Progress = QUIET) -> np.ndarray:
    return load_images(dataset, "train", 12, 6, folder, 1, progress)


def test_of_machines_that_start_together_one_decodes(machines, dataset, folder, decoded):
    start = threading.Barrier(4)

    def on_a_machine(number: int) -> np.ndarray:
        machines.name = f"node{number}"
        start.wait()
        return load(dataset, folder)

    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(on_a_machine, range(4)))
    assert len(decoded) == 4
    assert all(np.array_equal(one, images[0]) for one in images) and len(np.unique(images[0][:, 0])) == 4
    assert [path.name for path in sorted(folder.iterdir())] == [f".{NAME}.lock", NAME.replace("npy", "json"), NAME]


def lease_of(machines: Machines, name: str, folder: Path) -> turns._Lease:
    before, machines.name = machines.name, name
    try:
        return turns._Lease(folder / NAME)
    finally:
        machines.name = before


def test_a_machine_that_died_is_waited_for_until_its_lease_has_not_changed_for_long(machines, dataset, folder):
    assert lease_of(machines, "node7", folder).take()
    (folder / f".{NAME}.half").write_bytes(b"half")
    began = time.monotonic()
    assert load(dataset, folder).shape == (4, 3, 12, 6)
    assert 0.3 <= time.monotonic() - began < 10
    assert not (folder / f".{NAME}.half").exists() and not (folder / f".{NAME}.lease").exists()


def test_a_dead_process_of_the_same_machine_is_not_waited_for(machines, folder, monkeypatch):
    """It would hold the lock."""
    monkeypatch.setattr(turns, "LEASE_SECONDS", 60.0)
    assert lease_of(machines, "node0", folder).take()
    with turn(folder / NAME, "four train", 4, QUIET):
        pass


def test_what_another_machine_is_at_is_no_leftover(machines, folder):
    draft = folder / f".{NAME}.0123abcd"
    draft.write_bytes(b"half")
    assert lease_of(machines, "node7", folder).take()
    remove_leftovers(folder, QUIET)
    assert draft.exists()
    (folder / f".{NAME}.lease").unlink()
    remove_leftovers(folder, QUIET)
    assert not draft.exists()


def test_of_two_machines_that_both_take_a_dead_ones_lease_one_has_it(machines, folder, monkeypatch):
    monkeypatch.setattr(turns, "LEASE_SECONDS", 0.0)
    assert lease_of(machines, "node7", folder).take()
    start = threading.Barrier(2)

    def take(number: int) -> bool:
        lease = lease_of(machines, f"node{number}", folder)
        start.wait()
        return lease.take()

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(take, range(2))) == [False, True]


def test_who_slept_so_long_that_another_took_over_takes_what_the_other_made(machines, dataset, folder, monkeypatch):
    """Its half-made file is gone when it wakes up."""
    slept, decode = [], cache.decode_bytes

    def sleeps_once(content: bytes, path: Path, *size, **more) -> np.ndarray:
        if not slept:
            slept.append(path)
            [draft] = [other for other in folder.glob(f".{NAME}.*") if other.suffix not in (".lock", ".lease")]
            draft.unlink()
            (folder / f".{NAME}.lease").unlink()
        return decode(content, path, *size, **more)

    monkeypatch.setattr(cache, "decode_bytes", sleeps_once)
    assert load(dataset, folder)[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


def test_a_lease_that_cannot_be_written_is_done_without(machines, folder, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(turns._Lease, "_write", refuse)
    with turn(folder / NAME, "four train", 4, QUIET) as tell:
        tell(1)


def test_a_lease_goes_on_being_written_while_nothing_is_told(machines, folder):
    with turn(folder / NAME, "four train", 4, QUIET):
        first = (folder / f".{NAME}.lease").read_text()
        wait_for("another writing", lambda: (folder / f".{NAME}.lease").read_text() != first, 20)
    assert [path.name for path in folder.iterdir()] == [f".{NAME}.lock"]
