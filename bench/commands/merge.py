"""`bench merge`: finished runs of other results folders into this one."""

from __future__ import annotations

import argparse

from bench.commands.common import add_results, example, file_or_folder
from bench.progress import one_line


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "merge",
        help="take finished runs of other results folders",
        description="Take the finished runs of other results folders into this one, whole and with where they come "
        "from. A run that is there with the same numbers is kept once; one with other numbers is told, and nothing is "
        "overwritten.",
        epilog=example("bench merge /cluster/results", "bench merge laptop cluster --results all --dry-run"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("others", nargs="+", type=file_or_folder, metavar="OTHER", help="another results folder")
    add_results(parser)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done; change nothing")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if some run has other numbers here, or could not be taken."""
    from bench.running.merging import merge

    merged = merge(arguments.results, list(dict.fromkeys(arguments.others)), arguments.dry_run)
    would = "would be " if arguments.dry_run else ""
    for name in merged.taken:
        print(one_line(f"{would}taken: {name}"))
    for lines, word in ((merged.conflicts, "other numbers"), (merged.obstacles, "not taken"), (merged.notes, "note")):
        for line in lines:
            print(one_line(f"{word}: {line}"))
    counts = [f"{len(merged.taken)} {would}taken", f"{len(merged.kept)} there already with the same numbers"]
    counts += [f"{len(merged.conflicts)} with other numbers"] if merged.conflicts else []
    counts += [f"{len(merged.obstacles)} not taken"] if merged.obstacles else []
    counts += [f"{merged.unfinished} not finished there"] if merged.unfinished else []
    print(", ".join(counts))
    return 1 if merged.conflicts or merged.obstacles else 0
