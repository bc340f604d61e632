"""Trained matchers in a program: load a run, then encode, match and search images.

    from bench.api import load

    matcher = load("qaconv-msmt-s0", device="cuda")
    score = matcher.match("a.jpg", "b.jpg").item()
    gallery = matcher.encode("gallery/")
    found = matcher.search("a.jpg", gallery, top=10)

Images are paths, Pillow images, arrays [H, W, 3] uint8 or tensors [3, H, W] (uint8, or from 0 to 1), in RGB; several
are a list of these, an array [n, H, W, 3], a tensor [n, 3, H, W], or a folder. They are resized as the data sets'
images are, and scored as in the run's tests. Wrong use and unusable images raise `bench.errors.UserError`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.config import Scoring
from bench.data.pictures import Picture, Pictures, as_decoded, is_one, listed, pictures_in
from bench.errors import UserError
from bench.journal.finding import find_run
from bench.journal.record import CHECKPOINT, Record, write_atomically
from bench.network.matcher import Matcher
from bench.running.devices import resolve_device
from bench.running.trained import load_network
from bench.system.paths import expand
from bench.testing.blocks import score_all
from bench.testing.searching import Found, find_best, find_best_among, gallery_blocks
from variants._base import Repr

__all__ = ["Found", "Picture", "Pictures", "Repr", "TrainedMatcher", "load", "pictures_in"]

_FORM = "pairbench representations 1"


def load(
    run: str | Path, device: str = "cpu", results: str | Path | None = None, head: str | Path | None = None
) -> TrainedMatcher:
    """The matcher that a run trained.

    `run` is a run's folder, the checkpoint in it, its name in `results`, or how that begins; `results` is the variable
    BENCH_RESULTS or `results` by default. `device` is auto, cpu, cuda, cuda:N or mps; `head` the file of the run's
    head, where that was a file. Raises UserError for a run that is not there or has no network that can be used.
    """
    place = expand(results if results is not None else os.environ.get("BENCH_RESULTS") or "results")
    path = expand(run)
    folder = path.parent if path.name == CHECKPOINT else find_run(place, run)
    network, record = load_network(folder, resolve_device(device), None if head is None else str(expand(head)))
    return TrainedMatcher(network, record)


@dataclass(frozen=True, eq=False)
class TrainedMatcher:
    """A trained network that scores how alike two images are: higher = more alike, without a bound."""

    network: Matcher
    """In evaluation mode, on its device."""
    record: Record
    """Of the run: its configuration, what it was trained on, its results."""

    def encode(self, images: Pictures) -> Repr:
        """What the head keeps of each of n images, on the matcher's device, in the order given.

        A folder's images are in the order of `pictures_in`. They are read and encoded in blocks of the batch that
        the run was tested with. Raises UserError for an image that cannot be used, and where there is none.
        """
        pictures = listed(images)
        if not len(pictures):
            raise UserError("no images were given")
        size, settings = self.record.config.input, self.record.config.evaluation
        whole: dict[str, Tensor] = {}
        for start in range(0, len(pictures), settings.batch):
            some = pictures[start : start + settings.batch]
            block = np.stack([as_decoded(picture, size.height, size.width) for picture in some])
            # One alone goes in twice: a convolution of one image rounds otherwise than those of a test's batches.
            positions = np.arange(len(block)) if len(block) > 1 else np.zeros(2, np.int64)
            part = self.network.encode_all(block, positions, len(positions), settings.scoring)[: len(block)]
            for name, tensor in part.items():
                if name not in whole:
                    whole[name] = tensor.new_empty((len(pictures), *tensor.shape[1:]))
                whole[name][start : start + len(tensor)] = tensor
        return Repr(**whole)

    def match(self, a: Pictures | Repr, b: Pictures | Repr) -> Tensor:
        """Scores of all pairs of a, the queries, and b, float32 on the CPU: [Q, G] for Q and G images.

        A side that is one image, not a list of one, has no axis: two pictures give a score whose `.item()` is a float.
        """
        query, gallery = self._encoded(a).to(self.network.device), self._encoded(b)
        scores = torch.empty(len(query), len(gallery))
        for left, block in gallery_blocks(gallery, self.network.device):
            part = scores[:, left : left + len(block)]
            score_all(self.network.head, query, block, self._budget, part, self._scoring)
        if not isinstance(b, Repr) and is_one(b):
            scores = scores[:, 0]
        return scores[0] if not isinstance(a, Repr) and is_one(a) else scores

    def search(
        self,
        queries: Pictures | Repr,
        gallery: Pictures | Repr,
        top: int = 10,
        shortlist: int | None = None,
        by: TrainedMatcher | None = None,
        by_gallery: Repr | None = None,
    ) -> Found:
        """The best `top` images of the gallery for each of Q queries: positions and scores, [Q, top] each.

        All of the gallery is scored, or with a `shortlist` of n the best n by a cheaper matcher, `by`: one whose head
        keeps a single vector, say. `by_gallery` is the gallery as `by` encodes it, needed where `gallery` is a Repr;
        the queries must be images then. Raises UserError as `encode` does, and for arguments that do not go together.
        """
        for name, number in (("top", top), ("shortlist", shortlist)):
            if number is not None and number < 1:
                raise UserError(f"{name} needs a number of at least 1, not {number}")
        if (shortlist is None) != (by is None):
            raise UserError("a shortlist needs both its length, shortlist=n, and the matcher that makes it, by=...")
        theirs = self._encoded(gallery)
        ours = self._encoded(queries)
        head, device = self.network.head, self.network.device
        if by is None or shortlist >= len(theirs):
            return find_best(head, ours, theirs, top, self._budget, device, self._scoring)
        if isinstance(queries, Repr) or (by_gallery is None and isinstance(gallery, Repr)):
            raise UserError("a shortlist needs the queries as images, and the gallery too or by_gallery=by.encode(...)")
        cheap = by.encode(gallery) if by_gallery is None else by_gallery
        if len(cheap) != len(theirs):
            raise UserError(f"by_gallery holds {len(cheap):,} images, the gallery {len(theirs):,}; encode the same")
        chosen = by.search(queries, cheap, shortlist).position
        return find_best_among(head, ours, theirs, chosen, top, self._budget, device, self._scoring)

    def save(self, representations: Repr, path: str | Path) -> None:
        """Write representations to a file that `open` reads, whole or not at all. Raises OSError."""
        tensors = {name: tensor.cpu().contiguous() for name, tensor in representations.items()}
        state = {"form": _FORM, "weights": self.record.weights_hash, "tensors": tensors}
        write_atomically(expand(path), lambda file: torch.save(state, file))

    def open(self, path: str | Path) -> Repr:
        """What `save` wrote, memory-mapped, on the CPU; `search` and `match` bring what they need to the device.

        Raises UserError for a file of another form, or of another network's representations.
        """
        place = expand(path)
        try:
            state = torch.load(place, map_location="cpu", mmap=True, weights_only=True)
            known = isinstance(state, dict) and state.get("form") == _FORM
        except FileNotFoundError:
            raise UserError(f"there is no file {place}; save representations to it first") from None
        except (PermissionError, IsADirectoryError) as fault:
            raise UserError(f"cannot read {place} ({fault.strerror}); name a file that `save` wrote") from fault
        except Exception as fault:  # torch raises many kinds on files of other forms
            raise UserError(f"{place} holds no representations that `save` wrote; encode the images anew") from fault
        if not known:
            raise UserError(f"{place} holds no representations that `save` wrote; encode the images anew")
        if state["weights"] != self.record.weights_hash:
            raise UserError(f"{place} was made with another network than that of {self.record.cell}; encode anew")
        return Repr(**state["tensors"])

    def _encoded(self, images: Pictures | Repr) -> Repr:
        return images if isinstance(images, Repr) else self.encode(images)

    @property
    def _scoring(self) -> Scoring:
        """As the run's tests score."""
        return self.record.config.evaluation.scoring

    @property
    def _budget(self) -> int:
        """Bytes of working memory, as a test takes of its own."""
        return int(self.record.config.evaluation.memory_gib * 2**30) // 4
