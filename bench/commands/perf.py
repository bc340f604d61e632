"""`bench perf`: how fast and how small matching is on this machine."""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import variants
from bench.commands.common import add_results, at_a_time, at_least_one, example, file_or_folder, head_words
from bench.commands.perf_rows import GALLERY, STUDY, serving_cases, study_rows
from bench.config import one_of, split_words
from bench.environment import cpus
from bench.errors import CellFailed, UserError
from bench.perf import DEFAULT_PARTS, MATCHING, OF_ROWS, PARTS, SERVING, STEP, STREAMING, TEST
from bench.progress import Progress

if TYPE_CHECKING:
    from bench.perf.records import PerfRecord, PerfSizes
    from bench.perf.run import PerfPlan
    from bench.report.model import Table

DTYPES = ("float32", "bfloat16", "float16")

MOST_GALLERY = 100_000_000
"""Pictures; what memory holds is looked at when the rows are known."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "perf",
        help="measure speed and memory of matching on this machine",
        description="Time the matching operator and every head in training and in scoring, in turn with the same in "
        "plain PyTorch and with its matrix products alone, the limit; the data path and the metrics beside plain ones; "
        "on request whole tests with made-up features, within a memory budget, and rows of a study: whole training "
        "steps and tests with their parts, and a standing gallery: latency of one query, queries a second, memory. "
        "Results go to perf/ below --results, and into the report.",
        epilog=example(
            "bench perf",
            "bench perf --variants operator,cosine --batch 16 --tokens 48 --width 64 --repeats 3",
            "bench perf --only streaming --variants transmatcher",
            "bench perf --only step,test --variants TransMatcher --preset demo --label before",
            "bench perf --only step --variants TransMatcher --set training.persons=4",
            "bench perf --only serving --gallery 1000 --preset demo --dtype float32",
            "bench perf --only peers --device cuda",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_results(parser)
    parser.add_argument(
        "--variants",
        default="all",
        help="heads, paths of head files, or operator, separated by commas; for step, test and serving rows of the "
        "study too (default: all)",
    )
    parser.add_argument(
        "--only", metavar="PARTS", help=f"some of {', '.join(PARTS)} (default: {', '.join(DEFAULT_PARTS)})"
    )
    _add_rows(parser)
    _add_comparing(parser)
    for name, default, what in (
        ("batch", 64, "images of a batch, B; heads that pay per pair get the largest half of it that fits"),
        ("tokens", 192, "positions of an image, T"),
        ("width", 512, "d"),
        ("feedforward", 2048, "D"),
        ("layers", 3, "N"),
        ("repeats", 5, "timed rounds"),
    ):
        parser.add_argument(f"--{name}", type=at_least_one, default=default, help=f"{what} (default: %(default)s)")
    parser.add_argument("--threads", type=at_a_time, default=cpus(), help="CPU threads (default: %(default)s)")
    parser.add_argument("--dtype", default="float32,bfloat16", help="of matrix products (default: %(default)s)")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto, a GPU if there is one)"
    )


def _add_rows(parser: argparse.ArgumentParser) -> None:
    rows = parser.add_argument_group("rows of a study", f"what --only {', '.join(OF_ROWS)} measure")
    rows.add_argument("--study", help=f"a table, see `bench list studies`, or a file (default: {STUDY})")
    rows.add_argument("--preset", help="scale everything down alike: see `bench list` (default: the paper's sizes)")
    rows.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe, e.g. training.persons=4"
    )
    most = partial(at_least_one, most=MOST_GALLERY)
    rows.add_argument("--queries", type=most, metavar="N", help="of a test (default: 64, or 1024 on a GPU)")
    rows.add_argument(
        "--gallery",
        type=most,
        metavar="N",
        help=f"pictures of the gallery (default: {GALLERY}; for a test 512, or 4096 on a GPU)",
    )


def _add_comparing(parser: argparse.ArgumentParser) -> None:
    comparing = parser.add_argument_group("before and after")
    comparing.add_argument(
        "--label", type=_label, default="", metavar="WORD", help="keep this record beside one of the same measurements"
    )
    comparing.add_argument(
        "--against", type=file_or_folder, metavar="FILE", help="a record of perf/: show what both measured side by side"
    )
    comparing.add_argument(
        "--measured", type=file_or_folder, metavar="FILE", help="with --against: measure nothing, compare this record"
    )


def _label(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.]{0,40}", text):
        raise argparse.ArgumentTypeError(f"needs up to 40 letters, digits, _ and ., not {text[:60]!r}")
    return text


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises CellFailed, once the tables are printed, if they cannot be stored."""
    from bench.journal.provenance import check_kernel, now
    from bench.perf.records import FOLDER, write_perf
    from bench.perf.run import measure, record_of
    from bench.report.speed import speed_tables
    from bench.running.preflight import check_writable

    before = _read(arguments.against) if arguments.against is not None else None
    if arguments.measured is not None:
        if before is None:
            raise UserError("--measured FILE is compared with another record: add --against FILE")
        _compare(before, _read(arguments.measured))
        return 0
    plan = _plan(arguments)
    check_kernel(plan.device)
    check_writable(arguments.results / FOLDER)
    started, findings = now(), []
    try:
        for found in measure(plan, Progress(shown=sys.stderr.isatty())):
            findings.append(found)
    finally:
        # What was measured is shown, whatever came in the way of the rest.
        record = record_of(plan, started, findings)
        _show(speed_tables([record]))
    if before is not None:
        _compare(before, record)
    try:
        path = write_perf(arguments.results, record)
    except OSError as fault:
        folder = arguments.results / FOLDER
        raise CellFailed(f"the tables above could not be stored in {folder}: {fault.strerror}") from fault
    print(f"Written to {path}.")
    return 0


