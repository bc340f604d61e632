"""The splits of the small sets: whom, or which images, each of their tests holds (PROTOCOL, section 7).

A file of splits is JSON: {"set": NAME, "splits": [...]}, optionally with a "name" and how it was made ("generator").
A split of VIPeR, PRID or GRID is {"train": [persons], "test": [persons]}. One of i-LIDS has under "test" a list of
image names for each person tested: the first that the set has is the query, the second the gallery's image. "train"
may be left out.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from bench.config import SMALL_TEST_SETS, Settings, one_of, validate
from bench.data.dataset import Split
from bench.data.listing import brief
from bench.data.readers import grid
from bench.data.reading import Reading
from bench.errors import UserError

BOTH_WAYS = ("viper",)
"""Each split tests these sets twice, the second time with query and gallery swapped."""
BY_IMAGES = ("ilids",)
"""Their persons have several images, so splits name images."""
COMES_ALONG = "pairbench_splits.json"
"""Splits that lie in the folder of a set are taken before those that ship with the suite."""


_REMEDY = "copy the set again, or draw splits of what is there (`bench data splits`)"


class PersonSplit(Settings):
    """Persons by the set's own numbers. Nobody trains on `train` here: it says who must not be tested."""

    train: list[int] = []
    test: list[int]


class ImageSplit(Settings):
    """`test` has for each person tested at least two image names, of which the first two that exist count."""

    train: list[int] = []
    test: list[list[str]]


class PersonSplits(Settings):
    """The splits of a set whose persons have one image on each side."""

    set: str
    name: str = ""
    generator: str = ""
    splits: list[PersonSplit]


class ImageSplits(Settings):
    """The splits of a set whose persons have several images."""

    set: str
    name: str = ""
    generator: str = ""
    splits: list[ImageSplit]


Splits = PersonSplits | ImageSplits


def splits_from(content: Any, where: str) -> Splits:
    """Splits from the content of a JSON file; `where` names it in messages. Raises UserError for another form."""
    if not isinstance(content, dict) or "set" not in content or not isinstance(content.get("splits"), list):
        raise UserError(
            f'{where} is no file of splits: {{"set": one of {", ".join(SMALL_TEST_SETS)}, "splits": [...]}}'
        )
    name = one_of(f"set of several splits in {where}", str(content["set"]), SMALL_TEST_SETS)
    whole, single = (ImageSplits, ImageSplit) if name in BY_IMAGES else (PersonSplits, PersonSplit)
    found = validate(whole, {**content, "splits": []}, where)
    splits = []
    for number, split in enumerate(content["splits"]):
        if not isinstance(split, dict):
            raise UserError(f'{where}, split {number}: it needs "test", and may have "train", not {split!r}')
        splits.append(validate(single, split, f"{where}, split {number}"))
    if not splits:
        raise UserError(f"{where} holds no split")
    return found.model_copy(update={"splits": splits})


