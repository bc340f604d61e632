"""From a study, a preset and the command line to the list of cells, and from a cell to its identity.

No torch here: `bench status`, `list` and `report` plan too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import variants
from bench.config import (
    HELD_OUT,
    MOST_THREADS,
    OUTSIDE,
    TEST_SETS,
    TRAINING_BY_SET,
    CellConfig,
    Option,
    Precision,
    Recipe,
    Settings,
    Training,
    digest,
    merge,
    one_of,
    validate,
)
from bench.data import NAMES, describe
from bench.data.own_names import is_own
from bench.data.sources import canonical, check_apart, parts_of, persons_of
from bench.environment import cpus
from bench.errors import UserError
from bench.journal.record import Record, Started
from bench.starts import STARTS, check_covered, name_of, named
from bench.study.definition import Preset, Row, Study, load_study, study_names
from bench.study.numerics import numerics_of
from bench.system.paths import expand

LATER_KEYS = (
    "training.sampled_persons",
    "training.held_out_persons",
    "training.held_out_every",
    "training.compile",
    "evaluation.gpu_memory_gib",
    "tf32",
)
"""Keys that are in a run's identity only where they are not what they are by default: older runs keep their names."""

LARGE_SETS = ("cuhk03", "market", "msmt")
"""What a source of several sets is tested on, as far as it holds nothing of them."""

MOST_OPTION = 100_000
"""The largest whole number that a head's option takes: they are sizes and counts of layers."""

DEFAULT_SIZES: dict[str, Option] = {"width": 512, "feedforward": 2048, "layers": 3}
"""Sizes at which a head from outside the suite is run (paper, section 6.2)."""


@dataclass(frozen=True)
class Cell:
    """One run as planned: nothing resolved yet that depends on the machine or on the data."""

    label: str
    config: CellConfig
    weights_file: Path | None
    """Where to read backbone weights that are given as a path; the config holds their hash instead."""
    head_path: str
    """What `variants.build` takes: the head's name, or the path of a file."""
    numerics: dict[str, int]
    """Versions of the code that makes the cell's numbers."""
    tests: tuple[str, ...]
    """The test sets that its study asks for."""


def plan(
    study: Study,
    preset: Preset,
    overrides: dict[str, Any],
    select: Sequence[str] = ("all",),
    train: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
) -> list[Cell]:
    """The cells of a study in the order of its rows, training sets and seeds.

    `select` holds "all", heads, row labels or paths of head files. Raises UserError for anything unknown.
    """
    train_sets = list(dict.fromkeys(canonical(source) for source in train or study.train))
    if seeds is None:
        seeds = range(preset.seeds or study.seeds)
    rows = _select_rows(study, select)
    _check_overrides(overrides)
    return [
        _cell(row, info, train_set, seed, study, preset, overrides)
        for row, info in [(row, _describe(row.head)) for row in rows]
        for train_set in train_sets
        for seed in seeds
    ]


def tests_of(cell: Cell, asked: Iterable[str] | None) -> tuple[str, ...]:
    """The test sets asked for, else those of the cell's study.

    Raises UserError for unknown ones and for persons that would be both trained on and tested on.
    """
    if asked is None:
        return cell.tests
    asked = list(dict.fromkeys(asked))
    if HELD_OUT not in asked:
        return checked_tests(cell.config.train, asked)
    if cell.config.training.held_out_persons is None:
        raise UserError(f"--test {HELD_OUT} needs a number of persons: --set training.held_out_persons=100")
    others = [name for name in asked if name != HELD_OUT]
    return HELD_OUT, *checked_tests(cell.config.train, others)


def checked_tests(source: str, asked: Iterable[str]) -> tuple[str, ...]:
    """Names of test sets, each once. Raises UserError as `tests_of`."""
    tests = tuple(name if is_own(name) else one_of("test set", name, NAMES) for name in dict.fromkeys(asked))
    for name in tests:
        if not is_own(name) and not describe()[name].has_test:
            raise UserError(f"{name} has no query and gallery: it is for training only; choose another --test")
    if source != OUTSIDE:
        check_apart(source, tests)
    return tests


def study_tests(study: Study, source: str) -> tuple[str, ...]:
    """The test sets that a study asks for behind a source. Raises UserError as `tests_of`."""
    return checked_tests(source, study.tests) if study.tests else usual_tests(source)


