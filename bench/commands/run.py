"""`bench run`: train and test the cells of a study."""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bench.commands.common import (
    Selection,
    add_places,
    add_selection,
    add_tests,
    at_a_time,
    at_least_one,
    example,
    file_or_folder,
    positive_seconds,
    read_selection,
)
from bench.config import split_words
from bench.environment import cpus
from bench.errors import UserError
from bench.journal.pulse import SAVE_SECONDS
from bench.journal.reading import told
from bench.journal.record import Record, read_record
from bench.progress import Progress, sentence
from bench.running.jobs import CLUSTERS
from bench.study.names import tell_apart
from bench.study.plan import Cell, tests_of

if TYPE_CHECKING:
    from bench.running.jobs import HandedOver
    from bench.running.ledger import CellState
    from bench.running.outcome import Outcome
    from bench.running.preflight import RunOptions
    from bench.running.submission import Sorted
    from bench.running.targets import Target


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
            "bench run --variants TransMatcher --train msmt --lists",
            "bench run --cluster slurm --resource partition=gpu --resource gpu_type=a100 --max-parallel 8",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)
    add_tests(parser)
    parser.add_argument(
        "--workers", type=at_a_time, default=cpus(), help="threads that decode images (default: %(default)s)"
    )
    parser.add_argument(
        "--jobs",
        type=at_a_time,
        help="runs at a time (default: one on each GPU, else CPUs / threads of a run, up to 4)",
    )
    parser.add_argument(
        "--lists",
        action="store_true",
        help="test again, without training, what has no ranked lists stored; numbers stay as they are",
    )
    parser.add_argument(
        "--save-every",
        metavar="SECONDS",
        type=positive_seconds,
        default=SAVE_SECONDS,
        help="how much work a sudden death may cost (default: %(default)s)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the runs and how far they are, or the sbatch scripts; run nothing"
    )
    _add_cluster(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("on a cluster", "Submits what lacks results and returns at once.")
    group.add_argument(
        "--cluster",
        choices=CLUSTERS,
        help="slurm: job arrays; local: this machine, in the background; debug: one by one in this process",
    )
    group.add_argument(
        "--resources",
        type=file_or_folder,
        metavar="FILE",
        help="what to ask SLURM for, by head, training set, study or row (form: slurm/resources.yaml)",
    )
    group.add_argument(
        "--resource",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change what is asked for, e.g. partition=gpu or time=4:00:00",
    )
    group.add_argument("--max-parallel", type=at_least_one, metavar="N", help="jobs at a time, of all arrays together")
    group.add_argument(
        "--wait-for-room",
        action="store_true",
        help="where SLURM lets you have only so many jobs, submit the others as places become free",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0 all done, or handed to a cluster; 1 some failed (listed)."""
    if arguments.cluster is None and (arguments.resources or arguments.resource or arguments.max_parallel):
        raise UserError("--resources, --resource and --max-parallel say what to ask a cluster for: add --cluster slurm")
    if arguments.wait_for_room and arguments.cluster != "slurm":
        raise UserError("--wait-for-room waits for places in SLURM's queue: add --cluster slurm")
    selection = read_selection(arguments)
    if arguments.cluster is not None:
        return _hand_over(selection, arguments)
    if arguments.dry_run:
        return _dry_run(selection, arguments)
    from bench.running.cell import ERROR_LOG
    from bench.running.devices import devices_at_hand
    from bench.running.preflight import predicted_steps, preflight
    from bench.running.runner import default_jobs, run_all
    from bench.running.targets import local_target

    devices = devices_at_hand(arguments.device)
    options = _options(selection, arguments, lambda _: local_target(*devices))
    tasks = preflight(selection.cells, options)
    count = len({task.cell for task in tasks})
    names = tell_apart([(task.label, task.config) for task in tasks])
    name_of = {task.cell: name for task, name in zip(tasks, names, strict=True)}
    width = max(map(len, names))

    for line in predicted_steps(selection.cells, devices[0]):
        print(line)
    jobs = arguments.jobs or default_jobs(tasks, devices)
    print(f"{count} runs, {jobs} at a time, data from {selection.data_dir}, results in {arguments.results}", flush=True)
    finished = itertools.count(1)

    def report(outcome: Outcome) -> None:
        task = outcome.task
        start = f"[{next(finished):{len(str(count))}}/{count}] {name_of[task.cell]:{width}}"
        print(f"{start}  {task.config.train} seed {task.config.seed}  {_describe(outcome)}", flush=True)

    outcomes = run_all(tasks, jobs, report, devices)
    failed = [outcome for outcome in outcomes if outcome.failed]
    skipped = sum(outcome.skipped for outcome in outcomes)
    print(f"{count - len(failed) - skipped} done, {skipped} skipped, {len(failed)} failed")
    for outcome in failed:
        log = outcome.task.folder / ERROR_LOG
        traceback = f" (traceback: {log})" if os.access(log, os.R_OK) else ""
        print(f"failed: {outcome.task.cell}: {sentence(outcome.reason)}{traceback}")
    if not failed:
        print("`bench report` draws the tables")
    return 1 if failed else 0


def _options(
    selection: Selection, arguments: argparse.Namespace, target: Callable[[Cell], Target], **more: bool
) -> RunOptions:
    from bench.running.preflight import RunOptions

    return RunOptions(
        results=arguments.results,
        data_dir=selection.data_dir,
        target=target,
        workers=arguments.workers,
        save_seconds=arguments.save_every,
        tests=tuple(selection.own.sources(split_words(arguments.test)) or ()) or None,
        own=selection.own.paths,
        untrained=arguments.untrained or selection.preset.untrained,
        msmt_release=arguments.msmt_release,
        splits=tuple(arguments.splits),
        lists=arguments.lists,
        preset=arguments.preset,
        overrides=selection.overrides,
        progress=Progress(shown=sys.stderr.isatty()),
        **more,
    )


def _hand_over(selection: Selection, arguments: argparse.Namespace) -> int:
    """Submit what lacks results, or show what would be submitted."""
    from bench.commands.cluster import ledger, names_of, open_cluster
    from bench.running.devices import devices_at_hand
    from bench.running.jobs import ClusterSettings, HandedOver
    from bench.running.preflight import preflight
    from bench.running.submission import absolute, sort_tasks, submit_as_room_comes, submit_open
    from bench.running.targets import local_target

    local = arguments.cluster != "slurm"
    devices = devices_at_hand(arguments.device) if local else ()
    if not local and (arguments.jobs or arguments.device != "auto"):
        raise UserError("--jobs and --device are for this machine; on SLURM say --max-parallel, and --resource gpus=0")
    settings = ClusterSettings(
        arguments.cluster,
        arguments.results.absolute(),
        arguments.resources,
        tuple(arguments.resource),
        arguments.max_parallel,
        arguments.jobs,
        devices,
        names_of(selection, arguments.study),
    )
    cluster = open_cluster(settings)
    options = _options(
        selection,
        arguments,
        lambda cell: cluster.target(cell) or local_target(*devices),
        decode=local,
        writes=not arguments.dry_run,
    )
    tasks = [absolute(task) for task in preflight(selection.cells, options)]
    if arguments.dry_run:
        found = sort_tasks(tasks, ledger(arguments.results))
        for script in cluster.scripts(found.open) if found.open else []:
            print(f"{script}\n")
        _tell_handed_over(found, HandedOver(""))
        return 1 if found.unreadable else 0

    def once() -> tuple[Sorted, HandedOver]:
        return submit_open(tasks, lambda: ledger(arguments.results), settings.results, cluster.submit)

    if arguments.wait_for_room:
        found = submit_as_room_comes(once, _tell_handed_over)
    else:
        found, handed = once()
        _tell_handed_over(found, handed)
    return 1 if found.unreadable else 0


def _tell_handed_over(found: Sorted, handed: HandedOver) -> None:
    """What came of handing tasks to a cluster."""
    from bench.running.task import NOTHING_TO_TEST

    for reason in found.unreadable:
        print(f"passed over: {reason}")
    untrained = f", {len(found.untrained)} passed over: {NOTHING_TO_TEST}" if found.untrained else ""
    counts = f"{len(found.open)} to run, {len(found.finished)} finished before, {len(found.busy)} queued or running"
    print(f"{counts}{untrained}")
    if handed.said:
        print(f"{handed.said}\n`bench status` with the same choice of runs follows them; this shell may be closed")
    if handed.left:
        print(
            f"{len(handed.left)} runs are left open for want of room ({handed.why}): the same command submits them "
            "later, or, with --wait-for-room, as places become free",
        )
    sys.stdout.flush()


def _describe(outcome: Outcome) -> str:
    if outcome.failed or outcome.record is None:
        return outcome.reason if outcome.skipped else f"FAILED: {sentence(outcome.reason)}"
    done, record = "finished before: " if outcome.skipped else "", outcome.record
    skipped = f"   {record.skipped_steps} of {record.steps} steps skipped" if record.skipped_steps else ""
    return f"{done}{_scores(record)}   {record.training_seconds:.0f} s{skipped}"


def _scores(record: Record) -> str:
    trained = [result for result in record.tests if result.state == "trained"]
    return "   ".join(f"{result.test} Rank-1 {100 * result.rank1:.1f} mAP {100 * result.mAP:.1f}" for result in trained)


def _dry_run(selection: Selection, arguments: argparse.Namespace) -> int:
    from bench.commands.cluster import ledger
    from bench.running.devices import resolve_device
    from bench.running.preflight import predicted_steps

    book, unreadable, cells = ledger(arguments.results), False, selection.cells
    asked = selection.own.sources(split_words(arguments.test))
    names = tell_apart([(cell.label, cell.config) for cell in cells])
    for name, cell in zip(names, cells, strict=True):
        tests = tests_of(cell, asked)
        state = book.state_of(cell)
        lacking = state.lacking(tests)
        lacking += _lists_of(tests, state) if arguments.lists else []
        far = f"done but for {', '.join(lacking)}" if lacking else str(state)
        unreadable |= state.kind == "unreadable"
        print(f"{name:30} {cell.config.train:12} seed {cell.config.seed}   {far}")
    print(f"{len(cells)} runs")
    for line in (*predicted_steps(cells, resolve_device(arguments.device)), *told(book.faults.values())):
        print(line)
    return 1 if unreadable else 0


def _lists_of(tests: Sequence[str], state: CellState) -> list[str]:
    """What a finished run lacks of ranked lists, in words."""
    from bench.running.task import results_without_lists

    record = read_record(state.folder) if state.kind == "done" and state.folder is not None else None
    results = results_without_lists(state.folder, record, tests) if record is not None else []
    return [f"the lists of {result.test}" for result in results]
