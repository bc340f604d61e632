"""The study of stand-in data that is kept in the repository, and what it says of the paper's claims.

`python tests/kept_study.py REPORT` keeps a report anew and writes the page's tables of it (CONTRIBUTING.md).
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

KEPT, PAGE = Path("results/standin"), Path("docs/standins.md")
"""Where the study is kept, and the page that tells of it."""
COSTS = ("-cost.csv", "-tradeoff.png")
"""How the names of files end that are not kept: a preset's times and memory say nothing about those at full size."""
TRAINS = {"msmt": "MSMT17", "market": "Market-1501"}
"""What was trained on, with its title."""
FILES = "single_source-demo-standin-demo-seed-0"
"""How the names of the files begin that hold all nine rows of both."""
CELL = "'"
"""What stands before a text that a spreadsheet would take for a formula."""
PARTS = "table3-demo-standin-demo-seed-0"
"""The same of Table 3, trained on MSMT17."""
FEWEST_ERRORS = 4
"""Standard errors above chance that every row is to reach on every test set."""
BELOW = ("ViT", "Transformer", "Transformer-Cat", "Transformer-Cross")
"""Rows that the paper's winner leaves behind."""


@dataclass(frozen=True)
class Claim:
    """What is claimed, what was measured of it, and whether that bears it out."""

    train: str
    text: str
    measured: str
    holds: bool


def lines_of(folder: Path, train: str, kind: str) -> list[dict[str, str]]:
    """The lines of one training set in one of the study's files of values: accuracy, differences or epochs."""
    text = (folder / f"{FILES}-{kind}.csv").read_text(encoding="utf-8")
    lines = [line for line in csv.DictReader(text.splitlines()) if line["train"] == train]
    return [line for line in lines if line.get("other_train", train) == train]


def claims(folder: Path, trains: Iterable[str] = TRAINS) -> list[Claim]:
    """The paper's claims that stand-in data can bear out, for each training set."""
    return [
        claim for train in trains for claim in (_first(folder, train), *_above(folder, train), _learned(folder, train))
    ]


def table(folder: Path, trains: Iterable[str] = TRAINS) -> str:
    """The claims in Markdown."""
    rows = [
        f"| {TRAINS[claim.train]} | {claim.text} | {claim.measured} | {'yes' if claim.holds else 'no'} |"
        for claim in claims(folder, trains)
    ]
    return "\n".join(["| trained on | claim | measured | holds |", "|---|---|---|---|", *rows])


def parts(folder: Path) -> str:
    """Table 3's rows in Markdown: mAcc with its spread over the seeds, and the paper's."""
    text = (folder / f"{PARTS}-accuracy.csv").read_text(encoding="utf-8")
    rows = []
    for line in csv.DictReader(text.splitlines()):
        if line["quantity"] == "mAcc" and line["seeds"] == "4":
            mean, spread = float(line["mean"]), float(line["spread"])
            rows.append(f"| {line['method'].removeprefix(CELL)} | {mean:.1f} ±{spread:.1f} | {line['published']} |")
    return "\n".join(["| row | measured | paper |", "|---|---|---|", *rows])


def difference(folder: Path, train: str, other: str) -> tuple[float, float, float]:
    """TransMatcher minus another row in mAcc over all seeds: value and ends of the 95 % interval."""
    for line in lines_of(folder, train, "differences"):
        if line["quantity"] == "mAcc" and line["seed"] == "all":
            found = [float(line[key]) for key in ("difference", "low", "high")]
            if (line["method"], line["other"]) == ("TransMatcher", other):
                return found[0], found[1], found[2]
            if (line["method"], line["other"]) == (other, "TransMatcher"):
                return -found[0], -found[2], -found[1]
    raise KeyError(other)


def _first(folder: Path, train: str) -> Claim:
    means = {
        line["method"]: float(line["mean"])
        for line in lines_of(folder, train, "accuracy")
        if line["quantity"] == "mAcc" and line["kind"] == "study" and line["mean"]
    }
    best = max((name for name in means if name != "TransMatcher"), key=means.__getitem__)
    value, low, high = difference(folder, train, best)
    text = "TransMatcher is first, or not told apart from the first"
    return Claim(train, text, f"{_written(value, low, high)} against {best}", value > 0 or low <= 0 <= high)


def _above(folder: Path, train: str) -> list[Claim]:
    made = []
    for other in BELOW:
        value, low, high = difference(folder, train, other)
        made.append(Claim(train, f"TransMatcher is above {other}", _written(value, low, high), low > 0))
    return made


def _learned(folder: Path, train: str) -> Claim:
    found = [
        (float(line["errors_above_chance"]), line["method"], line["test"])
        for line in lines_of(folder, train, "accuracy")
        if line["errors_above_chance"] and line["kind"] == "study" and line["state"] == "trained"
    ]
    errors, method, test = min(found)
    text = f"every row is {FEWEST_ERRORS} standard errors above chance on both test sets"
    return Claim(train, text, f"nearest: {method} on {test}, {errors:.1f}", errors >= FEWEST_ERRORS)


def _written(value: float, low: float, high: float) -> str:
    return f"{value:+.1f} ({low:+.1f}, {high:+.1f})"


def keep(report: Path, kept: Path, page: Path) -> None:
    """Put a report of the study's runs in place of the one that is kept, and its claims and parts onto the page.

    Costs are left out, and of differences those of single seeds, which are three quarters of all.
    """
    for old in (*kept.glob("*-demo-standin-demo-*"), kept / "report.md"):
        old.unlink(missing_ok=True)
    for path in sorted(report.glob("*-demo-standin-demo-*")):
        if path.suffix in (".csv", ".png") and not path.name.endswith(COSTS):
            shutil.copy(path, kept)
    for path in kept.glob("*-differences.csv"):
        head, *lines = csv.reader(path.read_text(encoding="utf-8").splitlines())
        with path.open("w", encoding="utf-8", newline="") as file:
            of_all = (line for line in lines if line[head.index("seed")] == "all")
            csv.writer(file, lineterminator="\n").writerows([head, *of_all])
    (kept / "report.md").write_text(without_costs((report / "report.md").read_text(encoding="utf-8")), encoding="utf-8")
    text = page.read_text(encoding="utf-8")
    for name, made in (("claims", table(kept)), ("parts", parts(kept))):
        block = f"<!-- {name} -->\n{made}\n<!-- end of {name} -->"
        text = re.sub(rf"<!-- {name} -->.*?<!-- end of {name} -->", lambda _, block=block: block, text, flags=re.S)
    page.write_text(text, encoding="utf-8")


def without_costs(report: str) -> str:
    """A report in Markdown without its tables and pictures of costs, and without the folder that its runs lie in."""
    report = re.sub(r"(?m)^### [^\n]*; cost$.*?(?=^###? |^!\[)", "", report, flags=re.S)
    report = re.sub(r"(?m)^!\[[^\n]*-tradeoff\.png\)\n\n?", "", report)
    return re.sub(r"(?m)^(\d+ runs) in [^\n:]*:", r"\1:", report)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), KEPT, PAGE)
