"""`bench report`: the paper's tables with the measured numbers beside the published ones."""

from __future__ import annotations

import argparse
import shutil
import sys

from bench.commands.common import add_data_dir, add_results, example, file_or_folder, own_studies
from bench.config import split_words
from bench.data.own_names import OwnSets
from bench.report.columns import EXTRA
from bench.report.model import FORMATS


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "report",
        help="print the tables and write them as Markdown, LaTeX, CSV and pictures",
        description="Print the paper's tables with the measured numbers beside the published ones, and write them as "
        "Markdown, LaTeX, CSV and pictures. Runs are only read.",
        epilog=example(
            "bench report",
            "bench report --study table2 --format text",
            "bench report --columns rank5,mINP",
            "bench report --out /tmp/report",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_results(parser)
    parser.add_argument(
        "--out", type=file_or_folder, metavar="DIR", help="folder to write to (default: report/ below --results)"
    )
    add_data_dir(parser)
    parser.add_argument(
        "--study",
        nargs="+",
        metavar="NAME",
        help="tables, see `bench list studies`, files of studies, or speed (default: all)",
    )
    parser.add_argument(
        "--columns", metavar="NAMES", help=f"accuracies to show besides, of {', '.join(item.key for item in EXTRA)}"
    )
    parser.add_argument("--format", nargs="+", choices=FORMATS, help="what to make (default: all); text writes no file")


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if something was passed over that could not be read or drawn.

    Raises UserError where there is nothing to report.
    """
    from bench.report.write import write_report

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    out = arguments.out or arguments.results / "report"
    columns = split_words(arguments.columns) or ()
    names, own = own_studies(arguments.study, OwnSets(arguments.data_dir))
    report = write_report(arguments.results, out, names, arguments.format, width, columns, own)
    for line in report.text.splitlines():
        print(f"\033[1;33m{line}\033[0m" if terminal and line.startswith("STAND-IN DATA") else line)
    if report.files:
        count = f"{len(report.files)} file{'' if len(report.files) == 1 else 's'}"
        print(f"\nWritten to {out}: {count}, {report.files[0].name} first.")
    return 1 if report.unreadable or report.undrawn else 0
