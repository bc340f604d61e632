"""`bench status --usage`: what runs took beside what was asked for, by head, and what would fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from bench.commands.common import Selection
from bench.errors import UserError
from bench.journal.reading import told
from bench.progress import sentence
from bench.running.fitting import commented
from bench.running.ledger import CellState, Ledger
from bench.running.spent import Spent, slurm_jobs, spent_by
from bench.study.plan import Cell

HEADINGS = ("head", "runs", "time", "asked", "memory", "asked", "GPU memory", "of", "GPU busy", "CPUs busy", "of")
UNKNOWN = "-"


def render_usage(selection: Selection, cells: Sequence[tuple[Cell, CellState]], book: Ledger, results: object) -> str:
    """The table, the lines that would fit, and what could not be found out."""
    notes, accounts = list(book.notes), {}
    if jobs := slurm_jobs(state for _, state in cells):
        try:
            accounts = book.scheduler().accounts(jobs)
            if not accounts:
                notes.append("SLURM's accounts know none of these jobs: all is as the runs say themselves")
        except UserError as fault:
            notes.append(f"without SLURM's accounts ({sentence(str(fault))}): all is as the runs say themselves")
    by_head: dict[str, list[CellState]] = {}
    for cell, state in cells:
        by_head.setdefault(cell.config.head, []).append(state)
    heads = {head: spent_by(chosen, accounts, book.faults) for head, chosen in by_head.items()}
    heads = {head: runs for head, runs in heads.items() if runs}
    lines = [selection.study.title, str(results)]
    lines += _table(heads) if heads else ["no run has said yet what it takes"]
    if fitting := commented(heads):
        lines += ["", *fitting, ""]
    return "\n".join([*lines, *notes, *told(book.faults.values())])


def _table(heads: Mapping[str, Sequence[Spent]]) -> list[str]:
    rows = [HEADINGS, *((head, str(len(runs)), *_entries(runs)) for head, runs in heads.items())]
    widths = [max(len(row[place]) for row in rows) for place in range(len(HEADINGS))]
    lines = ["  ".join(f"{entry:{width}}" for entry, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        "time and memory: the most of any run; busy: means, of a GPU by samples of its driver, whoever used it"
    )
    runs = [run for chosen in heads.values() for run in chosen]
    if any(run.lower_bound for run in runs):
        lines.append(">: of runs of an earlier version, which timed their phases alone and measured less")
    if any(run.by_samples for run in runs):
        lines.append("~: the largest of SLURM's samples, which may count twice what the processes of a job share")
    if any(run.gpu_busy is None and run.gpu_most_busy is not None for run in runs):
        lines.append("<: the largest of SLURM's samples, since there is no mean")
    return lines


def _entries(runs: Sequence[Spent]) -> tuple[str, ...]:
    """The entries of a head behind its number of runs, in the order of the headings."""
    seconds = _most(run.seconds for run in runs)
    bound = ">" if any(run.lower_bound for run in runs) else ""
    cpu = [(run.cpu_seconds, run.seconds) for run in runs if run.cpu_seconds is not None and run.seconds]
    busy_cpus = f"{sum(used for used, _ in cpu) / sum(span for _, span in cpu):.1f}" if cpu else UNKNOWN
    return (
        f"{bound}{_clock(seconds)}",
        _clock(_most(run.asked_seconds for run in runs)),
        f"{'~' if any(run.by_samples for run in runs) else ''}{_size(_most(run.host_bytes for run in runs))}",
        _size(_most(run.asked_host_bytes for run in runs)),
        _size(_most(run.gpu_bytes for run in runs)),
        _size(_most(run.gpu_total_bytes for run in runs)),
        _gpu_busy(runs),
        busy_cpus,
        str(_most(run.cpus for run in runs) or UNKNOWN),
    )


def _gpu_busy(runs: Sequence[Spent]) -> str:
    means = [(run.gpu_busy, run.seconds) for run in runs if run.gpu_busy is not None and run.seconds]
    if means:
        return f"{sum(share * span for share, span in means) / sum(span for _, span in means):.0%}"
    most = _most(run.gpu_most_busy for run in runs)
    return UNKNOWN if most is None else f"<{most:.0%}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _size(count: float | None) -> str:
    return UNKNOWN if count is None else f"{count / 2**30:.1f} GiB"


def _most(values: Iterable[float | int | None]) -> float | int | None:
    return max((value for value in values if value is not None), default=None)
