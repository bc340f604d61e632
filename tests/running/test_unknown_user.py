"""A user whom the system does not know, without a home, as in containers: what is not known is done without."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from places import ROOT

from bench.journal.record import Started, read_records, write_started
from bench.running.jobs import Job, write_job
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve

UID = 54321


@pytest.fixture
def as_nobody(tmp_path, tiny_data):
    """Call `bench` as a user without an entry and without HOME, who may read everything and write to one folder."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv")
    own = tmp_path / "own"
    own.mkdir()
    os.chown(own, UID, UID)
    reading = "+dac_read_search"
    become = [
        "setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", f"--inh-caps={reading}",
        f"--ambient-caps={reading}",
    ]  # fmt: skip
    unknown = ("HOME", "USER", "LOGNAME", "USERNAME", "XDG_CACHE_HOME", "TORCH_EXTENSIONS_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in unknown}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(own), "PYTHONDONTWRITEBYTECODE": "1"}

    def call(*arguments: str, **more: str) -> subprocess.CompletedProcess:
        places = ["--results", str(own / "results"), "--data-dir", str(tiny_data)]
        return subprocess.run(
            [*become, sys.executable, "-m", "bench", *arguments, *places],
            capture_output=True, text=True, cwd=own, env={**environment, **more},
        )  # fmt: skip

    return call, own


SELECT = ("--variants", "TransMatcher small", "--preset", "tiny")


@pytest.mark.slow
def test_runs_are_made_and_recorded_with_the_compiled_operator(as_nobody):
    call, own = as_nobody
    done = call("run", *SELECT, "--test", "market")
    assert done.returncode == 0 and "1 done, 0 skipped, 0 failed" in done.stdout, done.stdout + done.stderr
    assert done.stderr == ""
    [record] = read_records(own / "results")
    assert record.provenance.kernel == ("compiled" if shutil.which("c++") else "plain")
    left = {path.name for path in own.iterdir() if not path.name.startswith("torchinductor")}
    assert left <= {"results", f"pairbench-{UID}"}


def test_status_asks_slurm_by_number(as_nobody, tmp_path):
    """`squeue` takes a user's number as well as the name, which nobody knows."""
    call, own = as_nobody
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f'#!/bin/sh\ncase "$*" in *--user={UID}*) echo "b-1|0|7|PENDING|None";; *) exit 1;; esac\n')
    squeue.chmod(0o755)
    cell = plan(load_study("table2"), load_preset("tiny"), {}, ["TransMatcher small"])[0]
    folder = own / "results" / "runs" / "a-run"
    folder.mkdir(parents=True)
    config = resolve(cell.config, "cpu")
    write_started(folder, Started(label=cell.label, config=config, numerics=cell.numerics))
    write_job(folder, Job(cluster="slurm", name="b-1", index=0, folder=str(tmp_path), submitted=1.0))
    found = call("status", *SELECT, PATH=f"{squeue.parent}:{os.environ['PATH']}")
    assert found.returncode == 0 and "0 of 1 done, 1 queued" in found.stdout and found.stderr == ""
