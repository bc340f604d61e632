"""Running one cell from start to record. `run_cell` is the one call through which every way of running goes."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.checkpoint import load_checkpoint, save_checkpoint
from bench.config import CellConfig
from bench.data import Dataset, load_dataset
from bench.data.images import load_images
from bench.errors import CellFailed, UserError
from bench.evaluator import evaluate
from bench.model import Matcher, count_parameters
from bench.progress import QUIET, Progress
from bench.provenance import now, provenance
from bench.records import (
    CHECKPOINT,
    Failure,
    Record,
    Started,
    TestResult,
    cell_lock,
    read_record,
    write_record,
    write_started,
)
from bench.trainer import Trainer, calibrate

ERROR_LOG = "error.log"
DONE, FAILED, BUSY = 0, 1, 75
"""Exit codes of a cell's process; 75 (try again later) means that another process has the cell."""


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


def run_cell(task: CellTask) -> int:
    """Train if need be, test what has no result yet, and store the record; returns DONE, FAILED or BUSY.

    Nothing escapes: a failure becomes a record with its reason, and the traceback goes to error.log beside it.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    with cell_lock(task.folder) as mine:
        if not mine:
            return BUSY
        record = read_record(task.folder)
        if is_finished(task, record):
            return DONE
        if record is not None and record.weights_hash is None:
            record = None  # it failed before it was trained: there is nothing to go on from
        write_started(task.folder, Started(label=task.label, config=task.config, numerics=task.numerics))
        run = _Run(task, record)
        try:
            run.execute()
        except Exception as fault:
            (task.folder / ERROR_LOG).write_text(traceback.format_exc(), encoding="utf-8")
            known = isinstance(fault, (CellFailed, UserError))
            reason = str(fault) if known else f"{type(fault).__name__}: {fault}"
            write_record(task.folder, failed_record(task, run.record, run.phase, reason))
            return FAILED
        (task.folder / ERROR_LOG).unlink(missing_ok=True)
        return DONE


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

    def __init__(self, task: CellTask, record: Record | None) -> None:
        self.task, self.record, self.phase = task, record, "start"
        self.started, self.device = now(), torch.device(task.device)

    def execute(self) -> None:
        """Train and test; the record is stored after training and after each test, so that nothing is lost."""
        torch.set_num_threads(int(self.task.config.threads))
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        missing = self.task.missing_tests(self.record)
        if self.record is None:
            self._store(self._train())
            self._slim_checkpoint()
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

    def _slim_checkpoint(self) -> None:
        """Keep the network alone, now that a record stands and nothing will be resumed."""
        path = self.task.folder / CHECKPOINT
        state = load_checkpoint(path, "cpu")
        if state is not None and "optimizer" in state:
            save_checkpoint(path, {"model": state["model"]})

    def _train(self) -> Record:
        self.phase = "data"
        dataset = self._dataset(self.task.config.train)
        if dataset.fingerprint != self.task.fingerprint:
            raise CellFailed(f"{dataset.name} changed on disk since the run was planned")
        images, ids = self._training_set(dataset)
        self.phase = "training"
        model = self._new_model()
        done = Trainer(model, self.task.config, images, ids, self.task.folder).run(self.task.progress)
        one = model.encode_all(images, np.arange(1), 1, self.task.config.evaluation.scoring)
        return Record(
            **_identity(self.task),
            status="done",
            provenance=provenance(self.device, self.started, self.task.jobs, done.segments),
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
        return evaluate(model, dataset, images, settings, state, task.untrained, task.progress, task.folder)

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
        state = load_checkpoint(self.task.folder / CHECKPOINT, self.device)
        if state is None:
            raise CellFailed(f"{self.task.folder / CHECKPOINT} is gone; delete the folder to train this run anew")
        model = Matcher(self.task.config, self.task.head, None).to(self.device)
        model.load_state_dict(state["model"])
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