def usual_tests(source: str, training: Training | None = None) -> tuple[str, ...]:
    """The test sets of a source where nobody asks for others: the paper's, or the large sets that are no part of it.

    Where persons are held out from `training`, these alone. Of a source with sets of one's own, these: each has a test
    of its own, or a run is told that it lacks one.
    """
    if training is not None and training.held_out_persons is not None:
        return (HELD_OUT,)
    if source == OUTSIDE:
        return LARGE_SETS
    if own := tuple(part for part in parts_of(source) if is_own(part)):
        return own
    shown = {persons_of(part) for part in parts_of(source)}
    return TEST_SETS.get(source) or tuple(name for name in LARGE_SETS if name not in shown)


def resolve(
    config: CellConfig, device_kind: str, precision: Precision = "fp32", threads_at_hand: int | None = None
) -> CellConfig:
    """`auto` replaced by what it means on the machine that runs the cell (PROTOCOL, section 3).

    CPU threads become a number on a CPU, where it decides in which order sums are taken, "auto" on any other device,
    where it changes nothing; so TF32 becomes false off a GPU. device_kind is "cpu", "cuda" or "mps"; `precision` is
    what "auto" means on a GPU; threads_at_hand are the CPUs there (default: those of this machine).
    """
    asked = config.training.precision
    if asked == "auto":
        asked = precision if device_kind == "cuda" else "fp32"
    threads = threads_of(config, threads_at_hand) if device_kind == "cpu" else "auto"
    training = config.training.model_copy(update={"precision": asked})
    tf32 = config.tf32 and device_kind == "cuda"
    return config.model_copy(update={"training": training, "threads": threads, "tf32": tf32})


def threads_of(config: CellConfig, at_hand: int | None = None) -> int:
    """The CPU threads of a run: those that are asked for, else the CPUs `at_hand`, or those of this process."""
    return min(at_hand or cpus(), MOST_THREADS) if config.threads == "auto" else config.threads


def cell_id(config: CellConfig, numerics: dict[str, int], fingerprint: str) -> str:
    """Name and folder of a run: readable parts, then the hash of all that can change its numbers."""
    values = config.model_dump(mode="json")
    usual = Recipe().model_dump(mode="json")
    for name in LATER_KEYS:
        *groups, key = name.split(".")
        own, default = values, usual
        for group in groups:
            own, default = own[group], default[group]
        if own[key] == default[key]:
            del own[key]
    identity = {"config": values, "numerics": numerics, "fingerprint": fingerprint}
    return id_start(config) + digest(identity)[:12]


def id_start(config: CellConfig) -> str:
    """The readable parts of a run's name, which other runs may share."""
    return f"{config.head}-{config.train}-s{config.seed}-"


def request_key(config: CellConfig) -> str:
    """Hash of a configuration without what the device decides: equal for a planned cell and its record."""
    values = config.model_dump(mode="json")
    del values["threads"], values["tf32"], values["training"]["precision"]
    return digest(values)


def answers(run: Record | Started, cell: Cell) -> bool:
    """Whether a run is one that a planned cell asks for, on whatever data and device.

    This is the one notion of "the same cell": what is finished in this sense is not run again, what was begun goes on.
    """
    same = run.numerics == cell.numerics and resolves(cell.config, run.config)
    return same and request_key(cell.config) == request_key(run.config)


def resolves(asked: CellConfig, has: CellConfig) -> bool:
    """Whether what the device decides of a run's configuration is what `asked` may come to on some machine."""
    # A run whose threads are "auto" was on a GPU: whatever is asked for, they changed nothing. Nor did TF32 on a CPU.
    threads = has.threads == "auto" or asked.threads in ("auto", has.threads)
    tf32 = has.tf32 == asked.tf32 or has.threads != "auto"
    return threads and tf32 and asked.training.precision in ("auto", has.training.precision)


def _describe(head: str) -> variants.HeadInfo:
    try:
        return variants.describe(head)
    except variants.HeadError as fault:
        raise UserError(str(fault)) from fault


