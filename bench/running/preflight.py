"""All that can be known before the first cell runs is found out here, so that it ends with exit code 2 and no loss."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import torch

from bench.config import HELD_OUT, CellConfig
from bench.data import Dataset
from bench.data.cache import load_images
from bench.data.held_out import held_out_set
from bench.data.own_names import is_own
from bench.data.sources import load_source, parts_of
from bench.data.splits import files_not_needed
from bench.environment import cpus
from bench.errors import UserError
from bench.journal.provenance import check_kernel
from bench.journal.pulse import SAVE_SECONDS
from bench.journal.reading import Unreadable
from bench.journal.record import TestResult, read_record
from bench.network.backbone import build_backbone
from bench.network.common_start import start_file
from bench.progress import QUIET, Progress
from bench.running.begun import as_begun
from bench.running.cell import cache_folder
from bench.running.targets import Target, check_cards, tell_assumptions, tell_of_full_cards
from bench.running.task import CellTask
from bench.running.trial import Footprint, footprint_of
from bench.starts import name_of
from bench.study.plan import Cell, cell_id, resolve, tests_of, threads_of
from bench.system.locks import NoLocks, try_lock
from bench.testing.memory_budget import Work, plan_scoring

ANY_CARD_GIB = 1024
"""More than any GPU has."""
WORTH_TELLING_BYTES = 2**30
"""Memory of a training step's pairs from which on it is told before the run."""


@dataclass(frozen=True)
class RunOptions:
    """How cells are run; nothing here changes their numbers."""

    results: Path
    data_dir: Path
    target: Callable[[Cell], Target]
    """Where a cell will run."""
    decode: bool = True
    """Whether images are decoded now; otherwise the first run that needs them does."""
    writes: bool = True
    """Whether anything is written at all."""
    workers: int = 2
    save_seconds: float = SAVE_SECONDS
    tests: tuple[str, ...] | None = None
    untrained: bool = False
    msmt_release: str | None = None
    splits: tuple[Path, ...] = ()
    """Files of splits for small test sets, instead of those that come with these."""
    own: Mapping[str, Path] = field(default_factory=dict)
    """The files of sets of one's own, by name."""
    lists: bool = False
    """Whether results without ranked lists are tested again, and nothing is trained."""
    preset: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    progress: Progress = QUIET


def preflight(cells: Sequence[Cell], options: RunOptions) -> list[CellTask]:
    """Check everything that the cells need and decode their images; returns what is to be run.

    Raises UserError, one sentence or a short list, for whatever the person at the keyboard can mend.
    """
    if options.writes:
        check_writable(options.results / "runs")
    _check_kernel(cells, options)
    datasets = _load_datasets(cells, options)
    _check_training_sets(cells, datasets)
    _check_apart(cells, datasets, options)
    targets = [options.target(cell) for cell in cells]
    configs = [
        resolve(cell.config, torch.device(target.device).type, target.precision, target.cpus)
        for cell, target in zip(cells, targets, strict=True)
    ]
    fingerprints = {name: dataset.fingerprint for name, dataset in datasets.items()}
    configs = as_begun(cells, configs, fingerprints, options.results, options.progress)
    tell_assumptions(cells, targets, options.progress)
    tasks = []
    for cell, target, config in zip(cells, targets, configs, strict=True):
        train = datasets[config.train]
        tasks.append(
            CellTask(
                cell=cell_id(config, cell.numerics, train.fingerprint),
                label=cell.label,
                config=config,
                numerics=cell.numerics,
                fingerprint=train.fingerprint,
                standin=train.standin,
                release=train.release,
                results=options.results,
                data_dir=options.data_dir,
                head=cell.head_path,
                tests=tests_of(cell, options.tests),
                threads=threads_of(cell.config if config.threads == "auto" else config, target.cpus),
                device=target.device,
                workers=options.workers,
                save_seconds=options.save_seconds,
                untrained=options.untrained,
                weights_file=cell.weights_file,
                msmt_release=options.msmt_release,
                splits=options.splits,
                own=dict(options.own),
                lists=options.lists,
                preset=options.preset,
                overrides=options.overrides,
                progress=options.progress,
            )
        )
    _check_results(tasks, datasets)
    check_cards(tasks, targets)
    tell_of_full_cards(tasks, targets, options.progress)
    footprints = [
        _footprint(cell.label, task.config, cell.head_path, task.device)
        for cell, task in zip(cells, tasks, strict=True)
    ]
    _check_weights(cells, [task.config for task in tasks], options)
    _check_budgets(tasks, footprints, datasets)
    _tell_scoring(tasks, options.progress)
    if options.decode and options.writes:
        _decode_images(tasks, datasets)
    return tasks


