"""How the sets name their images: base names only, so that no folder name can become a camera."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class ParsedName(NamedTuple):
    """What a base name says. `person` may be -1 (junk) or 0 (distractor, in Market-1501); `camera` from 0."""

    person: int
    camera: int


@dataclass(frozen=True)
class NameForm:
    """One way of naming images; `extract` turns a match into person and camera, or None if they cannot be."""

    title: str
    example: str
    pattern: re.Pattern[str]
    extract: Callable[[re.Match[str]], ParsedName | None]

    def parse(self, name: str) -> ParsedName | None:
        """Return person and camera of the base name `name`, or None if it is not of this form."""
        match = self.pattern.match(name)
        return self.extract(match) if match else None


def _person_and_camera(match: re.Match[str]) -> ParsedName:
    return ParsedName(int(match["person"]), int(match["camera"]) - 1)


def _person(match: re.Match[str]) -> ParsedName:
    # The camera is told by the folder, or by nothing.
    return ParsedName(int(match["person"]), 0)


def _msmt(match: re.Match[str]) -> ParsedName | None:
    parsed = _person_and_camera(match)
    return parsed if 0 <= parsed.camera < 15 else None


def _torchreid_cuhk03(match: re.Match[str]) -> ParsedName:
    # Persons are numbered anew in each of the five pairs of cameras, in three digits.
    return ParsedName(int(match["pair"]) * 1000 + int(match["person"]), int(match["camera"]) - 1)


RANDPERSON_OFFSETS = (0, 2, 4, 6, 8, 9, 10, 12, 13, 14, 15)
RANDPERSON_CAMERAS = 19


def _randperson(match: re.Match[str]) -> ParsedName | None:
    numbers = {match["first"]: int(match["one"]), match["second"]: int(match["two"])}
    if set(numbers) != {"s", "c"} or numbers["s"] >= len(RANDPERSON_OFFSETS):
        return None
    camera = RANDPERSON_OFFSETS[numbers["s"]] + numbers["c"]
    # A camera beyond its scene's own would silently take the number of the next scene's first.
    if camera >= (*RANDPERSON_OFFSETS, RANDPERSON_CAMERAS)[numbers["s"] + 1]:
        return None
    return ParsedName(int(match["person"]), camera)


MARKET = NameForm(
    "Market-1501",
    "0002_c1s1_000451_03.jpg",
    re.compile(r"(?P<person>-1|\d+)_c(?P<camera>[1-6])s\d+_\d+_\d+\.", re.ASCII),
    _person_and_camera,
)
CUHK03 = NameForm(
    "CUHK03-NP",
    "0001_c1_1.png",
    re.compile(r"(?P<person>-1|\d+)_c(?P<camera>[12])_\d+\.", re.ASCII),
    _person_and_camera,
)
TORCHREID_CUHK03 = NameForm(
    "torchreid's CUHK03",
    "1_001_1_01.png",
    re.compile(r"(?P<pair>[1-5])_(?P<person>\d{3})_(?P<camera>[12])_\d+\.", re.ASCII),
    _torchreid_cuhk03,
)
MSMT = NameForm(
    "MSMT17",
    "0000_000_01_0303morning_0008_0.jpg",
    re.compile(r"(?P<person>\d+)_\d+_(?P<camera>\d\d)_\d+[a-z]+_\w+\.", re.ASCII),
    _msmt,
)
RANDPERSON = NameForm(
    "RandPerson",
    "000000_s00_c00_f000264.jpg",
    re.compile(r"(?P<person>\d+)_(?P<first>[sc])(?P<one>\d+)_(?P<second>[sc])(?P<two>\d+)_f\d+\.", re.ASCII),
    _randperson,
)
VIPER = NameForm("VIPeR", "000_45.bmp", re.compile(r"(?P<person>\d+)_\d+\.bmp$", re.ASCII | re.IGNORECASE), _person)
PRID = NameForm("PRID 2011", "person_0001.png", re.compile(r"person_(?P<person>\d+)\.", re.ASCII), _person)
GRID = NameForm(
    "QMUL GRID",
    "0001_1_25004_107_32_106_221.jpeg",
    re.compile(r"(?P<person>\d{4})_(?P<camera>[1-8])_\d+_\d+_\d+_\d+_\d+\.", re.ASCII),
    _person_and_camera,
)
ILIDS = NameForm("i-LIDS", "0001001.jpg", re.compile(r"(?P<person>\d{4})\d{3}\.", re.ASCII), _person)
CUHK02 = NameForm(
    "CUHK02", "001_1.png", re.compile(r"(?P<person>\d{1,3})_\d+\.png$", re.ASCII | re.IGNORECASE), _person
)
CUHKSYSU = NameForm("CUHK-SYSU", "p11422_s16929_1.jpg", re.compile(r"p(?P<person>\d+)_s\d+_\d+\.", re.ASCII), _person)
FORMS = (
    MARKET,
    CUHK03,
    TORCHREID_CUHK03,
    MSMT,
    RANDPERSON,
    VIPER,
    PRID,
    GRID,
    ILIDS,
    CUHK02,
    CUHKSYSU,
)


def likely_set(name: str) -> str | None:
    """Return the title of the set whose form the base name `name` has, or None: for messages about mix-ups."""
    return next((form.title for form in FORMS if form.parse(name)), None)
