"""What SLURM's accounts say of jobs is read as sacct tells it. No SLURM is needed: it is played."""

from __future__ import annotations

import pytest

from bench.errors import UserError
from bench.running.jobs import Accounted, Job
from slurm import accounts

ARRAY = """\
b-1|17_0|3600|01:10:00||1-00:00:00|12G|8|
batch|17_0.batch|3600|00:00:01|9M|||8|cpu=00:00:01,mem=9M
python|17_0.0|3600|01:09:59|6291456K|||8|cpu=01:09:59,gres/gpumem=31G,gres/gpuutil=87,mem=6G
b-1|17_1|100|00:10.500||1-00:00:00|12G|8|
python|17_1.0|100|00:10.500|1.5G|||8|
b-1|17_1|200|2-00:00:00||1-00:00:00|12G|8|
python|17_1.0|200|2-00:00:00|1G|||8|
"""


def job(index: int | None = 0, name: str = "b-1") -> Job:
    return Job(cluster="slurm", name=name, index=index, folder="logs", submitted=1e9)


@pytest.fixture
def told(played_slurm, tmp_path):
    """Has sacct tell lines of accounts; returns the file with what it was asked."""

    def play(lines: str):
        (tmp_path / "lines").write_text(lines)
        played_slurm(sacct=f"echo $* > {tmp_path}/asked; cat {tmp_path}/lines")
        return tmp_path / "asked"

    return play


def test_a_job_has_what_its_steps_and_all_its_starts_took(told):
    asked = told(ARRAY)
    found = accounts.accounts([job(0), job(1)])
    assert found["b-1", 0] == Accounted(
        seconds=3600, cpu_seconds=4200, host_bytes=6 * 2**30, gpu_bytes=31 * 2**30, gpu_most_busy=0.87,
        asked_seconds=86400, asked_host_bytes=12 * 2**30, cpus=8,
    )  # fmt: skip
    again = found["b-1", 1]
    assert (again.seconds, again.cpu_seconds, again.host_bytes) == (300, 172810.5, 3 * 2**29)
    assert again.gpu_bytes is None and again.gpu_most_busy is None
    words = asked.read_text().split()
    assert "--duplicates" in words and "--name=b-1" in words


def test_what_sacct_leaves_open_is_not_known(told):
    told("b-1|18|5|00:00:00||UNLIMITED|500Mn||\npython|18.0|5|00:00:00|0|||8|\nnonsense\n")
    assert accounts.accounts([job(None)]) == {("b-1", None): Accounted(seconds=5, asked_host_bytes=500 * 2**20)}


def test_memory_for_each_cpu_is_that_of_all(told):
    told("b-1|18|5|00:00:00||10:00|2Gc|4|\n")
    found = accounts.accounts([job(None)])["b-1", None]
    assert (found.asked_host_bytes, found.asked_seconds, found.cpus) == (8 * 2**30, 600, 4)


def test_many_submissions_are_asked_for_a_hundred_at_a_time(played_slurm, tmp_path):
    played_slurm(sacct=f"echo x >> {tmp_path}/calls; true")
    assert accounts.accounts([job(None, f"b-{number}") for number in range(201)]) == {}
    assert len((tmp_path / "calls").read_text().split()) == 3


def test_a_cluster_without_accounts_is_told_in_its_own_words(played_slurm, monkeypatch):
    played_slurm(sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1")
    with pytest.raises(UserError, match="sacct: Slurm accounting storage is disabled"):
        accounts.accounts([job()])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="there is no sacct"):
        accounts.accounts([job()])
