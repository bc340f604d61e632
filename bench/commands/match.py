"""`bench match`: how alike a trained network finds two pictures, and what such a score means."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.commands.common import add_places, at_least_one, example, file_or_folder
from bench.commands.network import add_network, network_of
from bench.commands.tested_images import add_test_set, seed_number, tested_images
from bench.errors import UserError
from bench.progress import one_line, sentence

if TYPE_CHECKING:
    from bench.api import TrainedMatcher

MOST_SAMPLED = 10_000
"""Images a side; the square of that are a hundred million pairs."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "match",
        help="score two pictures with a trained network",
        description="Score two pictures with the network of a finished run, and tell the chance that two pictures of "
        "different persons score as high: the share of such pairs among random queries and gallery images of a set "
        "that the run was tested on.",
        epilog=example(
            "bench match a.jpg b.jpg --run qaconv-msmt-s0",
            "bench match a.jpg b.jpg --run vit-msmt-s0 --test market --sample 500",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", type=file_or_folder, metavar="PICTURE", help="the picture that is looked for")
    parser.add_argument("other", type=file_or_folder, metavar="OTHER", help="the picture that it is compared with")
    add_network(parser)
    add_test_set(parser)
    parser.add_argument(
        "--sample",
        type=_sample,
        default=100,
        metavar="N",
        help="random queries, and as many gallery images, whose pairs of different persons tell the chance "
        "(default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="of that sample (default: %(default)s)")
    add_places(parser)


def _sample(text: str) -> int:
    return at_least_one(text, MOST_SAMPLED)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises UserError for a run or pictures that cannot be had, and for a --test that cannot.

    Where no --test is asked for and the run's own is not at hand, the score stands without a chance.
    """
    matcher = network_of(arguments)
    score = matcher.match(arguments.query, arguments.other).item()
    chance = ""
    try:
        chance = _chance(matcher, score, arguments)
    except UserError as fault:
        if arguments.test:
            raise
        chance = f"The chance that different persons score as high is not known: {sentence(str(fault))}"
    print(f"{one_line(str(arguments.query))} and {one_line(str(arguments.other))}: score {score:.4f}")
    print(chance)
    return 0


def _chance(matcher: TrainedMatcher, score: float, arguments: argparse.Namespace) -> str:
    from bench.report.titles import set_title
    from bench.testing.different_persons import scores_of_different_persons

    dataset, images = tested_images(matcher.record, arguments)
    config = matcher.record.config
    others = scores_of_different_persons(matcher.network, dataset, images, config, arguments.sample, arguments.seed)
    as_high = int((others >= score).sum())
    chance = f"{100 * as_high / len(others):.3g} %" if as_high else f"below {100 / len(others):.2g} %"
    standin = f", {dataset.standin}" if dataset.standin else ""
    return (
        f"Chance that two pictures of different persons score as high: {chance} ({as_high:,} of {len(others):,} pairs "
        f"of {set_title(dataset.name)}{standin}, from {min(arguments.sample, len(dataset.query)):,} queries and "
        f"{min(arguments.sample, len(dataset.gallery)):,} gallery images by seed {arguments.seed})."
    )
