"""The rows of tables before they are laid out: settings, rows with their runs, and boards of rows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, get_args

from bench.config import HELD_OUT, CellConfig, digest
from bench.data.sources import JOIN, canonical
from bench.errors import UserError
from bench.journal.record import Level, Record, TestResult
from bench.report.columns import Measurement, Quantity, Summary, at_chance, errors_above_chance, summarise
from bench.report.published import PublishedRow
from bench.report.titles import SET_TITLES, short_title, source_title
from bench.starts import title_of
from bench.study.definition import Preset, Study, load_preset
from bench.study.plan import study_tests

State = Literal["trained", "untrained"]

LONGEST_NAME = 120
"""Characters of a file's name, to which kind and suffix are added."""


@dataclass(frozen=True)
class Setting:
    """Runs that may share a table: same preset, same --set changes, same stand-in or real data."""

    preset: str | None
    overrides: Mapping[str, Any]
    standin: str | None
    weights: str | None
    """Backbone weights as the records' configurations name them: a path is not kept there, only its hash."""
    records: tuple[Record, ...]

    @property
    def title(self) -> str:
        """For example "preset demo, backbone: stand-in pretraining, stand-in data (demo, seed 0)"."""
        recipe = f"preset {self.preset}" if self.preset else "the paper's recipe"
        texts = (title_of(self.weights), self.standin_text)
        return ", ".join([recipe, *_flat(self.overrides), *(text for text in texts if text)])

    @property
    def standin_text(self) -> str | None:
        """The description of the stand-in data, of training or of any test set; None if all data are real."""
        texts = [self.standin, *(result.standin for record in self.records for result in record.tests)]
        text = next((text for text in texts if text), None)
        return text if text is None or "stand-in data" in text else f"stand-in data ({text})"

    @property
    def holds_out(self) -> bool:
        """Whether training persons were held out to test on."""
        return any(record.config.training.held_out_persons is not None for record in self.records)

    @cached_property
    def loaded_preset(self) -> Preset | None:
        """The preset, or None if this version of the suite has none of that name any more."""
        try:
            return load_preset(self.preset)
        except UserError:
            return None


@dataclass(frozen=True)
class LeftOut:
    """A run that asks for the same cell as one that is shown, or by code that is no longer current."""

    record: Record
    reason: str


@dataclass(frozen=True)
class Row:
    """One line of a table. `records` are the runs that count, at most one per seed."""

    label: str
    train: str
    kind: Literal["study", "outside", "published", "level"] = "study"
    tests: tuple[str, ...] = ()
    """The test sets over which means are taken: those that the study asks for; of levels of several sets all known."""
    config: CellConfig | None = None
    records: tuple[Record, ...] = ()
    planned: int = 0
    """Seeds that the study asks for."""
    left_out: tuple[LeftOut, ...] = ()
    published: PublishedRow | None = None
    levels: Mapping[str, Level] = field(default_factory=dict)
    """By test set, for rows that no run stands behind: chance and pixels."""

    def is_tested_on(self, test: str) -> bool:
        """Whether a test set is one that the study asks for, or one on which something was measured besides."""
        return test in self.tests or test in self.levels or any(self.results(test, state) for state in get_args(State))

    def results(self, test: str, state: State = "trained") -> list[TestResult]:
        """The seeds' results on a test set."""
        found = (record.result(test, state) for record in self.records)
        return [result for result in found if result is not None]

    def summary(self, quantity: Quantity, test: str = "", state: State = "trained") -> Summary | None:
        """A quantity over the row's seeds, None if nothing of it was measured."""
        values = (quantity.of(measurement, test) for measurement in self._measurements(state))
        return summarise(quantity, [value for value in values if value is not None])

    def at_chance(self, test: str, state: State = "trained") -> bool:
        """Whether the row's mAP on a test set cannot be told from chance."""
        results = self.results(test, state)
        return bool(results) and at_chance(results)

    def errors_above_chance(self, test: str, state: State = "trained") -> float | None:
        """By how many standard errors the row's mAP on a test set is above chance; None where there is none."""
        results = self.results(test, state)
        return errors_above_chance(results) if results else None

    @property
    def all_records(self) -> list[Record]:
        """The runs that count and those left out."""
        return [*self.records, *(item.record for item in self.left_out)]

    @property
    def failures(self) -> list[Record]:
        """The seeds whose run failed."""
        return [record for record in self.records if record.status == "failed"]

    @property
    def unfinished(self) -> list[Record]:
        """The seeds whose run is still to be tested, or was cut off in its tests."""
        return [record for record in self.records if not record.is_done() and record.status != "failed"]

    def _measurements(self, state: State) -> list[Measurement]:
        if self.kind == "level":
            return [Measurement(self.levels, self.tests)]
        return [
            Measurement({item.test: item for item in record.tests if item.state == state}, self.tests, record)
            for record in self.records
        ]


