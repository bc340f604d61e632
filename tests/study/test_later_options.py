"""Options that a head has got since runs were made: at their defaults they are in no run's configuration."""

from __future__ import annotations

import pytest

import variants
from bench.report.board import Row as Line
from bench.report.entries import varying_options
from bench.study.definition import Row, load_preset, load_study
from bench.study.plan import plan
from variants import HeadError

HEAD = '''
from variants._base import Head

class Mine(Head):
    """A head of one's own."""
    {declared}
    def __init__(self, feature_shape, *, layers=2, fresh=False):
        super().__init__(feature_shape)
'''


def options(**asked: object) -> dict[str, object]:
    [cell] = plan(load_study("table2"), load_preset("tiny"), {"options": asked}, ["Transformer-Cat"], seeds=[0])
    return cell.config.options


def test_a_run_is_the_same_whether_the_later_option_is_left_out_or_said_aloud_and_another_where_it_is_changed():
    assert variants.describe("transformer_cat").later == ("norm_first", "pooling")
    assert options() == options(norm_first=False, pooling="class")
    assert "norm_first" not in options() and options(norm_first=True)["norm_first"] is True


def test_a_head_inherits_later_options_with_the_options():
    assert variants.describe("transformer_cross_shared").later == variants.describe("transformer_cross").later != ()


def test_a_file_may_declare_them(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(declared='later_options = ("fresh",)'))
    info = variants.describe(str(path))
    assert info.identifying({"layers": 2, "fresh": False}) == {"layers": 2}
    assert info.identifying({"layers": 2, "fresh": True}) == {"layers": 2, "fresh": True}


@pytest.mark.parametrize(
    "declared", ['later_options = ("newer",)', 'later_options = "fresh"', "later_options = names()"]
)
def test_what_names_no_options_is_refused(tmp_path, declared):
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(declared=declared))
    with pytest.raises(HeadError, match="`later_options` must be a tuple of names of Mine's options"):
        variants.describe(str(path))


def test_rows_that_differ_in_a_later_option_are_told_apart():
    study = load_study("table2")
    base = next(row for row in study.rows if row.head == "transformer_cat")
    rows = [base, Row(**{**base.model_dump(), "label": "first", "options": {**base.options, "norm_first": True}})]
    cells = plan(study.model_copy(update={"rows": rows}), load_preset("tiny"), {}, seeds=[0])
    assert len(cells) == 2
    assert varying_options([Line(cell.label, "msmt", config=cell.config) for cell in cells]) == ["norm_first"]
