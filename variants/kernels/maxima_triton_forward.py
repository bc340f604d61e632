"""The forward pass of the matching operator on a GPU: products, prior, both maxima, positions, in one Triton kernel.

One program a pair of images; nothing of size T x T leaves its registers. It multiplies a group of tiles at once, all
of a pair for up to 192 positions, so that each image is read once a group. Tiles are first compared with each other,
entry by entry, and only then within, for that is what costs exchanges between threads.

Packages that fuse a product with maxima for text retrieval (late-interaction-kernels 0.4, flash-maxsim 0.3) cannot
stand in: they give the sum of one direction's maxima, where the heads need every maximum of both, and take no prior.
Letters: T positions of an image, d width.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _nan_or_larger(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _larger(best, at, value, value_at, keep: tl.constexpr):
    """The larger entries: the earlier of equals stays, NaN wins over all but an earlier NaN."""
    if keep:
        at = tl.where(((value > best) | (value != value)) & (best == best), value_at, at)
    return _nan_or_larger(best, value), at


@triton.jit
def _along(value, position, axis: tl.constexpr, keep: tl.constexpr):
    """Maxima of a tile along an axis, and if they are kept the first position of each."""
    best = tl.reduce(value, axis, _nan_or_larger)
    if keep:
        position = tl.where((value == tl.expand_dims(best, axis)) | (value != value), position, 32767)
    return best, tl.min(position, axis)


@triton.jit
def _operand(image, row, k, length: tl.constexpr, width: tl.constexpr, side: tl.constexpr, depth: tl.constexpr):
    """Entries [row, k] of an image, zero outside; masks only where the sizes need them."""
    where = image + row * width + k
    if length % side == 0 and width % depth == 0:
        tile = tl.load(where)
    elif width % depth == 0:
        tile = tl.load(where, mask=(row < length) & (k >= 0), other=0.0)
    else:
        tile = tl.load(where, mask=(row < length) & (k < width), other=0.0)
    return tile


@triton.jit
def _products(
    query, gallery, top, left, length: tl.constexpr, width: tl.constexpr,
    side: tl.constexpr, depth: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, products: tl.constexpr,
):  # fmt: skip
    """rows x columns tiles of similarities, row by row, from query position `top` and gallery position `left` on."""
    lane = tl.arange(0, side)
    tiles = (tl.zeros([side, side], tl.float32),) * (rows * columns)
    for first in range(0, width, depth):
        k = first + tl.arange(0, depth)
        ours, theirs, sums = (), (), ()
        for n in tl.static_range(rows):
            ours += (_operand(query, (top + n * side + lane)[:, None], k[None, :], length, width, side, depth),)
        for n in tl.static_range(columns):
            theirs += (_operand(gallery, (left + n * side + lane)[None, :], k[:, None], length, width, side, depth),)
        for row in tl.static_range(rows):
            for column in tl.static_range(columns):
                tile = tiles[row * columns + column]
                sums += (tl.dot(ours[row], theirs[column], tile, input_precision=products),)
        tiles = sums
    return tiles


@triton.jit
def _weighted(
    tiles, prior, top, left, length: tl.constexpr, weighted: tl.constexpr,
    side: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Tiles times the prior's entries; -inf outside the images."""
    found = ()
    for n in tl.static_range(rows * columns):
        t = (top + n // columns * side + tl.arange(0, side))[:, None]
        s = (left + n % columns * side + tl.arange(0, side))[None, :]
        where = prior + t * length + s
        tile = tiles[n]
        if length % side == 0:
            if weighted:
                tile *= tl.load(where)
        else:
            inside = (t < length) & (s < length)
            if weighted:
                tile *= tl.load(where, mask=inside, other=0.0)
            tile = tl.where(inside, tile, float("-inf"))
        found += (tile,)
    return found


@triton.jit
def _store(best, at, where, value, value_at, inside, keep: tl.constexpr):
    tl.store(best + where, value, mask=inside)
    if keep:
        tl.store(at + where, value_at.to(tl.int16), mask=inside)


@triton.jit
def _reduce_rows(
    tiles, best, at, into, mirror, top, left, length: tl.constexpr, keep: tl.constexpr, mirrored: tl.constexpr,
    side: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Maxima of each query position over the gallery positions of these tiles and, stored before, of those on the left.

    They go to `into`, and if `mirrored` to `mirror`, too.
    """
    lane = tl.arange(0, side)
    for row in tl.static_range(rows):
        t = top + row * side + lane
        value, place = tiles[row * columns], tl.zeros([side, side], tl.int32)
        for column in tl.static_range(1, columns):
            value, place = _larger(value, place, tiles[row * columns + column], column * side, keep)
        value, place = _along(value, left + place + lane[None, :], 1, keep)
        if length > columns * side:  # noqa: SIM102 - the outer condition is settled when this is compiled
            if left > 0:
                old = tl.load(best + into + t, mask=t < length, other=0.0)
                old_at = place
                if keep:
                    old_at = tl.load(at + into + t, mask=t < length, other=0).to(tl.int32)
                value, place = _larger(old, old_at, value, place, keep)
        _store(best, at, into + t, value, place, t < length, keep)
        if mirrored:
            _store(best, at, mirror + t, value, place, t < length, keep)


@triton.jit
def _over_rows(
    tiles, running, running_at, top, length: tl.constexpr, keep: tl.constexpr,
    side: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Larger entries over the rows of tiles, and of the running ones above them, with the first row of each."""
    found, found_at = (), ()
    for column in tl.static_range(columns):
        value, place = tiles[column], tl.zeros([side, side], tl.int32) + top
        for row in tl.static_range(1, rows):
            value, place = _larger(value, place, tiles[row * columns + column], top + row * side, keep)
        if length > rows * side:
            value, place = _larger(running[column], running_at[column], value, place, keep)
        found += (value,)
        found_at += (place,)
    return found, found_at


@triton.jit
def _reduce_columns(
    tiles, places, best, at, into, mirror, left, end, keep: tl.constexpr,
    mirrored: tl.constexpr, side: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    """Maxima of each gallery position before `end` over all query positions, `into` one place or two (`mirrored`)."""
    lane = tl.arange(0, side)
    for column in tl.static_range(columns):
        s = left + column * side + lane
        value, place = _along(tiles[column], places[column] + lane[:, None], 0, keep)
        if mirrored:
            _store(best, at, mirror + s, value, place, s < end, keep)
        _store(best, at, into + s, value, place, s < end, keep)


@triton.jit(do_not_specialize=["images"])
def forward_kernel(
    query, gallery, prior, best, at, images, length: tl.constexpr, width: tl.constexpr,
    weighted: tl.constexpr, mirrored: tl.constexpr, keep: tl.constexpr, side: tl.constexpr, depth: tl.constexpr,
    rows: tl.constexpr, columns: tl.constexpr, products: tl.constexpr,
):  # fmt: skip
    """query [Q, T, d], gallery [images, T, d], prior [T, T] float32 if `weighted` -> best and, if kept, at.

    A program a pair (i, j). `mirrored`, for images with themselves and a symmetric prior or none: that of i <= j writes
    the maxima of (j, i), too, which are its own in turned directions.
    """
    pair = tl.program_id(0).to(tl.int64)
    i, j = pair // images, pair % images
    if mirrored and j < i:
        return
    query += i * length * width
    gallery += j * length * width
    mine = pair * 2 * length
    turned = (j * images + i) * 2 * length
    # An image with itself gets its rows' maxima in both directions, so that their positions agree.
    end = tl.where(i == j, 0, length) if mirrored else length
    for left in range(0, length, side * columns):
        best_tiles = (tl.full([side, side], float("-inf"), tl.float32),) * columns
        places = (tl.zeros([side, side], tl.int32),) * columns
        for top in range(0, length, side * rows):
            tiles = _products(query, gallery, top, left, length, width, side, depth, rows, columns, products)
            tiles = _weighted(tiles, prior, top, left, length, weighted, side, rows, columns)
            _reduce_rows(tiles, best, at, mine, turned + length, top, left, length, keep, mirrored, side, rows, columns)
            best_tiles, places = _over_rows(tiles, best_tiles, places, top, length, keep, side, rows, columns)
        _reduce_columns(best_tiles, places, best, at, mine + length, turned, left, end, keep, mirrored, side, columns)
        if length > columns * side:
            tl.debug_barrier()  # other threads read the rows' maxima on the left than those that stored them
