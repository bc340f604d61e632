"""`bench clean` sweeps what no run needs any more, and never what a job, a process or a result may need."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from made_up_runs import both, cells, run

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.record import Started, cell_lock, write_started
from bench.running import sweeping
from bench.running.identity import Process, identify
from bench.running.jobs import Entry, Job, write_job
from bench.running.ledger import Ledger
from bench.running.submission import submission_lock
from bench.running.submitted import Account, write_account
from bench.running.sweeping import look, sweep_away
from bench.study.numerics import outdated

HOUR = 3600.0
ACCURACIES = both((0.5, 0.4), (0.6, 0.5))


class Asked:
    """Who is asked for jobs: answers with these, or, for None, with nothing but an excuse."""

    def __init__(self, entries: dict | None):
        self.entries = entries

    def queue(self):
        if self.entries is None:
            raise UserError("there is no squeue on this machine")
        return self.entries

    def ends(self, jobs):
        return {}


def make(folder: Path, name: str = "file") -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(bytes(1000))
    return folder


def age(*folders: Path, seconds: float = HOUR) -> None:
    for folder in folders:
        os.utime(folder, (time.time() - seconds,) * 2)


@pytest.fixture
def submitted(tmp_path):
    """Makes a submission of an hour ago, of code of its own, whose one run ended as said."""

    def make_one(number: int, state: str = "done", cluster: str = "slurm", process: Process | None = None, **more):
        name = f"bench-20250101-000000-00000{number}"
        folder = make(tmp_path / "submissions" / name)
        code = tmp_path / "snapshots" / f"{number:016x}"
        if not code.exists():
            make(code)
        account = Account(cluster=cluster, commit="c" * 40, dirty=False, snapshot=str(code), process=process)
        write_account(folder, account)
        age(folder, code)
        if state:
            begin(tmp_path, number, state, name, cluster, process, **more)
        return folder, code

    return make_one


def begin(results: Path, seed: int, state: str, name: str, cluster: str, process: Process | None, **more) -> Path:
    cell = cells("ViT")[seed]
    if state == "done":
        path = results / "runs" / run(results, cell, ACCURACIES, **more).cell
    else:
        path = results / "runs" / f"vit-{seed}"
        path.mkdir(parents=True)
        write_started(path, Started(label=cell.label, config=cell.config, numerics=cell.numerics | more))
        write_heartbeat(path, Heartbeat(state=state, updated=time.time() - HOUR, host="elsewhere", pid=1))
    job_name = f"{name}-0" if cluster == "slurm" else name
    submitted = time.time() - 2 * HOUR
    write_job(path, Job(cluster=cluster, name=job_name, folder=str(results), submitted=submitted, process=process))
    return path


def sweep(results: Path, entries: dict | None = (), delete: bool = True, runs: bool = False):
    """What was found, having deleted it."""
    found = look(results, Ledger(results, lambda: Asked(dict(entries) if entries is not None else None)))
    if delete:
        sweep_away(found, runs)
    return found


def test_what_finished_runs_have_left_behind_goes_and_nothing_else(submitted, tmp_path):
    gone, code = submitted(0)
    found = sweep(tmp_path)
    assert [one.path for one in found.submissions] == [gone] and [one.path for one in found.snapshots] == [code]
    assert found.snapshots[0].size == 1000 and not gone.exists() and not code.exists()
    [record] = tmp_path.glob("runs/*/record.json")
    assert record.exists() and not (tmp_path / sweeping.SWEEPING).exists()


def test_looking_changes_nothing(submitted, tmp_path):
    submitted(0)
    before = sorted(tmp_path.rglob("*"))
    assert sweep(tmp_path, delete=False).submissions
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("state", ["failed", "interrupted", "cancelled", "timed out"])
def test_what_tells_of_a_run_that_is_not_done_stays_with_its_code(submitted, tmp_path, state):
    kept, code = submitted(0, state)
    gone, _ = submitted(1)
    sweep(tmp_path)
    assert kept.exists() and code.exists() and not gone.exists()


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING"])
def test_a_job_in_the_queue_keeps_its_submission_whatever_became_of_its_run(submitted, tmp_path, state):
    """Its run was deleted, or has a result from elsewhere."""
    (orphan, code), (done, other) = submitted(0, ""), submitted(1)
    queue = {
        (f"{orphan.name}-0", None): Entry("7", state, "None"),
        (f"{done.name}-3", 2): Entry("8_2", state, "None"),
    }
    sweep(tmp_path, queue)
    assert all(path.exists() for path in (orphan, code, done, other))
    sweep(tmp_path, {place: Entry(entry.id, "COMPLETED", "") for place, entry in queue.items()})
    assert not any(path.exists() for path in (orphan, code, done, other))


def test_code_that_two_submissions_run_stays_for_the_one_that_needs_it(submitted, tmp_path):
    first, _ = submitted(0)
    second, code = submitted(1, "interrupted")
    write_account(first, Account(commit="c" * 40, dirty=False, snapshot=str(code)))
    age(first)
    found = sweep(tmp_path)
    assert not first.exists() and second.exists() and code.exists()
    assert [one.needed for one in found.kept] == [
        "what they say is of runs that are not done",
        "submissions that stay are of this code",
    ]


def test_without_an_answer_only_what_finished_runs_prove_goes(submitted, tmp_path):
    unknown, code = submitted(0, "")
    gone, _ = submitted(1)
    sweep(tmp_path, None)
    assert unknown.exists() and code.exists() and not gone.exists()


def test_another_users_submission_is_in_a_queue_that_we_do_not_see(submitted, tmp_path, monkeypatch):
    unknown, _ = submitted(0, "")
    monkeypatch.setattr(os, "getuid", lambda: unknown.stat().st_uid + 1)
    sweep(tmp_path)
    assert unknown.exists()


def test_a_process_of_this_machine_keeps_its_submission_while_it_lives(submitted, tmp_path):
    living, _ = submitted(0, "", "local", identify(os.getpid()))
    elsewhere, _ = submitted(1, "", "local", Process(host="elsewhere", pid=1, started="then", command=("python",)))
    dead, _ = submitted(2, "", "local", Process(host=os.uname().nodename, pid=2**22 + 1, started="then", command=()))
    sweep(tmp_path, None)
    assert living.exists() and elsewhere.exists() and not dead.exists()


def test_a_submission_without_an_account_keeps_all_code(submitted, tmp_path):
    untold, _ = submitted(0, "interrupted")
    (untold / "submission.json").write_text("{")
    age(untold)
    _, other = submitted(1)
    sweep(tmp_path)
    assert untold.exists() and other.exists()


def test_what_is_new_stays_since_locks_may_not_reach_another_machine(submitted, tmp_path):
    new, code = submitted(0, "")
    age(new, code, seconds=60)
    sweep(tmp_path)
    assert new.exists() and code.exists()


def test_copies_that_were_never_finished_go_and_what_is_nobodys_stays(tmp_path):
    half, mine = make(tmp_path / "snapshots" / ".snapshot-12-0123abcd"), make(tmp_path / "snapshots" / "mine")
    notes = make(tmp_path / "submissions" / "notes")
    age(half, mine, notes)
    assert sweep(tmp_path).snapshots[0].about == "never finished"
    assert not half.exists() and mine.exists() and notes.exists()


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(submitted, tmp_path, monkeypatch):
    (stuck, _), (gone, _) = submitted(0), submitted(1)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == stuck:
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    found = sweep(tmp_path)
    assert found.refused == [f"{stuck}: Permission denied"] and stuck.exists() and not gone.exists()
    assert [one.path for one in found.submissions] == [gone]


def older(numerics: dict[str, int]) -> dict[str, int]:
    return numerics | {"trainer": numerics["trainer"] - 1}


def test_runs_by_earlier_versions_are_listed_and_go_only_when_asked(tmp_path):
    first, second, third, _ = cells("ViT")
    old = run(tmp_path, first, ACCURACIES, numerics=older(first.numerics))
    newer = run(tmp_path, second, ACCURACIES, numerics=second.numerics | {"layers": 99})
    run(tmp_path, third, ACCURACIES)
    [found] = sweep(tmp_path).runs
    now = first.numerics["trainer"]
    assert found.path.name == old.cell and found.about == f"trainer {now - 1} (now {now})" and found.path.exists()
    sweep(tmp_path, runs=True)
    assert not found.path.exists()
    assert {path.name for path in (tmp_path / "runs").iterdir()} >= {newer.cell} and len(cells("ViT")) == 4


def test_a_run_by_an_earlier_version_that_waits_for_its_next_start_is_not_deleted(submitted, tmp_path):
    submission, _ = submitted(0, "preempted", trainer=cells("ViT")[0].numerics["trainer"] - 1)
    [old] = tmp_path.glob("runs/*")
    found = sweep(tmp_path, {(f"{submission.name}-0", None): Entry("7", "PENDING", "None")}, runs=True)
    assert found.runs == [] and found.at_work == 1 and old.exists()
    found = sweep(tmp_path, {}, runs=True)
    assert [one.path for one in found.runs] == [old] and found.at_work == 0 and not old.exists()


def test_a_run_that_a_process_has_is_not_deleted(tmp_path):
    cell = cells("ViT")[0]
    old = tmp_path / "runs" / run(tmp_path, cell, ACCURACIES, numerics=older(cell.numerics)).cell
    found = look(tmp_path, Ledger(tmp_path, lambda: Asked({})))
    with cell_lock(old):
        sweep_away(found, runs=True)
    assert old.exists() and found.runs == [] and "has just begun" in found.refused[0]


def test_of_a_head_from_outside_only_the_shared_versions_are_compared():
    cell = cells("ViT")[0]
    own = cell.config.model_copy(update={"head": "mine", "head_digest": "d" * 64})
    assert outdated(own, cell.numerics | {"head": 0}) == {}
    assert list(outdated(own, older(cell.numerics))) == ["trainer"]
    assert list(outdated(cell.config, cell.numerics | {"head": 0})) == ["head"]


def test_the_command_says_what_would_go_and_deletes_with_yes(bench, submitted, tmp_path):
    gone, code = submitted(0)
    cell = cells("ViT")[1]
    old = run(tmp_path, cell, ACCURACIES, numerics=older(cell.numerics))
    told = bench("clean", "--results", tmp_path)
    assert told.code == 0 and f"1 submission to delete, 0.0 MB:\n  {gone.name}" in told.out
    assert "nothing was deleted; --yes does it" in told.out and gone.exists()
    assert "that no table asks for, " in told.out and old.cell in told.out and "--old-runs --yes" in told.out
    told = bench("clean", "--results", tmp_path, "--yes")
    assert told.code == 0 and "1 copy of the code deleted" in told.out and not gone.exists() and not code.exists()
    assert (tmp_path / "runs" / old.cell).exists()
    assert (
        "run by an earlier version of the code deleted"
        in bench("clean", "--results", tmp_path, "--yes", "--old-runs").out
    )
    assert not (tmp_path / "runs" / old.cell).exists()
    assert bench("clean", "--results", tmp_path / "nowhere", "--yes").out == "there is nothing to delete\n"


def test_nothing_is_swept_while_somebody_submits(bench, submitted, tmp_path):
    gone, _ = submitted(0)
    with submission_lock(tmp_path):
        told = bench("clean", "--results", tmp_path, "--yes")
    assert told.code == 2 and "try again when it has finished" in told.err and gone.exists()
