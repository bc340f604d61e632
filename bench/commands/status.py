"""`bench status`: the grid of cells."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping

from bench.commands.common import Selection, add_places, add_selection, at_least_one, example, read_selection
from bench.commands.usage import render_usage
from bench.journal.reading import told
from bench.progress import sentence
from bench.running.ledger import KINDS, CellState, Ledger
from bench.running.troubles import troubles
from bench.study.names import tell_apart
from bench.system.streams import lost_output


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "status",
        help="show how far the runs of a study are",
        description="Show, for each row, training set and seed of a study, whether its run is done, failed, running, "
        "queued, preempted, cancelled, interrupted or missing, wherever it runs.",
        epilog=example(
            "bench status --preset demo",
            "bench status --study table1",
            "bench status --watch 30",
            "bench status --study table1 --usage",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--usage",
        action="store_true",
        help="show by head what runs took of time, memory, GPU and CPUs beside what was asked for, and what would fit",
    )
    kinds.add_argument(
        "--watch",
        nargs="?",
        type=at_least_one,
        const=10,
        metavar="SECONDS",
        help="show it again every few seconds (default: 10) until nothing is queued or running",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if it cannot be read how far some run is. Watching ends, too, when nobody reads any more."""
    from bench.commands.cluster import ledger

    selection = read_selection(arguments)
    names = tell_apart([(cell.label, cell.config) for cell in selection.cells])
    cells = {
        (name, cell.config.train, cell.config.seed): cell for name, cell in zip(names, selection.cells, strict=True)
    }
    while True:
        book = ledger(arguments.results)
        states = {place: book.state_of(cell) for place, cell in cells.items()}
        if arguments.usage:
            pairs = [(cell, states[place]) for place, cell in cells.items()]
            print(render_usage(selection, pairs, book, arguments.results), flush=True)
            break
        if arguments.watch and sys.stdout.isatty():
            print("\033[2J\033[H", end="")
        print(render(selection, states, book, arguments.results), flush=True)
        busy = any(state.busy for state in states.values())
        if not arguments.watch or not busy or lost_output():
            break
        time.sleep(arguments.watch)
    return 1 if any(state.kind == "unreadable" for state in states.values()) else 0


def render(
    selection: Selection, states: Mapping[tuple[str, str, int], CellState], book: Ledger, results: object
) -> str:
    """The grid, what failed and why, and the count of each state. `states` are by name, training set and seed."""
    seeds = sorted({seed for _, _, seed in states})
    rows = list(dict.fromkeys((label, train) for label, train, _ in states))
    words = {place: str(state) for place, state in states.items()}
    columns = [f"seed {seed}" for seed in seeds]
    widths = [
        max(len(column), *(len(words[label, train, seed]) for label, train in rows))
        for column, seed in zip(columns, seeds, strict=True)
    ]
    first = max(len(label) for label, _ in rows)
    second = max(len("train"), *(len(train) for _, train in rows))
    lines = [selection.study.title, str(results)]
    heads = "  ".join(f"{column:{width}}" for column, width in zip(columns, widths, strict=True))
    lines.append(f"{'':{first}}  {'train':{second}}  {heads}")
    for label, train in rows:
        cells = [f"{words[label, train, seed]:{width}}" for seed, width in zip(seeds, widths, strict=True)]
        lines.append(f"{label:{first}}  {train:{second}}  " + "  ".join(cells))
    for state in dict.fromkeys(states.values()):
        if state.kind == "failed" or (state.kind == "cancelled" and state.reason):
            log = f" (log: {state.log})" if state.log else ""
            lines.append(f"{state.kind}: {state.folder.name}: {sentence(state.reason)}{log}")
    lines += map(sentence, troubles(states.values(), book))
    counts = Counter(state.kind for state in states.values())
    others = [f"{counts[kind]} {kind}" for kind in KINDS if counts[kind] and kind not in ("done", "missing")]
    lines.append(", ".join([f"{counts['done']} of {len(states)} done", *others]))
    lines += book.notes
    if counts["missing"] == len(states) and book.cells:
        hints = ", ".join([*book.presets, "perhaps with --set or another --study"])
        lines.append(f"{len(book.cells)} other runs are there: {hints}")
    lines += told(book.faults.values())
    return "\n".join(lines)
