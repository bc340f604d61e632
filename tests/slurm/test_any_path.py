"""A results folder may be called anything: SLURM is played by commands that run the script as a node would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.running.jobs import job_logs, read_job
from slurm.folder import environment, submission_folder, working_in

NAMES = [
    "100 % done %j %A_%a %t %%x",
    'it\'s "quoted" $HOME `date` #1',
    "back\\slash\\\\ %j",
    "new\nline",
    "-ü ~",
]
SRUN = 'printf "in %s, code %s\\n%s\\n" "$(pwd)" "$PYTHONPATH" "$*"; echo said >&2'
"""Tells where a task would run, and how."""


def sbatch(identity: str) -> str:
    """Runs the script at once, as a node does: without the submitter's folder."""
    return f'script=$(readlink -f "$1"); cd /; {identity} bash "$script"; echo Submitted batch job 7'


ALONE = sbatch("SLURM_JOB_ID=7")
FIRST_OF_ARRAY = sbatch("SLURM_JOB_ID=8 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=0")


@pytest.fixture
def results(tmp_path, request) -> Path:
    return tmp_path / request.param


@pytest.mark.parametrize("results", NAMES, indirect=True)
def test_what_a_job_writes_lies_in_its_submission(submit, played_slurm, results, tmp_path):
    played_slurm(sbatch=FIRST_OF_ARRAY, srun=SRUN)
    done = submit("--results", results, "--resource", "setup=echo mine")
    assert done.code == 0, done.err
    for folder in (results / "runs").iterdir():
        job = read_job(folder)
        place = Path(job.folder)
        assert place.parent.parent == results / "submissions"
        assert (place / f"7_{job.index}_submitted.pkl").is_file() and (place / "7_submission.sh").is_file()
    first = next(job for job in map(read_job, (results / "runs").iterdir()) if job.index == 0)
    logs = {log.name: log.read_text() for log in job_logs(first)}
    [code] = (results / "snapshots").iterdir()
    node, _, said = logs["7_0_0_log.out"].partition("\n")
    assert node.startswith("started on ") and said.startswith(f"mine\nin {place}, code {code}\n")
    assert logs["7_0_0_log.err"] == "said\n"
    # Neither SLURM nor Submitit is told a path in which it could put anything in the place of something.
    assert str(results) not in logs["7_0_0_log.out"].partition("code")[2].replace(str(code), "")
    assert {path.name for path in tmp_path.iterdir()} <= {results.name, "bin", "calls"}


def test_a_job_alone_has_a_log_by_its_own_number(submit, played_slurm, tmp_path):
    played_slurm(sbatch=ALONE, srun=SRUN)
    assert submit("--results", tmp_path / NAMES[0], seeds="1").code == 0
    [folder] = (tmp_path / NAMES[0] / "runs").iterdir()
    assert {log.name for log in job_logs(read_job(folder))} == {"7_0_log.out", "7_0_log.err"}


def test_the_users_commands_run_where_the_command_was_given(submit, played_slurm, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    (here / "env.sh").write_text("export MINE=found")
    monkeypatch.chdir(here)
    played_slurm(sbatch=ALONE, srun='echo "$MINE in $(pwd)"')
    assert submit("--resource", "setup=. ./env.sh", seeds="1").code == 0
    [folder] = (tmp_path / "results" / "runs").iterdir()
    assert job_logs(read_job(folder))[0].read_text().splitlines()[1:] == [f"found in {read_job(folder).folder}"]
    assert Path.cwd() == here


def test_a_results_folder_that_the_node_does_not_see_runs_nothing(submit, played_slurm, tmp_path):
    away = f"mv {tmp_path}/results {tmp_path}/away"
    played_slurm(
        sbatch=f'cp "$1" {tmp_path}/script; {away}; SLURM_JOB_ID=7 bash {tmp_path}/script; echo $? > {tmp_path}/code',
        srun=f"touch {tmp_path}/ran",
    )
    submit(seeds="1")
    assert (tmp_path / "code").read_text() == "1\n" and not (tmp_path / "ran").exists()


def test_a_job_inside_of_another_job_takes_nothing_of_it_for_its_own(submit, played_slurm, tmp_path, monkeypatch):
    for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.setenv(name, "3")
    played_slurm(sbatch=f"env > {tmp_path}/seen; echo Submitted batch job 7")
    assert submit(seeds="1").code == 0
    seen = (tmp_path / "seen").read_text()
    assert "PATH=" in seen and "SLURM_ARRAY" not in seen and "RESTART" not in seen
    assert os.environ["SLURM_ARRAY_JOB_ID"] == "3"


def test_folders_that_no_job_could_name_are_refused_before_anything_is_submitted(submit, played_slurm, tmp_path):
    calls = played_slurm()
    found = submit("--results", tmp_path / "10:30")
    assert found.code == 2 and "PYTHONPATH" in found.err and "without it" in found.err and "Traceback" not in found.err
    assert submit("--results", tmp_path / "10:30", "--dry-run").code == 2
    assert not calls.exists()
    with pytest.raises(UserError, match=r"\\xff.*UTF-8"):
        submission_folder(Path(os.fsdecode(b"/tmp/\xff")), "b-1")


def test_working_in_a_folder_returns_and_does_without_one_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with working_in(tmp_path / "there"):
        assert Path.cwd() == tmp_path / "there"
    with working_in(tmp_path / "nowhere"):
        assert Path.cwd() == tmp_path
    assert Path.cwd() == tmp_path


def test_the_environment_is_as_before_after_a_block(monkeypatch):
    monkeypatch.setenv("KEPT", "old")
    with environment({"KEPT": None, "NEW": "1"}):
        assert "KEPT" not in os.environ and os.environ["NEW"] == "1"
    assert os.environ["KEPT"] == "old" and "NEW" not in os.environ
