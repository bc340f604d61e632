"""Arguments that several commands share, and what they mean."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.config import MOST_THREADS, parse_overrides, split_words
from bench.data.own_names import OwnSets
from bench.errors import UserError
from bench.study.definition import (
    STUDY_SUFFIXES,
    Preset,
    Study,
    check_size,
    data_root,
    load_preset,
    load_study,
    study_name,
)
from bench.study.plan import Cell, plan
from bench.study.seeds import parse_seeds
from bench.system.paths import expand

MOST_SECONDS = 1_000_000
"""Eleven days."""


@dataclass(frozen=True)
class Selection:
    """What the selecting arguments stand for."""

    study: Study
    preset: Preset
    overrides: dict[str, Any]
    cells: list[Cell]
    data_dir: Path
    own: OwnSets
    """The sets of one's own that are asked for."""


def example(*commands: str) -> str:
    """The epilog of a command's help."""
    return "examples:\n" + "\n".join(f"  {command}" for command in commands)


def at_least_one(text: str, most: int = 1_000_000) -> int:
    """A whole number from 1 to `most`, as a type of an argument."""
    number = int(text) if text.isdecimal() and len(text) < 20 else 0
    if not 1 <= number <= most:
        raise argparse.ArgumentTypeError(f"needs a whole number of at least 1 and at most {most:,}, not {text[:40]!r}")
    return number


def at_a_time(text: str) -> int:
    """A number of threads, processes or runs at a time, as a type of an argument."""
    return at_least_one(text, MOST_THREADS)


def gibibytes(text: str) -> float:
    """An amount of memory in GiB, as a type of an argument."""
    return _above_zero(text, "GiB")


def megabytes(text: str) -> float:
    """A size in millions of bytes, as a type of an argument."""
    return _above_zero(text, "megabytes")


def _above_zero(text: str, unit: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"needs a number of {unit} above 0, not {text[:40]!r}")
    return number


def positive_seconds(text: str) -> float:
    """A duration in seconds, as a type of an argument."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"needs a number of seconds up to {MOST_SECONDS:,}, not {text[:40]!r}")
    return seconds


def file_or_folder(text: str) -> Path:
    """A path, as a type of an argument; `~` is the home folder, wherever the shell leaves it."""
    try:
        return expand(text)
    except UserError as fault:
        raise argparse.ArgumentTypeError(str(fault)) from fault


def head_word(word: str) -> str:
    """A head or a row as the code names it: the path of a head file is expanded. Raises UserError."""
    return str(expand(word)) if word.endswith(".py") else word


def head_words(text: str | None) -> list[str] | None:
    """Heads and rows separated by commas, each once; nothing but blanks is None. Raises UserError."""
    words = split_words(text)
    return words and [head_word(word) for word in words]


def add_results(parser: argparse.ArgumentParser) -> None:
    """--results, or the variable BENCH_RESULTS."""
    parser.add_argument(
        "--results",
        type=file_or_folder,
        default=os.environ.get("BENCH_RESULTS") or "results",
        help="folder of runs and reports (default: %(default)s)",
    )


def add_data_dir(parser: argparse.ArgumentParser) -> None:
    """--data-dir, or the variable BENCH_DATA."""
    parser.add_argument(
        "--data-dir",
        type=file_or_folder,
        default=os.environ.get("BENCH_DATA") or "data",
        help="folder that holds the data sets (default: %(default)s)",
    )


def add_tests(parser: argparse.ArgumentParser) -> None:
    """Options that say on what, and where, runs are tested; the same for making runs and for planning them."""
    parser.add_argument("--test", metavar="SETS", help="test sets or CSV files (default: the usual ones of --train)")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto, all GPUs if there are any)"
    )
    parser.add_argument("--untrained", action="store_true", help="test each row's untrained network and pixels too")
    parser.add_argument("--msmt-release", choices=("V1", "V2"), help="which MSMT17 to take where both are found")
    parser.add_argument(
        "--splits",
        type=file_or_folder,
        action="append",
        default=[],
        metavar="FILE",
        help="splits of your own for a small test set, as `bench data splits` writes them; again for another set",
    )


def add_places(parser: argparse.ArgumentParser) -> None:
    """--results and --data-dir."""
    add_results(parser)
    add_data_dir(parser)


def add_selection(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose cells."""
    parser.add_argument(
        "--study", default="table2", help="a table, see `bench list studies`, or a file (default: %(default)s)"
    )
    parser.add_argument("--yes", action="store_true", help="take a study of more than a thousand rows")
    parser.add_argument(
        "--variants", default="all", help="heads, row labels or paths of head files, separated by commas (default: all)"
    )
    parser.add_argument("--train", metavar="SETS", help="training sets or CSV files (default: the study's)")
    parser.add_argument(
        "--seeds", help="a number of seeds (4 is 0 to 3) or a list (0,3) (default: the study's, or the preset's)"
    )
    parser.add_argument("--memory", metavar="GIB", type=gibibytes, help="memory budget of testing (default: 2)")
    parser.add_argument("--preset", help="scale everything down alike: see `bench list` (default: the paper's sizes)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change the recipe, e.g. training.epochs=2"
    )


def read_selection(arguments: argparse.Namespace) -> Selection:
    """The cells that the arguments choose. Raises UserError for anything unknown."""
    own = OwnSets(arguments.data_dir)
    study, preset = with_own_sets(load_study(arguments.study), own), load_preset(arguments.preset)
    if not arguments.yes:
        check_size(study)
    budget = [f"evaluation.memory_gib={arguments.memory}"] if arguments.memory is not None else []
    overrides = parse_overrides([*arguments.set, *budget])
    cells = plan(
        study,
        preset,
        overrides,
        head_words(arguments.variants) or ["all"],
        own.sources(split_words(arguments.train)),
        parse_seeds(arguments.seeds) if arguments.seeds else None,
    )
    return Selection(study, preset, overrides, cells, data_root(arguments.data_dir, preset), own)


def with_own_sets(study: Study, own: OwnSets) -> Study:
    """The study with the names of the sets of one's own that it asks for. Raises UserError as `OwnSets.source`."""
    return study.model_copy(update={"train": own.sources(study.train), "tests": own.sources(study.tests)})


def own_studies(words: Sequence[str] | None, own: OwnSets) -> tuple[list[str] | None, dict[str, Study]]:
    """What studies are called, None for none, and those of them that come from files. Raises UserError."""
    files = {
        study_name(word): with_own_sets(load_study(word), own) for word in words or () if word.endswith(STUDY_SUFFIXES)
    }
    return None if words is None else [study_name(word) for word in words], files
