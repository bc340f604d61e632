"""Running one cell from start to record. `run_cell` is the one call through which every way of running goes."""

from __future__ import annotations

import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.config import CellConfig
from bench.data import Dataset, load_dataset
from bench.data.cache import load_images
from bench.errors import CellFailed, UserError
from bench.journal.checkpoint import load_checkpoint, save_checkpoint
from bench.journal.heartbeat import Heartbeat, Place, read_heartbeat
from bench.journal.provenance import now, provenance
from bench.journal.pulse import SAVE_SECONDS, Observer, Pulse
from bench.journal.record import (
    CHECKPOINT,
    Failure,
    Record,
    Started,
    TestResult,
    cell_lock,
    read_record,
    remove_leftovers,
    write_record,
    write_started,
)
from bench.journal.signals import Interrupted, Interruption
from bench.network.matcher import Matcher, count_parameters
from bench.progress import QUIET, Progress
from bench.testing.evaluator import evaluate
from bench.training.trainer import Trainer, calibrate

ERROR_LOG = "error.log"
DONE, FAILED, BUSY, INTERRUPTED = 0, 1, 75, 76
"""Exit codes of a cell's process; 75 (try again later) means that another process has the cell, 76 that it was asked
to leave and has saved what it had."""

MOST_DEATHS = 3
"""A run that died this many times in a row at the same place will not get further by itself."""


@dataclass(frozen=True, eq=False)
class CellTask:
    """All that a process needs to run a cell; nothing in it but `config`, `numerics`, `fingerprint` is identity."""

    cell: str
    label: str
    config: CellConfig
    numerics: dict[str, int]
    fingerprint: str
    standin: str | None
    release: str
    results: Path
    data_dir: Path
    head: str
    tests: tuple[str, ...]
    device: str = "cpu"
    workers: int = 2
    untrained: bool = False
    weights_file: Path | None = None
    msmt_release: str | None = None
    jobs: int = 1
    preset: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    progress: Progress = QUIET
    save_seconds: float = SAVE_SECONDS

    @property
    def folder(self) -> Path:
        """Where the cell's record, log and checkpoint lie."""
        return self.results / "runs" / self.cell

    def missing_tests(self, record: Record | None) -> list[tuple[str, str]]:
        """(test set, state) pairs that are asked for and have no result yet."""
        states = ("trained", "untrained") if self.untrained else ("trained",)
        return [
            (test, state)
            for state in states
            for test in self.tests
            if record is None or record.result(test, state) is None
        ]


def run_cell(task: CellTask, observe: Observer | None = None) -> int:
    """Train if need be, test what has no result yet, store the record; returns DONE, FAILED, BUSY or INTERRUPTED.

    Nothing escapes: a failure becomes a record with its reason, and the traceback goes to error.log beside it. SIGTERM,
    SIGUSR2 and SIGINT end it with what it has saved. `observe` is told what it is doing, as `Pulse` says.
    """
    interruption = Interruption()
    with interruption.watching():
        try:
            task.folder.mkdir(parents=True, exist_ok=True)
            with cell_lock(task.folder) as mine:
                return _run_locked(task, Pulse(task.folder, interruption, task.save_seconds, observe)) if mine else BUSY
        except Interrupted:
            return INTERRUPTED
        except OSError as fault:
            # Not even the record of a failure can be written: what lies in the folder stays as it is.
            print(f"{task.cell}: {task.folder}: {fault.strerror}", file=sys.stderr)
            return FAILED


def _run_locked(task: CellTask, pulse: Pulse) -> int:
    record = read_record(task.folder)
    last = read_heartbeat(task.folder)
    if is_finished(task, record):
        if last is None or last.state != "done":
            pulse.end("done", tests=_tests_of(record))
        return DONE
    given_up = record is not None and record.failure is not None
    if record is not None and record.weights_hash is None:
        record = None  # it failed before it was trained: there is nothing to go on from
    remove_leftovers(task.folder)
    write_started(task.folder, Started(label=task.label, config=task.config, numerics=task.numerics))
    deaths = 0 if last is None or given_up else last.deaths + (last.state in ("running", "timed out"))
    run = _Run(task, record, pulse)
    try:
        if deaths >= MOST_DEATHS:
            raise CellFailed(_hopeless(last, deaths))
        with pulse.beating(last.saved if last is not None else "", deaths):
            run.execute()
    except Interrupted as stop:
        pulse.end("interrupted", stop.signal_name, _tests_of(run.record))
        return INTERRUPTED
    except Exception as fault:
        (task.folder / ERROR_LOG).write_text(traceback.format_exc(), encoding="utf-8")
        known = isinstance(fault, (CellFailed, UserError))
        reason = str(fault) if known else f"{type(fault).__name__}: {fault}"
        write_record(task.folder, failed_record(task, run.record, run.phase, reason))
        pulse.end("failed", f"{run.phase}: {reason}", _tests_of(run.record))
        return FAILED
    (task.folder / ERROR_LOG).unlink(missing_ok=True)
    pulse.end("done", tests=_tests_of(run.record))
    return DONE


def _hopeless(last: Heartbeat, deaths: int) -> str:
    how = "its time was up" if last.state == "timed out" else "its process died without a word (out of memory?)"
    return f"ended {deaths} times at the same place ({last.place}) without getting further; the last time {how}"


