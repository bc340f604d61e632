"""`bench weights`: fetch published ImageNet weights."""

from __future__ import annotations

import argparse
import sys

from bench.commands.common import example


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "weights",
        help="fetch published ImageNet weights into the cache",
        epilog=example("bench weights fetch"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    fetch = actions.add_parser(
        "fetch",
        help="download a published weight file",
        description="Download published ImageNet weights into torch's hub cache, where runs look for them.",
        epilog=example("bench weights fetch", "bench weights fetch --arch resnet18 --ibn none"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    fetch.add_argument("--arch", default="resnet50", choices=("resnet18", "resnet34", "resnet50", "resnet101"))
    fetch.add_argument("--ibn", default="b", choices=("none", "a", "b"))


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0."""
    from bench.network.backbone import fetch_weights

    print(fetch_weights(arguments.arch, arguments.ibn, progress=sys.stderr.isatty()))
    return 0
