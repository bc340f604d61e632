"""`bench status`: the grid of cells."""

from __future__ import annotations

import argparse

from bench.commands.common import add_places, add_selection, example, read_selection
from bench.plan import Cell
from bench.records import read_records


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "status",
        help="show how far the runs of a study are",
        description="Show, for each row, training set and seed of a study, whether its run is done, failed, running, "
        "interrupted or missing.",
        epilog=example("bench status --preset demo", "bench status --study table1"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.status import state_of

    selection = read_selection(arguments)
    records = list(read_records(arguments.results))
    states = {_place(cell): state_of(cell, records, arguments.results) for cell in selection.cells}
    seeds = sorted({cell.config.seed for cell in selection.cells})
    rows = list(dict.fromkeys((cell.label, cell.config.train) for cell in selection.cells))
    columns = [f"seed {seed}" for seed in seeds]
    widths = [max(len(state) for state in [column, *states.values()]) for column in columns]
    first = max(len(label) for label, _ in rows)
    second = max(len(train) for _, train in rows)
    print(f"{selection.study.title}\n{arguments.results}")
    print(f"{'':{first}}  {'train':{second}}  " + "  ".join(f"{c:{w}}" for c, w in zip(columns, widths, strict=True)))
    for label, train in rows:
        cells = [f"{states[label, train, seed]:{width}}" for seed, width in zip(seeds, widths, strict=True)]
        print(f"{label:{first}}  {train:{second}}  " + "  ".join(cells))
    done = sum(state == "done" for state in states.values())
    print(f"{done} of {len(states)} done")
    if not done and records:
        presets = sorted({f"--preset {record.preset}" if record.preset else "no preset" for record in records})
        print(f"{len(records)} other runs are there: {', '.join(presets)}, perhaps with --set or another --study")
    return 0


def _place(cell: Cell) -> tuple[str, str, int]:
    return cell.label, cell.config.train, cell.config.seed
