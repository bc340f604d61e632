"""On a real SLURM: options of srun, commands after the run, and what accounts say that jobs took."""

from __future__ import annotations

import pytest
from waiting import wait_for

from bench.journal.heartbeat import read_heartbeat
from bench.running.jobs import read_job
from slurm.accounts import accounts

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


def test_what_a_job_took_stands_in_the_accounts_and_in_the_table(campaign_of, tmp_path):
    prolog = tmp_path / "prolog"
    prolog.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\n")
    prolog.chmod(0o755)
    campaign = campaign_of("--variants", "cosine", "--seeds", "1")
    after = tmp_path / "after"
    look = f'grep -ho \'"state":"[a-z]*"\' {campaign.results}/runs/*/heartbeat.json > {after}'
    campaign.submit("--resource", f"teardown={look}", "--resource", f"srun=--task-prolog={prolog}")
    assert wait_for("the end", lambda: after.exists() and after.read_text()) == '"state":"done"\n'
    assert (tmp_path / "begun").exists()
    [folder] = campaign.results.glob("runs/*")
    job, own = read_job(folder), read_heartbeat(folder).usage
    found = wait_for("the accounts", lambda: (it := accounts([job]).get(job.place)) and it.host_bytes and it)
    assert found.seconds > own.seconds - 2 and found.cpu_seconds > own.cpu_seconds / 2
    assert found.host_bytes > own.host_bytes / 2 and found.asked_host_bytes == job.asked.host_bytes == 2**30
    line = next(line for line in campaign.call("status", "--usage").splitlines() if line.startswith("cosine"))
    assert line.split()[1] == "1" and "24:00:00" in line and "1.0 GiB" in line
