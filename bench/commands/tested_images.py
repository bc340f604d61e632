"""The images that a run was tested on, for commands that look at a trained network again."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.config import HELD_OUT
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.data import Dataset
    from bench.data.tensors import Images
    from bench.journal.record import Record


def add_test_set(parser: argparse.ArgumentParser) -> None:
    """--test and --msmt-release, which say what `tested_images` takes."""
    parser.add_argument("--test", metavar="SET", help="test set (default: the first that the run was tested on)")
    parser.add_argument("--msmt-release", choices=("V1", "V2"), help="which MSMT17 to take where both are found")


def seed_number(text: str) -> int:
    """A seed as runs have them, as a type of an argument."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 9:
        raise argparse.ArgumentTypeError(
            f"needs a whole number of at least 0 and at most 999,999,999, not {text[:40]!r}"
        )
    return int(text)


def tested_images(record: Record, arguments: argparse.Namespace) -> tuple[Dataset, Images]:
    """The data set of `arguments.test`, or the first on which the run was tested, and its decoded test images.

    Raises UserError where there is none, or where it is not what the run was tested on.
    """
    from bench.data.cache import load_images
    from bench.data.sources import load_source
    from bench.progress import Progress
    from bench.running.cell import cache_folder
    from bench.study.definition import data_root, load_preset

    name = arguments.test or next((result.test for result in record.tests if result.test != HELD_OUT), None)
    if name is None:
        raise UserError(f"{record.cell} was tested on no data set; say on which with --test")
    dataset = load_source(name, data_root(arguments.data_dir, load_preset(record.preset)), arguments.msmt_release)
    if not dataset.query:
        raise UserError(f"{name} is for training only; choose another --test")
    check_unchanged(record, dataset)
    size = record.config.input
    cache = cache_folder(arguments.results)
    return dataset, load_images(dataset, "test", size.height, size.width, cache, 2, Progress(silent=False))


def check_unchanged(record: Record, dataset: Dataset) -> None:
    """Raise UserError if a run was tested on other images of that name."""
    tested = record.result(dataset.name)
    if tested is not None and tested.fingerprint != dataset.fingerprint:
        raise UserError(
            f"{dataset.name} changed on disk since {record.cell} was tested on it; put its images back, or say another "
            "--test"
        )
