"""`bench perf`: how fast and how small matching is on this machine."""

from __future__ import annotations

import argparse
import shutil
import sys
from functools import partial
from typing import TYPE_CHECKING

import variants
from bench.commands.common import add_results, at_a_time, at_least_one, example, head_words
from bench.commands.serving import GALLERY, STUDY, serving_cases
from bench.config import one_of, split_words
from bench.environment import cpus
from bench.errors import CellFailed, UserError
from bench.perf import DEFAULT_PARTS, PARTS, SERVING
from bench.progress import Progress

if TYPE_CHECKING:
    from bench.perf.records import PerfSizes

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
        "on request whole tests with made-up features, within a memory budget, and the rows of a study behind a "
        "standing gallery: latency of one query, queries a second, memory. Results go to perf/ below --results, "
        "and into the report.",
        epilog=example(
            "bench perf",
            "bench perf --variants operator,cosine --batch 16 --tokens 48 --width 64 --repeats 3",
            "bench perf --only streaming --variants transmatcher",
            "bench perf --only serving --gallery 1000 --preset demo --dtype float32",
            "bench perf --only peers --device cuda",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_results(parser)
    parser.add_argument(
        "--variants",
        default="all",
        help="heads, paths of head files, or operator, separated by commas; for serving rows of the study too "
        "(default: all)",
    )
    parser.add_argument(
        "--only", metavar="PARTS", help=f"some of {', '.join(PARTS)} (default: {', '.join(DEFAULT_PARTS)})"
    )
    serving = parser.add_argument_group("serving", "what `--only serving` measures")
    serving.add_argument(
        "--gallery",
        type=partial(at_least_one, most=MOST_GALLERY),
        metavar="N",
        help=f"pictures of the gallery (default: {GALLERY})",
    )
    serving.add_argument("--study", help=f"a table, see `bench list studies`, or a file (default: {STUDY})")
    serving.add_argument("--preset", help="scale everything down alike: see `bench list` (default: the paper's sizes)")
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


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises CellFailed, once the tables are printed, if they cannot be stored."""
    import torch

    from bench.journal.provenance import check_kernel, now
    from bench.perf.measure import available_bytes
    from bench.perf.records import FOLDER, PerfSizes, write_perf
    from bench.perf.run import PerfPlan, measure, record_of
    from bench.perf.works import OPERATOR
    from bench.report.render import notes_text, to_text
    from bench.report.speed import speed_tables
    from bench.running.devices import resolve_device
    from bench.running.preflight import check_writable

    dtypes = tuple(one_of("dtype", word, DTYPES) for word in split_words(arguments.dtype) or ())
    parts = tuple(one_of("part", word, PARTS) for word in split_words(arguments.only) or DEFAULT_PARTS)
    if SERVING not in parts and any((arguments.gallery, arguments.study, arguments.preset)):
        raise UserError(
            f"--gallery, --study and --preset choose what --only {SERVING} measures; add that part to --only"
        )
    # Rows of a study have names of their own.
    subjects = () if parts == (SERVING,) else _subjects(arguments.variants)
    names = ("batch", "tokens", "width", "feedforward", "layers")
    sizes = PerfSizes(**{name: getattr(arguments, name) for name in names})
    device = torch.device(resolve_device(arguments.device))
    for subject in subjects:
        _try_from_outside(subject, sizes)
    memory = available_bytes(device)
    served = serving_cases(arguments, OPERATOR, dtypes, device.type, memory) if SERVING in parts else ()
    plan = PerfPlan(sizes, subjects, dtypes, parts, arguments.repeats, arguments.threads, device, memory, served)
    check_kernel(device)
    check_writable(arguments.results / FOLDER)
    started, findings = now(), []
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    try:
        for found in measure(plan, Progress(shown=sys.stderr.isatty())):
            findings.append(found)
    finally:
        # What was measured is shown, whatever came in the way of the rest.
        record = record_of(plan, started, findings)
        for table in speed_tables([record]):
            print(to_text(table, width), notes_text(table, width), sep="\n")
    try:
        path = write_perf(arguments.results, record)
    except OSError as fault:
        folder = arguments.results / FOLDER
        raise CellFailed(f"the tables above could not be stored in {folder}: {fault.strerror}") from fault
    print(f"Written to {path}.")
    return 0


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
