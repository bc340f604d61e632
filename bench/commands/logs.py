"""`bench logs`: what a run wrote, wherever it ran."""

from __future__ import annotations

import argparse
import errno
import stat
from pathlib import Path

from bench.commands.common import add_results, at_least_one, example
from bench.journal.finding import find_cell
from bench.progress import sentence
from bench.running.jobs import job_logs


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "logs",
        help="show the logs of a run",
        description="Show the end of all that a run wrote: its epochs, the output of its job, and the traceback if it "
        "failed.",
        epilog=example("bench logs transmatcher-msmt-s0", "bench logs vit-msmt-s1-0a1b2c --lines 100"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("cell", metavar="CELL", help="a run's folder in results/runs/, or how its name begins")
    parser.add_argument("--lines", type=at_least_one, default=40, metavar="N", help="of each log (default: 40)")
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if something of the run cannot be read.

    Raises UserError for a run that is not there, or a name that several runs begin with.
    """
    from bench.commands.cluster import ledger

    folder = find_cell(arguments.results, arguments.cell)
    state = ledger(arguments.results).state_of_folder(folder)
    print(f"{folder.name}: {state}" + (f": {sentence(state.reason)}" if state.reason else ""))
    job_output = job_logs(state.job) if state.job is not None else []
    whole = state.kind != "unreadable"
    for log in (folder / "log.jsonl", *job_output, folder / "error.log"):
        try:
            end = last_lines(log, arguments.lines)
        except FileNotFoundError:
            continue
        except OSError as fault:
            whole, end = False, [f"cannot be read ({fault.strerror})"]
        print(f"\n==> {log} <==")
        print("\n".join(end))
    return 0 if whole else 1


def last_lines(log: Path, count: int) -> list[str]:
    """The end of a log. Raises OSError where it cannot be read, or is something that may have no end."""
    kind = log.stat().st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise OSError(errno.EINVAL, "it is no file")
    return log.read_text(encoding="utf-8", errors="replace").splitlines()[-count:]
