"""Training a network with the graph sampler (PROTOCOL, section 3). The same for every head."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from bench.config import HELD_OUT, CellConfig, digest
from bench.data.tensors import Images
from bench.errors import CellFailed
from bench.journal.checkpoint import load_checkpoint, save_checkpoint
from bench.journal.heartbeat import Place
from bench.journal.measures import Look
from bench.journal.pulse import Pulse
from bench.journal.record import CHECKPOINT, LOG, write_atomically
from bench.network.compiled import compiled
from bench.network.matcher import Matcher
from bench.progress import QUIET, Progress
from bench.randomness import Stream, random_states, restore_random_states, torch_seeded
from bench.stopwatch import Stopwatch, peak_bytes, reset_peak
from bench.testing.partial import PartialRows
from bench.testing.score_log import PartialChunk
from bench.testing.scoring import Scorer
from bench.training.batches import Batch, Batches
from bench.training.looks import Examine, Looks
from bench.training.losses import mean_of_finite, pairwise_matching_loss
from bench.training.optimizer import Optimizer, StepOutcome
from bench.training.sampler import GraphSampler

WORTH_TELLING_SECONDS = 10.0
"""Length of an epoch's sampling from which on it is told."""
LEAST_TAKEN = 0.1
"""Share of the steps that must have been taken for a network to count as trained."""


@dataclass
class Trained:
    """What a finished training leaves behind."""

    model: Matcher
    seconds: dict[str, float]
    steps: int
    """Batches gone through."""
    skipped_steps: int
    """Those of them whose gradient overflowed in fp16, so that nothing was learnt."""
    segments: int
    peak_bytes: int
    looks: list[Look]


@dataclass
class _EpochLog:
    """Running means over an epoch's steps, and how many of them were skipped."""

    loss: float = 0.0
    hit: float = 0.0
    steps: int = 0
    skipped: int = 0
    learning_rate: list[float] = field(default_factory=list)

    def add(self, outcome: StepOutcome | None) -> None:
        """Count a step's outcome in, if there is one to be had yet."""
        if outcome is None:
            return
        self.steps += 1
        self.skipped += not outcome.taken
        self.loss += (outcome.loss - self.loss) / self.steps
        self.hit += (outcome.hit - self.hit) / self.steps


@dataclass
class _Epoch:
    """An epoch under way: its batches [steps, P*K] as image positions, and the steps whose outcome is known."""

    batches: NDArray[np.int64]
    log: _EpochLog


