"""What has to be said below a table: runs that differ in what should be equal, failures, runs left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.data.sources import JOIN
from bench.journal.record import Record
from bench.progress import sentence
from bench.report.board import Board, Row
from bench.report.published import published_of
from bench.report.titles import letters, set_title


@dataclass(frozen=True)
class Trait:
    """Something that the runs of one table should have in common, and what follows if they do not."""

    name: str
    of: Callable[[Record], str]
    warning: str


def device(record: Record) -> str:
    """The device of a run; for a CPU with its model and threads."""
    where = record.provenance
    if not where.device.lower().startswith("cpu"):
        return where.device
    threads = f"{record.config.threads} threads" if record.config.threads != 1 else "1 thread"
    return f"CPU, {threads} ({where.cpu})" if where.cpu else f"CPU, {threads}"


def commit(record: Record) -> str:
    """The commit of a run, shortened, with a sign for uncommitted changes."""
    return record.provenance.commit[:8] + (" with uncommitted changes" if record.provenance.dirty else "")


TRAITS = (
    Trait("device", device, "Time, memory and pairs/s of different devices cannot be compared"),
    Trait(
        "runs at a time", lambda record: str(record.provenance.jobs), "runs that share a machine slow one another down"
    ),
    Trait("precision", lambda record: record.config.training.precision, "times and accuracies may differ by it"),
    Trait(
        "float32 products",
        lambda record: "TF32" if record.config.tf32 else "float32",
        "times differ by it, and numbers by rounding",
    ),
    Trait(
        "matching operator",
        lambda record: record.provenance.kernel or "unknown",
        "times differ by it, and numbers by rounding",
    ),
    Trait("commit", commit, "the rows were not all made by the same code"),
    Trait("torch", lambda record: record.provenance.versions.get("torch", "?"), "numbers may differ by it"),
)
"""Compared over all rows of a table."""

DATA_TRAITS = (
    Trait("training data", lambda record: record.fingerprint[:8], "the rows did not learn from the same images"),
    Trait("release", lambda record: record.release, "the rows did not learn from the same images"),
)
"""Compared among the rows of one training set."""


LEFT_OUT = {
    "itself": "each query is compared with all other images, itself left out",
    "sequence": "images of the query's own sequence are left out",
}
"""What is left out of a query's ranking, beside the person's images by the query's own camera."""


def notes(board: Board) -> list[str]:
    """Notes on the whole of a board's tables: provenance, differences, and the paper's numbers."""
    lines = []
    if any(row.records for row in board.rows):
        lines += [_common(board), *(_differences(trait, board, board.rows, "") for trait in TRAITS)]
    for train in board.trains:
        rows = [row for row in board.rows if row.train == train]
        lines += [_differences(trait, board, rows, f" ({train})") for trait in DATA_TRAITS]
        lines += [_test_data(board, rows, test) for test in board.asked_tests(train)]
    lines += [line for test in board.tests for line in (_splits(board, test), _left_out(board, test))]
    lines.append(_nearest_to_chance(board))
    if any(record.provenance.dirty for row in board.rows for record in row.records):
        lines.append("Runs with uncommitted changes cannot be reproduced from their commit.")
    published = published_of(board.study)
    source = f"{published.by.capitalize()}: {published.source}." if published.source else ""
    lines += [_letters(board), source, *published.notes]
    return [*filter(None, lines)]


def failures(row: Row) -> list[str]:
    """One sentence for each way in which runs of a row failed, with the seeds."""
    reasons: dict[str, list[int]] = {}
    for record in row.failures:
        failure = record.failure
        text = f"failed in {failure.phase}: {failure.reason}" if failure else "failed for an unknown reason"
        reasons.setdefault(sentence(text), []).append(record.config.seed)
    return [f"{_seeds(seeds)} {reason}" for reason, seeds in reasons.items()]


def unfinished(row: Row) -> list[str]:
    """A sentence on the seeds that are trained and have not come to the end of their tests."""
    found = [record.config.seed for record in row.unfinished]
    return [f"{_seeds(found)} trained, without all tests yet; `bench run` again goes on."] if found else []


def skipped_steps(row: Row) -> list[str]:
    """How many training steps of a row's runs changed nothing."""
    skipped, steps = (sum(getattr(record, name) for record in row.records) for name in ("skipped_steps", "steps"))
    if not skipped:
        return []
    return [f"{skipped:,} of {steps:,} training steps were skipped, since their gradient overflowed in fp16."]


