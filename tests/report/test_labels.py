"""Every label comes out as itself in every form: terminal, Markdown, LaTeX, CSV, pictures, names of files."""

from __future__ import annotations

import io
import re
import warnings

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from made_up_runs import both, cells, run
from matplotlib.figure import Figure

from bench.journal.record import read_records
from bench.progress import one_line
from bench.report.board import file_name
from bench.report.collect import collect
from bench.report.labels import legible
from bench.report.layout import accuracy_table
from bench.report.model import Column, Table, Text, Value
from bench.report.render import LATEX_CHARACTERS, escape_latex, notes_markdown, to_csv, to_latex, to_markdown, to_text
from bench.report.write import write_report

LABELS = (
    "$x$ costs $5",
    "$$",
    "a\nb\r\n\x1b[31mred\x07",
    "[a] ]b[",
    "*star",
    "=cmd|' /C calc'!A0",
    "+ PriorEmbed (TransMatcher)",
    "- a",
    "@sum",
    "\t=1",
    "1. first",
    "a|b\\|c \\",
    "<b>&amp;</b> ~~no~~ `code` #1 _x_",
    "--- 'quoted'' ``x`` ,,y",
    "\\input{x} %",
    "\u202egnp.exe\u2028 \udcff",
    "学习 Ünïcode ±",
    "L" * 245,
    "word " * 49,
)


def examples(check):
    for label in LABELS:
        check = example(label)(check)
    return settings(max_examples=100, deadline=None)(given(st.text(st.characters(codec=None), max_size=20))(check))


def table_of(label: str) -> Table:
    """Two rows below one that has the label, which stands in the title and a footnote too."""
    value = Value("s", "", "", "", label, "study", "msmt", "", "trained", "mAP", "%", "higher", "measured", mean=-1.5)
    rows = ((Text(label, ("1",)), Text("1.0")), (Text("[next"), Text("2.0")), (Text("last"), Text("3.0")))
    columns = (Column("Method", left=True), Column("mAP", "a set"))
    return Table("slug", f"about {label}", f"data {label}", columns, rows, (value,), (f"of {label}",), (label,))


@examples
def test_in_a_terminal(label):
    lines = to_text(table_of(label)).split("\n")
    body = lines[lines.index(next(line for line in lines if line.startswith("---"))) + 1 :][:3]
    assert " ".join(f"{one_line(label)} [1]".split()) == " ".join(body[0].removesuffix("1.0").split())
    assert body[1].startswith("[next") and body[2].startswith("last")
    assert all(letter.isprintable() for line in lines for letter in line)


@examples
def test_in_markdown(label):
    """Undone as the standard says: a backslash before punctuation makes it itself."""
    lines = to_markdown(table_of(label)).split("\n")
    body = [line for line in lines if line.startswith("|")][2:]
    assert len(body) == 3
    parts = re.split(r"(?<!\\)\|", body[0].replace("\\\\", "\x00\x00"))
    assert len(parts) == 4
    text = parts[1].strip().removesuffix("<sup>1</sup>").replace("\x00\x00", "\\\\").strip()
    assert not re.search(r"(?<!\\)[`*_\[\]<>|~&$#]", text.replace("\\\\", ""))
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text) == one_line(label).strip()
    [_, _, note, _] = notes_markdown(table_of(label)).split("\n")
    assert note.startswith("- ") and not re.match(r"([-+*]|\d+[.)])\s", note[2:]), "a list in the list"


def latex_read(text: str) -> str:
    """What LaTeX prints for a text, of the commands that tables use."""
    signs = {code: sign for sign, code in LATEX_CHARACTERS.items()}
    pattern = "|".join(re.escape(code) for code in sorted(signs, key=len, reverse=True))
    assert not re.search(r"--|''|,,|``", text), "two signs that make one"
    return re.sub(pattern + r"|\{\}", lambda found: signs.get(found[0], ""), text)


@examples
def test_in_latex(label):
    assert latex_read(escape_latex(label)) == one_line(label)
    text = to_latex(table_of(label))
    body = text[text.index("\\midrule\n") + 9 : text.index("\\bottomrule")].splitlines()
    assert len(body) == 3 and all(line.count(" & ") == 1 and line.endswith(" \\\\") for line in body)
    assert not any(re.match(r"\s*[\[*]", line) for line in body), "an argument of the line's end before"
    assert latex_read(body[0].partition("\\textsuperscript")[0]) == one_line(label)
    comments = [line for line in text.splitlines() if line.startswith("%")]
    assert len(comments) == 2 and text.count("\\begin{") == 2


@examples
def test_in_csv(label):
    text = to_csv(table_of(label))
    frame = pd.read_csv(io.BytesIO(text.encode("utf-8")), keep_default_na=False, dtype={"method": str})
    method = frame.method[0]
    assert method.removeprefix("'") == one_line(label) or method == one_line(label)
    assert not method.lstrip().startswith(("=", "+", "-", "@")), "a formula to a spreadsheet"
    assert float(frame["mean"][0]) == -1.5


@examples
def test_in_pictures(label):
    lines = legible(label).split("\n")
    assert all(len(line) <= 40 for line in lines)
    if not re.search(r"\s", label) and label.isascii():
        assert "".join(lines) == one_line(label)


def test_letters_that_the_font_lacks_are_escapes():
    assert legible("学ü±") == "\\u5b66ü±"


@examples
def test_in_names_of_files(label):
    name = file_name("table2", label)
    assert re.fullmatch(r"[A-Za-z0-9_.-]{1,130}", name) and not name.startswith(".")
    assert file_name("table2", label) != file_name("table2", f"{label}!")


@pytest.fixture
def odd_board(tmp_path):
    """A board of heads from outside with all the odd labels, of an odd preset and odd data."""
    model = cells("cosine")[0]
    for number, label in enumerate(LABELS):
        config = model.config.model_copy(update={"head": "own", "head_digest": f"{number:064}"})
        changes = {"label": label, "config": config, "preset": "../../$p$\n", "standin": "x" * 300 + "$\n[%"}
        run(tmp_path, model, both((0.3, 0.2 + number / 100), (0.7, 0.4)), name=f"run{number}", **changes)
    return tmp_path


@pytest.mark.slow
def test_a_whole_report_of_them(odd_board, monkeypatch):
    drawn = []
    save = Figure.savefig

    def see(figure, content, **how):
        drawn.append([tick.get_text() for tick in figure.axes[0].get_yticklabels()])
        save(figure, content, **how)

    monkeypatch.setattr(Figure, "savefig", see)
    monkeypatch.setattr("matplotlib.mathtext.MathTextParser.parse", lambda *_, **__: pytest.fail("read as a formula"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = write_report(odd_board, odd_board / "out", ["table2"])
    assert report.undrawn == () and {path.suffix for path in report.files} == {".md", ".tex", ".csv", ".png", ".pdf"}
    assert all(path.parent == odd_board / "out" and path.is_file() for path in report.files)
    table = accuracy_table(collect(read_records(odd_board), ["table2"])[0])
    # JSON knows no lone surrogates: records hold escapes in their place.
    stored = [label.encode("utf-8", "backslashreplace").decode() for label in LABELS]
    assert sorted(row[0].body for row in table.rows) == sorted(stored)
    assert {legible(label) for label in stored} == set(drawn[0])
