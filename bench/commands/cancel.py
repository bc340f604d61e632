"""`bench cancel`: end queued and running jobs."""

from __future__ import annotations

import argparse

from bench.commands.common import add_places, add_selection, example, read_selection
from bench.journal.reading import told
from bench.running.jobs import ClusterSettings, write_job


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
    """Exit code 0. Raises UserError with SLURM's words if it refuses."""
    from bench.commands.cluster import ledger, open_cluster

    selection = read_selection(arguments)
    book = ledger(arguments.results)
    states = {state.folder: state for state in map(book.state_of, selection.cells) if state.busy}
    slurm, local = [], []
    for state in states.values():
        entry = state.entry or book.entry_of(state.job)
        if state.job is not None and state.job.cluster == "slurm" and entry is not None:
            slurm.append((state, entry.id))
        elif state.job is not None and state.job.pid is not None:
            local.append((state, str(state.job.pid)))
    for name, chosen in (("slurm", slurm), ("local", local)):
        if chosen:
            open_cluster(ClusterSettings(name, arguments.results)).cancel(sorted({identity for _, identity in chosen}))
        for state, _ in chosen:
            write_job(state.folder, state.job.model_copy(update={"cancelled": True}))
    for state in states.values():
        if state.job is None:
            print(f"{state.folder.name} runs in a terminal of its own: end it there with Ctrl-C")
    print(f"{len(slurm) + len(local)} cancelled")
    for line in (*book.notes, *told(book.faults.values())):
        print(line)
    return 0
