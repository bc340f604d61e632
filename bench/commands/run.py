"""`bench run`: train and test the cells of a study."""

from __future__ import annotations

import argparse
import itertools
import sys
from typing import TYPE_CHECKING

from bench.commands.common import add_places, add_selection, at_least_one, example, read_selection
from bench.config import cpus, split_words
from bench.plan import Cell, tests_of
from bench.progress import Progress
from bench.records import Record, read_records

if TYPE_CHECKING:
    from bench.runner import Outcome


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "run",
        help="train and test the rows of a study",
        description="Train and test the rows of a study (a table of the paper). Finished runs are skipped, "
        "interrupted ones go on, a failed one does not stop the others.",
        epilog=example(
            "bench run --variants all --train msmt --preset demo",
            "bench run --study table1 --variants TransMatcher --seeds 0,3 --dry-run",
            "bench run --variants my_head.py --train msmt --set training.epochs=2",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)
    parser.add_argument("--test", metavar="SETS", help="test sets instead of the training set's usual ones")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto, a GPU if there is one)"
    )
    parser.add_argument(
        "--workers", type=at_least_one, default=cpus(), help="threads that decode images (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs", type=at_least_one, help="runs at a time (default: 1 on a GPU, else CPUs / threads of a run, up to 4)"
    )
    parser.add_argument("--untrained", action="store_true", help="test each row's untrained network and pixels too")
    parser.add_argument("--msmt-release", choices=("V1", "V2"), help="which MSMT17 to take where both are found")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and how far they are; run nothing")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 all done, 1 some failed (listed)."""
    selection = read_selection(arguments)
    if arguments.dry_run:
        return _dry_run(selection.cells, arguments)
    from bench.cell import ERROR_LOG
    from bench.preflight import RunOptions, predicted_steps, preflight
    from bench.runner import default_jobs, run_all

    options = RunOptions(
        results=arguments.results,
        data_dir=selection.data_dir,
        device=arguments.device,
        workers=arguments.workers,
        tests=tuple(split_words(arguments.test) or ()) or None,
        untrained=arguments.untrained or selection.preset.untrained,
        msmt_release=arguments.msmt_release,
        preset=arguments.preset,
        overrides=selection.overrides,
        progress=Progress(shown=sys.stderr.isatty()),
    )
    tasks = preflight(selection.cells, options)
    count = len({task.cell for task in tasks})
    width = max(len(task.label) for task in tasks)

    for line in predicted_steps(selection.cells, tasks[0].device):
        print(line)
    jobs = arguments.jobs or default_jobs(tasks)
    print(f"{count} runs, {jobs} at a time, data from {selection.data_dir}, results in {arguments.results}", flush=True)
    finished = itertools.count(1)

    def report(outcome: Outcome) -> None:
        task = outcome.task
        start = f"[{next(finished):{len(str(count))}}/{count}] {task.label:{width}}"
        print(f"{start}  {task.config.train} seed {task.config.seed}  {_describe(outcome)}", flush=True)

    outcomes = run_all(tasks, jobs, report)
    failed = [outcome for outcome in outcomes if outcome.failed]
    skipped = sum(outcome.skipped for outcome in outcomes)
    print(f"{count - len(failed) - skipped} done, {skipped} skipped, {len(failed)} failed")
    for outcome in failed:
        log = outcome.task.folder / ERROR_LOG
        print(f"failed: {outcome.task.cell}: {outcome.reason}" + (f" (traceback: {log})" if log.exists() else ""))
    if not failed:
        print("`bench report` draws the tables")
    return 1 if failed else 0


def _describe(outcome: Outcome) -> str:
    if outcome.failed or outcome.record is None:
        return outcome.reason if outcome.skipped else f"FAILED: {outcome.reason}"
    done = "finished before: " if outcome.skipped else ""
    return f"{done}{_scores(outcome.record)}   {outcome.record.training_seconds:.0f} s"


def _scores(record: Record) -> str:
    trained = [result for result in record.tests if result.state == "trained"]
    return "   ".join(f"{result.test} Rank-1 {100 * result.rank1:.1f} mAP {100 * result.mAP:.1f}" for result in trained)


def _dry_run(cells: list[Cell], arguments: argparse.Namespace) -> int:
    from bench.status import state_of

    records = list(read_records(arguments.results))
    for cell in cells:
        tests = tests_of(cell.config.train, split_words(arguments.test))
        state = state_of(cell, records, arguments.results, tests)
        print(f"{cell.label:30} {cell.config.train:12} seed {cell.config.seed}   {state}")
    print(f"{len(cells)} runs")
    from bench.preflight import predicted_steps, resolve_device

    for line in predicted_steps(cells, resolve_device(arguments.device)):
        print(line)
    return 0
