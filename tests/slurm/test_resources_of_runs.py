"""Which run asks for what, and how its script starts and ends it. SLURM is played; a real shell runs the scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from called import called
from places import ROOT
from waiting import wait_for

from bench.errors import UserError
from bench.journal.heartbeat import Heartbeat, write_heartbeat
from bench.journal.usage import Usage
from bench.running.jobs import Names
from slurm.table import ResourceTable

NAMES = Names(
    study="table3",
    studies=("table1", "table3"),
    heads=("vit", "transmatcher"),
    train=("msmt", "market", "shop"),
    rows=("ViT", "TransMatcher small"),
)


@pytest.fixture
def table(tmp_path):
    """The table of a file and of what the command line says."""

    def make(text: str, *overrides: str) -> ResourceTable:
        file = tmp_path / "mine.yaml"
        file.write_text(text)
        return ResourceTable(file, overrides, NAMES)

    return make


GROUPS = {
    "defaults": "defaults: {partition: one}",
    "heads": "heads: {vit: {partition: two}}",
    "train": "train: {msmt: {partition: three}}",
    "studies": "studies: {table3: {partition: four}}",
    "rows": "rows: {ViT: {partition: five}}",
}


def test_what_is_said_of_fewer_runs_wins(table):
    """The row before the study, the training set, the head and the defaults; the command line before all."""
    said = list(GROUPS.values())
    for count, partition in enumerate(("one", "two", "three", "four", "five"), start=1):
        # In whatever order they stand in the file.
        assert table("\n".join(reversed(said[:count]))).of(called()).partition == partition
    assert table("\n".join(said), "partition=six").of(called()).partition == "six"
    others = called("transmatcher", "market", "TransMatcher small")
    assert table("\n".join(said)).of(others).partition == "four"


def test_what_is_said_elsewhere_stays(table):
    found = table("rows: {ViT: {gpu_type: t4}}\nheads: {vit: {cpus: 3}}\ntrain: {msmt: {memory: 9G}}").of(called())
    assert (found.gpu_type, found.cpus, found.memory, found.time) == ("t4", 3, "9G", "24:00:00")


def test_a_training_set_is_named_in_any_order_and_without_what_its_file_holds(table):
    found = table("train: {market+msmt: {cpus: 3}, shop: {cpus: 4}}")
    assert found.of(called(train="msmt+market")).cpus == 3
    assert found.of(called(train="shop@1a2b3c")).cpus == 4
    assert found.of(called(train="msmt")).cpus == 8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("heads: {transmatcer: {cpus: 2}}", "unknown head 'transmatcer' in heads (did you mean 'transmatcher'?)"),
        ("train: {msmt+markt: {cpus: 2}}", "unknown training set 'markt' in train (did you mean 'market'?)"),
        ("studies: {table2: {cpus: 2}}", "unknown study 'table2' in studies (did you mean 'table"),
        ("rows: {TransMatcher smal: {cpus: 2}}", "unknown row 'TransMatcher smal' in rows (did you mean 'TransMatcher"),
        ("row: {ViT: {cpus: 2}}", "unknown key 'row' (did you mean 'rows'?)"),
        ("rows: {ViT: {pyhton: python3}}", "unknown key 'pyhton' (did you mean 'python'?)"),
        ("defaults: {srun: [container-image=x]}", "srun: options begin with --, not 'container-image=x'"),
        ("defaults: {srun: [--output=x]}", "srun: --output is set by bench itself"),
        ("defaults: {srun: [--cpus-per-t=4]}", "srun: --cpus-per-t is set by bench itself"),
        ('defaults: {python: "python3 \'x"}', "python: the shell cannot read"),
        ('defaults: {python: "   "}', "python: needs a path"),
        ("defaults: {teardown: [' ']}", "teardown: no command"),
        ("defaults: {memory: lots}", "no amount of memory: 'lots'"),
    ],
)
def test_what_makes_no_sense_is_told_before_anything_is_submitted(table, text, words):
    with pytest.raises(UserError) as fault:
        table(text)
    assert words in str(fault.value) and "\n" not in str(fault.value)


def test_names_are_checked_against_all_that_there_is(submit, played_slurm, tmp_path):
    calls = played_slurm()
    file = tmp_path / "mine.yaml"
    file.write_text("heads: {qaconv: {cpus: 2}}\nstudies: {table1: {cpus: 2}}\ntrain: {randperson: {cpus: 2}}\n")
    assert submit("--dry-run", "--resources", file).code == 0
    file.write_text("rows: {TransMacher: {cpus: 2}}\n")
    found = submit("--resources", file)
    assert found.code == 2 and "did you mean 'TransMatcher'" in found.err and not calls.exists()


def test_scripts_show_it_and_rows_that_differ_are_arrays_of_their_own(submit, played_slurm, tmp_path):
    played_slurm()
    file = tmp_path / "mine.yaml"
    file.write_text(
        "rows:\n  ViT:\n    python: /opt/venv/bin/python\n    srun: [--container-image=/images/pairbench.sqsh]\n"
        "    teardown: [rm -rf /scratch/me, echo gone]\n"
    )
    out = submit("--dry-run", "--resources", file, rows="ViT,cosine", seeds="1").out
    vit, cosine = sorted(out.split("# array ")[1:], key=lambda script: "cosine" in script)
    assert "--container-image=/images/pairbench.sqsh sh -c" in vit and ' "$PWD" /opt/venv/bin/python -u -m ' in vit
    assert "\nrm -rf /scratch/me\necho gone\n" in vit
    assert "container" not in cosine and "teardown" not in cosine and "sh -c" not in cosine


@pytest.fixture
def script(submit, played_slurm, tmp_path, monkeypatch):
    """The script of a submission with further resources, and how srun is played in it; both run by bash."""

    def make(srun: str, *resources: str) -> subprocess.Popen:
        played_slurm(srun=srun)
        given = tmp_path / "given in"
        given.mkdir()
        monkeypatch.chdir(given)
        words = [word for resource in resources for word in ("--resource", resource)]
        assert submit(*words, seeds="1").code == 0
        [path] = (tmp_path / "results").glob("submissions/*/*/7_submission.sh")
        return subprocess.Popen(["bash", path], cwd="/", env={**os.environ, "SLURM_JOB_ID": "7"})

    return make


def test_commands_after_the_run_see_it_fail_and_leave_its_exit_code(script, tmp_path):
    started = script("exit 3", f"teardown=pwd > {tmp_path}/where", "teardown=false", f"teardown=touch {tmp_path}/end")
    assert started.wait(30) == 3
    assert (tmp_path / "where").read_text() == f"{tmp_path / 'given in'}\n" and (tmp_path / "end").exists()


def test_they_come_after_a_setup_that_failed(script, tmp_path):
    started = script(f"touch {tmp_path}/run", "setup=set -e", "setup=false", f"teardown=touch {tmp_path}/end")
    assert started.wait(30) == 1
    assert (tmp_path / "end").exists() and not (tmp_path / "run").exists()


def test_they_wait_for_a_run_that_is_told_to_leave(script, tmp_path):
    """SLURM tells the script too; the run has seconds to save."""
    os.mkfifo(tmp_path / "go")
    started = script(
        f"trap '' TERM; touch {tmp_path}/begun; read x < {tmp_path}/go; echo saved >> {tmp_path}/told; exit 5",
        f"teardown=echo after >> {tmp_path}/told",
    )
    wait_for("srun", (tmp_path / "begun").exists)
    started.terminate()
    assert not (tmp_path / "told").exists()
    (tmp_path / "go").write_text("go\n")
    assert started.wait(30) == 5
    assert (tmp_path / "told").read_text() == "saved\nafter\n"


def test_a_container_that_begins_elsewhere_runs_the_nodes_python_in_the_folder_of_the_job(script, tmp_path):
    python = tmp_path / "their python"
    python.write_text(f'#!/bin/sh\npwd > "{tmp_path}/where"; echo "$@" >> "{tmp_path}/where"\n')
    python.chmod(0o755)
    started = script(
        'while [ "$1" != sh ]; do shift; done; cd /; exec "$@"',
        f"python='{python}' -X dev", "srun=--container-image=x",
    )  # fmt: skip
    assert started.wait(30) == 0
    where, words = (tmp_path / "where").read_text().splitlines()
    assert Path(where).parent.parent == tmp_path / "results" / "submissions"
    assert words == "-X dev -u -m bench.system.held_start submitit.core._submit /proc/self/cwd"


def took(results: Path, seconds: float, tests: tuple[str, ...] = ("cuhk03", "market")) -> None:
    """Have all runs of a results folder be done, each after so many seconds."""
    for folder in results.glob("runs/*"):
        usage = Usage(seconds=seconds, cpu_seconds=1.0, cpus=1, host_bytes=2**30)
        write_heartbeat(
            folder,
            Heartbeat(state="done", updated=time.time(), host="n", pid=1, tests=[*tests], usage=usage),
        )


@pytest.fixture
def after_one(submit, played_slurm, tmp_path):
    """A results folder in which the first seed has been run, which took an hour."""
    played_slurm()
    assert submit("--resource", "partition=fast", seeds="1").code == 0
    took(tmp_path / "results", 3600.0)
    [job] = (tmp_path / "results").glob("runs/*/job.json")
    assert json.loads(job.read_text())["asked"]["partition"] == "fast"
    return tmp_path / "results"


def test_time_that_nobody_said_is_what_runs_like_it_took_with_a_margin(after_one, submit):
    for time_key in ((), ("--resource", "time=auto")):
        out = submit("--dry-run", "--resource", "partition=fast", *time_key, seeds="2").out
        assert "#SBATCH --time=90\n" in out
        assert "time 1:30:00, since runs like it took up to 60 minutes on such nodes" in out


def test_what_people_said_of_time_wins(after_one, submit, tmp_path):
    out = submit("--dry-run", "--resource", "partition=fast", "--resource", "time=3:00:00").out
    assert "#SBATCH --time=180\n" in out and ", time 3:00:00\n" in out
    file = tmp_path / "mine.yaml"
    file.write_text("train: {msmt: {time: '4:00:00'}}\n")
    assert "#SBATCH --time=240\n" in submit("--dry-run", "--resource", "partition=fast", "--resources", file).out


@pytest.mark.parametrize(
    "other",
    [("--resource", "partition=slow"), ("--resource", "partition=fast", "--set", "training.epochs=9")],
)
def test_nothing_is_made_up_of_other_nodes_and_other_runs(after_one, submit, other):
    out = submit("--dry-run", *other).out
    assert "#SBATCH --time=1440\n" in out and "not predicted here" in out


def test_a_run_that_was_tested_on_less_says_nothing_of_one_that_is_tested_on_more(after_one, submit):
    took(after_one, 60.0, ("cuhk03",))
    assert "not predicted here" in submit("--dry-run", "--resource", "partition=fast").out


def test_the_files_of_the_clusters_page_are_taken(submit, played_slurm, tmp_path):
    played_slurm()
    blocks = re.findall(r"(?s)```yaml\n(.*?)```", (ROOT / "docs" / "clusters.md").read_text())
    assert len(blocks) == 2
    for number, block in enumerate(blocks):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        found = submit("--dry-run", "--resources", file, seeds="1")
        assert found.code == 0, found.err
