"""Pictures of local matches: pairs of images with lines between what a head matched, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from bench.report.labels import legible
from variants._base import LocalMatches

COLOURS = "autumn_r"
"""From yellow, weak, to red, strong: both stand out from photographs, and also where they are printed in grey."""
GAP = 0.12
"""Between the two images of a pair, as a share of an image's width."""
CELL_HEIGHT = 1.75
"""Inches of an image."""


@dataclass(frozen=True, eq=False)
class PairBlock:
    """Pairs of one kind, which stand below one another: n images [n, 3, H, W] uint8 of each side, and their levels."""

    title: str
    names: tuple[str, ...]
    query: NDArray[np.uint8]
    gallery: NDArray[np.uint8]
    levels: Sequence[LocalMatches]


def draw_matches(
    blocks: Sequence[PairBlock], thresholds: Sequence[float], grid: tuple[int, int], title: str, warning: str = ""
) -> Figure:
    """The picture: blocks beside one another, in each its pairs below one another and their levels beside.

    Lines join the cells of the `grid` (h, w) of matches that are above the level's threshold. `warning` stands in red
    below the title.
    """
    rows, levels = len(blocks[0].names), len(thresholds)
    _, _, height, width = blocks[0].query.shape
    across = CELL_HEIGHT * (2 + GAP) * width / height + 0.15
    lines = (title + (f"\n{warning}" if warning else "")).count("\n") + 1
    head = 0.2 * lines + 0.1
    size = (max(len(blocks) * (levels * across + 0.35), 4.2), rows * (CELL_HEIGHT + 0.42) + 0.95 + head)
    figure = Figure(figsize=size)
    figure.suptitle(title, x=0.01, y=1 - 0.05 / size[1], ha="left", va="top", fontsize=8.5)
    if warning:
        below = 0.05 + 0.17 * (title.count("\n") + 1)
        figure.text(0.01, 1 - below / size[1], warning, ha="left", va="top", fontsize=8.5, color="#a02020")
    whole = figure.add_gridspec(1, 1, left=0, right=1, bottom=0, top=1 - head / size[1])[0]
    parts = figure.add_subfigure(whole).subfigures(1, len(blocks), squeeze=False)[0]
    scales = [_scale(blocks, number, threshold) for number, threshold in enumerate(thresholds)]
    for part, block in zip(parts, blocks, strict=True):
        _draw_block(part, block, scales, grid)
    return figure


def _scale(blocks: Sequence[PairBlock], level: int, threshold: float) -> Normalize:
    """Colours of a level's matches, from its threshold to the strongest match shown; the same in all blocks."""
    strongest = max(float(block.levels[level].similarity.max()) for block in blocks)
    return Normalize(threshold, strongest if strongest > threshold else threshold + max(abs(threshold), 1.0) * 1e-3)


def _draw_block(part: SubFigure, block: PairBlock, scales: Sequence[Normalize], grid: tuple[int, int]) -> None:
    rows = len(block.names)
    _, height = part.figure.get_size_inches()
    bar = 0.09 / (CELL_HEIGHT + 0.42)
    cells = part.add_gridspec(
        rows + 1,
        len(scales),
        height_ratios=[1] * rows + [bar],
        left=0.03,
        right=0.97,
        bottom=0.5 / height,
        top=1 - 0.5 / height,
        hspace=0.3,
        wspace=0.1,
    )
    part.text(0.5, 1 - 0.08 / height, block.title, ha="center", va="top", fontsize=9, weight="bold")
    for column, (level, scale) in enumerate(zip(block.levels, scales, strict=True)):
        for row in range(rows):
            axes = part.add_subplot(cells[row, column])
            _draw_pair(axes, block.query[row], block.gallery[row], _passing(level, row, scale.vmin), scale, grid)
            axes.set_xlabel(f"score {float(level.score[row]):.2f}", fontsize=7.5, labelpad=2)
            if row == 0:
                axes.set_title(legible(level.level), fontsize=8, pad=14)
            if column == 0:
                axes.text(
                    0,
                    1.015,
                    legible(block.names[row], 90),
                    transform=axes.transAxes,
                    fontsize=5.5,
                    va="bottom",
                    color="#555555",
                )
        axes = part.add_subplot(cells[rows, column])
        colours = part.colorbar(ScalarMappable(scale, COLOURS), cax=axes, orientation="horizontal")
        colours.set_ticks([scale.vmin, scale.vmax], labels=[f"{scale.vmin:.3g}", f"{scale.vmax:.3g}"], fontsize=6.5)
        colours.set_label("similarity", fontsize=6.5, labelpad=-6)


def _passing(level: LocalMatches, pair: int, threshold: float) -> tuple[NDArray, NDArray, NDArray]:
    """Cells and similarity of a pair's matches above the threshold, the strongest last; each match once.

    Where two positions are each other's best, both directions find the same match.
    """
    query, gallery, similarity = (
        part[pair].cpu().numpy() for part in (level.query_cell, level.gallery_cell, level.similarity)
    )
    above = np.flatnonzero(similarity > threshold)
    _, first = np.unique(np.stack((query[above], gallery[above])), axis=1, return_index=True)
    chosen = above[first]
    chosen = chosen[np.argsort(similarity[chosen], kind="stable")]
    return query[chosen], gallery[chosen], similarity[chosen]


def _draw_pair(
    axes: Axes,
    query: NDArray[np.uint8],
    gallery: NDArray[np.uint8],
    matches: tuple[NDArray, NDArray, NDArray],
    scale: Normalize,
    grid: tuple[int, int],
) -> None:
    _, height, width = query.shape
    offset = width * (1 + GAP)
    for image, left in ((query, 0.0), (gallery, offset)):
        axes.imshow(image.transpose(1, 2, 0), extent=(left, left + width, height, 0), interpolation="bilinear")
    query_cell, gallery_cell, similarity = matches
    ends = np.stack(
        (_centres(query_cell, grid, (height, width)), _centres(gallery_cell, grid, (height, width))), axis=1
    )
    ends[:, 1, 0] += offset
    axes.add_collection(LineCollection(list(ends), array=similarity, norm=scale, cmap=COLOURS, linewidths=0.8))
    if len(ends):
        points = ends.reshape(-1, 2)
        dots = {"s": 4, "c": np.repeat(similarity, 2), "norm": scale, "cmap": COLOURS, "linewidths": 0, "zorder": 3}
        axes.scatter(points[:, 0], points[:, 1], **dots)
    axes.set_xlim(0, offset + width)
    axes.set_ylim(height, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _centres(cells: NDArray[np.int64], grid: tuple[int, int], size: tuple[int, int]) -> NDArray[np.float64]:
    """(x, y) of the centres of cells, counted row by row on a grid (h, w), in an image of size (H, W): [n, 2]."""
    (rows, columns), (height, width) = grid, size
    return np.stack(((cells % columns + 0.5) * width / columns, (cells // columns + 0.5) * height / rows), axis=1)
