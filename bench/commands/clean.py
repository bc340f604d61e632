"""`bench clean`: what submissions left behind and no run needs any more."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.commands.common import add_results, example
from bench.journal.reading import told
from bench.progress import amount, one_line
from bench.running.submitted import UNTOLD

if TYPE_CHECKING:
    from bench.running.sweeping import Sweep, Unneeded


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "clean",
        help="delete what submissions left behind and no run needs any more",
        description="List, and with --yes delete, the copies of the code and the submissions (scripts, and what jobs "
        "said) that no run needs any more: nothing of them waits or goes on, and all runs whose last job was among "
        "them are done. What is newer than a quarter of an hour stays. Runs by earlier versions of the code, which no "
        "table asks for, are listed too; they are deleted with --old-runs and --yes only. No other result is touched.",
        epilog=example("bench clean", "bench clean --yes", "bench clean --old-runs --yes"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_results(parser)
    parser.add_argument("--yes", action="store_true", help="delete; without it, say what would be deleted")
    parser.add_argument(
        "--old-runs", action="store_true", help="runs by earlier versions too, with their networks and results"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if something could not be deleted. Raises UserError while somebody submits."""
    from bench.commands.cluster import ledger
    from bench.running.submission import submission_lock
    from bench.running.sweeping import look, sweep_away

    book = ledger(arguments.results)
    sweep = look(arguments.results, book)
    chosen = [*sweep.submissions, *sweep.snapshots, *(sweep.runs if arguments.old_runs else ())]
    if arguments.yes and chosen:
        with submission_lock(arguments.results):
            book = ledger(arguments.results)  # somebody may have submitted since
            sweep = look(arguments.results, book)
            sweep_away(sweep, arguments.old_runs)
    untold = any(one.needed == UNTOLD for one in sweep.kept)
    shown = [*_lines(sweep, arguments.yes, arguments.old_runs), *(book.notes if untold else ())]
    for line in (*shown, *told(book.faults.values())):
        print(line)
    return 1 if sweep.refused else 0


def _lines(sweep: Sweep, deleted: bool, old_runs: bool) -> list[str]:
    """What was found, what became of it, and why the rest stays."""
    word = "deleted" if deleted else "to delete"
    found = _table(sweep.submissions, word, "submission", "submissions")
    found += _table(sweep.snapshots, word, "copy of the code", "copies of the code")
    runs = ("run by an earlier version of the code", "runs by earlier versions of the code")
    found += _table(sweep.runs, word if old_runs else "that no table asks for", *runs)
    if sweep.runs and not old_runs:
        found.append("these runs stay; `bench clean --old-runs --yes` deletes them")
    if sweep.at_work:
        found.append(f"{sweep.at_work} more {runs[sweep.at_work > 1]} stay: they wait or go on")
    for (kind, needed), count in Counter((one.path.parent.name, one.needed) for one in sweep.kept).items():
        found.append(f"{count} of {kind} {'stays' if count == 1 else 'stay'}: {needed}")
    found += [one_line(f"not deleted: {refusal}") for refusal in sweep.refused]
    if not (sweep.submissions or sweep.snapshots or sweep.runs or sweep.refused):
        found.append("there is nothing to delete")
    elif not deleted and (old_runs or sweep.submissions or sweep.snapshots):
        found.append("nothing was deleted; --yes does it")
    return found


def _table(found: Sequence[Unneeded], word: str, one_of_them: str, several: str) -> list[str]:
    if not found:
        return []
    names = [one_line(f"  {one.path.name}  {amount(one.size)}  {one.about}".rstrip()) for one in found]
    total = amount(sum(one.size for one in found))
    return [f"{len(found)} {one_of_them if len(found) == 1 else several} {word}, {total}:", *names]