def predicted_steps(cells: Sequence[Cell], device: str) -> list[str]:
    """A line for each row whose head needs much memory for a training step's pairs: what it is predicted to take.

    Raises UserError for a head that cannot be used.
    """
    lines = []
    for cell in cells:
        batch = cell.config.training.persons * cell.config.training.images
        size = _footprint(cell.label, cell.config, cell.head_path, device).training_bytes
        if size >= WORTH_TELLING_BYTES:
            lines.append(
                f"{cell.label}: a step's {batch} x {batch} pairs are predicted to take {size / 2**30:.1f} GiB in "
                "float32 beside the backbone"
            )
    return list(dict.fromkeys(lines))


def check_writable(folder: Path) -> None:
    """Raise UserError if nothing can be written to a folder below the results folder; it is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            _check_locks(file, folder.parent)
    except OSError as fault:
        raise UserError(
            f"cannot write to the results folder {folder.parent} ({fault.strerror}); choose another with --results"
        ) from fault


def _check_locks(file: IO[bytes], results: Path) -> None:
    try:
        try_lock(file.fileno())
    except NoLocks as fault:
        raise UserError(
            f"files in the results folder {results} cannot be locked ({fault.strerror}), as is needed to keep two "
            "processes from one run; choose a folder on another file system with --results"
        ) from fault


def _check_kernel(cells: Sequence[Cell], options: RunOptions) -> None:
    """The matching operator is compiled now, where runs are made on this machine; for a GPU `local_target` tries it."""
    targets = list(map(options.target, cells))
    for device in {target.device if target.here and not target.cards else None for target in targets}:
        check_kernel(torch.device(device) if device is not None else None)


def _check_training_sets(cells: Sequence[Cell], datasets: dict[str, Dataset]) -> None:
    for name in dict.fromkeys(cell.config.train for cell in cells):
        persons = len({record.person for record in datasets[name].train})
        if persons < 2:
            raise UserError(
                f"{name} in {datasets[name].root} has {persons} training person{'' if persons == 1 else 's'}; "
                "matching can be learned from two on"
            )


def _check_apart(cells: Sequence[Cell], datasets: dict[str, Dataset], options: RunOptions) -> None:
    """Sets of one's own that are tested on need a test, and none of the persons who are trained on may be in it."""
    for train, tests in dict.fromkeys((cell.config.train, tests_of(cell, options.tests)) for cell in cells):
        for name in filter(is_own, tests):
            test = datasets[name]
            if not test.query:
                raise UserError(
                    f"{name} in {test.root} has no lines of split test or validation; choose another --test"
                )
            if name not in parts_of(train):
                continue
            tested = {record.person for record in test.query + test.gallery}
            if shared := len(tested & {record.person for record in test.train}):
                raise UserError(
                    f"{name} in {test.root}: {shared:,} identities are both in training and in test, which tells "
                    "nothing of those never seen; `bench data check` names some. Part them, or choose another --test"
                )


def _load_datasets(cells: Sequence[Cell], options: RunOptions) -> dict[str, Dataset]:
    names = dict.fromkeys(cell.config.train for cell in cells)
    names |= dict.fromkeys(name for cell in cells for name in tests_of(cell, options.tests))
    if useless := files_not_needed(options.splits, names):
        raise UserError(f"--splits: {useless[0]}, and no run is tested on that; tested on: {', '.join(names)}")
    named = [name for name in names if name != HELD_OUT]
    datasets = {
        name: load_source(name, options.data_dir, options.msmt_release, options.splits, options.own) for name in named
    }
    for config in (cell.config for cell in cells):
        if config.training.held_out_persons is not None:
            test, _ = held_out_set(datasets[config.train], config.training.held_out_persons)
            datasets[_key(config, HELD_OUT)] = test
    kinds = {dataset.standin for dataset in datasets.values()}
    if len(kinds) > 1:
        listed = ", ".join(f"{name} ({dataset.standin or 'real'})" for name, dataset in datasets.items())
        raise UserError(f"real and stand-in data must not meet in one run: {listed}; use another --data-dir for one")
    return datasets


def _key(config: CellConfig, name: str) -> str:
    """What a data set of a run is kept under: its name, unless it is made of the training set's own persons."""
    return f"{config.training.held_out_persons} of {config.train}" if name == HELD_OUT else name


