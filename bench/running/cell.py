"""Running one cell from start to record. `run_cell` is the one call through which every way of running goes."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.cards import read_card, unsuited
from bench.computing import compute_as_runs_do, free_bytes, out_of_memory
from bench.config import HELD_OUT
from bench.data import Dataset
from bench.data.cache import load_images
from bench.data.held_out import held_out_positions, held_out_set
from bench.data.sources import load_source
from bench.data.tensors import ChosenImages, Images
from bench.errors import CellFailed, UserError
from bench.journal.checkpoint import save_checkpoint
from bench.journal.heartbeat import Heartbeat, Place, read_heartbeat
from bench.journal.measures import Level
from bench.journal.provenance import now, provenance
from bench.journal.pulse import Observer, Pulse
from bench.journal.reading import Unreadable
from bench.journal.record import (
    CHECKPOINT,
    RECORD,
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
from bench.network.matcher import Matcher, count_parameters
from bench.running.task import NOTHING_TO_TEST, CellTask
from bench.running.trained import trained_network
from bench.system.signals import Interrupted, Interruption
from bench.system.streams import tolerant_streams
from bench.testing.again import OtherNumbers
from bench.testing.evaluator import evaluate
from bench.training.calibration import calibrate
from bench.training.memory import too_large
from bench.training.trainer import Trained, Trainer

ERROR_LOG = "error.log"
DONE, FAILED, BUSY, INTERRUPTED = 0, 74, 75, 76
"""Exit codes of a cell's process: 74 it failed and has said why, 75 another process has the cell, 76 it was asked to
leave and has saved what it had. A library that ends the process by itself would say 0 or 1."""

MOST_DEATHS = 3
"""A run that died this many times in a row at the same place will not get further by itself."""


def run_cell(task: CellTask, observe: Observer | None = None) -> int:
    """Train if need be, test what has no result yet, store the record; returns DONE, FAILED, BUSY or INTERRUPTED.

    Nothing escapes: a failure becomes a record with its reason, and the traceback goes to error.log beside it. Stop
    signals end it with what it has saved. `observe` is told what it is doing, as `Pulse` says.
    """
    interruption = Interruption()
    try:
        with tolerant_streams(), interruption.watching():
            try:
                return _run_in_folder(task, Pulse(task.folder, interruption, task.save_seconds, observe))
            finally:
                interruption.leave()
    except Interrupted:
        return INTERRUPTED


def _run_in_folder(task: CellTask, pulse: Pulse) -> int:
    try:
        task.folder.mkdir(parents=True, exist_ok=True)
        with cell_lock(task.folder) as mine:
            return _run_locked(task, pulse) if mine else BUSY
    except (OSError, Unreadable) as fault:
        # No record can be written, or one that cannot be read may be worth more than that of a failure.
        print(f"{task.cell}: {reason_of(fault)}", file=sys.stderr)
        return FAILED


def _run_locked(task: CellTask, pulse: Pulse) -> int:
    before = read_record(task.folder)
    last = read_heartbeat(task.folder)
    if task.is_finished(before):
        if last is None or last.state != "done":
            pulse.end("done", tests=_tests_of(before))
        return DONE
    given_up = before is not None and before.failure is not None
    deaths = 0 if last is None or given_up else last.deaths + (last.state in ("running", "timed out"))
    run = _Run(task, before if before is not None and before.weights_hash is not None else None, pulse)
    try:
        remove_leftovers(task.folder)
        write_started(task.folder, Started(label=task.label, config=task.config, numerics=task.numerics))
        if given_up:
            run.take_back_failure()
        if deaths >= MOST_DEATHS:
            raise CellFailed(_hopeless(last, deaths))
        with pulse.beating(last.saved if last is not None else "", deaths):
            run.execute()
    except Interrupted as stop:
        pulse.end("interrupted", stop.signal_name, _tests_of(run.record))
        return INTERRUPTED
    except BaseException as fault:  # a head or a library may even call sys.exit
        _fail(run, fault)
        return FAILED
    with contextlib.suppress(OSError):
        (task.folder / ERROR_LOG).unlink(missing_ok=True)
    pulse.end("done", tests=_tests_of(run.record))
    return DONE


def _fail(run: _Run, fault: BaseException) -> None:
    """Record a failure, as far as the machine lets it: what is in the way of one account does not stop the others."""
    task, reason = run.task, reason_of(fault)
    with contextlib.suppress(Exception):
        text = "".join(traceback.format_exception(fault))
        (task.folder / ERROR_LOG).write_text(text, encoding="utf-8", errors="backslashreplace")
    # What has its results is as good as before, whatever befalls their lists.
    whole = task.lists and task.has_results(run.record)
    try:
        if whole:
            run.refuse_lists(task.without_lists(run.record), f"{run.phase}: {reason}")
        else:
            write_record(task.folder, failed_record(task, run.record, run.phase, reason))
    except Exception as obstacle:
        print(f"{task.cell}: {run.phase}: {reason}; not recorded: {reason_of(obstacle)}", file=sys.stderr)
    with contextlib.suppress(Exception):
        end = ("done", "") if whole else ("failed", f"{run.phase}: {reason}")
        run.pulse.end(*end, _tests_of(run.record))


def reason_of(fault: BaseException) -> str:
    """What an exception says, as text that can be written anywhere, whatever a library made of its message."""
    try:
        said = str(fault)
    except Exception:
        said = "it cannot say why"
    known = isinstance(fault, CellFailed | UserError)
    text = said if known else f"{type(fault).__name__}: {said}" if said else type(fault).__name__
    return text.encode("utf-8", "backslashreplace").decode()


def _hopeless(last: Heartbeat, deaths: int) -> str:
    how = "its time was up" if last.state == "timed out" else "its process died without a word (out of memory?)"
    return f"ended {deaths} times at the same place ({last.place}) without getting further; the last time {how}"


def _tests_of(record: Record | None) -> list[str]:
    return [item.test for item in record.tests if item.state == "trained"] if record is not None else []


def failed_record(task: CellTask, record: Record | None, phase: str, reason: str) -> Record:
    """The record of a cell that ended early; `record` is what it had reached, and is kept if it was trained."""
    failure = Failure(phase=phase, reason=reason)
    if record is not None and record.weights_hash is not None:
        return record.model_copy(update={"status": "failed", "failure": failure})
    account = provenance(torch.device(task.device), now(), task.jobs)
    return Record(**_identity(task), status="failed", failure=failure, provenance=account)


class _Run:
    """One execution of a cell, which knows at any time what it is doing."""

    def __init__(self, task: CellTask, record: Record | None, pulse: Pulse) -> None:
        self.task, self.record, self.pulse, self.phase = task, record, pulse, "start"
        self.started, self.device = now(), torch.device(task.device)

    def take_back_failure(self) -> None:
        """What failed before is asked for anew: its reason must not stand for what happens now."""
        if self.record is None:
            (self.task.folder / RECORD).unlink()
        else:
            self._store(self.record.model_copy(update={"status": "trained", "failure": None}))

    def execute(self) -> None:
        """Train and test; the record is stored after training and after each test, so that nothing is lost."""
        self._begin_computing()
        if self.record is None:
            if self.task.lists:
                raise CellFailed(NOTHING_TO_TEST)
            self._store(self._train())
        models: dict[str, Matcher] = {}

        def model_of(state: str) -> Matcher:
            if state not in models:
                models[state] = self._trained_model() if state == "trained" else self._untrained_model()
            return models[state]

        for test, state in self.record.lacking(self.task.tests, self.task.states):
            self.phase = f"testing the {state} network on {test}"
            result = self._test(model_of(state), test, state)
            self._store(self.record.model_copy(update={"tests": [*self.record.tests, result]}))
        for earlier in self.task.without_lists(self.record):
            self.phase = f"testing the trained network on {earlier.test} again"
            try:
                self._replace(earlier, self._test(model_of("trained"), earlier.test, "trained", earlier))
            except OtherNumbers as fault:
                self.refuse_lists([earlier], str(fault))
        self._store(self.record.model_copy(update={"status": "done", "failure": None}))

    def _begin_computing(self) -> None:
        compute_as_runs_do(self.device, self.task.threads, self.task.config.tf32)
        self.free = free_bytes(self.device)
        # Where the run was planned, the card may not have been known.
        if self.device.type == "cuda" and (reason := unsuited(self.task.config, read_card(self.device))):
            raise CellFailed(reason)

    def refuse_lists(self, results: Sequence[TestResult], reason: str) -> None:
        """Record why results go without lists."""
        for result in results:
            self._replace(result, result.model_copy(update={"lists": "", "lists_refused": reason}))

    def _replace(self, earlier: TestResult, now: TestResult) -> None:
        tests = [now if result is earlier else result for result in self.record.tests]
        self._store(self.record.model_copy(update={"tests": tests}))

    def _store(self, record: Record) -> None:
        write_record(self.task.folder, record)
        self.record = record

    def _train(self) -> Record:
        self.phase = "data"
        self.pulse.enter(Place(phase="starting"))
        dataset = self._dataset(self.task.config.train)
        if dataset.fingerprint != self.task.fingerprint:
            raise CellFailed(f"{dataset.name} changed on disk since the run was planned")
        images, ids = self._training_set(dataset)
        self.phase = "training"
        model = self._new_model()
        folder, pulse = self.task.folder, self.pulse
        done = self._trained(Trainer(model, self.task.config, images, ids, folder, pulse, self._examine))
        one = model.encode_all(images, np.arange(1), 1, self.task.config.evaluation.scoring)
        return Record(
            **_identity(self.task),
            status="trained",
            provenance=provenance(
                self.device, self.started, self.task.jobs, done.segments, model.backbone.weights_sha256
            ),
            weights_hash=model.weights_hash(),
            seconds=done.seconds,
            steps=done.steps,
            skipped_steps=done.skipped_steps,
            looks=done.looks,
            peak_bytes=done.peak_bytes,
            bytes_per_image=one.bytes_per_image,
            parameters={"backbone": count_parameters(model.backbone), "head": count_parameters(model.head)},
        )

    def _trained(self, trainer: Trainer) -> Trained:
        try:
            return trainer.run(self.task.progress)
        except Exception as fault:
            if not out_of_memory(fault):
                raise
            reason = too_large(self.task.config, self.task.head, self.device.type, self.free)
            raise CellFailed(reason) from fault

    def _test(self, model: Matcher, name: str, state: str, earlier: TestResult | None = None) -> TestResult:
        dataset, images = self._test_set(name)
        task = self.task
        if earlier is not None and dataset.fingerprint != earlier.fingerprint:
            raise CellFailed(f"{name} changed on disk since the network was tested on it")
        return evaluate(
            model,
            dataset,
            images,
            task.config.evaluation,
            state,
            task.untrained and earlier is None,
            task.progress,
            task.folder,
            self.pulse,
            task.data_dir,
            earlier,
        )

    def _examine(self, model: Matcher) -> Level:
        found = evaluate(model, *self._test_set(HELD_OUT), self.task.config.evaluation)
        return Level(rank1=found.rank1, mAP=found.mAP)

    def _test_set(self, name: str) -> tuple[Dataset, Images]:
        if name != HELD_OUT:
            dataset = self._dataset(name)
            return dataset, self._images(dataset, "test")
        source = self._dataset(self.task.config.train)
        dataset, chosen = held_out_set(source, self.task.config.training.held_out_persons)
        return dataset, ChosenImages(self._images(source, "train"), chosen)

    def _dataset(self, name: str) -> Dataset:
        return load_source(name, self.task.data_dir, self.task.msmt_release, self.task.splits, self.task.own)

    def _images(self, dataset: Dataset, split: str) -> Images:
        size, task = self.task.config.input, self.task
        return load_images(
            dataset, split, size.height, size.width, cache_folder(task.results), task.workers, task.progress
        )

    def _training_set(self, dataset: Dataset) -> tuple[Images, np.ndarray]:
        images, ids = self._images(dataset, "train"), np.array([record.person for record in dataset.train])
        held_out = self.task.config.training.held_out_persons
        if held_out is None:
            return images, ids
        kept, _ = held_out_positions(dataset, held_out)
        return ChosenImages(images, kept), ids[kept]

    def _new_model(self) -> Matcher:
        weights = self.task.weights_file or self.task.config.backbone.weights
        return Matcher(self.task.config, self.task.head, weights).to(self.device)

    def _trained_model(self) -> Matcher:
        task = self.task
        model, state = trained_network(task.folder, task.config, task.head, self.record.weights_hash, self.device)
        if "optimizer" in state:
            # The record stands, so nothing will be resumed: the network alone is kept.
            save_checkpoint(task.folder / CHECKPOINT, {"model": state["model"]}, keep_previous=False)
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