def _tests_of(record: Record | None) -> list[str]:
    return [item.test for item in record.tests if item.state == "trained"] if record is not None else []


def is_finished(task: CellTask, record: Record | None) -> bool:
    """Whether a record answers all that the task asks for."""
    return record is not None and record.status == "done" and not task.missing_tests(record)


def failed_record(task: CellTask, record: Record | None, phase: str, reason: str) -> Record:
    """The record of a cell that ended early; `record` is what it had reached, and is kept."""
    failure = Failure(phase=phase, reason=reason)
    if record is not None:
        return record.model_copy(update={"status": "failed", "failure": failure})
    account = provenance(torch.device(task.device), now(), task.jobs)
    return Record(**_identity(task), status="failed", failure=failure, provenance=account)


class _Run:
    """One execution of a cell, which knows at any time what it is doing."""

    def __init__(self, task: CellTask, record: Record | None, pulse: Pulse) -> None:
        self.task, self.record, self.pulse, self.phase = task, record, pulse, "start"
        self.started, self.device = now(), torch.device(task.device)

    def execute(self) -> None:
        """Train and test; the record is stored after training and after each test, so that nothing is lost."""
        torch.set_num_threads(int(self.task.config.threads))
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        missing = self.task.missing_tests(self.record)
        if self.record is None:
            self._store(self._train())
        models: dict[str, Matcher] = {}
        for test, state in missing:
            self.phase = f"testing the {state} network on {test}"
            if state not in models:
                models[state] = self._trained_model() if state == "trained" else self._untrained_model()
            result = self._test(models[state], test, state)
            self._store(self.record.model_copy(update={"tests": [*self.record.tests, result]}))
        self._store(self.record.model_copy(update={"status": "done", "failure": None}))

    def _store(self, record: Record) -> None:
        self.record = record
        write_record(self.task.folder, record)

    def _train(self) -> Record:
        self.phase = "data"
        self.pulse.enter(Place(phase="starting"))
        dataset = self._dataset(self.task.config.train)
        if dataset.fingerprint != self.task.fingerprint:
            raise CellFailed(f"{dataset.name} changed on disk since the run was planned")
        images, ids = self._training_set(dataset)
        self.phase = "training"
        model = self._new_model()
        done = Trainer(model, self.task.config, images, ids, self.task.folder, self.pulse).run(self.task.progress)
        one = model.encode_all(images, np.arange(1), 1, self.task.config.evaluation.scoring)
        return Record(
            **_identity(self.task),
            status="done",
            provenance=provenance(
                self.device, self.started, self.task.jobs, done.segments, model.backbone.weights_sha256
            ),
            weights_hash=model.weights_hash(),
            seconds=done.seconds,
            steps=done.steps,
            peak_bytes=done.peak_bytes,
            bytes_per_image=one.bytes_per_image,
            parameters={"backbone": count_parameters(model.backbone), "head": count_parameters(model.head)},
        )

    def _test(self, model: Matcher, name: str, state: str) -> TestResult:
        dataset = self._dataset(name)
        images = self._images(dataset, "test")
        settings, task = self.task.config.evaluation, self.task
        return evaluate(model, dataset, images, settings, state, task.untrained, task.progress, task.folder, self.pulse)

    def _dataset(self, name: str) -> Dataset:
        return load_dataset(name, self.task.data_dir, msmt_release=self.task.msmt_release)

    def _images(self, dataset: Dataset, split: str) -> np.ndarray:
        size, task = self.task.config.input, self.task
        return load_images(
            dataset, split, size.height, size.width, cache_folder(task.results), task.workers, task.progress
        )

    def _training_set(self, dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
        return self._images(dataset, "train"), np.array([record.person for record in dataset.train])

    def _new_model(self) -> Matcher:
        weights = self.task.weights_file or self.task.config.backbone.weights
        return Matcher(self.task.config, self.task.head, weights).to(self.device)

    def _trained_model(self) -> Matcher:
        path = self.task.folder / CHECKPOINT
        state = load_checkpoint(path, self.device)
        if state is None:
            raise CellFailed(f"{path} is gone; delete the folder to train this run anew")
        model = Matcher(self.task.config, self.task.head, None).to(self.device)
        model.load_state_dict(state["model"])
        if model.weights_hash() != self.record.weights_hash:
            raise CellFailed(f"{path} does not hold the trained network; delete the folder to train this run anew")
        if "optimizer" in state:
            # The record stands, so nothing will be resumed: the network alone is kept.
            save_checkpoint(path, {"model": state["model"]}, keep_previous=False)
        return model

    def _untrained_model(self) -> Matcher:
        model = self._new_model()
        calibrate(model, self.task.config, *self._training_set(self._dataset(self.task.config.train)))
        return model


def cache_folder(results: Path) -> Path:
    """Where decoded images are kept."""
    return results / "cache"


def _identity(task: CellTask) -> dict[str, Any]:
    return {
        "cell": task.cell,
        "label": task.label,
        "config": task.config,
        "numerics": task.numerics,
        "fingerprint": task.fingerprint,
        "standin": task.standin,
        "release": task.release,
        "preset": task.preset,
        "overrides": task.overrides,
    }
