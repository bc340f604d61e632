"""Whether a process on another machine lives, told by clocks that may be wrong. Its lock cannot be seen from here."""

from __future__ import annotations

import os
import threading
import time

import pytest
from made_up_runs import cells

from bench.journal.heartbeat import HEARTBEAT, Heartbeat, is_fresh, write_heartbeat
from bench.journal.record import LOCK, Started, cell_lock, is_running, write_started
from bench.running import life
from bench.running.jobs import Job, write_job
from bench.running.ledger import Ledger
from bench.study.plan import cell_id, resolve

DAY = 86_400.0


@pytest.fixture
def cell():
    return cells("ViT")[0]


@pytest.fixture
def folder(cell, tmp_path):
    config = resolve(cell.config, "cuda", "bf16")
    path = tmp_path / "runs" / cell_id(config, cell.numerics, "f" * 64)
    path.mkdir(parents=True)
    write_started(path, Started(label=cell.label, config=config, numerics=cell.numerics))
    return path


def beat(folder, stated: float, dated: float, host: str = "elsewhere", place: int = 0) -> None:
    """A heartbeat whose writer's clock and whose disk's clock were so many seconds ago."""
    now = time.time()
    write_heartbeat(folder, Heartbeat(state="running", updated=now - stated, host=host, pid=1, place={"epoch": place}))
    os.utime(folder / HEARTBEAT, (now - dated, now - dated))


@pytest.mark.parametrize(
    ("stated", "dated", "fresh"),
    [
        (5, 5, True),
        (-60, 0, True),  # some seconds' difference is nothing
        (3600, 3600, False),
        (3600, DAY, False),
        (-DAY, 5, None),  # written by a clock that is ahead, lately
        (-DAY, -DAY, None),  # the disk takes the writer's word
        (3600, 5, None),  # the writer's clock is behind, or the folder was copied
        (-3600, 3600, None),
        (5, -DAY, None),
    ],
)
def test_only_dates_that_agree_say_anything(stated, dated, fresh, folder):
    beat(folder, stated, dated)
    [heartbeat] = [Heartbeat.model_validate_json((folder / HEARTBEAT).read_bytes())]
    assert is_fresh(folder, heartbeat, time.time()) is fresh


@pytest.fixture
def kind(cell, tmp_path, monkeypatch):
    """What the ledger makes of the cell, and what it said meanwhile."""
    monkeypatch.setattr(life, "PATIENCE", 0.5)
    said = []

    def look():
        book = Ledger(tmp_path, lambda: pytest.fail("nobody is to be asked"), said.append)
        return book.state_of(cell).kind

    return look, said


@pytest.mark.slow
def test_a_heartbeat_of_a_clock_ahead_that_never_changes_is_no_life(kind, folder):
    look, said = kind
    for stated, dated in ((-DAY, -DAY), (-DAY, 1), (5, -DAY)):
        beat(folder, stated, dated)
        assert look() == "interrupted"
    assert len(said) == 3 and "elsewhere" in said[0] and "clock" in said[0]


def test_a_run_whose_clock_is_wrong_lives_while_its_heartbeat_changes(kind, folder):
    look, _ = kind
    beat(folder, -DAY, -DAY)
    stop = threading.Event()

    def go_on():
        number = 0
        while not stop.wait(0.05):
            number += 1
            beat(folder, -DAY, -DAY, place=number)

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        assert look() == "running"
    finally:
        stop.set()
        writer.join()


def test_clocks_that_agree_cost_no_time(kind, folder):
    look, said = kind
    beat(folder, 5, 5)
    assert look() == "running"
    beat(folder, 3600, 3600)
    assert look() == "interrupted" and said == []


def test_a_lock_is_believed_before_any_clock(kind, folder):
    look, said = kind
    beat(folder, -DAY, -DAY)
    with cell_lock(folder):
        assert look() == "running"
    beat(folder, 1, 1, host=os.uname().nodename)
    assert look() == "interrupted" and said == []


def test_where_the_lock_cannot_be_looked_at_the_clocks_are_asked(folder, monkeypatch):
    (folder / LOCK).touch()
    assert is_running(folder) is False
    monkeypatch.setattr("fcntl.flock", lambda *_: (_ for _ in ()).throw(OSError(38, "Function not implemented")))
    assert is_running(folder) is None
    beat(folder, 1, 1, host=os.uname().nodename)
    heartbeat = Heartbeat.model_validate_json((folder / HEARTBEAT).read_bytes())
    assert life.lives(folder, heartbeat) is True


def test_of_a_job_the_queue_is_asked(cell, folder, tmp_path):
    class Queue:
        def queue(self):
            return {}

        def ends(self, jobs):
            return {}

    beat(folder, -DAY, -DAY)
    write_job(folder, Job(cluster="slurm", name="b-1", index=4, folder=str(tmp_path), submitted=time.time() - 100))
    state = Ledger(tmp_path, Queue, lambda text: pytest.fail(text)).state_of(cell)
    assert state.kind == "failed" and "died without a word" in state.reason
