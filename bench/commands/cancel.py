"""`bench cancel`: end queued and running jobs."""

from __future__ import annotations

import argparse

from bench.commands.common import add_places, add_selection, example, read_selection
from bench.journal.reading import told
from bench.running.jobs import ClusterSettings


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "cancel",
        help="end queued and running jobs of a study",
        description="End the jobs of the chosen runs. They keep what they have saved; `bench run` goes on from there. "
        "A submission with --cluster local is ended as a whole.",
        epilog=example("bench cancel --variants ViT --seeds 2", "bench cancel --study table1"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_selection(parser)
    add_places(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0; 1 if a run goes on that was to end."""
    from bench.commands.cluster import ledger, open_cluster
    from bench.running.cancellation import cancel

    selection = read_selection(arguments)
    book = ledger(arguments.results)
    outcome = cancel(
        map(book.state_of, selection.cells), lambda name: open_cluster(ClusterSettings(name, arguments.results))
    )
    for sentence in outcome.going_on:
        print(sentence)
    print(f"{outcome.cells} cancelled")
    for line in (*book.notes, *told(book.faults.values())):
        if line not in outcome.going_on:
            print(line)
    return 1 if outcome.going_on else 0