def read_splits(path: Path) -> Splits:
    """Read a file of splits. Raises UserError where it cannot be read or is of another form."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"the file of splits {path} cannot be read ({error.strerror}): give the path of one") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"the file of splits {path} is no JSON ({error})") from error
    return splits_from(content, str(path))


def shipped_splits(name: str) -> Splits:
    """The ten splits of a set that ship with the suite."""
    text = resources.files("bench.data.shipped").joinpath(f"{name}.json").read_text(encoding="utf-8")
    return splits_from(json.loads(text), f"bench/data/shipped/{name}.json")


def with_splits(name: str, reading: Reading, given: Sequence[Path] = ()) -> Reading:
    """The set `name` as read, with its splits: those of the file in `given` that names it, else those that come with
    the set, else the ones that ship with the suite. Their hash enters the set's fingerprint.

    Raises UserError for files of another form, and for persons or images that the set lacks or that are in training
    and in test.
    """
    splits, source, where = _choose(name, reading, given)
    try:
        if isinstance(splits, ImageSplits):
            tests, said = _tests_by_images(splits, reading)
        else:
            tests, said = _tests_by_persons(splits, reading)
    except ValueError as fault:
        raise UserError(f"{where}, {fault}") from fault
    if name in BOTH_WAYS:
        tests = [turned for test in tests for turned in (test, replace(test, swapped=True))]
    content = json.dumps(said, separators=(",", ":")).encode()
    source = f"{source} ({hashlib.sha256(content).hexdigest()[:8]})"
    return replace(reading, splits=tuple(tests), split_source=source, lists={**reading.lists, "splits": content})


def _choose(name: str, reading: Reading, given: Sequence[Path]) -> tuple[Splits, str, str]:
    """The splits, what tables call them, and where messages say they are from."""
    found = [(path, splits) for path in given if (splits := read_splits(path)).set == name]
    if len(found) > 1:
        raise UserError(f"{found[0][0]} and {found[1][0]} both hold splits of {name}: give one of them")
    for path, splits in found:
        return splits, f"own splits, {splits.name or path.name}", str(path)
    if name == "grid" and (partitions := grid.own_partitions(reading.root)) is not None:
        persons = {entry.person for entry in reading.query}
        parted = [PersonSplit(train=train, test=sorted(persons - {*train})) for train in partitions]
        where = str(reading.root / grid.PARTITIONS)
        return PersonSplits(set=name, splits=parted), f"the set's own partitions, {grid.PARTITIONS}", where
    if (path := reading.root / COMES_ALONG).is_file():
        splits = read_splits(path)
        if splits.set != name:
            raise UserError(f"{path} holds splits of {splits.set}, not of {name}: move it away")
        return splits, f"the set's own splits, {COMES_ALONG}", str(path)
    splits = shipped_splits(name)
    return splits, f"pairbench's splits {splits.name}", f"the splits that ship with the suite ({splits.name})"


def _tests_by_persons(splits: PersonSplits, reading: Reading) -> tuple[list[Split], list[list[int]]]:
    """A test of each split, and what is tested in it. Raises ValueError with the first fault."""
    queried = {entry.person for entry in reading.query}
    known = queried & {entry.person for entry in reading.gallery}
    tests = []
    for number, split in enumerate(splits.splits):
        _check(number, split.train, split.test, known, reading)
        chosen = {*split.test}
        query = [at for at, entry in enumerate(reading.query) if entry.person in chosen]
        # Whom no query ever shows distracts in every split.
        gallery = [
            at for at, entry in enumerate(reading.gallery) if entry.person in chosen or entry.person not in queried
        ]
        tests.append(Split(number, tuple(query), tuple(gallery)))
    return tests, [sorted(split.test) for split in splits.splits]


def _tests_by_images(splits: ImageSplits, reading: Reading) -> tuple[list[Split], list[list[tuple[str, str]]]]:
    """A test of each split, and the image names, query and gallery, of each person in it. Raises ValueError."""
    position = {entry.path.rpartition("/")[2]: at for at, entry in enumerate(reading.query)}
    known = {entry.person for entry in reading.query}
    tests, said = [], []
    for number, split in enumerate(splits.splits):
        pairs = []
        for names in split.test:
            pair = [position[name] for name in dict.fromkeys(names) if name in position][:2]
            if len(pair) < 2:
                raise ValueError(
                    f"split {number}: of the images {brief(names)} the set in {reading.root} has {len(pair)},"
                    f" and a person is tested by two: {_REMEDY}"
                )
            if len({reading.query[at].person for at in pair}) > 1:
                raise ValueError(f"split {number}: {brief(names)} are not images of one person")
            pairs.append(pair)
        _check(number, split.train, [reading.query[query].person for query, _ in pairs], known, reading)
        pairs.sort()
        tests.append(Split(number, tuple(query for query, _ in pairs), tuple(gallery for _, gallery in pairs)))
        name_of = {at: name for name, at in position.items()}
        said.append([(name_of[query], name_of[gallery]) for query, gallery in pairs])
    return tests, said


def _check(number: int, train: Sequence[int], test: Sequence[int], known: set[int], reading: Reading) -> None:
    if not test:
        raise ValueError(f"split {number}: nobody is tested")
    if strangers := sorted({*train, *test} - known):
        raise ValueError(
            f"split {number}: {_persons(strangers)} cannot be tested, as {reading.title} in {reading.root} lacks images"
            f" of both sides: {_REMEDY}"
        )
    if both := sorted({*train} & {*test}):
        raise ValueError(f"split {number}: {_persons(both)} on both sides, in training and in test")
    if twice := [person for person, count in Counter(test).items() if count > 1]:
        raise ValueError(f"split {number}: {_persons(twice)} twice in test")


def _persons(numbers: Sequence[int]) -> str:
    return f"{'person' if len(numbers) == 1 else 'persons'} {brief([str(number) for number in numbers])}"


def written(splits: Splits) -> str:
    """Splits as the text of a JSON file, one to a line."""

    def lines() -> Iterator[str]:
        head = splits.model_dump(exclude={"splits"})
        yield "{"
        yield from (f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items() if value)
        yield ' "splits": ['
        yield ",\n".join(f"  {_compact(split)}" for split in splits.splits)
        yield " ]"
        yield "}"

    return "\n".join(lines()) + "\n"


def _compact(split: PersonSplit | ImageSplit) -> str:
    return json.dumps(split.model_dump(), separators=(",", ":"))


def files_not_needed(given: Iterable[Path], tests: Iterable[str]) -> list[str]:
    """One sentence for each file of splits whose set nothing is tested on. Raises UserError as `read_splits` does."""
    asked = set(tests)
    return [f"{path} holds splits of {name}" for path in given if (name := read_splits(path).set) not in asked]
