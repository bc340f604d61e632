"""One training step of a row as a run makes it, and each of its parts, on made-up images."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from bench.computing import compute_as_runs_do
from bench.network.matcher import Matcher
from bench.perf.measure import in_fresh_process, interleave, seconds_of
from bench.perf.peak import why_it_failed
from bench.perf.records import Breakdown, Part
from bench.perf.rows import StudyRow, made_up_images, persons_of
from bench.stopwatch import peak_bytes, reset_peak
from bench.system.processes import Died
from bench.training.losses import mean_of_finite, pairwise_matching_loss
from bench.training.trainer import Trainer

PARTS = ("pick", "augment", "backbone", "encode", "match", "backward", "optimiser")
"""Of a step, in their order. pick: images read and copied to the device; match: with the loss. On a GPU the first two
are made ahead, beside the step before."""

BATCHES = 4
"""Made-up batches through which the steps go in turn."""

MOST_STEPS = 10_000
"""How often they go through them at most."""

Result = TypeVar("Result")


def measure_step(row: StudyRow, repeats: int, device: str) -> Breakdown:
    """Seconds of whole steps and of their parts, in a process where nothing ran before.

    What fails leaves its reason.
    """
    settings = row.config.training
    size = f"{settings.persons * settings.images} images of {row.config.input.height} x {row.config.input.width}"
    try:
        found = in_fresh_process(torch.device(device), _measure, row, repeats, device)
    except Exception as fault:  # a head from outside may raise anything
        note = str(fault) if isinstance(fault, Died) else why_it_failed(fault)
        return Breakdown(task="step", **row.names, size=size, note=note)
    return Breakdown(task="step", **row.names, size=size, **found)


def _measure(row: StudyRow, repeats: int, device_name: str) -> dict[str, object]:
    device = torch.device(device_name)
    compute_as_runs_do(device, row.threads, row.config.tf32)
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(row, device, Path(folder))
        steps.whole()
        reset_peak(device)
        steps.whole()
        peak = peak_bytes(device)
        parts: dict[str, list[float]] = {name: [] for name in PARTS}

        def by_parts() -> None:
            for name, seconds in steps.by_parts().seconds.items():
                parts[name].append(seconds)

        seconds = interleave({"whole": steps.whole, "parts": by_parts}, repeats, device)
    made = len(seconds["parts"])  # one more was made before, unmeasured
    images = len(steps.batches[0])
    return {
        "seconds": seconds["whole"],
        "parts": [
            Part(name=name, seconds=parts[name][-made:], units=1 if name == "optimiser" else images, unit=unit)
            for name, unit in ((name, "step" if name == "optimiser" else "image") for name in PARTS)
        ],
        "peak_bytes": peak,
    }


@dataclass
class Laps:
    """Seconds by part, and the loss, of one step taken apart."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    loss: float = 0.0

    def time(self, part: str, run: Callable[[], Result]) -> Result:
        """What a function returns; its seconds are added to the part's."""
        found: list[Result] = []
        self.seconds[part] += seconds_of(lambda: found.append(run()), self.device)
        return found[0]


class Steps:
    """Training steps of a row, one after the other, on made-up images in `folder`."""

    def __init__(self, row: StudyRow, device: torch.device, folder: Path, few: tuple[int, int] | None = None) -> None:
        """`few` are persons, and images of each, that a batch has at most; by default those of the configuration."""
        training = row.config.training
        if few is not None:
            persons, images = min(few[0], training.persons), min(few[1], training.images)
            training = training.model_copy(update={"persons": persons, "images": images})
        self.config = row.config.model_copy(update={"training": training})
        size = training.persons * training.images
        self.device, self.done = device, 0
        images = made_up_images(folder, row.config.input, size * BATCHES)
        self.ids = persons_of(len(images), training.images)
        self.batches = np.random.default_rng(0).permutation(len(images) // training.images)
        self.batches = (self.batches[:, None] * training.images + np.arange(training.images)).reshape(BATCHES, size)
        self.model: Matcher = row.model(device).train()
        self.trainer = Trainer(self.model, self.config, images, self.ids, folder)
        self.trainer.batches.keep_on_device()
        self._ready = self.trainer.batches.of_epoch(0, np.tile(self.batches, (MOST_STEPS, 1)))

    def whole(self) -> float:
        """One step by the trainer itself; returns its loss."""
        self.trainer.step(next(self._ready), "a measured step")
        return self.trainer.optimizer.settle().loss

    def by_parts(self) -> Laps:
        """One step in the trainer's order, with the GPU waited for between its parts."""
        laps, (first, positions) = Laps(self.device), self._next()
        model, trainer = self.model, self.trainer
        images, ids = laps.time("pick", lambda: trainer.batches.picked(positions))
        images = laps.time("augment", lambda: trainer.batches.changed(images, 0, first))
        with model.autocast():
            maps = laps.time("backbone", lambda: model.backbone(images))
            found = laps.time("encode", lambda: model.head.encode(maps))
            scores = laps.time("match", lambda: model.head.match(found, found))
        loss, hit = laps.time("match", lambda: pairwise_matching_loss(scores.float(), ids))
        mean = laps.time("match", lambda: mean_of_finite(loss))
        laps.time("backward", lambda: trainer.optimizer.backward(mean))
        laps.time("optimiser", lambda: trainer.optimizer.update(mean, hit, "a measured step"))
        laps.loss = trainer.optimizer.settle().loss
        return laps

    def _next(self) -> tuple[int, NDArray[np.int64]]:
        """Place in the epoch of the first image, and the positions, of the next batch."""
        number = self.done % BATCHES
        self.done += 1
        return number * self.batches.shape[1], self.batches[number]
