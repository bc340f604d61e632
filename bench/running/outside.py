"""Weights that were trained elsewhere, as a run of this suite whose training is over: its folder, then its tests.

Such a run names `bench.config.OUTSIDE` as its training set, and the SHA-256 of the weights' file stands where other
runs have the fingerprint of their training data; so the same file is the same run, wherever it lies. What training cost
is not known and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import variants
from bench.config import OUTSIDE, CellConfig, merge, one_of, validate
from bench.data import Dataset
from bench.data.sources import load_source
from bench.errors import CellFailed, UserError
from bench.journal.checkpoint import save_checkpoint
from bench.journal.provenance import check_kernel, now, provenance
from bench.journal.record import CHECKPOINT, Record, cell_lock, read_record, write_record
from bench.network.matcher import Matcher, count_parameters
from bench.network.outside_weights import OutsideWeights, fitted, outside_network, read_outside
from bench.progress import QUIET, Progress
from bench.running.preflight import check_writable
from bench.running.targets import local_target
from bench.running.task import CellTask
from bench.study.definition import load_preset
from bench.study.numerics import numerics_of
from bench.study.plan import cell_id, checked_tests, resolve, threads_of

KEYS = (
    *("input.height", "input.width", "backbone.arch", "backbone.ibn", "backbone.cut"),
    *("evaluation.memory_gib", "evaluation.gpu_memory_gib", "evaluation.batch", "evaluation.scoring"),
    *("threads", "tf32"),
)
"""What may be said of weights that are trained already, beside the head's options."""
DIGITS = 8
"""Of the file's hash, in the row's name."""


@dataclass(frozen=True)
class OutsideRequest:
    """What is to be tested on what; `head` is what `variants.build` takes."""

    checkpoint: Path
    head: str
    tests: tuple[str, ...]
    results: Path
    data_dir: Path
    device: str
    preset: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    own: Mapping[str, Path] = field(default_factory=dict)
    """The files of sets of one's own, by name."""
    msmt_release: str | None = None
    workers: int = 2
    progress: Progress = QUIET


def outside_task(request: OutsideRequest) -> CellTask:
    """The run of these weights, with record and checkpoint in its folder; `run_cell` tests what has no result yet.

    Raises UserError for weights that do not fit the head, unknown settings, and test sets that cannot be had; nothing
    is written then.
    """
    datasets = _load_tests(request)
    weights = read_outside(request.checkpoint)
    config, numerics = _config(request, weights)
    model = outside_network(weights, config, request.head)
    check_kernel(torch.device(request.device))
    check_writable(request.results / "runs")
    standin = next((dataset.standin for dataset in datasets if dataset.standin), None)
    digest = weights.file.sha256
    task = CellTask(
        cell=cell_id(config, numerics, digest),
        label=f"{variants.describe(request.head).class_name}, weights {digest[:DIGITS]}",
        config=config,
        numerics=numerics,
        fingerprint=digest,
        standin=standin,
        release="",
        results=request.results,
        data_dir=request.data_dir,
        head=request.head,
        tests=request.tests,
        threads=threads_of(config),
        device=request.device,
        workers=request.workers,
        msmt_release=request.msmt_release,
        preset=request.preset,
        overrides=request.overrides,
        own=dict(request.own),
        progress=request.progress,
    )
    _begin(task, model)
    return task


def _load_tests(request: OutsideRequest) -> list[Dataset]:
    return [
        load_source(name, request.data_dir, request.msmt_release, own=request.own)
        for name in checked_tests(OUTSIDE, request.tests)
    ]


def _config(request: OutsideRequest, weights: OutsideWeights) -> tuple[CellConfig, dict[str, int]]:
    """The resolved configuration with sizes as the tensors show them, and the versions of the code's numbers.

    Training and first weights stay those of the recipe: nobody knows others, and reports group runs by them.
    """
    _check_overrides(request.overrides)
    try:
        info = variants.describe(request.head)
        asked = request.overrides.get("options", {})
        variants.check_options(info, asked)
    except variants.HeadError as fault:
        raise UserError(str(fault)) from fault
    own = {
        "head": info.name,
        "head_digest": info.digest,
        "options": {**info.options, **asked},
        "width": weights.width,
        "train": OUTSIDE,
        "seed": 0,
    }
    values = merge(load_preset(request.preset).recipe, request.overrides, own)
    config = fitted(weights, validate(CellConfig, values, "--set"), request.head)
    config = config.model_copy(update={"options": info.identifying(config.options)})
    target = local_target(request.device)
    config = resolve(config, torch.device(target.device).type, target.precision, target.cpus)
    return config, numerics_of(info, config)


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    for group, values in overrides.items():
        named = isinstance(values, Mapping)
        if group != "options" or not named:
            for key in [f"{group}.{name}" for name in values] if named else [group]:
                one_of("key in --set", key, (*KEYS, "options.NAME"))


def _begin(task: CellTask, model: Matcher) -> None:
    """Put checkpoint and record in the run's folder, unless they are there."""
    task.folder.mkdir(parents=True, exist_ok=True)
    with cell_lock(task.folder) as mine:
        if not mine:
            raise CellFailed(f"{task.cell} is being tested by another process; ask again when that has finished")
        record = read_record(task.folder)
        if record is not None and record.weights_hash is not None and (task.folder / CHECKPOINT).exists():
            return
        save_checkpoint(task.folder / CHECKPOINT, {"model": model.state_dict()}, keep_previous=False)
        if record is None or record.weights_hash is None:
            write_record(task.folder, _record(task, model))


def _record(task: CellTask, model: Matcher) -> Record:
    device = torch.device(task.device)
    _, height, width = model.head.feature_shape
    with torch.inference_mode():
        one = model.eval().head.encode(torch.zeros(1, task.config.width, height, width))
    return Record(
        cell=task.cell,
        status="trained",
        label=task.label,
        config=task.config,
        numerics=task.numerics,
        fingerprint=task.fingerprint,
        standin=task.standin,
        preset=task.preset,
        overrides=task.overrides,
        provenance=provenance(device, now(), task.jobs, weights_sha256=task.fingerprint),
        weights_hash=model.weights_hash(),
        bytes_per_image=one.bytes_per_image,
        parameters={"backbone": count_parameters(model.backbone), "head": count_parameters(model.head)},
    )


def tested_record(results: Path, cell: str, tests: Sequence[str]) -> Record:
    """The record of a run whose tests are over. Raises CellFailed with the reason where one failed."""
    record = read_record(results / "runs" / cell)
    if record is None or not record.is_done(tests):
        failure = record.failure if record is not None else None
        reason = f"{failure.phase}: {failure.reason}" if failure else "its tests have not come to their end"
        raise CellFailed(f"{cell}: {reason}")
    return record
