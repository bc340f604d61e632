"""SLURM is asked again where it is too busy to answer, and nothing is submitted twice."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import UserError
from slurm import asking, executor, queue

BUSY = "slurm_load_jobs error: Socket timed out on send/recv operation"
REFUSED = "sbatch: error: invalid partition specified: gpu"


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Time goes by in pauses alone, and these take none."""
    found: list[float] = []
    played = SimpleNamespace(sleep=found.append, monotonic=lambda: sum(found))
    for module in (asking, executor):
        monkeypatch.setattr(module, "time", played)
    return found


def failing(times: int, words: str, folder: Path, then: str = "true") -> str:
    """The body of a command that fails the first few times."""
    calls = folder / "failed"
    return f"echo x >> {calls}; [ $(wc -l < {calls}) -gt {times} ] || {{ echo '{words}' >&2; exit 1; }}; {then}"


@pytest.mark.parametrize(
    "words", [BUSY, "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", "Connection refused"]
)
def test_who_is_busy_is_asked_again(played_slurm, pauses, tmp_path, monkeypatch, capsys, words):
    played_slurm(squeue=failing(3, words, tmp_path, "echo '0|7_0|RUNNING|None|b-1'"))
    monkeypatch.setenv(asking.INSIST_VARIABLE, "60")
    assert queue.queue()["b-1", 0].state == "RUNNING"
    assert pauses == [1.0, 2.0, 4.0]
    assert capsys.readouterr().err.count("asking again for up to 60 s") == 1


def test_after_a_minute_of_growing_pauses_the_words_of_slurm_come_out(played_slurm, pauses, tmp_path, monkeypatch):
    monkeypatch.setenv(asking.INSIST_VARIABLE, "60")
    played_slurm(squeue=failing(99, BUSY, tmp_path))
    with pytest.raises(asking.Busy, match="Socket timed out"):
        queue.queue()
    assert sum(pauses) == 60 and pauses == [1, 2, 4, 8, 10, 10, 10, 10, 5]


def test_a_refusal_is_no_hiccup(played_slurm, pauses, tmp_path, monkeypatch):
    monkeypatch.setenv(asking.INSIST_VARIABLE, "60")
    played_slurm(squeue=failing(1, REFUSED, tmp_path))
    with pytest.raises(UserError, match="invalid partition"):
        queue.queue()
    assert pauses == []


def test_a_silence_is_a_hiccup(played_slurm, tmp_path, monkeypatch):
    monkeypatch.setenv(asking.INSIST_VARIABLE, "9")
    calls = tmp_path / "asked"
    played_slurm(
        squeue=f"echo x >> {calls}; [ $(wc -l < {calls}) -gt 1 ] || exec sleep 60; echo '0|7_0|RUNNING|None|b'"
    )
    assert asking.ask("squeue", patience=0.3) == "0|7_0|RUNNING|None|b\n"


def test_seconds_that_are_no_number_are_told(played_slurm, monkeypatch):
    played_slurm()
    monkeypatch.setenv(asking.INSIST_VARIABLE, "long")
    with pytest.raises(UserError, match="PAIRBENCH_SLURM_SECONDS takes a whole number of seconds, not 'long'"):
        queue.queue()


def test_a_submission_whose_answer_was_lost_is_found_by_its_name(submit, played_slurm, pauses, tmp_path):
    """sbatch says that it timed out, although the jobs are in the queue."""
    names = tmp_path / "arrived"
    played_slurm(
        sbatch=f"sed -n 's/^#SBATCH --job-name=//p' $1 >> {names}; echo '{BUSY}' >&2; exit 1",
        squeue=f'case "$*" in *--name=bench-*) [ -s {names} ] && echo 41;; esac; true',
    )
    found = submit()
    assert found.code == 0 and "submitted 2 runs (1 array, job 41)" in found.out
    assert "looking whether the jobs have arrived" in found.err
    [name] = names.read_text().split()
    folder = tmp_path / "results" / "submissions" / name.rpartition("-")[0] / "0"
    assert (folder / "41_0_submitted.pkl").is_file() and (folder / "41_submission.sh").is_file()


def test_a_submission_that_did_not_arrive_is_sent_again_once(submit, played_slurm, pauses, tmp_path, monkeypatch):
    monkeypatch.setenv(asking.INSIST_VARIABLE, "60")
    played_slurm(sbatch=failing(1, BUSY, tmp_path, "echo Submitted batch job 7"))
    found = submit()
    assert found.code == 0 and "job 7" in found.out
    assert len((tmp_path / "failed").read_text().split()) == 2
    assert pauses == [0.0, executor.SETTLING_SECONDS] * 2


def test_jobs_that_arrive_after_all_are_ended(played_slurm, pauses, tmp_path, monkeypatch):
    """The first submission took longer than anybody would wait: its jobs and those of the second have one name."""
    monkeypatch.setenv(asking.INSIST_VARIABLE, "60")
    ended = tmp_path / "ended"
    played_slurm(
        sbatch=failing(1, BUSY, tmp_path, f"touch {tmp_path}/late; echo Submitted batch job 7"),
        squeue=f"[ ! -e {tmp_path}/late ] || printf '6\\n6\\n7\\n7\\n'",
        scancel=f'echo "$@" > {ended}',
    )
    assert executor.submit_once(tmp_path / "script", "bench-1-0") == "7"
    assert ended.read_text() == "6\n"


def test_where_nobody_can_tell_the_jobs_stay_known(submit, played_slurm, tmp_path):
    """They may run: what is known of them must not be taken back."""
    played_slurm(
        sbatch=f"echo '{BUSY}' >&2; exit 1", squeue=f'case "$*" in *--name=*) echo "{BUSY}" >&2; exit 1;; esac'
    )
    found = submit()
    assert found.code == 2 and "whether the jobs have arrived `bench status` will tell" in found.err
    jobs = list((tmp_path / "results").glob("runs/*/job.json"))
    assert len(jobs) == 2 and {json.loads(path.read_text())["index"] for path in jobs} == {0, 1}
    assert list(Path(json.loads(jobs[0].read_text())["folder"]).glob("*.pkl"))
