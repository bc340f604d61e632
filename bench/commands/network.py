"""The network of a finished run, for commands that put it to use."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.commands.common import file_or_folder

if TYPE_CHECKING:
    from bench.api import TrainedMatcher


def add_network(parser: argparse.ArgumentParser) -> None:
    """--run, --head and --device, which say what `network_of` loads."""
    parser.add_argument(
        "--run", required=True, metavar="CELL", help="a run's folder, its name in results/runs/, or how that begins"
    )
    parser.add_argument("--head", type=file_or_folder, metavar="FILE", help="the run's head, where that was a file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 (default: auto)")


def network_of(arguments: argparse.Namespace) -> TrainedMatcher:
    """The matcher that the arguments name, in a process that computes as its run did.

    Raises UserError as `bench.api.load` does.
    """
    from bench.api import load
    from bench.computing import compute_as_runs_do

    matcher = load(arguments.run, arguments.device, arguments.results, arguments.head)
    compute_as_runs_do(matcher.network.device, tf32=matcher.record.config.tf32)
    return matcher
