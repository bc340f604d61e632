"""Runs that were tested before ranked lists were stored, and the command that tests them again, without training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.config import OUTSIDE
from bench.errors import UserError
from bench.journal.lists import lacks_lists
from bench.journal.record import Record
from bench.study.definition import load_preset, load_study, study_names
from bench.study.plan import answers, plan, usual_tests

USUAL_STUDY = "table2"
"""What `bench run` takes where no study is named."""


def lists_lacking(
    records: Iterable[Record], results: Path, data_dir: Path | None = None, tests: Sequence[str] | None = None
) -> list[str]:
    """A sentence for each run whose results on `tests` (default: all) have no ranked lists that can be read.

    It names the run and says why, where that is recorded, and by which command the run is tested again. `data_dir` is
    as it is given to `--data-dir`; None leaves that to the default. Untrained networks store no lists.
    """
    told = []
    for record in records:
        folder = results / "runs" / record.cell
        trained = [item for item in record.tests if item.state == "trained" and (tests is None or item.test in tests)]
        without = [item for item in trained if lacks_lists(folder, item)]
        if not without:
            continue
        refused = [item.lists_refused for item in without if item.lists_refused]
        names = [item.test for item in without]
        why = f" ({refused[0]})" if refused else ""
        command = command_for_lists(record, names, results, data_dir)
        how = f"to test it again, without training: {command}" if command else _out_of_reach(record)
        told.append(f"{record.cell} has no ranked lists of {', '.join(names)}{why}; {how}")
    return told


def command_for_lists(record: Record, tests: Sequence[str], results: Path, data_dir: Path | None = None) -> str | None:
    """The `bench run --lists` that tests this run again on these test sets; None if no study asks for it any more.

    A head from outside is named by its file, which is to be where the command is given.
    """
    config = record.config
    if config.train == OUTSIDE:
        return None
    row = f"{config.head}.py" if config.head_digest else record.label
    study = USUAL_STUDY if config.head_digest else _study_of(record)
    if study is None:
        return None
    words = ["bench", "run", *(["--study", study] if study != USUAL_STUDY else []), "--variants", row]
    words += ["--train", config.train, "--seeds", f"{config.seed},"]
    words += ["--preset", record.preset] if record.preset else []
    for assignment in _assignments(record.overrides):
        words += ["--set", assignment]
    words += ["--test", ",".join(tests)] if set(tests) != {*usual_tests(config.train)} else []
    # A GPU would give other last digits.
    words += ["--device", "cpu"] if config.threads != "auto" else []
    words += ["--data-dir", str(data_dir)] if data_dir is not None else []
    words += ["--results", str(results)] if results != Path("results") else []
    return shlex.join([*words, "--lists"])


def _study_of(record: Record) -> str | None:
    """The study whose row of that label is the run; of several the one that is usual, if it is among them."""
    for name in sorted(study_names(), key=lambda name: name != USUAL_STUDY):
        try:
            study, preset = load_study(name), load_preset(record.preset)
            train, seeds = [record.config.train], [record.config.seed]
            cells = plan(study, preset, record.overrides, [record.label], train, seeds)
        except UserError:
            continue
        if any(answers(record, cell) for cell in cells):
            return name
    return None


def _out_of_reach(record: Record) -> str:
    if record.config.train == OUTSIDE:
        return "move its folder away, and `bench eval` tests its weights anew"
    return (
        f"this version of the suite has no row {record.label!r} that is this run; move its folder away, and `bench "
        "run` makes the run anew"
    )


def _assignments(overrides: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Overrides as `--set` takes them."""
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            yield from _assignments(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={value if isinstance(value, str) else json.dumps(value)}"
