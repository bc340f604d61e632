"""`bench status --usage`: what runs took beside what was asked for, and lines that would fit. SLURM is played."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from called import called
from made_up_runs import both, cells, run

from bench.journal.heartbeat import Heartbeat, record_stamp, write_heartbeat
from bench.journal.starts import Start, add_start, end_start
from bench.journal.usage import Usage
from bench.perf.tiles import Tiles
from bench.running.amounts import GIB, memory_step, time_step
from bench.running.fitting import CPU_MARGIN, JOB_BYTES, MEMORY_MARGIN, REASONS, TIME_MARGIN
from bench.running.jobs import Asked, Job, write_job
from slurm.table import ResourceTable

TABLE = [*both((0.3, 0.2), (0.7, 0.4))]
USED = Usage(
    seconds=3 * 3600.0, cpu_seconds=4 * 3600.0, cpus=16, host_bytes=6 * GIB, gpu_bytes=31 * GIB,
    gpu_total_bytes=80 * GIB, gpu_busy=0.75, gpu_samples=360,
)  # fmt: skip
ASKED = Asked(seconds=86400, host_bytes=12 * GIB, cpus=8, gpus=1, gpu_type="a100", partition="gpu", constraint=None)


def tell(folder: Path, usage: Usage | None, state: str = "done") -> None:
    write_heartbeat(
        folder,
        Heartbeat(
            state=state, updated=time.time(), host="elsewhere", pid=1, tests=["cuhk03", "market"],
            record_stamp=record_stamp(folder), usage=usage,
        ),
    )  # fmt: skip


def give_job(folder: Path, index: int, asked: Asked | None = ASKED) -> None:
    write_job(folder, Job(cluster="slurm", name="b-1", index=index, folder="logs", submitted=1e9, asked=asked))


@pytest.fixture
def two_runs(tmp_path) -> Path:
    """Two runs of a head, by jobs; the second took half of what the first took."""
    half = USED.model_copy(update={"seconds": 5400.0, "cpu_seconds": 1800.0, "gpu_busy": 0.45, "host_bytes": 3 * GIB})
    for index, (cell, usage) in enumerate(zip(cells("TransMatcher"), (USED, half), strict=False)):
        folder = tmp_path / "runs" / run(tmp_path, cell, TABLE).cell
        give_job(folder, index)
        tell(folder, usage)
    return tmp_path


def holds(text: str, line: str) -> bool:
    """Whether a line stands in a text, whatever the blanks between its words, and begins as said."""
    return any(f"{' '.join(found.split())} ".startswith(f"{line} ") for found in text.splitlines())


def usage_of(bench, results: Path, *more: str):
    return bench("status", "--variants", "TransMatcher", "--usage", "--results", results, *more)


def test_what_runs_say_stands_beside_what_was_asked_for(bench, two_runs, played_slurm):
    played_slurm(sacct="true")
    found = usage_of(bench, two_runs)
    assert found.code == 0
    assert holds(found.out, "transmatcher 2 3:00:00 24:00:00 6.0 GiB 12.0 GiB 31.0 GiB 80.0 GiB 65% 1.0 8")
    assert "SLURM's accounts know none of these jobs" in found.out


def test_slurms_accounts_win_where_they_say_more(bench, two_runs, played_slurm):
    """A container that takes an hour to be pulled is in the job's time, and what it holds in the job's memory."""
    played_slurm(sacct="echo 'b-1|7_0|14400|04:00:00||1-00:00:00|12G|8|'; echo 'python|7_0.0|14400|01:00:00|9G|||8|'")
    found = usage_of(bench, two_runs)
    assert holds(found.out, "transmatcher 2 4:00:00 24:00:00 ~9.0 GiB 12.0 GiB")
    assert "SLURM's accounts" not in found.out and "~: the largest of SLURM's samples" in found.out


def test_the_lines_would_have_fitted_and_can_be_pasted(bench, two_runs, played_slurm, tmp_path):
    played_slurm(sacct="true")
    out = usage_of(bench, two_runs).out
    for reason in REASONS:
        assert f"#   {reason}\n" in out
    pasted = tmp_path / "mine.yaml"
    lines = out.splitlines()
    pasted.write_text("\n".join(lines[lines.index("heads:") : lines.index("heads:") + 2]))
    fit = ResourceTable(pasted, []).of(called("transmatcher"))
    assert (fit.time, fit.memory, fit.cpus) == ("6:00:00", "8G", 3)
    assert "# on a GPU of 48G or more" in pasted.read_text()
    assert fit.asked.seconds >= TIME_MARGIN * USED.seconds
    assert fit.asked.host_bytes >= MEMORY_MARGIN * USED.host_bytes + JOB_BYTES - 1
    assert fit.cpus >= CPU_MARGIN * USED.cpu_seconds / USED.seconds


def test_a_machine_without_accounts_says_so_in_one_line(bench, two_runs, played_slurm, monkeypatch):
    played_slurm(sacct="echo 'Slurm accounting storage is disabled' >&2; exit 1")
    told = usage_of(bench, two_runs).out.splitlines()[-1]
    assert told.startswith("without SLURM's accounts (sacct: Slurm accounting storage is disabled)")
    monkeypatch.setenv("PATH", "/nowhere")
    told = usage_of(bench, two_runs).out.splitlines()[-1]
    assert told.startswith("without SLURM's accounts (there is no sacct on this machine)")


def test_runs_of_this_machine_ask_nobody(bench, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    cell = cells("TransMatcher")[0]
    tell(tmp_path / "runs" / run(tmp_path, cell, TABLE).cell, USED)
    found = usage_of(bench, tmp_path)
    assert "SLURM's accounts" not in found.out + found.err
    assert holds(found.out, "transmatcher 1 3:00:00 - 6.0 GiB - 31.0 GiB 80.0 GiB 75% 1.3 16")


def test_an_older_record_is_a_lower_bound_and_fits_nothing(bench, tmp_path):
    """It has the seconds of its phases and the peak of its GPU, and says nothing of the machine's memory."""
    run(tmp_path, cells("TransMatcher")[0], TABLE)
    found = usage_of(bench, tmp_path)
    assert holds(found.out, "transmatcher 1 >1:00:07 - - - 3.0 GiB - - - -")
    assert ">: of runs of an earlier version" in found.out and "heads:" not in found.out


