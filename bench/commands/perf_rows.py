"""The rows of a study that `bench perf` is asked to measure."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.commands.common import head_words
from bench.config import parse_overrides
from bench.errors import UserError
from bench.study.definition import MOST_ROWS, load_preset, load_study, study_name
from bench.study.plan import Cell, plan, resolve, threads_of

if TYPE_CHECKING:
    from bench.perf.rows import StudyRow
    from bench.perf.serving import ServingCase

GALLERY = 10_000
"""Pictures of the gallery where nobody asks for another number."""

STUDY = "table2"
SCORED_IN = ("float32", "bfloat16")
"""What a test keeps representations in."""


def study_rows(arguments: argparse.Namespace, leave_out: str, device: str) -> tuple[StudyRow, ...]:
    """The rows that are asked for, with `auto` resolved for a device of this machine; `leave_out` is no row.

    Raises UserError for unknown rows and for heads that cannot be built.
    """
    from bench.perf.rows import StudyRow
    from bench.running.targets import local_target
    from bench.running.trial import footprint_of

    target, found = local_target(device), []
    for cell in _cells(arguments, leave_out):
        config = resolve(cell.config, device.partition(":")[0], target.precision, arguments.threads)
        footprint_of(config, cell.head_path, device.partition(":")[0])
        names = study_name(arguments.study or STUDY), arguments.preset or "", cell.label
        found.append(
            StudyRow(
                *names, cell.head_path, config, threads_of(cell.config, arguments.threads), " ".join(arguments.set)
            )
        )
    return tuple(found)


def serving_cases(
    arguments: argparse.Namespace, leave_out: str, dtypes: tuple[str, ...], device_kind: str, memory: int
) -> tuple[ServingCase, ...]:
    """The rows that are asked for, each in each dtype; `leave_out` is no row. `memory` is what is free, in bytes.

    Raises UserError for unknown rows, for a dtype that nothing is kept in, and for a gallery that memory does not hold.
    """
    from bench.perf.serving import ServingCase
    from bench.running.trial import footprint_of

    if wrong := [dtype for dtype in dtypes if dtype not in SCORED_IN]:
        raise UserError(
            f"representations are kept in {' or '.join(SCORED_IN)}, not in {wrong[0]}; choose another --dtype"
        )
    study, pictures = arguments.study or STUDY, arguments.gallery or GALLERY
    cases, largest = [], (0, "")
    for cell in _cells(arguments, leave_out):
        for dtype in dtypes:
            evaluation = cell.config.evaluation.model_copy(update={"scoring": dtype})
            config = cell.config.model_copy(update={"evaluation": evaluation})
            names = study_name(study), arguments.preset or "", cell.label, cell.head_path
            case = ServingCase(*names, config, pictures)
            kept = footprint_of(config, cell.head_path, device_kind).bytes_per_image(dtype)
            largest = max(largest, (case.bytes_needed(kept), f"{cell.label} in {dtype}"))
            cases.append(case)
    if largest[0] > memory:
        raise UserError(
            f"a gallery of {pictures:,} pictures needs {largest[0] / 2**30:,.1f} GiB of memory for {largest[1]}, and "
            f"{memory / 2**30:,.1f} GiB are free; ask for a smaller --gallery, or leave such rows out of --variants"
        )
    return tuple(cases)


def _cells(arguments: argparse.Namespace, leave_out: str) -> list[Cell]:
    words = [word for word in head_words(arguments.variants) or ["all"] if word != leave_out]
    if not words:
        raise UserError(f"{leave_out} is no row of a study; name rows or heads in --variants")
    study = load_study(arguments.study or STUDY)
    if study.size > MOST_ROWS:
        raise UserError(
            f"{study.title} has {study.size:,} rows, too many to measure; give a study of {MOST_ROWS:,} at most"
        )
    # The data sets do not matter: nothing is trained or tested.
    study = study.model_copy(update={"train": ["msmt"], "tests": None})
    return plan(study, load_preset(arguments.preset), parse_overrides(arguments.set), words, seeds=[0])