def _plan(arguments: argparse.Namespace) -> PerfPlan:
    """What is asked for. Raises UserError where it makes no sense."""
    import torch

    from bench.computing import free_bytes
    from bench.perf.records import PerfSizes
    from bench.perf.run import PerfPlan
    from bench.perf.whole_test import SIZES
    from bench.perf.works import OPERATOR
    from bench.running.devices import resolve_device

    dtypes = tuple(one_of("dtype", word, DTYPES) for word in split_words(arguments.dtype) or ())
    parts = tuple(one_of("part", word, PARTS) for word in split_words(arguments.only) or DEFAULT_PARTS)
    _check_options(arguments, parts)
    # Rows of a study have names of their own.
    subjects = _subjects(arguments.variants) if {MATCHING, STREAMING} & {*parts} else ()
    names = ("batch", "tokens", "width", "feedforward", "layers")
    sizes = PerfSizes(**{name: getattr(arguments, name) for name in names})
    device = torch.device(resolve_device(arguments.device))
    for subject in subjects:
        _try_from_outside(subject, sizes)
    memory = free_bytes(device)
    queries, gallery = SIZES.get(device.type, SIZES["cpu"])
    return PerfPlan(
        sizes, subjects, dtypes, parts, arguments.repeats, arguments.threads, device, memory,
        served=serving_cases(arguments, OPERATOR, dtypes, device.type, memory) if SERVING in parts else (),
        rows=study_rows(arguments, OPERATOR, str(device)) if {STEP, TEST} & {*parts} else (),
        tested=(arguments.queries or queries, arguments.gallery or gallery),
        label=arguments.label,
    )  # fmt: skip


def _check_options(arguments: argparse.Namespace, parts: tuple[str, ...]) -> None:
    """Raise UserError for options of parts that are not asked for."""
    for options, of_parts in (
        (("study", "preset", "set"), OF_ROWS),
        (("gallery",), (TEST, SERVING)),
        (("queries",), (TEST,)),
    ):
        given = [f"--{option}" for option in options if getattr(arguments, option)]
        if given and not {*parts} & {*of_parts}:
            wanted = " or ".join(of_parts)
            raise UserError(f"{given[0]} is for what --only {wanted} measures; add such a part to --only")


def _show(tables: Sequence[Table]) -> None:
    from bench.report.render import notes_text, to_text

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for table in tables:
        print(to_text(table, width), notes_text(table, width), sep="\n")


def _read(path: Path) -> PerfRecord:
    """A record of speed. Raises UserError where there is none."""
    from bench.journal.reading import Unreadable, read_json
    from bench.perf.records import PerfRecord

    try:
        record = read_json(path, PerfRecord, "give a file that `bench perf` wrote")
    except Unreadable as fault:
        raise UserError(str(fault)) from fault
    if record is None:
        raise UserError(f"there is no record {path}: give a file that `bench perf` wrote, below perf/")
    return record


def _compare(before: PerfRecord, after: PerfRecord) -> None:
    """Print the two side by side, or that they have nothing in common."""
    from bench.report.speed import compared_speed

    table = compared_speed(before, after)
    if table.rows:
        _show([table])
    else:
        print("the two records measured nothing alike: choose the same parts, rows, sizes and threads")


def _subjects(text: str) -> tuple[str, ...]:
    """The operator and heads that are asked for. Raises UserError for unknown ones."""
    from bench.perf.run import subjects_of

    try:
        return subjects_of(head_words(text) or ["all"])
    except variants.HeadError as fault:
        raise UserError(str(fault)) from fault


def _try_from_outside(subject: str, sizes: PerfSizes) -> None:
    """Raise UserError for a head from outside that does not match images soundly, before half an hour is measured."""
    from bench.perf.works import OPERATOR
    from bench.running.trial import footprint

    if subject == OPERATOR or not (info := variants.describe(subject)).digest:
        return
    options = tuple((key, value) for key, value in sizes.model_dump().items() if key in info.options)
    footprint(subject, info.digest, (sizes.width, sizes.tokens, 1), options, sizes.batch, "cpu")