def left_out(row: Row) -> list[str]:
    """How many runs of a row's cells are not shown, and why."""
    counts = Counter(item.reason for item in row.left_out)
    if not counts:
        return []
    parts = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    total = sum(counts.values())
    return [f"{total} more {'run' if total == 1 else 'runs'} of the same cells left out: {parts}."]


def _common(board: Board) -> str:
    """What all runs of the table share."""
    shared = []
    for trait in TRAITS:
        values = {trait.of(record) for row in board.rows for record in row.records}
        shared += [f"{trait.name} {value}" for value in values if len(values) == 1]
    return f"All runs: {'; '.join(shared)}." if shared else ""


def _differences(trait: Trait, board: Board, rows: Sequence[Row], where: str) -> str:
    """A warning that names the rows, if a trait differs among the runs of `rows`."""
    values = {board.name_of(row): [trait.of(record) for record in row.records] for row in rows if row.records}
    groups = _groups(values)
    return f"Rows differ in {trait.name}{where}: {groups}; {trait.warning}." if groups else ""


def _test_data(board: Board, rows: Sequence[Row], test: str) -> str:
    values = {board.name_of(row): [result.fingerprint[:8] for result in row.results(test)] for row in rows}
    groups = _groups({name: found for name, found in values.items() if found})
    return f"Rows differ in test data ({test}): {groups}; their accuracies cannot be compared." if groups else ""


def _splits(board: Board, test: str) -> str:
    """On which splits a small set was tested, "" for other sets."""
    results = [result for row in board.rows for result in row.results(test) if result.splits]
    sources = dict.fromkeys(result.split_source for result in results)
    if not sources:
        return ""
    count = len({split.split for split in results[0].splits})
    ways = ", each both ways" if any(split.swapped for split in results[0].splits) else ""
    return f"{set_title(test)}: mean over {count} split{'s' * (count > 1)}{ways}: {'; or '.join(sources)}."


def _left_out(board: Board, test: str) -> str:
    """What counts for a query in a test, where it is not all but the person's images by the same camera."""
    rules = {tuple(result.left_out) for row in board.rows for result in row.results(test)}
    if not rules - {("camera",)}:
        return ""
    said = []
    for rule in sorted(rules):
        parts = [LEFT_OUT[name] for name in rule if name != "camera"]
        if "camera" not in rule:
            parts.insert(0, "cameras are unknown, so no image is left out for the query's camera")
        said.append("; ".join(parts) or "the query's own camera is left out as usual")
    return f"{set_title(test)}: {'; in other runs '.join(said)}."


def _nearest_to_chance(board: Board) -> str:
    """Which row learned least, on stand-in data, where presets are so short that one might not have learned at all."""
    if board.setting.standin_text is None:
        return ""
    found = [
        (errors, board.name_of(row), test)
        for row in board.rows
        for test in board.tests
        if (errors := row.errors_above_chance(test)) is not None
    ]
    if not found:
        return ""
    errors, name, test = min(found)
    return f"Nearest to chance: {name} on {set_title(test)}, whose mAP is {errors:.1f} standard errors above it."


def _letters(board: Board) -> str:
    """What the letters stand for by which a board names its sources, "" if it uses none."""
    pairs = board.study.layout == "sources"
    short = [train for train in board.trains if pairs or (len(board.trains) > 1 and JOIN in train)]
    tests = board.tests if pairs else ()
    return f"{letters([*short, *tests])}." if short else ""


def _groups(values: Mapping[str, Sequence[str]]) -> str:
    """The values with the rows that have them, "" if there is only one."""
    names: dict[str, list[str]] = {}
    for name, found in values.items():
        for value in dict.fromkeys(found):
            names.setdefault(value or "unknown", []).append(name)
    if len(names) < 2:
        return ""
    return "; ".join(
        f"{value} ({'some seeds of all rows' if len(having) == len(values) else ', '.join(having)})"
        for value, having in names.items()
    )


def _seeds(seeds: Iterable[int]) -> str:
    numbers = sorted(seeds)
    return f"{'Seed' if len(numbers) == 1 else 'Seeds'} {', '.join(map(str, numbers))}"
