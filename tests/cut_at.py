"""Runs that are cut short, as if a signal had come."""

from __future__ import annotations

from networks import fresh

from bench.journal.pulse import Pulse
from bench.training.trainer import Trainer


class CutAt(Pulse):
    """Saves at every chance, and at the given one behaves as if a signal had come."""

    def __init__(self, chance: int) -> None:
        super().__init__(save_seconds=0.0)
        self.chances, self.chance = 0, chance
        self.places: dict[tuple[str, str, int], list[int]] = {}
        """The chances by phase, what it is about, and epoch."""

    def safe_point(self, save):
        self.chances += 1
        self.places.setdefault((self.place.phase, self.place.what, self.place.epoch), []).append(self.chances)
        if self.chances == self.chance:
            self.interruption.signal_name = "SIGTERM"
        super().safe_point(save)


def trainer_of(config, few_persons, folder, pulse=None) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(fresh(config), config, *few_persons, folder, pulse)
