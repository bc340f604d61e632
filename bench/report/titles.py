"""What tables call data sets and sources of several sets."""

from __future__ import annotations

from collections.abc import Iterable

from bench.config import HELD_OUT, OUTSIDE
from bench.data.sources import ALL, JOIN

SET_TITLES = {
    "cuhk03": "CUHK03-NP",
    "market": "Market-1501",
    "msmt": "MSMT17",
    "cuhk03_labeled": "CUHK03-NP labeled",
    "randperson": "RandPerson",
    "viper": "VIPeR",
    "prid": "PRID",
    "grid": "GRID",
    "ilids": "i-LIDS",
    "cuhk02": "CUHK02",
    "cuhksysu": "CUHK-SYSU",
    HELD_OUT: "held-out persons",
    OUTSIDE: "weights from outside",
}
"""Data sets as the paper writes them, in the order of its columns."""

SHORT_TITLES = {
    "market": "M",
    "msmt": "MS",
    "cuhk02": "C2",
    "cuhk03": "C3",
    "cuhk03_labeled": "C3 labeled",
    "cuhksysu": "CS",
    "randperson": "RP",
}
"""Letters for training sets, in the order in which a source names them (PROTOCOL, section 6)."""


def set_title(name: str) -> str:
    """ "MSMT17", and "MSMT17 all images" for "msmt_all"; a name without a title stays as it is."""
    base = name.removesuffix(ALL)
    title = SET_TITLES.get(base, base)
    return title if base == name else f"{title} all images"


def source_title(source: str) -> str:
    """ "Market-1501 + MSMT17 + CUHK-SYSU" for "cuhksysu+market+msmt"."""
    return " + ".join(set_title(part) for part in _in_order(source))


def short_title(source: str) -> str:
    """ "M+MS+CS" for "cuhksysu+market+msmt"; whether all images are meant is left to `source_title`."""
    return "+".join(_letters(part) for part in _in_order(source))


def letters(names: Iterable[str]) -> str:
    """What the letters of sources and sets mean: "C3: CUHK03-NP, M: Market-1501 all images"."""
    parts = dict.fromkeys(part for name in names for part in name.split(JOIN))
    return ", ".join(f"{_letters(part)}: {set_title(part)}" for part in _in_order(JOIN.join(parts)))


def _letters(name: str) -> str:
    base = name.removesuffix(ALL)
    return SHORT_TITLES.get(base, SET_TITLES.get(base, base))


def _in_order(source: str) -> list[str]:
    places = {name: place for place, name in enumerate(SHORT_TITLES)}
    return sorted(source.split(JOIN), key=lambda part: places.get(part.removesuffix(ALL), len(places)))
