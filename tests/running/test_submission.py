"""Submitting: what goes into which array, with which resources, from which code, and by whom. SLURM is played."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import apart
import pytest
from called import called
from places import ROOT
from standing_head import standing_head
from waiting import wait_for

from bench.errors import UserError
from bench.journal.record import read_records
from slurm.arrays import plan_arrays
from slurm.queue import JobInfo
from slurm.resources import Resources, minutes_of
from slurm.snapshot import freeze, keep_head, snapshot_of
from slurm.table import ResourceTable
from slurm.worker import decide


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("10:30", 11), ("1:00:00", 60), ("24:00:00", 1440), ("2-0", 2880), ("1-12:30", 2190), ("00:00:30", 1)],
)
def test_time_limits_are_read_as_sbatch_reads_them(text, minutes):
    assert minutes_of(text) == minutes


def test_the_command_line_wins_over_the_users_file_and_that_over_the_suites(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "defaults: {time: 4:00:00, memory: 32G, partition: gpu, setup: [module load cuda]}\nheads: {vit: {gpus: 2}}\n"
    )
    table = ResourceTable(file, ["partition=long", "sbatch=--exclude=node7"])
    vit, cross = (table.of(called(head)) for head in ("vit", "transformer_cross"))
    assert (vit.time, vit.partition, vit.gpus, vit.cpus) == ("4:00:00", "long", 2, 8)
    assert cross.gpus == 1 and cross.time == "48:00:00" and vit.setup == ["module load cuda"]
    assert vit.sbatch_options() == {"requeue": True, "mem": "32G", "gres": "gpu:2", "exclude": "node7"}
    assert Resources(gpus=1, gpu_type="a100").sbatch_options()["gres"] == "gpu:a100:1"


@pytest.mark.parametrize(
    ("file", "overrides", "words"),
    [
        (None, ["tme=5"], ("tme", "did you mean 'time'")),
        (None, ["time"], ("KEY=VALUE", "time=4:00:00")),
        (None, ["time=soon"], ("no time limit", "soon")),
        (None, ["gpus=many"], ("gpus", "many")),
        (None, ["sbatch=exclude=node7"], ("begin with --",)),
        (None, ["sbatch=--output=mine.out"], ("--output", "set by bench itself")),
        (None, ["sbatch=--chdi=/home"], ("--chdi", "set by bench itself")),
        ("defaults: {partitoin: gpu}", [], ("partitoin", "did you mean 'partition'")),
        ("heads: {vit: {tme: 5}}", [], ("tme",)),
        ("- a", [], ("defaults and heads",)),
        ("{", [], ("no YAML",)),
    ],
)
def test_resources_that_make_no_sense_are_named(file, overrides, words, tmp_path):
    path = None
    if file is not None:
        path = tmp_path / "mine.yaml"
        path.write_text(file)
    with pytest.raises(UserError) as fault:
        ResourceTable(path, overrides)
    assert all(word in str(fault.value) for word in words), fault.value


class Task:
    """What planning arrays looks at."""

    def __init__(self, cell: int, head: str) -> None:
        self.cell, self.config = cell, self
        self.head = head


def arrays_of(sizes: dict[str, int], array_size: int, max_parallel: int | None = None):
    tasks = [Task(number, head) for head, count in sizes.items() for number in range(count)]
    return plan_arrays(tasks, lambda task: Resources(time=task.config.head), array_size, max_parallel)


def test_a_class_of_resources_is_an_array_and_the_limit_splits_it():
    arrays = arrays_of({"10": 7, "20": 2}, array_size=3)
    assert [(array.resources.time, len(array.tasks), array.parallel) for array in arrays] == [
        ("10", 3, 3), ("10", 3, 3), ("10", 1, 1), ("20", 2, 2)
    ]  # fmt: skip
    assert all(array.after is None for array in arrays)


@pytest.mark.parametrize("max_parallel", [1, 2, 3, 4, 5, 8, 20])
def test_all_arrays_together_keep_to_the_limit(max_parallel):
    arrays = arrays_of({"10": 10, "20": 3, "30": 1}, array_size=4, max_parallel=max_parallel)
    assert sum(len(array.tasks) for array in arrays) == 14
    # Arrays that wait for another never run beside it.
    at_once = sum(array.parallel for array in arrays if array.after is None)
    assert at_once <= max_parallel
    assert all(array.parallel == 1 for array in arrays if array.after is not None)
    assert all(1 <= array.parallel <= len(array.tasks) for array in arrays)


NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("job", "signal_name", "restarts", "state", "requeue"),
    [
        (JobInfo("RUNNING", 0, NOW + 9999, NOW - 1), "SIGTERM", 0, "preempted", True),
        (JobInfo("PENDING", 1, None, None), "SIGTERM", 0, "preempted", False),
        (JobInfo("COMPLETING", 1, None, None), "SIGTERM", 0, "preempted", False),
        (JobInfo("RUNNING", 1, NOW + 9999, None), "SIGTERM", 0, "preempted", False),
        (JobInfo("RUNNING", 1, NOW + 30, None), "SIGUSR2", 1, "timed out", True),
        (JobInfo("RUNNING", 1, NOW + 180, None), "SIGUSR2", 1, "timed out", True),
        (JobInfo("RUNNING", 0, NOW + 9999, None), "SIGUSR2", 0, "preempted", True),
        (JobInfo("RUNNING", 0, None, None), "SIGUSR2", 0, "preempted", True),
        (JobInfo("COMPLETING", 0, NOW - 1, None), "SIGTERM", 0, "timed out", True),
        (JobInfo("TIMEOUT", 0, NOW - 1, None), "SIGTERM", 0, "timed out", True),
        (JobInfo("COMPLETING", 0, NOW + 9999, None), "SIGTERM", 0, "cancelled", False),
        (JobInfo("CANCELLED", 0, NOW + 9999, None), "SIGTERM", 0, "cancelled", False),
        (JobInfo("RUNNING", 0, NOW + 9999, None), "SIGTERM", 0, "preempted", True),
    ],
)
def test_what_a_signal_meant_is_asked_of_slurm(job, signal_name, restarts, state, requeue):
    """Never guessed from how long the job ran, and never requeued where SLURM has done so."""
    decision = decide(job, signal_name, restarts, NOW)
    assert (decision.state, decision.requeue) == (state, requeue)


def test_the_same_code_is_frozen_once(tmp_path):
    first, again = freeze(tmp_path), freeze(tmp_path)
    assert first == again == snapshot_of(tmp_path) and len(list((tmp_path / "snapshots").iterdir())) == 1
    assert (first.path / "bench" / "cli.py").read_bytes() == (ROOT / "bench" / "cli.py").read_bytes()
    assert (first.path / "variants" / "kernels" / "maxima.cpp").is_file()


@pytest.mark.slow
def test_frozen_code_knows_its_commit_and_runs_by_itself(tmp_path):
    snapshot = freeze(tmp_path)
    code = (
        "import bench, slurm.queue, slurm.resources, bench.journal.provenance as p; from pathlib import Path;"
        "print(bench.__file__, *p.code_version(Path(bench.__file__).parent))"
    )
    environment = {**os.environ, "PYTHONPATH": str(snapshot.path), "PYTHONSAFEPATH": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.stdout.split() == [str(snapshot.path / "bench" / "__init__.py"), snapshot.commit, str(snapshot.dirty)]


def test_a_head_from_outside_is_frozen_too(tmp_path):
    head = tmp_path / "mine.py"
    head.write_text("one")
    kept = Path(keep_head(str(head), tmp_path / "snapshot"))
    head.write_text("two")
    assert kept.read_text() == "one" and kept.name == "mine.py"
    assert keep_head("vit", tmp_path) == "vit"


def test_dry_run_prints_the_scripts_and_writes_nothing(submit, played_slurm, tmp_path):
    calls = played_slurm()
    found = submit("--dry-run", "--resource", "partition=long", "--resource", "time=2:00:00", rows="all", seeds="1")
    assert found.code == 0 and not calls.exists() and not (tmp_path / "results").exists()
    assert found.out.count("#!/bin/bash") == 3  # nine cells in arrays of four
    for line in ("#SBATCH --array=0-3%4", "#SBATCH --partition=long", "#SBATCH --time=120", "#SBATCH --requeue"):
        assert line in found.out
    assert "wckey" not in found.out and "vit-msmt-s0" in found.out
    assert "--wckey=paper" in submit("--dry-run", "--resource", "wckey=paper").out


def test_jobs_are_known_before_they_exist_and_a_refusal_takes_that_back(submit, played_slurm, tmp_path):
    played_slurm(sbatch="echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1")
    refused = submit()
    assert refused.code == 2 and "SLURM refuses: invalid partition specified: gpu" in refused.err
    assert "Traceback" not in refused.err and not list((tmp_path / "results").glob("runs/*/job.json"))
    played_slurm()
    assert submit().code == 0
    assert len(list((tmp_path / "results").glob("runs/*/job.json"))) == 2


def test_what_is_queued_is_not_submitted_again(submit, played_slurm, tmp_path):
    calls = played_slurm()
    assert "2 to run" in submit().out and len(calls.read_text().splitlines()) == 1
    [name] = {path.name for path in (tmp_path / "results" / "submissions").iterdir() if path.is_dir()}
    played_slurm(squeue=f'for n in 0 1; do echo "$n|7_$n|PENDING|Priority|{name}-0"; done')
    again = submit()
    assert again.code == 0 and "0 to run" in again.out and "2 queued" in again.out
    more = submit(seeds="3")
    assert "1 to run" in more.out and len(calls.read_text().splitlines()) == 2


def test_nothing_is_submitted_while_the_queue_is_silent(submit, played_slurm):
    calls = played_slurm()
    assert submit().code == 0
    played_slurm(squeue="echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    found = submit()
    assert (
        found.code == 2 and "Unable to contact slurm controller" in found.err and "nothing was submitted" in found.err
    )
    assert len(calls.read_text().splitlines()) == 1


def test_a_machine_without_sbatch_is_told(submit, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = submit()
    assert found.code == 2 and "there is no" in found.err and "--cluster local" in found.err


def test_a_second_submitter_is_told_of_the_first(submit, played_slurm, tmp_path):
    calls = played_slurm()
    folder = tmp_path / "results" / "submissions"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write('{"pid": 4711, "host": "login1", "since": "12:00:00"}')
        file.flush()
        found = submit()
    assert found.code == 2 and "another `bench run` is submitting" in found.err and "4711 on login1" in found.err
    assert not calls.exists()
    assert submit().code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--cluster", "local", "--max-parallel", "2"), "--jobs"),
        (("--cluster", "slurm", "--jobs", "2"), "--max-parallel"),
        (("--resource", "time=5"), "add --cluster slurm"),
        (("--cluster", "slrum"), "slurm"),
        (("--cluster", "slurm", "--resources", "nowhere.yaml"), "cannot read nowhere.yaml"),
        (("--save-every", "-1"), "seconds"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(bench, tiny_data, tmp_path, arguments, words):
    found = bench("run", "--preset", "tiny", "--data-dir", tiny_data, "--results", tmp_path / "r", *arguments)
    assert found.code == 2 and words in found.err and "Traceback" not in found.err


@pytest.mark.slow
def test_local_runs_in_the_background_can_be_cancelled_and_go_on_to_the_bits_of_plain_runs(bench, tiny_data, tmp_path):
    """The command returns at once, and what it started lives on: one run ends by itself, one is told to leave."""
    head, local = standing_head(tmp_path), tmp_path / "local %j %a"
    places = ("--variants", f"{head},cosine", "--preset", "tiny", "--data-dir", tiny_data, "--set", "training.epochs=2")
    found = bench("run", *places, "--cluster", "local", "--jobs", "2", "--results", local)
    assert found.code == 0 and "in the background" in found.out
    again = bench("run", *places, "--cluster", "local", "--results", local)
    assert "0 to run" in again.out

    def told() -> str:
        return bench("status", *places, "--results", local).out

    wait_for(
        "one to be done, one in its second epoch", lambda: "running, epoch 2" in (it := told()) and "1 of 2 done" in it
    )
    assert bench("cancel", *places, "--results", local).out == "1 cancelled\n"
    wait_for("the end", lambda: "cancelled, epoch 2" in told())
    assert list(local.glob("runs/standing-*/checkpoint.pt"))
    assert "1 to run" in bench("run", *places, "--cluster", "local", "--dry-run", "--results", local).out
    assert f"{local}/submissions/" in (logs := bench("logs", "cosine", "--results", local).out) and ": done" in logs
    for results in (local, tmp_path / "plain"):
        assert bench("run", *places, "--results", results).code == 0
    there, plain = ({r.cell: r.weights_hash for r in read_records(place)} for place in (local, tmp_path / "plain"))
    assert there == plain and len(plain) == 2


@pytest.mark.slow
def test_debug_runs_in_this_process(tiny_data, tmp_path):
    results = tmp_path / "%a"
    done = apart.bench(
        "run", "--cluster", "debug", "--variants", "cosine", "--preset", "tiny", "--data-dir", tiny_data, "--results",
        results,
    ).wait()  # fmt: skip
    assert done.code == 0 and "seed 0  done" in done.out, done
    [record] = read_records(results)
    assert record.status == "done"


@pytest.mark.slow
def test_a_job_that_slurm_never_heard_of_is_submitted_again(submit, played_slurm, tmp_path):
    """The submitting process died between writing job.json and sbatch: SLURM never heard of the job."""
    calls = played_slurm()
    assert submit().code == 0
    again = submit()
    assert "2 to run" in again.out and len(calls.read_text().splitlines()) == 2
