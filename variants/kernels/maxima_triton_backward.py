"""The backward pass of the matching operator on a GPU: gradients of images on tensor cores, and that of the prior.

The gradient of a pair's T x T similarities has at most 2T entries that are not zero. A tile of it is made in registers
from weights and positions and multiplied with the other image's rows, so that nothing is gathered in memory, and every
sum has one order: no atomics. The product goes through all entries, zeros too: an infinite or NaN entry of an image
makes the gradients of all images that met it NaN, beyond those whose maxima it is.

Letters: Q queries, G gallery images, T positions of an image, d width.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["images"])
def weights_kernel(
    grad, at, prior, weights, images, length: tl.constexpr, weighted: tl.constexpr, mirrored: tl.constexpr,
    block: tl.constexpr,
):  # fmt: skip
    """grad, at [Q, images, 2, T], prior [T, T] -> weights [Q, images, 2, T]: gradients of the similarities at maxima.

    A program a pair. `mirrored`, as in the forward pass: pair (j, i) has the positions of (i, j), so its gradients are
    added here, and those of the images are complete without it.
    """
    pair = tl.program_id(0).to(tl.int64)
    mine = pair * 2 * length
    turned = (pair % images * images + pair // images) * 2 * length
    for first in range(0, length, block):
        own = first + tl.arange(0, block)
        inside = own < length
        for direction in tl.static_range(2):
            value = tl.load(grad + mine + direction * length + own, mask=inside, other=0.0)
            if mirrored:
                value += tl.load(grad + turned + (1 - direction) * length + own, mask=inside, other=0.0)
            if weighted:
                found = tl.load(at + mine + direction * length + own, mask=inside, other=0).to(tl.int32)
                where = own * length + found if direction == 0 else found * length + own
                value *= tl.load(prior + where, mask=inside, other=0.0)
            tl.store(weights + mine + direction * length + own, value, mask=inside)


@triton.jit
def _gradient_tile(weights, at, mine, theirs, t, s, length: tl.constexpr):
    """Entries [t, s] of a pair whose weights and positions of the rows' direction begin at `mine`."""
    own = tl.load(weights + mine + t, mask=t < length, other=0.0)
    own_at = tl.load(at + mine + t, mask=t < length, other=-1).to(tl.int32)
    other = tl.load(weights + theirs + s, mask=s < length, other=0.0)
    other_at = tl.load(at + theirs + s, mask=s < length, other=-1).to(tl.int32)
    tile = tl.where(own_at[:, None] == s[None, :], own[:, None], 0.0)
    return tile + tl.where(other_at[None, :] == t[:, None], other[None, :], 0.0)


@triton.jit(do_not_specialize=["count", "own_stride", "other_stride"])
def images_kernel(
    weights, at, others, out, count, own_stride, other_stride, length: tl.constexpr, width: tl.constexpr,
    direction: tl.constexpr, side: tl.constexpr, depth: tl.constexpr, wide: tl.constexpr, products: tl.constexpr,
):  # fmt: skip
    """Gradients `out` [., T, d] of the images whose maxima lie in `direction`, from the `count` others [count, T, d].

    Pair (i, j) of an image and another is own_stride * i + other_stride * j. A program takes `side` positions of an
    image and `wide` entries of each, through all other images, `depth` positions at a time.
    """
    bands: tl.constexpr = (length + side - 1) // side
    steps: tl.constexpr = (length + depth - 1) // depth
    i = (tl.program_id(0) // bands).to(tl.int64)
    t = tl.program_id(0) % bands * side + tl.arange(0, side)
    entry = tl.program_id(1) * wide + tl.arange(0, wide)
    total = tl.zeros([side, wide], tl.float32)
    for n in range(0, count * steps):
        j = tl.cast(n // steps, tl.int64)
        s = n % steps * depth + tl.arange(0, depth)
        pair = (i * own_stride + j * other_stride) * 2 * length
        tile = _gradient_tile(weights, at, pair + direction * length, pair + (1 - direction) * length, t, s, length)
        where = others + j * length * width + s[:, None] * width + entry[None, :]
        if length % depth == 0 and width % wide == 0:
            rows = tl.load(where)
        else:
            rows = tl.load(where, mask=(s < length)[:, None] & (entry < width)[None, :], other=0.0)
        total = tl.dot(tile.to(rows.dtype), rows, total, input_precision=products)
    inside = (t < length)[:, None] & (entry < width)[None, :]
    tl.store(
        out + i * length * width + t[:, None] * width + entry[None, :], total.to(out.dtype.element_ty), mask=inside
    )


@triton.jit
def _similarity(query, gallery, t, s, wanted, width: tl.constexpr, depth: tl.constexpr):
    """Products of rows t of one image with rows s of another, where wanted."""
    total = tl.zeros(t.shape, tl.float32)
    for first in range(0, width, depth):
        k = first + tl.arange(0, depth)
        inside = wanted[:, None] & (k < width)[None, :]
        ours = tl.load(query + t[:, None] * width + k[None, :], mask=inside, other=0.0).to(tl.float32)
        theirs = tl.load(gallery + s[:, None] * width + k[None, :], mask=inside, other=0.0).to(tl.float32)
        total += tl.sum(ours * theirs, 1)
    return total


@triton.jit(do_not_specialize=["pairs", "images", "share"])
def prior_kernel(
    grad, best, at, query, gallery, prior, out, pairs, images, share, length: tl.constexpr, width: tl.constexpr,
    block: tl.constexpr, span: tl.constexpr, depth: tl.constexpr,
):  # fmt: skip
    """Parts of the prior's gradient: out [parts, 2, T, T], of `share` pairs each and one direction, to be summed.

    A program takes `block` positions of a direction and `span` positions of maxima. The similarity behind a maximum is
    the maximum divided by the prior's entry, or where that is next to nothing the product of the two rows again.
    """
    part = tl.program_id(0)
    direction = tl.program_id(1) % 2
    own = tl.program_id(1) // 2 * block + tl.arange(0, block)
    other = tl.program_id(2) * span + tl.arange(0, span)
    inside = own < length
    total = tl.zeros([block, span], tl.float32)
    for pair in range(part * share, min(pairs, (part + 1) * share)):
        here = tl.cast(pair, tl.int64) * 2 * length + direction * length + own
        found = tl.load(at + here, mask=inside, other=0).to(tl.int32)
        t = tl.where(direction == 0, own, found)
        s = tl.where(direction == 0, found, own)
        weight = tl.load(prior + t * length + s, mask=inside, other=1.0)
        tiny = (tl.abs(weight) < 1e-30) & inside
        similarity = tl.load(best + here, mask=inside, other=0.0) / tl.where(tiny, 1.0, weight)
        if tl.max(tiny.to(tl.int32), 0) > 0:
            i, j = tl.cast(pair, tl.int64) // images, tl.cast(pair, tl.int64) % images
            again = _similarity(query + i * length * width, gallery + j * length * width, t, s, tiny, width, depth)
            similarity = tl.where(tiny, again, similarity)
        value = tl.load(grad + here, mask=inside, other=0.0) * similarity
        total += tl.where(found[:, None] == other[None, :], value[:, None], 0.0)
    out += (part.to(tl.int64) * 2 + direction) * length * length
    t, s = own[:, None], other[None, :]
    where = tl.where(direction == 0, t * length + s, s * length + t)
    tl.store(out + where, total, mask=inside[:, None] & (other < length)[None, :])
