"""`bench shortlist`: what is lost and won where a cheap vector chooses the images that a head scores."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from bench.commands.common import add_places, example, file_or_folder
from bench.commands.tested_images import add_test_set, check_unchanged, tested_images
from bench.errors import CellFailed, UserError

if TYPE_CHECKING:
    from bench.data import Dataset
    from bench.data.tensors import Images
    from bench.journal.record import Record
    from bench.journal.shortlists import ShortlistRecord


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "shortlist",
        help="measure what a shortlist by a cheap vector costs and saves",
        description="Test finished runs where their heads score nothing but each query's best n of the gallery by the "
        "vectors of another run (--by), for n from 10 to the whole gallery. Images outside the shortlist rank behind "
        "those in it, in the vector's order. Needs the runs' checkpoints and the test set. Results go to shortlists/ "
        "below --results, and into the report.",
        epilog=example(
            "bench shortlist --test market",
            "bench shortlist --run transmatcher-msmt-s0 --by vit-msmt-s0",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run",
        nargs="+",
        default=[],
        metavar="CELL",
        help="runs whose heads score the shortlist (default: all finished runs of the setting of --by)",
    )
    parser.add_argument(
        "--by",
        metavar="CELL",
        help="the run whose vectors choose (default: the simplest that keeps one vector of an image)",
    )
    add_test_set(parser)
    parser.add_argument(
        "--head", nargs="+", default=[], type=file_or_folder, metavar="FILE", help="heads of runs that were files"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if a run could not be measured.

    Raises UserError for runs that do not go together, and for a test set that is absent, changed or made of splits.
    """
    import torch

    from bench.journal.shortlists import FOLDER, write_shortlist
    from bench.progress import Progress
    from bench.running.devices import resolve_device
    from bench.running.shortlist import shortlist_curve, vectors_of
    from bench.running.shortlist_runs import choose_runs

    device = torch.device(resolve_device(arguments.device))
    heads = {path.stem: str(path) for path in arguments.head}
    chosen = choose_runs(arguments.results, arguments.by, arguments.run, heads, device)
    tested = _TestSet(arguments)
    dataset, images = tested.of(chosen.by.record)
    if dataset.splits:
        raise UserError(f"{dataset.name} is tested on splits of some hundred images each; choose another --test")
    by = vectors_of(chosen.by_model, chosen.by.record, dataset, images)
    room = arguments.results / FOLDER
    room.mkdir(parents=True, exist_ok=True)
    made, faults = [], []
    for one in chosen.runs:
        try:
            model = one.load(device)
            own = tested.of(one.record)[1]
            with TemporaryDirectory(dir=room, prefix=".") as spill:
                made.append(shortlist_curve(model, one.record, by, dataset, own, Path(spill), Progress(silent=False)))
        except (UserError, CellFailed) as fault:
            if isinstance(fault, UserError) and arguments.run:
                raise
            faults.append(f"{one.record.cell} is left out: {fault}")
            continue
        write_shortlist(arguments.results, made[-1])
    if made:
        _print(made)
        print(f"\nWritten to {room}; `bench report --study shortlist` draws it.")
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


@dataclass
class _TestSet:
    """The test set that is asked for, at the input sizes of the runs; each size is decoded once."""

    arguments: argparse.Namespace
    _at: dict[tuple[str | None, int, int], tuple[Dataset, Images]] = field(default_factory=dict)

    def of(self, record: Record) -> tuple[Dataset, Images]:
        """The set and its images as a run is tested on them. Raises UserError as `tested_images` does."""
        size = record.config.input
        key = record.preset, size.height, size.width
        if key not in self._at:
            self._at[key] = tested_images(record, self.arguments)
            # All runs are tested on the first one's.
            self.arguments.test = self._at[key][0].name if self.arguments.test is None else self.arguments.test
        check_unchanged(record, self._at[key][0])
        return self._at[key]


def _print(made: list[ShortlistRecord]) -> None:
    from bench.report.render import to_text
    from bench.report.shortlist import shortlist_tables

    for table in shortlist_tables(made):
        print(to_text(table))