def test_of_a_failed_run_memory_counts_and_time_does_not(bench, two_runs, played_slurm):
    played_slurm(sacct="true")
    failed = run(two_runs, cells("TransMatcher")[2], [], status="failed")
    more = USED.model_copy(update={"seconds": 90000.0, "host_bytes": 11 * GIB})
    tell(two_runs / "runs" / failed.cell, more, "failed")
    out = usage_of(bench, two_runs).out
    assert 'transmatcher: {time: "6:00:00", memory: 16G, cpus: 3}' in out


def test_a_run_that_was_killed_for_memory_had_held_all_that_it_had(bench, two_runs, played_slurm):
    """Its second start asked for more, and ended well."""
    played_slurm(sacct="true")
    folder = next((two_runs / "runs").iterdir())
    for job, memory, how in (("7", 12, "memory"), ("7", 18, "done")):
        add_start(folder, Start(job=job, node="n1", began=1e9, memory_bytes=memory * GIB))
        end_start(folder, how)
    out = usage_of(bench, two_runs).out
    assert holds(out, "transmatcher 2 3:00:00 24:00:00 12.0 GiB 18.0 GiB") and "memory: 16G" in out


def test_only_slurm_saw_the_gpu(bench, tmp_path, played_slurm):
    played_slurm(sacct="echo 'b-1|7_0|7200|02:00:00||1-00:00:00|12G|8|'; echo "
                 "'python|7_0.0|7200|01:00:00|5G|||8|gres/gpumem=20G,gres/gpuutil=88'")  # fmt: skip
    folder = tmp_path / "runs" / run(tmp_path, cells("TransMatcher")[0], TABLE).cell
    give_job(folder, 0, None)
    found = usage_of(bench, tmp_path)
    assert holds(found.out, "transmatcher 1 2:00:00 24:00:00 ~5.0 GiB 12.0 GiB 20.0 GiB - <88% 1.0 8")
    assert "<: the largest of SLURM's samples" in found.out


def test_nobody_has_run_yet(bench, tmp_path):
    found = usage_of(bench, tmp_path)
    assert found.code == 0 and "no run has said yet what it takes" in found.out


def test_usage_is_not_watched(bench, tmp_path):
    assert "not allowed with" in usage_of(bench, tmp_path, "--watch").err


@pytest.mark.parametrize(
    ("seconds", "limit"), [(1, "0:10:00"), (600, "0:10:00"), (601, "0:15:00"), (9001, "3:00:00"), (200_000, "72:00:00")]
)
def test_time_limits_are_round_and_long_enough(seconds, limit):
    assert time_step(seconds) == limit


@pytest.mark.parametrize(
    ("size", "amount"), [(1, "1G"), (GIB, "1G"), (GIB + 1, "2G"), (9 * GIB, "12G"), (2000 * GIB, "2001G")]
)
def test_memory_is_a_round_amount_that_is_enough(size, amount):
    assert memory_step(size) == amount


def test_a_plan_gives_lines_too(bench, tmp_path, monkeypatch):
    """Of a node on which it was given: the longest run of a head over all training sets."""
    tiles = Tiles(
        batch=8, timed=8, step=0.5, image=0.01, pair=1e-9, ranked={24: 1e-3, 27: 1e-3, 5332: 0.1, 15913: 0.1},
        training_bytes=5 * GIB, testing_bytes=GIB, host_bytes=GIB, state_bytes=1, momentum_bytes=1,
        bytes_per_image=64, pair_bytes=8,
    )  # fmt: skip
    monkeypatch.setattr("bench.perf.tiles.measure_tiles", lambda *arguments: tiles)
    words = ("--study", "table2", "--variants", "ViT", "--results", tmp_path, "--data-dir", tmp_path, "--device", "cpu")
    plain, found = bench("plan", *words).out, bench("plan", *words, "--resource-lines").out
    assert "heads:" not in plain and found.startswith(plain.rstrip("\n"))
    [line] = [line for line in found.splitlines() if line.startswith("  vit: ")]
    # 15 epochs of 1,041 steps are 2.2 h; images are encoded in tests and before each epoch.
    assert line == '  vit: {time: "4:00:00", memory: 8G}'
