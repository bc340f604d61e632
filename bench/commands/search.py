"""`bench search`: the pictures of a folder that a trained network finds most like one."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.commands.common import add_results, at_least_one, example, file_or_folder
from bench.commands.network import add_network, network_of
from bench.errors import UserError
from bench.progress import one_line


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "search",
        help="find the pictures of a folder that are most like one",
        description="Search the pictures of a folder, and of the folders below it, for those that the network of a "
        "finished run scores highest with a picture. With --shortlist the network scores those alone that a cheaper "
        "run (--by) finds best.",
        epilog=example(
            "bench search query.jpg gallery --run qaconv-msmt-s0 --top 10 --html found.html",
            "bench search query.jpg gallery --run qaconv-msmt-s0 --shortlist 100 --by vit-msmt-s0",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", type=file_or_folder, metavar="PICTURE", help="the picture that is looked for")
    parser.add_argument("gallery", type=file_or_folder, metavar="FOLDER", help="the pictures that are searched")
    add_network(parser)
    parser.add_argument(
        "--top", type=at_least_one, default=10, metavar="N", help="pictures that are shown (default: %(default)s)"
    )
    parser.add_argument("--shortlist", type=at_least_one, metavar="N", help="score the best N of --by alone")
    parser.add_argument("--by", metavar="CELL", help="the run that makes the shortlist")
    parser.add_argument("--html", type=file_or_folder, metavar="FILE", help="write a page with the pictures, too")
    add_results(parser)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises UserError for a run, a picture or a folder that cannot be used, OSError for the page."""
    from bench.api import load, pictures_in

    if (arguments.shortlist is None) != (arguments.by is None):
        raise UserError("a shortlist needs both its length (--shortlist N) and the run that makes it (--by CELL)")
    pictures = pictures_in(arguments.gallery)
    matcher = network_of(arguments)
    by = load(arguments.by, arguments.device, arguments.results) if arguments.by else None
    found = matcher.search([arguments.query], pictures, arguments.top, arguments.shortlist, by)
    best = [pictures[at] for at in found.position[0].tolist()]
    scores = found.score[0].tolist()
    among = f"{len(pictures):,} pictures in {arguments.gallery}"
    if by is not None:
        among += f", of which {by.record.label} chose {min(arguments.shortlist, len(pictures)):,}"
    title = f"{matcher.record.label}: {arguments.query} among {among}"
    print(_table(title, best, scores, arguments.gallery))
    if arguments.html:
        from bench.journal.record import write_atomically
        from bench.report.search_page import search_page

        page = search_page(title, arguments.query, best, scores, arguments.gallery)
        write_atomically(arguments.html, page.encode(errors="replace"))
        print(f"\nWritten to {arguments.html}.")
    return 0


def _table(title: str, best: list[Path], scores: list[float], folder: Path) -> str:
    from tabulate import tabulate

    rows = [
        (str(rank), f"{score:.4f}", one_line(str(path.relative_to(folder))))
        for rank, (path, score) in enumerate(zip(best, scores, strict=True), start=1)
    ]
    table = tabulate(
        rows, ("rank", "score", "picture"), tablefmt="plain", disable_numparse=True, colalign=("right", "right", "left")
    )
    return f"{one_line(title)}\n\n{table}"
