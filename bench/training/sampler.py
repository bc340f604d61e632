"""The graph sampler: batches of persons that the current model confuses (Liao and Shao, 2021; PROTOCOL, section 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.randomness import Stream, generator


class GraphSampler:
    """Draws an epoch's batches of P persons x K images.

    An epoch has one batch per person: the person itself and the P-1 other persons nearest to it, as the model
    scores one random image of each. Fewer than P persons: batches of all. A person's images are dealt from a
    shuffled list that is shuffled again when used up; fewer than K images repeat.

    With `among` an epoch knows that many persons only, drawn anew for each: the scores that it needs grow with their
    square. Neighbours are then the nearest of these.
    """

    def __init__(self, ids: NDArray[np.int64], persons: int, images: int, seed: int, among: int | None = None) -> None:
        """`ids` [n] is the person of each training image. Raises ValueError for fewer than two persons."""
        self.people, person_of = np.unique(ids, return_inverse=True)
        if len(self.people) < 2:
            raise ValueError(f"the sampler needs at least two persons, the training set has {len(self.people)}")
        self.among = min(among or len(self.people), len(self.people))
        """Persons of an epoch."""
        self.persons, self.images, self.seed = min(persons, self.among), images, seed
        order = np.argsort(person_of, kind="stable")
        self._images_of = np.split(order, np.cumsum(np.bincount(person_of))[:-1])
        self._shuffles = [0] * len(self.people)
        self._decks = [self._shuffle(person, hand=[]) for person in range(len(self.people))]

    def known(self, epoch: int) -> NDArray[np.int64]:
        """The persons of an epoch, [n]: positions in `people`, in order."""
        if self.among == len(self.people):
            return np.arange(len(self.people))
        draws = generator(self.seed, Stream.EPOCH_PERSONS, epoch)
        return np.sort(draws.choice(len(self.people), self.among, replace=False))

    def representatives(self, epoch: int) -> NDArray[np.int64]:
        """One random image of each person of the epoch, [n]."""
        draws = generator(self.seed, Stream.REPRESENTATIVES, epoch).random(len(self.people))
        return np.array([own[int(draws[at] * len(own))] for at in self.known(epoch) for own in [self._images_of[at]]])

    def neighbours(self, scores: NDArray, first: int = 0) -> NDArray[np.int64]:
        """Scores [k, n] of the epoch's persons from the `first` on, higher = more alike -> [k, P], each itself first.

        Persons are told by their place among those of the epoch.
        """
        rows = np.arange(len(scores))
        farness = -np.asarray(scores, dtype=np.float64)
        farness[rows, first + rows] = np.inf
        nearest = np.argsort(farness, axis=1, kind="stable")[:, : self.persons - 1]
        return np.concatenate((first + rows[:, None], nearest), axis=1)

    def epoch(self, epoch: int, neighbours: NDArray[np.int64], steps: int | None = None) -> NDArray[np.int64]:
        """Image positions of an epoch's batches, [steps, P*K]; advances the deals. `steps` keeps the first ones.

        `neighbours` [n, P] are those of all persons of the epoch.
        """
        known = self.known(epoch)
        order = generator(self.seed, Stream.BATCH_ORDER, epoch).permutation(len(known))[:steps]
        return np.array([np.concatenate([self.deal(known[at]) for at in neighbours[row]]) for row in order])

    def deal(self, person: int) -> NDArray[np.int64]:
        """The next K images of a person."""
        hand: list[int] = []
        while len(hand) < self.images:
            if not self._decks[person]:
                self._decks[person] = self._shuffle(person, hand)
            hand.append(self._decks[person].pop(0))
        return np.array(hand)

    def state_dict(self) -> dict[str, Any]:
        """Where the deals stand."""
        return {"shuffles": list(self._shuffles), "decks": [list(deck) for deck in self._decks]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self._shuffles = list(state["shuffles"])
        self._decks = [list(deck) for deck in state["decks"]]

    def _shuffle(self, person: int, hand: list[int]) -> list[int]:
        """A person's images in new order, those already in hand last: no hand holds one twice if K images exist."""
        deck = self._images_of[person].copy()
        generator(self.seed, Stream.DEALS, person, self._shuffles[person]).shuffle(deck)
        self._shuffles[person] += 1
        return sorted(deck.tolist(), key=hand.__contains__)
