"""The contract between a matching head and everything that trains, tests and times it.

Letters used in all heads: B images, Q queries, G gallery images, h x w the size of the feature map, T = h*w tokens,
d width, D feed-forward width, N layers, H attention heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class Repr:
    """What a head keeps of images: named tensors whose first axis is the image.

    Slicing, joining, moving and saving act on all tensors alike, so the rest of the suite never needs to know
    what is inside.
    """

    def __init__(self, **tensors: Tensor) -> None:
        """Raise ValueError if there is no tensor or the first axes differ."""
        lengths = {len(tensor) for tensor in tensors.values()}
        if len(lengths) != 1:
            raise ValueError(f"a Repr needs tensors with one common first axis, got lengths {sorted(lengths)}")
        self._tensors = tensors

    def __getattr__(self, name: str) -> Tensor:
        tensors = self.__dict__.get("_tensors", {})
        if name not in tensors:
            raise AttributeError(f"this Repr holds {', '.join(tensors) or 'nothing'}, not {name!r}")
        return tensors[name]

    def __len__(self) -> int:
        return len(next(iter(self._tensors.values())))

    def __getitem__(self, index: slice | Tensor | Sequence[int]) -> Repr:
        """Some of the images, as a Repr; `index` is a slice or a list or tensor of positions."""
        return Repr(**{name: tensor[index] for name, tensor in self._tensors.items()})

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """The named tensors, in the order given at construction."""
        return iter(self._tensors.items())

    def to(self, device: torch.device | str) -> Repr:
        """The same images on another device."""
        return Repr(**{name: tensor.to(device) for name, tensor in self._tensors.items()})

    @property
    def bytes_per_image(self) -> int:
        """Bytes that one image takes."""
        return sum(tensor[:1].numel() * tensor.element_size() for tensor in self._tensors.values())

    @staticmethod
    def join(parts: Sequence[Repr]) -> Repr:
        """The images of all parts, in order. All parts must hold tensors of the same names and shapes."""
        if len(parts) == 1:
            return parts[0]
        return Repr(**{name: torch.cat([part._tensors[name] for part in parts]) for name, _ in parts[0].items()})

    def save(self, path: Path) -> None:
        """Write to a file that `load` reads."""
        torch.save(self._tensors, path)

    @staticmethod
    def load(path: Path) -> Repr:
        """Read what `save` wrote."""
        return Repr(**torch.load(path, weights_only=True))


class Product(NamedTuple):
    """A matrix product [rows, inner] x [inner, columns] that a computation cannot do without."""

    rows: int
    inner: int
    columns: int
    times: int = 1
    forward_only: bool = False
    """Whether the backward pass needs no products for it; else it needs two of the same size."""

    def flop(self, backward: bool = False) -> int:
        """Floating-point operations, additions and multiplications, with or without those of the backward pass."""
        passes = 3 if backward and not self.forward_only else 1
        return 2 * self.rows * self.inner * self.columns * self.times * passes


@dataclass(frozen=True, eq=False)
class LocalMatches:
    """What one level of a head matched in n pairs of images: m positions of one image with as many of the other.

    Cells are positions of the h x w feature map in row-major order, from 0 to T-1. A position may occur several times.
    """

    level: str
    """Its name, as it is shown."""
    query_cell: Tensor
    """[n, m] int64."""
    gallery_cell: Tensor
    """[n, m] int64."""
    similarity: Tensor
    """[n, m] float32: the value by which the match was chosen. Comparable within the level alone."""
    weight: Tensor
    """[n, m] float32: what the match adds to `score`, beside a constant; to first order, where the score is no sum."""
    score: Tensor
    """[n] float32: the pair's score under this level alone, higher = more alike."""


