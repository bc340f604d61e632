"""A finished table: text for readers and values for machines, before any file format."""

from __future__ import annotations

from dataclasses import dataclass, field

FORMATS = ("text", "markdown", "latex", "csv", "figures", "html")
"""What a report can be made as."""

USUAL_FORMATS = FORMATS[:-1]
"""What it is made as unless something else is asked for: the page, which holds pictures of people, only on request."""

PICTURES = {"figures": (".png", ".pdf"), "html": (".webp",)}
"""The kinds of picture files that a format needs."""

CHANCE = "†"
OUTSIDE = "*"
APART = "≠"
LITERATURE = "‡"
MISSING = "·"

LEGEND = {
    CHANCE: "mAP not above chance by two standard errors (over queries, mean of the seeds)",
    OUTSIDE: "not a row of the paper's table as this version of the suite plans it",
    APART: "told apart: their mAcc differs at 5 %, Holm-corrected over the table's pairs",
    LITERATURE: "copied from the literature, not run here",
    MISSING: "not measured",
    "±": "sample standard deviation over the seeds",
}
"""What the signs in tables mean; a table lists those it uses."""


@dataclass(frozen=True)
class Text:
    """One entry: what to read, and signs or footnote numbers behind it."""

    body: str = ""
    marks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Column:
    """Heading of a column; neighbours of the same `group` share a heading above theirs."""

    heading: str
    group: str = ""
    left: bool = False
    long: str = ""
    """What to write where headings have one line only, if both together would not do."""

    @property
    def full(self) -> str:
        """The heading in one line."""
        return self.long or f"{self.group} {self.heading}".strip()


@dataclass(frozen=True)
class Value:
    """One line of a CSV file: a quantity of a row, unrounded, in `unit`. Empty where unknown."""

    study: str
    preset: str
    overrides: str
    standin: str
    method: str
    kind: str
    """study, outside (of the study), published (not run here), level (chance, pixels)."""
    train: str
    test: str
    state: str
    quantity: str
    unit: str
    better: str
    status: str
    """measured, failed, missing, or published where the row is not run here."""
    mean: float | None = None
    spread: float | None = None
    best: float | None = None
    seeds: int = 0
    seeds_planned: int = 0
    published: float | None = None
    at_chance: bool | None = None
    errors_above_chance: float | None = None
    """Of mAP: by how many standard errors, over queries, it is above chance; mean of the seeds."""
    device: str = ""
    commit: str = ""
    left_out: str = ""
    """Which gallery images did not count for a query: of its person and camera, itself, of its sequence; or nothing."""


@dataclass(frozen=True)
class DifferenceValue:
    """One line of a CSV file of differences: method minus other, in percent points, unrounded."""

    study: str
    preset: str
    overrides: str
    standin: str
    method: str
    train: str
    other: str
    other_train: str
    test: str
    """Empty for mAcc, which is over all test sets."""
    quantity: str
    unit: str
    seed: str
    """A number, or "all"."""
    seeds: int
    difference: float
    low: float
    high: float
    """Ends of the 95 % interval: of one seed that of the persons drawn, of several that of persons and trainings."""
    p: float
    p_holm: float
    """Corrected for all pairs of the table with the same quantity, test set and seed."""
    persons: int
    queries: int


@dataclass(frozen=True)
class ShortlistValue:
    """One line of a CSV file of shortlists: a head behind a vector, at one length; accuracies are shares of 1."""

    preset: str
    standin: str
    method: str
    run: str
    by: str
    """The run whose vectors choose."""
    train: str
    seed: int
    test: str
    queries: int
    gallery: int
    length: int
    """Gallery images that the head scores; 0 is the vector alone."""
    mAP: float
    rank1: float
    pairs_per_query: int
    queries_per_second: float
    timed_queries: int
    bytes_per_image: int
    nothing_lost: bool
    device: str
    threads: int
    commit: str


@dataclass(frozen=True)
class Table:
    """A table with all that has to be said of it. `banner` warns of stand-in data, None for real data."""

    slug: str
    title: str
    banner: str | None
    columns: tuple[Column, ...]
    rows: tuple[tuple[Text, ...], ...]
    values: tuple[Value, ...] | tuple[DifferenceValue, ...] | tuple[ShortlistValue, ...]
    footnotes: tuple[str, ...] = ()
    """Numbered from 1; entries refer to them by number."""
    notes: tuple[str, ...] = ()
    explained: tuple[str, ...] = ()
    """What else stands in the table and has to be explained, besides the signs that all tables share."""
    value_kind: type[Value] | type[DifferenceValue] | type[ShortlistValue] = Value

    @property
    def legend(self) -> list[str]:
        """The signs that the table uses, and what else it shows, explained."""
        texts = [text for row in self.rows for text in row]
        marks = {mark for text in texts for mark in text.marks}
        used = [
            sign
            for sign in LEGEND
            if sign in marks or any(sign == text.body or f" {sign}" in text.body for text in texts)
        ]
        return [*(f"{sign} {LEGEND[sign]}" for sign in used), *self.explained]


@dataclass
class Footnotes:
    """Numbers footnotes in the order of their first use; the same text keeps its number."""

    texts: list[str] = field(default_factory=list)

    def mark(self, text: str) -> str:
        """The number of a footnote."""
        if text not in self.texts:
            self.texts.append(text)
        return str(self.texts.index(text) + 1)
