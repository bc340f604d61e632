"""A CSV file that describes a set, with the columns of Open Metric Learning: read, and its form checked.

A line is an image: `label` (who or what it shows), `path` (relative to the file's folder), `split` (train, validation
or test), `is_query` and `is_gallery`; optionally `camera`, `sequence`, `category` and a box, as `x_1`, `y_1`, `x_2`,
`y_2` or as `bbox` (x, y, width, height). Lines before the header that begin with # are comments.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.config import nearest
from bench.data.dataset import UNKNOWN, Box
from bench.errors import UserError

if TYPE_CHECKING:
    from pandas import DataFrame, Series

OTHER_NAMES = {
    "label": ("identity", "pid", "person", "person_id"),
    "path": ("filepath", "file_path", "image", "image_path", "filename"),
    "split": (),
    "is_query": (),
    "is_gallery": (),
    "camera": ("camid", "camera_id", "cam", "position"),
    "sequence": ("sequence_id", "tracklet"),
    "category": (),
}
"""What a column is called, and what it may be called as well; letters may be large or small."""
EDGES = ("x_1", "y_1", "x_2", "y_2")
BBOX = "bbox"

SPLITS = {
    **{"train": "train", "training": "train", "test": "test"},
    **{"validation": "validation", "val": "validation", "valid": "validation"},
}
TRUE, FALSE = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no", "", "nan", "none")

_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?")
_COORDINATE = r"[-+]?\d+(?:\.\d+)?"
_BBOX = re.compile(rf"[\[(]?\s*({_COORDINATE})" + rf"[\s,;]+({_COORDINATE})" * 3 + r"\s*[\])]?")


@dataclass(frozen=True)
class OwnTable:
    """The lines of a file, column by column; `line` numbers them as an editor does.

    Persons, cameras and sequences count from 0 in the order of their labels: of numbers where all are whole numbers,
    else of texts. `splits` are train, validation or test.
    """

    file: Path
    content: bytes
    line: Sequence[int]
    path: Sequence[str]
    person: Sequence[int]
    labels: Sequence[str]
    """The label of each person."""
    camera: Sequence[int]
    sequence: Sequence[int]
    box: Sequence[Box | None]
    split: Sequence[str]
    query: Sequence[bool]
    gallery: Sequence[bool]


def read_table(file: Path) -> OwnTable:
    """Read a file and check its form; images are not looked for.

    Raises UserError, which names the line, for a file that cannot be read, a column that lacks, and values of another
    form or of mixed forms.
    """
    content = _bytes(file)
    frame, first = _frame(file, content)
    lines = range(first, first + len(frame))

    def refuse(bad: Series, column: str, why: str) -> None:
        if bad.any():
            at = int(bad.to_numpy().argmax())
            raise UserError(f"{file}, line {lines[at]}: {column} {frame[column].iloc[at]!r} {why}")

    for column in frame:
        quoted = frame[column].str.startswith(("'", '"')) | frame[column].str.endswith(("'", '"'))
        refuse(quoted, column, "has a quotation mark of its own: quote all values in one way, with double marks")
    for column in ("label", "path", "split"):
        refuse(frame[column] == "", column, "is empty")
    split = frame["split"].str.lower().map(SPLITS)
    refuse(split.isna(), "split", "is none of train, validation, test")
    is_test = split != "train"
    sides = [_flags(file, frame, column, is_test, refuse) for column in ("is_query", "is_gallery")]
    person, labels = _numbered(file, "label", frame["label"])
    camera, sequence = (_optional(file, column, frame) for column in ("camera", "sequence"))
    return OwnTable(
        file=file,
        content=content,
        line=lines,
        path=frame["path"].tolist(),
        person=person,
        labels=labels,
        camera=camera,
        sequence=sequence,
        box=_boxes(file, frame, lines, refuse),
        split=split.tolist(),
        query=sides[0],
        gallery=sides[1],
    )


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as fault:
        raise UserError(f"the set {file} cannot be read ({fault.strerror}): give the path of a CSV file") from fault


def _frame(file: Path, content: bytes) -> tuple[DataFrame, int]:
    """The columns that are known, all as text, under their own names, and the number of the first line of values."""
    # Late: planning, which needs no more than a file's name and hash, answers at once.
    import pandas

    try:
        text = content.decode("utf-8-sig")
    except UnicodeError as fault:
        raise UserError(f"{file} is no text in UTF-8 ({fault}): save it as that") from fault
    comments = 0
    while text.startswith("#"):
        text = text.partition("\n")[2]
        comments += 1
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    found = _columns(file, [name.strip() for name in names])
    try:
        frame = pandas.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, na_filter=False, index_col=False,
            skip_blank_lines=False, usecols=[*found],
        )  # fmt: skip
    except (ValueError, pandas.errors.ParserError) as fault:
        said = str(fault).strip().rpartition("Error tokenizing data. ")[2].removeprefix("C error: ")
        raise UserError(f"{file} is no table of values between {separator!r} ({said})") from fault
    frame = frame.rename(columns={names[at]: name for at, name in found.items()})
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    while len(frame) and (frame.iloc[-1] == "").all():
        frame = frame.iloc[:-1]
    if frame.empty:
        raise UserError(f"{file} has no line below its header")
    return frame, comments + 2


def _columns(file: Path, header: Sequence[str]) -> dict[int, str]:
    """Position -> name of the columns that are known. Raises UserError for one that lacks or is there twice."""
    lower = [name.lower() for name in header]
    found: dict[int, str] = {}
    for name, others in OTHER_NAMES.items():
        there = [at for at, word in enumerate(lower) if word == name] or [
            at for at, word in enumerate(lower) if word in others
        ]
        if len(there) > 1:
            raise UserError(f"{file}: the columns {' and '.join(header[at] for at in there)} could each be {name!r}")
        if not there and name in ("label", "path", "split"):
            also = f" (or {', '.join(others)})" if others else ""
            raise UserError(
                f"{file} lacks the column {name!r}{also}{nearest(name, header)}; it has {', '.join(header) or 'none'};"
                " `bench data template` prints an example"
            )
        found |= dict.fromkeys(there, name)
    edges = [at for at, word in enumerate(lower) if word in EDGES]
    if edges and len(edges) != len(EDGES):
        missing = next(edge for edge in EDGES if edge not in lower)
        raise UserError(f"{file} has {header[edges[0]]!r} and lacks {missing!r}: a box needs {', '.join(EDGES)}")
    boxes = [at for at, word in enumerate(lower) if word == BBOX]
    if edges and boxes:
        raise UserError(f"{file} has boxes twice, as {BBOX} and as {', '.join(EDGES)}: leave one out")
    return found | {at: lower[at] for at in (*edges, *boxes)}


Refuse = Callable[["Series", str, str], None]


def _flags(file: Path, frame: DataFrame, column: str, is_test: Series, refuse: Refuse) -> list[bool]:
    if column not in frame:
        if is_test.any():
            raise UserError(
                f"{file} lacks the column {column!r}{nearest(column, frame.columns)}, which says of the images of"
                " validation and test what they are; `bench data template` prints an example"
            )
        return [False] * len(frame)
    words = frame[column].str.lower()
    refuse(~words.isin(TRUE + FALSE), column, "is neither True nor False")
    return (words.isin(TRUE) & is_test).tolist()


def _numbered(file: Path, column: str, texts: Series) -> tuple[list[int], list[str]]:
    """The place of each label among all of them, and these in order."""
    labels = [str(label) for label in texts.unique()]
    numbers: dict[float, str] = {}
    for label in labels:
        if _NUMBER.fullmatch(label):
            other = numbers.setdefault(float(label.replace(",", ".")), label)
            if other != label:
                raise UserError(
                    f"{file}: {column} {other!r} and {column} {label!r} are one number written in two ways, and would"
                    " be two: write it in one"
                )
    whole = all(label.isascii() and label.isdecimal() for label in labels)
    labels.sort(key=int if whole else None)
    place = {label: at for at, label in enumerate(labels)}
    return texts.map(place).tolist(), labels


def _optional(file: Path, column: str, frame: DataFrame) -> list[int]:
    """Numbers of a column that may lack, as may its values."""
    if column not in frame:
        return [UNKNOWN] * len(frame)
    texts = frame[column]
    known = texts[texts != ""]
    numbers = iter(_numbered(file, column, known)[0])
    return [next(numbers) if there else UNKNOWN for there in (texts != "").tolist()]


def _boxes(file: Path, frame: DataFrame, lines: Sequence[int], refuse: Refuse) -> list[Box | None]:
    if BBOX in frame:
        return _from_bbox(file, frame[BBOX].tolist(), lines)
    if EDGES[0] not in frame:
        return [None] * len(frame)
    empty = (frame[list(EDGES)] == "").all(axis=1)
    for edge in EDGES:
        comma = frame[edge].str.fullmatch(r"[-+]?\d+,\d+")
        refuse(comma, edge, "has a decimal comma: write a point")
        refuse(~frame[edge].str.fullmatch(_COORDINATE) & ~empty, edge, "is no number of pixels")
    kept = [frame.loc[~empty, edge].astype(float).round().astype(int).tolist() for edge in EDGES]
    made = zip(*kept, strict=True)
    boxes = [None if none else next(made) for none in empty.tolist()]
    _check_boxes(file, boxes, lines)
    return boxes


def _from_bbox(file: Path, texts: Sequence[str], lines: Sequence[int]) -> list[Box | None]:
    boxes: list[Box | None] = []
    for text, line in zip(texts, lines, strict=True):
        match = _BBOX.fullmatch(text)
        if text and not match:
            raise UserError(f"{file}, line {line}: {BBOX} {text!r} is not x, y, width and height in pixels")
        if match is None:
            boxes.append(None)
            continue
        left, top, width, height = map(float, match.groups())
        boxes.append((round(left), round(top), round(left + width), round(top + height)))
    _check_boxes(file, boxes, lines)
    return boxes


def _check_boxes(file: Path, boxes: Sequence[Box | None], lines: Sequence[int]) -> None:
    for box, line in zip(boxes, lines, strict=True):
        if box is not None and (box[2] <= box[0] or box[3] <= box[1]):
            raise UserError(
                f"{file}, line {line}: the box from {box[0]}, {box[1]} to {box[2]}, {box[3]} is empty: x_2 must be"
                " above x_1, and y_2 above y_1"
            )