@dataclass(frozen=True, eq=False)
class Board:
    """The rows of one study under one setting, for one training set or, where the study has several, for all.

    Equal to itself alone, so that what is computed of it can be kept.
    """

    setting: Setting
    name: str
    study: Study
    trains: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def runs(self) -> frozenset[str]:
        """Ids of the runs that the rows show or name as left out."""
        return frozenset(record.cell for row in self.rows for record in row.all_records)

    @property
    def tests(self) -> tuple[str, ...]:
        """The test sets that the study asks for and any other that a run was tested on.

        In the order of the study, else of the paper's columns.
        """
        wanted = {test for train in self.trains for test in self.asked_tests(train)}
        wanted |= {result.test for row in self.rows for record in row.records for result in record.tests}
        order = dict.fromkeys([*(self.study.tests or ()), *SET_TITLES, *sorted(wanted)])
        return tuple(test for test in order if test in wanted)

    @property
    def own_trains(self) -> tuple[str, ...]:
        """The study's own sources, by the one name of each."""
        return own_trains(self.study)

    def asked_tests(self, train: str) -> tuple[str, ...]:
        """The test sets that the study asks for behind a source."""
        return (HELD_OUT,) if self.setting.holds_out else study_tests(self.study, train)

    def name_of(self, row: Row) -> str:
        """A row's label, with its training set where the board has several."""
        return row.label if len(self.trains) < 2 else f"{row.label} ({self.train_title(row.train)})"

    def train_title(self, train: str) -> str:
        """A training set, or several together, in few words."""
        return short_title(train) if JOIN in train else source_title(train)

    @property
    def slug(self) -> str:
        """Start of the names of the board's files."""
        setting = self.setting
        changed = digest([dict(setting.overrides), setting.weights])[:6] if setting.overrides else ""
        data = re.sub(r"[^a-z0-9]+", "-", (setting.standin_text or "").replace("stand-in data", "standin")).strip("-")
        train = "-".join(self.trains) if self.trains != self.own_trains else ""
        return file_name(self.name, train, setting.preset or "paper", changed, data)

    def levels(self) -> list[Row]:
        """Rows for random scores and, where they were measured, for the cosine of pixels."""
        results = [result for row in self.rows for record in row.records for result in record.tests]
        kinds = {
            "chance": {result.test: result.chance for result in results},
            "pixels (cosine)": {result.test: result.pixels for result in results if result.pixels is not None},
        }
        train = self.trains[0] if len(self.trains) == 1 else ""
        return [
            Row(label, train, "level", self.asked_tests(train) if train else tuple(levels), levels=levels)
            for label, levels in kinds.items()
            if levels
        ]


def own_trains(study: Study) -> tuple[str, ...]:
    """A study's sources, by the one name of each."""
    return tuple(canonical(source) for source in study.train)


def file_name(*parts: str) -> str:
    """Parts joined to what any file system takes as a name; what that changes is told apart by letters at the end."""
    whole = "-".join(filter(None, parts))
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", whole)[:LONGEST_NAME]
    return plain if plain == whole else f"{plain}-{digest(whole)[:6]}"


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested settings as --set takes them: "training.epochs=3"."""
    lines = []
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        lines += _flat(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}={json.dumps(value).strip(chr(34))}"]
    return lines
