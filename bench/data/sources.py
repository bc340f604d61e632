"""What a network is trained on: one set, or several joined by "+"; `_all` behind a set means all its images.

For example "market+msmt+cuhksysu", or "market_all+cuhk02+cuhk03_all+cuhksysu" (PROTOCOL, section 6). The order of the
sets means nothing: `canonical` gives a source its one name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bench.config import digest
from bench.data.dataset import UNKNOWN, Dataset, ImageRecord
from bench.data.own import load_own
from bench.data.own_names import is_own
from bench.data.registry import ALL, JOIN, describe, load_dataset, set_kind
from bench.errors import UserError

SAME_PERSONS = {"cuhk03_labeled": "cuhk03"}
"""Sets that show the persons of another one."""


def parts_of(source: str) -> tuple[str, ...]:
    """The sets of a source, each by the name that `load_dataset` takes, in alphabetical order.

    Raises UserError for unknown sets, sets that are for testing only, and sets that show the same persons.
    """
    found = sorted({_part(word.strip()) for word in source.split(JOIN)})
    by_persons: dict[str, str] = {}
    for name in found:
        other = by_persons.setdefault(persons_of(name), name)
        if other != name:
            raise UserError(f"{source}: {other} and {name} show the same persons; train on one of them")
    return tuple(found)


def canonical(source: str) -> str:
    """The one name of a source, whatever the order in which its sets are given. Raises UserError as `parts_of`."""
    return JOIN.join(parts_of(source))


def persons_of(name: str) -> str:
    """The set whose persons a set shows: "market" for "market_all", "cuhk03" for "cuhk03_labeled_all"."""
    base = name.removesuffix(ALL)
    return SAME_PERSONS.get(base, base)


def check_apart(source: str, tests: tuple[str, ...]) -> None:
    """Raise UserError if a source trains on persons of one of the test sets."""
    for part in parts_of(source):
        for test in tests:
            if part.endswith(ALL) and persons_of(part) == persons_of(test):
                raise UserError(f"{part} trains on the test persons of {test}: choose another --test or --train")


def load_source(
    source: str,
    data_dir: str | Path,
    msmt_release: str | None = None,
    splits: Sequence[Path] = (),
    own: Mapping[str, Path] | None = None,
) -> Dataset:
    """A source as one training set: persons and cameras of its sets are kept apart, test splits left out.

    A single set, for training or testing, is as `load_dataset` or `load_own` gives it; `own` has the files of sets of
    one's own by name. Raises UserError where a set is absent or unusable, and where real and generated sets are mixed.
    """
    named_parts = parts_of(source) if JOIN in source else (source,)
    loaded = [
        load_own(name, own or {}) if is_own(name) else load_dataset(name, data_dir, msmt_release, splits)
        for name in named_parts
    ]
    return loaded[0] if len(loaded) == 1 else join(loaded)


def join(sets: list[Dataset]) -> Dataset:
    """Several sets as one training set. Raises UserError where real and generated sets are mixed."""
    if len({dataset.standin for dataset in sets}) > 1:
        listed = ", ".join(f"{dataset.name} ({dataset.standin or 'real'})" for dataset in sets)
        raise UserError(f"sets of different making must not be trained on together: {listed}")
    records: list[ImageRecord] = []
    persons = cameras = 0
    for dataset in sets:
        records += [
            record._replace(
                person=record.person + persons, camera=UNKNOWN if record.camera == UNKNOWN else record.camera + cameras
            )
            for record in dataset.train
        ]
        persons = max(record.person for record in records) + 1
        cameras = max(record.camera for record in records) + 1
    return Dataset(
        name=JOIN.join(dataset.name for dataset in sets),
        root=sets[0].root.parent,
        train=tuple(records),
        query=(),
        gallery=(),
        fingerprint=digest([[dataset.name, dataset.fingerprint] for dataset in sets]),
        standin=sets[0].standin,
        release=", ".join(f"{dataset.name} {dataset.release}" for dataset in sets if dataset.release),
        parts=tuple(replace(dataset, query=(), gallery=()) for dataset in sets),
    )


def _part(word: str) -> str:
    """A set's name as `load_dataset` takes it. A set that is for training only is all of itself."""
    if is_own(word):
        return word
    base = word.removesuffix(ALL)
    known = describe()
    if base != word and base in known and not known[base].has_test:
        return base
    set_kind(word)
    if not known[word].has_training:
        raise UserError(f"{word} is for testing only; choose another --train")
    return word
