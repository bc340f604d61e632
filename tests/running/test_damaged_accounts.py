"""Heartbeats, jobs and accounts of starts that are damaged, foreign or absurd: a state is told, never a traceback."""

from __future__ import annotations

import itertools
import json
import time

import pytest
from made_up_runs import both, cells, run

from bench.journal.heartbeat import HEARTBEAT, Heartbeat, Place, read_heartbeat, write_heartbeat
from bench.journal.reading import told
from bench.journal.record import STARTED, Started, write_started
from bench.running import life
from bench.running.jobs import JOB, Entry, Job, job_logs, write_job
from bench.running.ledger import KINDS, Ledger
from bench.study.plan import cell_id, resolve

CONTENTS = (b"", b"{}", b"[]", b"null", b"1", b"\x00\xff", b'{"state": "running"}', b"[" * 9999, b'"\\udcff"')
ABSURD = (
    None,
    "",
    "x",
    "a\nb",
    "/\0",
    0,
    -1,
    10**30,
    1e300,
    float("nan"),
    float("inf"),
    True,
    [],
    {},
    [None],
    "9" * 400,
)


CELL = cells("ViT")[0]


class Scheduler:
    def queue(self):
        return {("b-1", 4): Entry("17_4", "RUNNING", "None")}

    def ends(self, jobs):
        return {(job.name, job.index): "TIMEOUT" for job in jobs}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a run that is said to be under way elsewhere, as a job of SLURM."""
    monkeypatch.setattr(life, "PATIENCE", 0.001)
    config = resolve(CELL.config, "cuda", "bf16")
    path = tmp_path / "runs" / cell_id(config, CELL.numerics, "f" * 64)
    path.mkdir(parents=True)
    write_started(path, Started(label=CELL.label, config=config, numerics=CELL.numerics))
    place = Place(phase="training", epoch=1, epochs=2, done=1, total=2)
    said = Heartbeat(state="running", updated=time.time(), host="elsewhere", pid=1, place=place, seconds_left=5.0)
    write_heartbeat(path, said)
    write_job(path, Job(cluster="slurm", name="b-1", index=4, folder=str(tmp_path), submitted=time.time() - 9))
    return path


def state_of(folder) -> str:
    """The kind, after all that is shown of it was made."""
    book = Ledger(folder.parent.parent, Scheduler)
    states = [book.state_of(CELL), book.state_of_folder(folder)]
    shown = "\n".join([str(states), *map(str, states), *told(book.faults.values()), *book.notes, *book.cells])
    assert shown and {state.kind for state in states} <= set(KINDS)
    return states[1].kind


def test_a_sound_folder_is_running(folder):
    assert state_of(folder) == "running"


@pytest.mark.parametrize("content", CONTENTS, ids=repr)
def test_damaged_files_are_told_or_passed_over(content, folder):
    whole = {name: (folder / name).read_bytes() for name in (HEARTBEAT, JOB, STARTED)}
    (folder / HEARTBEAT).write_bytes(content)
    assert read_heartbeat(folder) is None and state_of(folder) == "running", "the queue says so"
    (folder / JOB).write_bytes(content)
    assert state_of(folder) == "unreadable"
    (folder / JOB).write_bytes(whole[JOB])
    (folder / STARTED).write_bytes(content)
    assert state_of(folder) == "unreadable"


def places_of(value, here=()):
    for key, inner in value.items():
        yield (*here, key)
        if isinstance(inner, dict):
            yield from places_of(inner, (*here, key))


@pytest.mark.slow
@pytest.mark.parametrize("name", [HEARTBEAT, JOB, STARTED])
@pytest.mark.parametrize("state", ["running", "interrupted"])
def test_absurd_values_are_told_or_passed_over(name, state, folder):
    heartbeat = read_heartbeat(folder)
    write_heartbeat(folder, heartbeat.model_copy(update={"state": state, "updated": heartbeat.updated - 7000}))
    whole = (folder / name).read_text()
    for place, value in itertools.product(places_of(json.loads(whole)), ABSURD):
        values = inner = json.loads(whole)
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        (folder / name).write_text(json.dumps(values))
        state_of(folder)


def test_commands_go_on(folder, bench, tmp_path):
    run(tmp_path, cells("cosine")[0], both((0.3, 0.2), (0.7, 0.4)))
    for name in (HEARTBEAT, JOB, STARTED):
        (folder / name).write_text('{"state": "running", "pid": "?"}')
    asked = ("--variants", "ViT,cosine", "--seeds", "1", "--results", tmp_path)
    found = bench("status", *asked)
    assert found.code == 1 and "1 of 2 done, 1 unreadable" in found.out and STARTED in found.out
    assert bench("cancel", *asked).code == 0
    assert bench("logs", folder.name, "--results", tmp_path).code == 1
    assert bench("run", "--dry-run", *asked).code == 1
    assert bench("report", "--results", tmp_path, "--format", "text").code == 0


def test_output_of_a_job_is_found_as_far_as_it_can_be(tmp_path):
    for name, content in (("1_4_0_log.out", "said"), ("1_4_0_log.err", ""), ("2_4_0_log.out", "again")):
        (tmp_path / name).write_text(content)
    (tmp_path / "3_4_0_log.out").symlink_to("3_4_0_log.out")
    job = Job(cluster="slurm", name="b", index=4, folder=str(tmp_path), submitted=1.0)
    assert [path.name for path in job_logs(job)] == ["1_4_0_log.out", "2_4_0_log.out"]
    for nowhere in ("", "\0", str(tmp_path / "absent"), "x" * 5000):
        assert job_logs(job.model_copy(update={"folder": nowhere})) == []
