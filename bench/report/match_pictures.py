"""Pictures of local matches: pairs of images with lines between what a head matched, level by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bench.report.labels import legible
from variants._base import LocalMatches

COLOURS = "autumn_r"
"""From yellow, weak, to red, strong: both stand out from photographs, and also where they are printed in grey."""
GAP = 0.12
"""Between the two images of a pair, as a share of an image's width."""
IMAGE_HEIGHT, BELOW, BESIDE, HEADER, FOOTER, LINE = 1.75, 0.36, 0.14, 0.5, 0.35, 0.18
"""Inches: of an image, below and beside a pair, above and below all pairs, and of a line of the title."""


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
    pair_width = IMAGE_HEIGHT * (2 + GAP) * width / height
    block_width = levels * (pair_width + BESIDE) + BESIDE
    head = LINE * (title.count("\n") + 1 + bool(warning)) + (0.1 if blocks[0].title else 0.1 - LINE)
    size = (max(len(blocks) * block_width, 6.0), head + HEADER + rows * (IMAGE_HEIGHT + BELOW) + FOOTER)
    figure = Figure(figsize=size)
    figure.text(0.1 / size[0], 1 - 0.05 / size[1], title, va="top", fontsize=8.5, linespacing=1.3)
    if warning:
        below = 0.05 + LINE * (title.count("\n") + 1)
        figure.text(0.1 / size[0], 1 - below / size[1], warning, va="top", fontsize=8.5, color="#a02020")
    scales = [_scale(blocks, number, threshold) for number, threshold in enumerate(thresholds)]
    for number, block in enumerate(blocks):
        page = _Page(figure, number * block_width + BESIDE, head, pair_width)
        page.text(block.title, 0, (levels * (pair_width + BESIDE) - BESIDE) / 2)
        for column, (level, scale) in enumerate(zip(block.levels, scales, strict=True)):
            _draw_level(page, column, block, level, scale, grid)
    return figure


@dataclass(frozen=True)
class _Page:
    """A block's part of the figure: places in inches, from its left edge to the right and from its top down."""

    figure: Figure
    left: float
    top: float
    pair_width: float

    def axes(self, column: int, top: float, height: float) -> Axes:
        """Axes as wide as a pair."""
        width, whole = self.figure.get_size_inches()
        left = self.left + column * (self.pair_width + BESIDE)
        return self.figure.add_axes(
            (left / width, 1 - (self.top + top + height) / whole, self.pair_width / width, height / whole)
        )

    def text(self, text: str, top: float, centre: float) -> None:
        """A heading."""
        width, whole = self.figure.get_size_inches()
        place = (self.left + centre) / width, 1 - (self.top + top) / whole
        self.figure.text(*place, text, ha="center", va="top", fontsize=9, weight="bold")


def _scale(blocks: Sequence[PairBlock], level: int, threshold: float) -> Normalize:
    """Colours of a level's matches, from its threshold to the strongest match shown; the same in all blocks."""
    strongest = max(float(block.levels[level].similarity.max()) for block in blocks)
    return Normalize(threshold, strongest if strongest > threshold else threshold + max(abs(threshold), 1.0) * 1e-3)


def _draw_level(
    page: _Page, column: int, block: PairBlock, level: LocalMatches, scale: Normalize, grid: tuple[int, int]
) -> None:
    """One level of all pairs of a block, with the colours' bar below."""
    rows = len(block.names)
    for row, name in enumerate(block.names):
        axes = page.axes(column, HEADER + row * (IMAGE_HEIGHT + BELOW), IMAGE_HEIGHT)
        _draw_pair(axes, block.query[row], block.gallery[row], _passing(level, row, scale.vmin), scale, grid)
        axes.set_xlabel(f"score {float(level.score[row]):.2f}", fontsize=7.5, labelpad=2)
        if row == 0:
            axes.set_title(legible(level.level), fontsize=8, pad=12)
        if column == 0:
            place = {"transform": axes.transAxes, "va": "bottom", "fontsize": 5.5, "color": "#555555"}
            axes.text(0, 1.015, legible(name, 90), **place)
    bar = page.axes(column, HEADER + rows * (IMAGE_HEIGHT + BELOW), 0.08)
    colours = page.figure.colorbar(ScalarMappable(scale, COLOURS), cax=bar, orientation="horizontal")
    colours.set_ticks([scale.vmin, scale.vmax], labels=[f"{scale.vmin:.3g}", f"{scale.vmax:.3g}"], fontsize=6.5)
    for label, side in zip(bar.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    colours.set_label("similarity", fontsize=6.5, labelpad=-7)


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