def _check_results(tasks: Sequence[CellTask], datasets: dict[str, Dataset]) -> None:
    for task in tasks:
        try:
            record = read_record(task.folder)
        except Unreadable:
            continue  # that run alone fails
        for result in record.tests if record is not None else []:
            if result.test not in task.tests:
                continue
            dataset = datasets[_key(task.config, result.test)]
            if result.fingerprint != dataset.fingerprint:
                raise UserError(
                    f"{_changed(result, dataset)} since {task.cell} was tested on it; to test all anew, "
                    f"move {task.results / 'runs'} away or use another --results"
                )


def _changed(result: TestResult, dataset: Dataset) -> str:
    if result.split_source == dataset.split_source:
        return f"{result.test} has changed on disk"
    return f"the splits of {result.test} have changed from {result.split_source} to {dataset.split_source}"


def _footprint(label: str, config: CellConfig, head: str, device: str) -> Footprint:
    try:
        return footprint_of(config, head, torch.device(device).type)
    except UserError as fault:
        raise UserError(f"{label}: {fault}") from fault


def _check_weights(cells: Sequence[Cell], configs: Sequence[CellConfig], options: RunOptions) -> None:
    """Weights must be there and fit; a start is made now where runs are made on this machine."""
    here = options.decode and options.writes
    for backbone in dict.fromkeys(config.backbone for config in configs):
        if here and name_of(backbone.weights):
            start_file(backbone.weights, backbone.arch, backbone.ibn, options.progress, workers=min(cpus() - 1, 1))
    loads = {
        (config.backbone, cell.weights_file): cell.weights_file or config.backbone.weights
        for cell, config in zip(cells, configs, strict=True)
    }
    for (backbone, _), weights in loads.items():
        if weights is not None and (here or not name_of(str(weights))):
            build_backbone(backbone.arch, backbone.ibn, backbone.cut, None, weights)


def _check_budgets(tasks: Sequence[CellTask], footprints: Sequence[Footprint], datasets: dict[str, Dataset]) -> None:
    """Scoring persons in training and images in tests must fit the memory budget that the configuration gives."""
    for task, footprint in zip(tasks, footprints, strict=True):
        settings = task.config.evaluation
        training = task.config.training
        persons = len({record.person for record in datasets[task.config.train].train})
        persons = min(persons - (training.held_out_persons or 0), training.sampled_persons or persons)
        tests = {f"test {name}": datasets[_key(task.config, name)] for name in task.tests}
        asked = {"training": (persons, persons)}
        asked |= {what: (len(dataset.query), len(dataset.gallery)) for what, dataset in tests.items()}
        turned = {what for what, dataset in tests.items() if dataset.both_ways}
        for what, (queries, gallery) in asked.items():
            try:
                size = footprint.bytes_per_image(settings.scoring)
                work = Work(queries, gallery, size, footprint.pair_bytes, what in turned)
                # How much of a GPU's memory is free is known where the run goes on, and checked there.
                gpu = int((settings.gpu_memory_gib or ANY_CARD_GIB) * 2**30) if _on_gpu(task) else None
                plan_scoring(work, int(settings.memory_gib * 2**30), gpu=gpu)
            except UserError as fault:
                raise UserError(f"{task.label}, {what}: {fault}") from fault


def _on_gpu(task: CellTask) -> bool:
    return torch.device(task.device).type == "cuda"


def _tell_scoring(tasks: Sequence[CellTask], progress: Progress) -> None:
    """Say once what makes tests on a GPU several times faster, where nobody asked for anything."""
    if any(_on_gpu(task) and task.config.evaluation.scoring == "float32" for task in tasks):
        progress.say(
            "tests score in float32 without a GPU's tensor cores; --set evaluation.scoring=bfloat16 is several times "
            "faster, tf32x3 nearly as exact as float32 (docs/speed.md)"
        )


def _decode_images(tasks: Sequence[CellTask], datasets: dict[str, Dataset]) -> None:
    needed = dict.fromkeys(
        (name, split, task.config.input)
        for task in tasks
        for name, split in [(task.config.train, "train"), *((test, "test") for test in task.tests if test != HELD_OUT)]
    )
    for name, split, size in needed:
        task = tasks[0]
        cache = cache_folder(task.results)
        load_images(datasets[name], split, size.height, size.width, cache, task.workers, task.progress)
