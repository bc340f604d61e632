"""`bench list`: what there is to choose from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import variants
from bench.commands.common import add_data_dir, example, with_own_sets
from bench.config import TEST_SETS
from bench.data.own_names import OwnSets
from bench.data.sources import canonical
from bench.study.definition import (
    STUDY_SUFFIXES,
    Study,
    load_preset,
    load_study,
    preset_names,
    study_name,
    study_names,
)
from bench.study.plan import plan, study_tests

KINDS = ("heads", "studies", "data", "presets")
MOST_SHOWN = 50
"""Rows of a study that are listed."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "list",
        help="show heads, studies, data sets and presets",
        description="Show what there is to choose from.",
        epilog=example("bench list", "bench list heads"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "kind", nargs="*", metavar="KIND", help="heads, studies, data, presets (default: all), or the file of a study"
    )
    add_data_dir(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.config import one_of

    own = OwnSets(arguments.data_dir)
    printers = {"heads": _heads, "studies": _studies, "data": lambda: _data(own), "presets": _presets}
    files = [word for word in arguments.kind if word.endswith(STUDY_SUFFIXES)]
    kinds = [one_of("kind of list", word, KINDS) for word in arguments.kind if word not in files]
    if files:
        for file in files:
            _own_study(file, own)
        kinds = [kind for kind in kinds if kind != "studies"]
    for kind in kinds or (() if files else KINDS):
        print(f"{kind}:")
        printers[kind]()
    return 0


def _heads() -> None:
    for name in variants.names():
        info = variants.describe(name)
        options = ", ".join(f"{key}={value}" for key, value in info.options.items())
        print(f"  {name:26} {info.summary}")
        if options:
            print(f"  {'':26} options: {options}")
    for name, reason in variants.unusable().items():
        print(f"  {name!r:26} cannot be used: {reason}")


def _studies() -> None:
    for name in study_names():
        _study(name, load_study(name))


def _own_study(file: str, own: OwnSets) -> None:
    """A study of one's own, with each of its rows; planned, so that all of it is checked."""
    study = with_own_sets(load_study(file), own)
    cells = plan(study, load_preset(None), {}, train=study.train[:1], seeds=[0])
    _study(study_name(file), study)
    for cell in cells[:MOST_SHOWN]:
        options = "".join(f", {key}={value}" for key, value in cell.config.options.items())
        print(f"  {'':26}   {cell.label}: {cell.config.head}, width={cell.config.width}{options}")
    if len(cells) > MOST_SHOWN:
        print(f"  {'':26}   and {len(cells) - MOST_SHOWN:,} more")


def _study(name: str, study: Study) -> None:
    rows, trains = study.whole_rows, [canonical(source) for source in study.train]
    tests = dict.fromkeys(test for source in trains for test in study_tests(study, source))
    sizes = f"{_count(rows, 'row')} x {_count(trains, 'training set')} x {study.seeds} seeds"
    print(f"  {name:26} {study.title}")
    print(f"  {'':26} {len(rows) * len(trains) * study.seeds} runs: {sizes}")
    print(f"  {'':26} train: {', '.join(trains)}")
    print(f"  {'':26} test: {', '.join(tests)}")
    print(f"  {'':26} rows: {', '.join(row.label for row in study.rows)}{_swept(study)}")


def _count(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def _swept(study: Study) -> str:
    """What of the rows is changed, one at a time: "; swept: layers 1, 2, 3"."""
    keys = [f"{key.rpartition('.')[2]} {', '.join(map(str, values))}" for key, values in study.sweep.items()]
    return f"; swept: {'; '.join(keys)}" if keys else ""


def _data(own: OwnSets) -> None:
    from bench.data import describe

    for name, entry in describe().items():
        tests = f"; trained on, it is tested on {', '.join(TEST_SETS[name])}" if name in TEST_SETS else ""
        print(f"  {name:26} {entry}{tests}")
    for word in own.listed:
        print(f"  {word:26} of your own: {own.file(word)}")


def _presets() -> None:
    for name in preset_names():
        preset = load_preset(name)
        seeds = f"; {preset.seeds} seed{'s' if preset.seeds > 1 else ''}" if preset.seeds else ""
        print(f"  {name:26} {preset.description}{seeds}")
