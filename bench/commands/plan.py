"""`bench plan`: what a study will take on this machine, before anything runs."""

from __future__ import annotations

import argparse
import shutil
import sys
from typing import TYPE_CHECKING

from bench.commands.common import Selection, add_places, add_selection, add_tests, example, read_selection
from bench.config import split_words
from bench.progress import Progress
from bench.study.definition import study_name

if TYPE_CHECKING:
    from bench.perf.tiles import Tiles
    from bench.running.forecast import Forecast, Load

SECONDS_IN_ALL, SECONDS_OF_A_ROW, LEAST_SECONDS = 45.0, 8.0, 1.0
"""Of measuring: of the whole table, of a row at most, and of a row at least."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "plan",
        help="predict time, memory and disk of a study on this machine",
        description="Predict what is left of a study on this machine: memory, seconds a step and a test, hours and "
        "disk. A few tiles of each row are timed, for about a minute in all; nothing is trained, tested or written. "
        "Data sets need not be there: their published numbers of images do.",
        epilog=example(
            "bench plan --preset demo",
            "bench plan --study table1 --variants TransMatcher --train msmt --seeds 1",
            "bench plan --set training.precision=bf16 --device cuda",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)
    add_tests(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if some row could not be measured."""
    import torch

    from bench.journal.provenance import check_kernel, device_name
    from bench.report.forecast import forecast_table
    from bench.report.render import notes_text, to_text
    from bench.running.devices import devices_at_hand

    selection = read_selection(arguments)
    devices = devices_at_hand(arguments.device)
    device = torch.device(devices[0])
    check_kernel(device)
    found = _forecasts(selection, arguments, devices[0])
    on_gpu = device.type != "cpu"
    where = device_name(device) + (f", {len(devices)} of them" if len(devices) > 1 else "")
    preset = f", preset {arguments.preset}" if arguments.preset else ""
    table = forecast_table(f"{study_name(arguments.study)}{preset}", found, where, on_gpu)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(to_text(table, width), notes_text(table, width), sep="\n")
    return 1 if any(item.note for item in found) else 0


def _forecasts(selection: Selection, arguments: argparse.Namespace, device: str) -> list[Forecast]:
    """What each row and training set will take. Raises UserError as `bench run` does before it begins."""
    from bench.commands.cluster import ledger
    from bench.running.forecast import forecast, loads
    from bench.running.set_counts import Sets
    from bench.running.targets import local_target
    from bench.running.trial import footprint_of
    from bench.study.plan import resolve

    kind, target = device.partition(":")[0], local_target(device)
    sets = Sets(
        selection.data_dir,
        selection.preset.standin,
        arguments.msmt_release,
        tuple(arguments.splits),
        selection.own.paths,
    )
    asked = selection.own.sources(split_words(arguments.test))
    states = 2 if arguments.untrained or selection.preset.untrained else 1
    left = loads(
        selection.cells,
        lambda cell: resolve(cell.config, kind, target.precision, target.cpus),
        sets,
        ledger(arguments.results),
        asked,
        states,
    )
    for load in left:
        footprint_of(load.config, load.cell.head_path, kind)
    measured = _measure(left, device)
    return [forecast(load, measured[_key(load)], kind != "cpu") for load in left]


def _measure(left: list[Load], device: str) -> dict[str, Tiles]:
    """The tiles of each row, once for rows that differ in nothing that is timed."""
    from bench.perf.rows import StudyRow
    from bench.perf.tiles import measure_tiles
    from bench.running.forecast import galleries_of
    from bench.study.plan import threads_of

    kinds = {_key(load): load for load in left}
    galleries = sorted({size for load in left for size in galleries_of(load)})
    seconds = max(LEAST_SECONDS, min(SECONDS_OF_A_ROW, SECONDS_IN_ALL / len(kinds)))
    found = {}
    with Progress(shown=sys.stderr.isatty()).bar(len(kinds), "plan", "row") as bar:
        for key, load in kinds.items():
            bar.set_description(load.cell.label)
            config = load.config
            row = StudyRow("", "", load.cell.label, load.cell.head_path, config, threads_of(load.cell.config))
            found[key] = measure_tiles(row, galleries, seconds, device)
            bar.update()
    return found


def _key(load: Load) -> str:
    """Of all that decides how long a step and a tile of a test take."""
    longer = {"training": {"epochs", "steps_per_epoch", "decay_after", "sampled_persons"}}
    longer["training"] |= {"held_out_persons", "held_out_every"}
    kept = load.config.model_dump_json(exclude={"train": True, "seed": True, **longer})
    return f"{load.cell.head_path} {kept}"
