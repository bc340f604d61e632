"""`bench matches`: what a trained network matched in pairs of images, as in the paper's Figures 3 and F."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.commands.common import add_places, at_least_one, example, file_or_folder
from bench.commands.network import add_network
from bench.commands.tested_images import add_test_set, seed_number, tested_images
from bench.errors import UserError
from bench.journal.finding import find_run

if TYPE_CHECKING:
    from bench.data import Dataset
    from bench.journal.record import Record
    from bench.network.matcher import Matcher
    from bench.report.match_pictures import PairBlock

MOST_PAIRS = 20
"""More would not be a picture that anybody reads."""


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the command to the parser of `bench`."""
    parser = subparsers.add_parser(
        "matches",
        help="draw what a trained network matched in pairs of images",
        description="Draw the local matches of a finished run, level by level, with the pair's score under each: of "
        "queries of a test set with a right image and with a hard wrong one, or of two pictures of your own. Queries "
        "are drawn at random by --seed, and wrong images are those that score highest among a random part of the "
        "gallery. Lines show matches that are stronger than all but a share (--far) of those of the wrong pairs.",
        epilog=example(
            "bench matches --run qaconv-msmt-s0 --test market",
            "bench matches --run qaconv-msmt-s0 one.jpg other.jpg",
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures", nargs="*", type=file_or_folder, metavar="PICTURE", help="two pictures to match, the query first"
    )
    add_network(parser)
    add_test_set(parser)
    parser.add_argument(
        "--pairs", type=_pairs, default=4, metavar="N", help="queries, each with a right and a wrong image (default: 4)"
    )
    parser.add_argument(
        "--far",
        type=_share,
        default=0.01,
        metavar="SHARE",
        help="of the matches of wrong pairs, how many may pass (default: %(default)s)",
    )
    parser.add_argument("--seed", type=seed_number, default=0, help="of the choice of pairs (default: %(default)s)")
    parser.add_argument(
        "--out", type=file_or_folder, metavar="DIR", help="folder to write to (default: report/ below --results)"
    )
    add_places(parser)


def _share(text: str) -> float:
    """A share above 0 and below 1, as a type of an argument."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise argparse.ArgumentTypeError(f"needs a share above 0 and below 1, such as 0.01, not {text[:40]!r}")
    return share


def _pairs(text: str) -> int:
    return at_least_one(text, MOST_PAIRS)


def run(arguments: argparse.Namespace) -> int:
    """Exit code 0. Raises UserError for a run, a data set or pictures that cannot be had, or a head without matches."""
    import torch

    from bench.computing import compute_as_runs_do
    from bench.report.match_pictures import draw_matches
    from bench.report.write import no_backend, write_files
    from bench.running.devices import resolve_device
    from bench.running.trained import load_network
    from bench.testing.local_matches import check_offered, threshold_at

    if len(arguments.pictures) not in (0, 2):
        raise UserError(f"two pictures make a pair, the query first; {len(arguments.pictures)} given")
    folder = find_run(arguments.results, arguments.run)
    device = torch.device(resolve_device(arguments.device))
    model, record = load_network(folder, device, str(arguments.head) if arguments.head else None)
    compute_as_runs_do(device, tf32=record.config.tf32)
    check_offered(model, record.label)
    own = _own_pair(model, record, arguments.pictures) if arguments.pictures else None
    found = _test_pairs(model, record, arguments)
    thresholds = [threshold_at(arguments.far, level.similarity.numpy()) for level in found.wrong.levels]
    blocks = [own] if own else [found.right, found.wrong]
    _, *grid = model.head.feature_shape
    with no_backend():
        from bench.report.pictures import files_of

        figure = draw_matches(blocks, thresholds, tuple(grid), *_titles(record, found, arguments, own is not None))
        between = f"{arguments.pictures[0].stem[:40]}-{arguments.pictures[1].stem[:40]}" if own else found.dataset.name
        files = files_of(figure, f"matches-{folder.name}-{between}")
    out = arguments.out or arguments.results / "report"
    write_files(files, out)
    _tell(blocks, thresholds)
    print(f"\nWritten to {out}: {', '.join(files)}.")
    return 0


@dataclass(frozen=True, eq=False)
class _TestPairs:
    """Pairs of a test set: queries with a right and with a wrong image each."""

    dataset: Dataset
    right: PairBlock
    wrong: PairBlock
    sampled: int


def _test_pairs(model: Matcher, record: Record, arguments: argparse.Namespace) -> _TestPairs:
    import numpy as np

    from bench.data.tensors import pick
    from bench.testing.example_pairs import example_pairs, gallery_positions

    dataset, images = tested_images(record, arguments)
    chosen = example_pairs(model, dataset, images, record.config, arguments.pairs, arguments.seed)
    queries = pick(images, np.asarray(dataset.sides[0])[chosen.query])

    def block(title: str, gallery) -> PairBlock:
        names = tuple(
            f"{dataset.query[ours].path.name}  |  {dataset.gallery[theirs].path.name}"
            for ours, theirs in zip(chosen.query, gallery, strict=True)
        )
        return _block(model, title, names, queries, pick(images, gallery_positions(dataset, gallery)))

    return _TestPairs(
        dataset, block("same person", chosen.right), block("another person, hard", chosen.wrong), chosen.sampled
    )


def _own_pair(model: Matcher, record: Record, pictures: list[Path]) -> PairBlock:
    from bench.data.pictures import as_decoded

    size = record.config.input
    query, gallery = (as_decoded(path, size.height, size.width)[None] for path in pictures)
    return _block(model, "", (f"{pictures[0].name}  |  {pictures[1].name}",), query, gallery)


def _block(model: Matcher, title: str, names: tuple[str, ...], query, gallery) -> PairBlock:
    from bench.report.match_pictures import PairBlock
    from bench.testing.local_matches import local_matches

    return PairBlock(title, names, query, gallery, local_matches(model, query, gallery))


def _titles(record: Record, found: _TestPairs, arguments: argparse.Namespace, own: bool) -> tuple[str, str]:
    """The picture's title, and its warning where data were generated."""
    from bench.report.labels import legible
    from bench.report.titles import set_title, source_title

    trained = f"{legible(record.label)}, trained on {source_title(record.config.train)}, seed {record.config.seed}"
    which = f"{arguments.pairs} wrong pairs" if own else "the wrong pairs shown"
    where = f"{set_title(found.dataset.name)}, hardest of {found.sampled:,} at random, seed {arguments.seed}"
    line = f"lines: stronger than all but {100 * arguments.far:.3g} % of the matches of {which} ({where})"
    title = f"{trained}: local matches\n{line}"
    standin = found.dataset.standin or record.standin
    if standin is None:
        return title, ""
    return title, f"{standin.replace('stand-in data', 'STAND-IN DATA')}: not comparable with the paper"


def _tell(blocks: list[PairBlock], thresholds: list[float]) -> None:
    """Print each pair with its scores, and how many of its matches are above the threshold."""
    from bench.progress import one_line

    for block in blocks:
        if block.title:
            print(f"{block.title}:")
        for row, name in enumerate(block.names):
            levels = (
                f"{one_line(level.level)}: score {float(level.score[row]):.3f}, "
                f"{int((level.similarity[row] > threshold).sum())} of {level.similarity.shape[1]} matches"
                for level, threshold in zip(block.levels, thresholds, strict=True)
            )
            print(f"  {one_line(name)}\n    " + "; ".join(levels))
