"""`bench report`: the paper's tables with the measured numbers beside the published ones."""

from __future__ import annotations

import argparse
import shutil
import sys

from bench.commands.common import (
    add_data_dir,
    add_results,
    at_least_one,
    example,
    file_or_folder,
    megabytes,
    own_studies,
)
from bench.config import split_words
from bench.data.own_names import OwnSets
from bench.errors import UserError
from bench.report.columns import EXTRA
from bench.report.model import FORMATS
from bench.report.page.options import IMAGES, MOST_MEGABYTES, MOST_QUERIES, PageOptions


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "report",
        help="print the tables and write them as Markdown, LaTeX, CSV and pictures",
        description="Print the paper's tables with the measured numbers beside the published ones, and write them as "
        "Markdown, LaTeX, CSV and pictures; or all of that with ranked lists to look through as one HTML file "
        "(--format html). Runs are only read.",
        epilog=example(
            "bench report",
            "bench report --study table2 --format text",
            "bench report --columns rank5,mINP",
            "bench report --out /tmp/report",
            "bench report --format html --matches",
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
    parser.add_argument(
        "--format", nargs="+", choices=FORMATS, help="what to make (default: all but html); text writes no file"
    )
    page = parser.add_argument_group("with --format html")
    page.add_argument(
        "--images", choices=IMAGES, help="none: frames with names, where pictures may not leave the machine"
    )
    page.add_argument(
        "--matches", action="store_true", help="local matches of the pairs shown, computed from the runs' checkpoints"
    )
    page.add_argument("--device", help="where to compute them: auto, cpu, cuda, cuda:1 (default: auto)")
    page.add_argument(
        "--page-queries",
        type=at_least_one,
        metavar="N",
        help=f"queries of each test set (default: {MOST_QUERIES}, or as many as fit)",
    )
    page.add_argument(
        "--page-mb", type=megabytes, metavar="MB", help=f"largest size of the page (default: {MOST_MEGABYTES:g})"
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code: 0, or 1 if something was passed over that could not be read or drawn.

    Raises UserError where there is nothing to report, and for options of the page without one.
    """
    from bench.report.write import write_report

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else None
    page = _page_options(arguments)
    out = arguments.out or arguments.results / "report"
    columns = split_words(arguments.columns) or ()
    names, own = own_studies(arguments.study, OwnSets(arguments.data_dir))
    report = write_report(arguments.results, out, names, arguments.format, width, columns, own, page)
    for line in report.text.splitlines():
        print(f"\033[1;33m{line}\033[0m" if terminal and line.startswith("STAND-IN DATA") else line)
    if report.files:
        count = f"{len(report.files)} file{'' if len(report.files) == 1 else 's'}"
        print(f"\nWritten to {out}: {count}, {report.files[0].name} first.")
    return 1 if report.unreadable or report.undrawn else 0


def _page_options(arguments: argparse.Namespace) -> PageOptions | None:
    """What the page is to show, None if none is asked for. Raises UserError for options that it alone has."""
    if "html" in (arguments.format or ()):
        return PageOptions(
            arguments.data_dir,
            arguments.page_queries,
            arguments.page_mb or MOST_MEGABYTES,
            arguments.images or IMAGES[0],
            arguments.matches,
            arguments.device or "auto",
        )
    for name in ("images", "matches", "device", "page_queries", "page_mb"):
        if getattr(arguments, name):
            raise UserError(f"--{name.replace('_', '-')} belongs to the page: add --format html")
    return None