class Trainer:
    """Trains one cell from its last checkpoint if there is one, which may lie anywhere in an epoch."""

    def __init__(
        self,
        model: Matcher,
        config: CellConfig,
        images: Images,
        ids: NDArray[np.int64],
        folder: Path,
        pulse: Pulse | None = None,
        examine: Examine | None = None,
    ) -> None:
        """`images` [n, 3, H, W] uint8 and `ids` [n] are the training set; `folder` is the cell's.

        Without `examine` nobody looks at the persons held out, whatever training.held_out_every says.
        """
        self.model, self.config, self.images, self.ids, self.folder = model, config, images, ids, folder
        self.pulse = pulse or Pulse()
        settings = config.training
        self.sampler = GraphSampler(ids, settings.persons, settings.images, config.seed, settings.sampled_persons)
        self.steps_per_epoch = min(self.sampler.among, settings.steps_per_epoch or self.sampler.among)
        self.backbone = compiled(model.backbone) if settings.compile else model.backbone
        self.optimizer = Optimizer(model, config, self.steps_per_epoch)
        self.batches = Batches(images, ids, settings.augmentation, config.seed, model.device)
        self.watch = Stopwatch(model.device)
        self.looks = (
            Looks(settings.held_out_every, settings.clip, examine) if settings.held_out_every and examine else None
        )
        self.finished_epochs, self.segments, self.peak_bytes = 0, 1, 0
        self.epoch: _Epoch | None = None
        self.lines: list[dict[str, Any]] = []
        self.progress = QUIET

    def run(self, progress: Progress = QUIET) -> Trained:
        """Train to the end. Raises CellFailed for a loss or gradient that is not finite, or if hardly a step was taken.

        Steps that fp16 skips count as steps of their epoch, but the learning rates' schedule does not go on with them.
        """
        self.progress = progress
        random_state = self._resume()
        self.batches.keep_on_device()
        reset_peak(self.model.device)
        steps = self.config.training.epochs * self.steps_per_epoch
        with progress.bar(steps, "train", "step", self._steps_done()) as bar, self.pulse.interruption.deferred():
            while self.finished_epochs < self.config.training.epochs:
                with torch_seeded(self.config.seed, Stream.TORCH, self.finished_epochs):
                    if random_state is not None:
                        restore_random_states(random_state, self.model.device)
                        random_state = None
                    self._run_epoch(bar)
            self._look(steps, last=True)
        skipped = sum(line["skipped"] for line in self.lines)
        if steps - skipped < LEAST_TAKEN * steps:
            raise CellFailed(
                f"only {steps - skipped} of {steps} steps were taken, the gradient was not finite in the others: the "
                "network is not trained; set training.precision=fp32 to see whether fp16 is at fault or the head"
            )
        looks = self.looks.taken if self.looks else []
        return Trained(self.model, self.watch.seconds, steps, skipped, self.segments, self._peak_bytes(), looks)

    def _run_epoch(self, bar: tqdm) -> None:
        number = self.finished_epochs
        if self.epoch is None:
            batches = self._sample(number)
            self.epoch = _Epoch(batches, _EpochLog(learning_rate=self.optimizer.rates))
        epoch, log = self.epoch, self.epoch.log
        self._enter("training")
        self.model.train()
        with contextlib.closing(self.batches.of_epoch(number, epoch.batches, log.steps)) as ready:
            for step in range(log.steps, len(epoch.batches)):
                self._look(number * self.steps_per_epoch + step)
                self.pulse.safe_point(self._save)
                with self.watch.phase("training"):
                    name = f"step {number * self.steps_per_epoch + step + 1} (epoch {number + 1})"
                    self._count(self.step(next(ready), name))
                self.pulse.advance(1)
                self._show(bar, epoch)
                bar.update()
        self._settle()
        self.finished_epochs, self.epoch = number + 1, None
        self.lines.append(self._line(number, log))
        self.pulse.save(self._save)
        self._write_log()

    def step(self, batch: Batch, name: str) -> StepOutcome | None:
        """Train on a batch; `name` is how a failure calls the step. Returns the outcome of the step before.

        Raises CellFailed as `Optimizer.settle`.
        """
        with self.model.autocast():
            found = self.model.encode(batch.images, self.backbone)
            scores = self.model.head.match(found, found)
        loss_per_query, hit = pairwise_matching_loss(scores.float(), batch.ids)
        return self.optimizer.step(mean_of_finite(loss_per_query), hit, name)

    def _settle(self) -> None:
        """Read the outcome of the last step, so that everything is as it is behind that step."""
        if self.epoch is not None:
            with self.watch.phase("training"):
                self._count(self.optimizer.settle())

    def _count(self, outcome: StepOutcome | None) -> None:
        self.epoch.log.add(outcome)
        if self.looks is not None:
            self.looks.add(outcome)

    def _look(self, done: int, last: bool = False) -> None:
        """Test on the persons held out and keep the result, if that is due after so many steps."""
        if self.looks is None or not self.looks.is_due(done, last):
            return
        self._settle()
        self.peak_bytes = self._peak_bytes()
        self.pulse.enter(Place(phase="testing", what=HELD_OUT))
        with self.watch.phase("looking"):
            self.looks.look(done, self.model, self.optimizer.rates)
        reset_peak(self.model.device)
        self.model.train()
        if not last:
            self._enter("training")

    def _show(self, bar: tqdm, epoch: _Epoch) -> None:
        if bar.disable:
            return
        log, rate = epoch.log, (bar.format_dict["rate"] or 0) * epoch.batches.shape[1]
        texts = {"loss": f"{log.loss:.3f}", "hit": f"{log.hit:.0%}", "images_s": f"{rate:.0f}"}
        # The bar refreshes itself now and then; each time would be often.
        bar.set_postfix(epoch=self.finished_epochs + 1, **texts, refresh=False)

    def _sample(self, number: int) -> NDArray[np.int64]:
        """The batches of an epoch."""
        self._enter("sampling")
        before = self.watch.seconds.get("sampling", 0.0)
        with self.watch.phase("sampling"):
            batches = self.sampler.epoch(number, self._neighbours(number), self.steps_per_epoch)
        seconds = self.watch.seconds["sampling"] - before
        if number == 0 and seconds >= WORTH_TELLING_SECONDS:
            persons = self.sampler.among
            self.progress.say(
                f"the pairs of {persons:,} persons were scored in {seconds / 60:.1f} min, as before every epoch of "
                f"{self.steps_per_epoch:,} steps; --set training.sampled_persons=N scores those of N at random"
            )
        return batches

    def _enter(self, phase: Literal["sampling", "training"]) -> None:
        epochs = self.config.training.epochs
        steps = epochs * self.steps_per_epoch if phase == "training" else self.sampler.among**2
        done = self._steps_done() if phase == "training" else 0
        self.pulse.enter(Place(phase=phase, epoch=self.finished_epochs + 1, epochs=epochs, done=done, total=steps))

    def _steps_done(self) -> int:
        return self.finished_epochs * self.steps_per_epoch + (self.epoch.log.steps if self.epoch else 0)

    def _neighbours(self, epoch: int) -> NDArray[np.int64]:
        """[persons of the epoch, P]: each and those nearest to it, by the present model's scores in evaluation mode.

        One image of each person is scored against one of every other; of the scores only a chunk is ever held.
        """
        chosen = self.sampler.representatives(epoch)
        settings, unread = self.config.evaluation, Stopwatch(self.model.device)
        key = digest([epoch, self.model.weights_hash()])
        scorer = Scorer(self.model, self.images, chosen, chosen, settings, unread, self.folder, self.pulse, key)
        partial = self._partial_sampling(key)
        rows, seconds = partial.load()
        parts = [rows] if rows is not None else []
        self.watch.add(seconds)
        before = self.watch.so_far()["sampling"] - seconds.get("sampling", 0.0)

        def keep(unfinished: PartialChunk) -> str:
            rows = np.concatenate(parts) if parts else np.empty((0, self.sampler.persons), np.int64)
            partial.save(rows, {"sampling": self.watch.so_far()["sampling"] - before}, unfinished)
            return f"epoch {epoch + 1} sampling {unfinished.place}"

        done = sum(map(len, parts))
        what = f"sample for epoch {epoch + 1}"
        with self.progress.bar(self.sampler.among**2, what, "pair", done * self.sampler.among) as bar:
            for first, scores in scorer.chunks(done, partial.log.fill, bar.update, keep):
                parts.append(self.sampler.neighbours(scores.numpy(), first))
        scorer.close()
        return np.concatenate(parts)

    def _partial_sampling(self, key: str) -> PartialRows:
        return PartialRows(self.folder / "partial-sampling.npz", key)

    def _save(self) -> str:
        """Store all that going on takes; returns a name of the place."""
        self._settle()
        with self.watch.phase("saving"):
            save_checkpoint(self.folder / CHECKPOINT, self._state())
        self._partial_sampling("").delete()
        return f"step {self._steps_done()}" + ("" if self.epoch is None else " of a sampled epoch")

    def _state(self) -> dict[str, Any]:
        epoch = None
        if self.epoch is not None:
            epoch = {"batches": torch.from_numpy(self.epoch.batches), "log": asdict(self.epoch.log)}
        return {
            "finished_epochs": self.finished_epochs,
            "epoch": epoch,
            "lines": self.lines,
            "segments": self.segments,
            "peak_bytes": self._peak_bytes(),
            "seconds": self.watch.so_far(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "sampler": self.sampler.state_dict(),
            "random": random_states(self.model.device),
            **({"looks": self.looks.state_dict()} if self.looks else {}),
        }

    def _peak_bytes(self) -> int:
        """Without the images that a GPU keeps because there is room."""
        return max(self.peak_bytes, peak_bytes(self.model.device) - self.batches.resident_bytes)

    def _resume(self) -> dict[str, Any] | None:
        """Take up the last checkpoint; returns the random states in the middle of an epoch, else None."""
        state = load_checkpoint(self.folder / CHECKPOINT, self.model.device)
        if state is None:
            return None
        if "optimizer" not in state:
            raise CellFailed(
                f"{self.folder} has a finished network but no record of it; delete the folder to train anew"
            )
        if "cell" not in state:
            # An earlier version's: nothing in it proves that it is this run's.
            self.progress.say(f"{self.folder / CHECKPOINT} does not say whose it is; training begins anew")
            return None
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.sampler.load_state_dict(state["sampler"])
        self.finished_epochs, self.segments = state["finished_epochs"], state["segments"] + 1
        self.peak_bytes, self.lines = state["peak_bytes"], state["lines"]
        self.watch.add(state["seconds"])
        if self.looks is not None:
            self.looks.load_state_dict(state["looks"])
        # The log may tell of epochs that a damaged newest checkpoint took with it.
        self._write_log()
        if state["epoch"] is None:
            return None
        log = _EpochLog(**state["epoch"]["log"])
        self.epoch = _Epoch(state["epoch"]["batches"].cpu().numpy(), log)
        return state["random"]

    def _line(self, epoch: int, log: _EpochLog) -> dict[str, Any]:
        return {
            "epoch": epoch + 1,
            "loss": log.loss,
            "hit": log.hit,
            "skipped": log.skipped,
            "learning_rate": log.learning_rate,
            "seconds": self.watch.seconds,
        }

    def _write_log(self) -> None:
        text = "".join(json.dumps(line, allow_nan=False) + "\n" for line in self.lines)
        write_atomically(self.folder / LOG, text.encode(), durable=False)