class Head(nn.Module):
    """A way of matching two images: `encode` each one, then `match` all pairs.

    A head is constructed as `Head((d, h, w), **options)`, options keyword-only with literal defaults. The laws
    that every head obeys are listed in `variants/_laws.py`; `bench check-head FILE` runs them on a file of your own.
    """

    numerics: ClassVar[int] = 1
    """Raised whenever the head's numbers change for the same weights and options: older runs then count as missing."""

    exact_representations: ClassVar[bool] = False
    """Whether representations stay in float32 where scoring is in bfloat16: right for a head that keeps one vector of
    an image, where rounding moves ranks and saves nothing."""

    takes_16_bits: ClassVar[bool] = False
    """Whether `match` in evaluation mode takes representations in 16 bits as they are: it multiplies them with sums in
    float32, and all else is float32. Other heads are called under autocast, which rounds whatever they multiply."""

    offers_local_matches: ClassVar[bool] = False
    """Whether `local_matches` tells which positions of two images were matched."""

    later_options: ClassVar[tuple[str, ...]] = ()
    """Options that are younger than runs of the present `numerics`, written out. At its default such an option is no
    part of a run's configuration, so that runs from before it keep their names."""

    published_options: ClassVar[Mapping[str, bool | int | float | str | None]] = {}
    """The options, where they are not the defaults, under which published weights mean what they meant."""

    def __init__(self, feature_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.feature_shape = feature_shape
        self.symmetric = False
        """True if match(a, b) is the transpose of match(b, a)."""

    @property
    def tokens(self) -> int:
        """T = h*w, positions of the feature map."""
        _, height, width = self.feature_shape
        return height * width

    def encode(self, feature_map: Tensor) -> Repr:
        """What is kept of each image: [B, d, h, w] -> Repr of B images. Depends on no other image of the batch."""
        raise NotImplementedError(f"{type(self).__name__} must define encode")

    def match(self, query: Repr, gallery: Repr) -> Tensor:
        """Scores of all pairs, [Q, G] logits, higher = more alike.

        Keeps no state, except that in training mode the batch norms see all pairs of the call and update once.
        `query is gallery` allows the use of symmetry.
        """
        raise NotImplementedError(f"{type(self).__name__} must define match")

    def local_matches(self, query: Repr, gallery: Repr) -> list[LocalMatches]:
        """Which positions were matched, level by level, in n pairs: query[i] with gallery[i], both of n images.

        In evaluation mode. Each pair is taken by itself, in memory of order n*T*T. Heads that define it say so with
        `offers_local_matches`; the others raise NotImplementedError.
        """
        raise NotImplementedError(f"{type(self).__name__} offers no local matches")

    def pair_bytes(self, training: bool = False) -> int:
        """Working memory in bytes that `match` takes for one pair; block sizes follow from it.

        With `training`, what is kept of a pair for the backward pass, where the head cuts pairs into blocks itself.
        """
        raise NotImplementedError(f"{type(self).__name__} must define pair_bytes")

    def training_bytes(self, batch: int, device_kind: str = "cpu") -> int:
        """Predicted peak of a training step's `encode` and `match` for a batch, beside feature maps and weights.

        In float32, gradients counted; 0 for heads whose step takes little. `device_kind` as torch.device.type.
        """
        return 0

    def plain_match(self, query: Repr, gallery: Repr) -> Tensor:
        """The scores of `match`, all pairs in one block, in nothing but PyTorch's own operations and modules.

        What `bench perf` holds the speed and memory of `match` against, for heads that do better than that.
        """
        return self.match(query, gallery)

    def encode_products(self, images: int) -> list[Product]:
        """The matrix products of `encode`, from which `bench perf` knows how fast it can be at most."""
        return []

    def match_products(self, queries: int, gallery: int, same: bool = False) -> list[Product]:
        """The matrix products of `match`; with `same`, those that are enough where query and gallery are one.

        A head that declares none in either method is measured without such a limit.
        """
        return []

    def matcher(self) -> Head:
        """What published implementations call the matcher: this head without layers that see one image alone.

        `bench perf` times training steps of it. Layers may be shared with this head. The head itself by default.
        """
        return self

    def pair_parameters(self) -> set[str]:
        """Names of the parameters that see pairs of images: their gradients are clipped as a group of their own."""
        return set()

    def void_parameters(self) -> set[str]:
        """Names of the parameters that cannot learn, because a later batch norm cancels what they do."""
        return set()

    def load_published(self, matcher_state: dict[str, Tensor], encoder_state: dict[str, Tensor] | None = None) -> None:
        """Load weights as the authors' public implementation stores them; only some heads have such weights."""
        raise ValueError(f"{type(self).__name__} has no published weights to load")

    def published_parameters(self) -> dict[str, nn.Parameter]:
        """This head's parameters under their published keys; empty for heads without published weights."""
        return {}

    def _names_under(self, *prefixes: str) -> set[str]:
        return {name for name, _ in self.named_parameters() if name.startswith(prefixes)}


def load_by_published_keys(
    targets: dict[str, Tensor], state: dict[str, Tensor], ignored_prefixes: tuple[str, ...] = ()
) -> None:
    """Copy `state` into `targets` key by key.

    Raises ValueError naming the first keys that are surplus (and not under `ignored_prefixes`), missing, or of the
    wrong shape; nothing is copied then.
    """
    state = {key: value for key, value in state.items() if not key.startswith(ignored_prefixes or ("\0",))}
    for problem, keys in (("unexpected", state.keys() - targets.keys()), ("missing", targets.keys() - state.keys())):
        if keys:
            raise ValueError(f"published state has {problem} keys: {', '.join(sorted(keys)[:5])} ({len(keys)} in all)")
    for key, target in targets.items():
        if target.shape != state[key].shape:
            raise ValueError(f"{key} has shape {tuple(state[key].shape)}, this head needs {tuple(target.shape)}")
    with torch.no_grad():
        for key, target in targets.items():
            target.copy_(state[key])