def _cell(
    row: Row, info: variants.HeadInfo, train: str, seed: int, study: Study, preset: Preset, overrides: dict[str, Any]
) -> Cell:
    own = {key: value for key, value in overrides.items() if key in ("width", "options")}
    recipe = {key: value for key, value in overrides.items() if key not in own}
    divide = preset.divide
    options = {
        key: value // divide.get(key, 1) if isinstance(value, int) and not isinstance(value, bool) else value
        for key, value in row.options.items()
    }
    options = {**info.options, **options, **own.get("options", {})}
    options = {key: _as_declared(value, info.options.get(key)) for key, value in options.items()}
    try:
        variants.check_options(info, options)
    except variants.HeadError as fault:
        raise UserError(f"{row.label}: {fault}") from fault
    for key in own.get("options", {}):
        if isinstance(options[key], int) and abs(options[key]) > MOST_OPTION:
            raise UserError(f"{row.label}: option {key!r} is above {MOST_OPTION:,}, which no size or count needs to be")
    values = merge(
        {"training": TRAINING_BY_SET.get(train, {})},
        study.recipe,
        preset.recipe,
        row.recipe,
        recipe,
        {"head": info.name, "head_digest": info.digest, "options": info.identifying(options)},
        {"train": train, "seed": seed},
        {"width": own.get("width", row.width // divide.get("width", 1))},
    )
    weights_file = _weights_file(values)
    config = validate(CellConfig, values, row.label)
    if name_of(config.backbone.weights):
        backbone = config.backbone
        check_covered(backbone.arch, backbone.ibn, backbone.cut, backbone.weights)
    numerics = numerics_of(info, config)
    held_out = config.training.held_out_persons is not None
    tests = usual_tests(train, config.training) if held_out else study_tests(study, train)
    return Cell(row.label, config, weights_file, row.head, numerics, tests)


def _as_declared(value: Option, default: Option) -> Option:
    """1e1 is ten where a whole number is wanted."""
    whole = type(default) is int and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value


def _check_overrides(overrides: dict[str, Any]) -> None:
    sections = {"options"} | {
        name for name, field in Recipe.model_fields.items() if isinstance(field.default, Settings)
    }
    for key, value in overrides.items():
        one_of("key in --set", key, [*Recipe.model_fields, "width", "options"])
        if key in sections and not isinstance(value, dict):
            raise UserError(f"--set {key}=...: {key} is a group of settings; name one of them, as in {key}.NAME=VALUE")


def _weights_file(values: dict[str, Any]) -> Path | None:
    """Replace a path in backbone.weights by the file's hash, and a start's name by all that it depends on.

    So no path enters the identity; returns the path.
    """
    weights = values.get("backbone", {}).get("weights", "imagenet")
    if weights is None or weights == "imagenet":
        return None
    if weights in STARTS:
        values["backbone"]["weights"] = named(weights)
        return None
    path = expand(str(weights))
    if not path.is_file():
        found = f"{path} is a folder" if path.is_dir() else f"no file {path}"
        raise UserError(
            f"backbone.weights: {found}; give a path, imagenet, {', '.join(STARTS)}, or null to train from scratch"
        )
    try:
        with path.open("rb") as file:
            values["backbone"]["weights"] = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as fault:
        raise UserError(f"backbone.weights: cannot read {path} ({fault.strerror}); give a file that can be") from fault
    return path


def _select_rows(study: Study, select: Iterable[str]) -> list[Row]:
    rows = study.whole_rows
    chosen: list[Row] = []
    for word in select:
        if word == "all":
            found = rows
        elif word.endswith(".py"):
            found = [_outside_row(word)]
        else:
            # An exact label means that row alone; a head's name all rows of that head.
            found = [row for row in rows if row.label == word] or [
                row for row in rows if word.lower() in (row.label.lower(), row.head)
            ]
        if not found and word in (*variants.names(), *variants.unusable()):
            found = [_outside_row(word)]
        if not found and Path(f"{word}.py").is_file():
            raise UserError(f"unknown head or row {word!r}; for the file of that name say {word}.py")
        if not found:
            known = [*dict.fromkeys(name for row in rows for name in (row.label, row.head)), *variants.names()]
            one_of("head or row", word, [*dict.fromkeys(known)])
        chosen += [row for row in found if row not in chosen]
    return chosen


def _outside_row(head: str) -> Row:
    """A head that no row of the study names: at its own sizes in another study, or else at the paper's."""
    for name in study_names():
        study = load_study(name)
        for row in study.whole_rows:
            if head == row.head:
                return row
    info = _describe(head)
    options = {key: value for key, value in DEFAULT_SIZES.items() if key in info.options}
    return Row(label=info.name, head=head, width=int(DEFAULT_SIZES["width"]), options=options)
