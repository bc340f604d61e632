"""Studies: what rows share, what a sweep makes, and that rows of different studies that ask the same are one run."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from bench.starts import named
from bench.study.definition import Study, load_preset, load_study, study_names
from bench.study.plan import Cell, plan, request_key


def cells(study: str, preset: str | None = None) -> list[Cell]:
    return plan(load_study(study), load_preset(preset), {}, seeds=[0])


def keys(study: str, preset: str | None = None) -> dict[tuple[str, str], str]:
    return {(cell.label, cell.config.train): request_key(cell.config) for cell in cells(study, preset)}


def small_study(**changes) -> Study:
    values = {"title": "t", "published": "table2", "train": ["msmt"], "seeds": 1}
    return Study.model_validate({**values, "rows": [{"label": "a", "head": "vit", "width": 8}], **changes})


def test_a_sweep_changes_one_key_at_a_time_and_leaves_out_what_the_row_has():
    study = small_study(
        base={"options": {"layers": 3, "feedforward": 16}}, sweep={"width": [4, 8], "options.layers": [3, 5]}
    )
    made = [(row.label, row.width, row.options) for row in study.whole_rows]
    assert made == [
        ("a", 8, {"layers": 3, "feedforward": 16}),
        ("a width=4", 4, {"layers": 3, "feedforward": 16}),
        ("a layers=5", 8, {"layers": 5, "feedforward": 16}),
    ]


def test_an_unknown_key_of_a_study_is_refused():
    with pytest.raises(ValidationError, match="colour"):
        small_study(colour="red")


@pytest.mark.parametrize("preset", [None, "demo", "tiny"])
@pytest.mark.parametrize("study", study_names())
def test_every_study_plans_under_every_preset_with_labels_of_its_own(study, preset):
    planned = cells(study, preset)
    labels = [(cell.label, cell.config.train) for cell in planned]
    assert len(labels) == len(set(labels)) and not any("," in label for label, _ in labels)
    assert all(cell.tests for cell in planned)


def test_rows_that_equal_a_row_of_another_study_share_its_runs():
    table2 = keys("table2")
    assert keys("figure2")["TransMatcher", "msmt"] == table2["TransMatcher", "msmt"]
    assert keys("figured")["N-1 encoders", "msmt"] == table2["TransMatcher", "msmt"]
    assert keys("figured")["N-1 encoders layers=1", "msmt"] == keys("figure2")["TransMatcher layers=1", "msmt"]
    assert (
        keys("appendix_c")["Transformer-Cross with shared FC", "msmt"] == table2["Transformer-Cross shared FC", "msmt"]
    )
    assert keys("single_source")["ViT", "msmt"] == table2["ViT", "msmt"]


def test_a_studys_recipe_comes_before_a_presets_and_a_rows_after_it():
    mobile = next(cell for cell in cells("tabled") if "MobileNetV2" in cell.label).config
    assert (mobile.training.epochs, mobile.training.decay_after, mobile.training.clip) == (9, 6, 32)
    assert (mobile.backbone.arch, mobile.backbone.cut) == ("mobilenet_v2", "features.13")
    tiny = next(cell for cell in cells("tabled", "tiny") if "ResNet-50" in cell.label).config
    assert tiny.training.epochs == load_preset("tiny").recipe["training"]["epochs"]
    assert tiny.backbone.arch == "resnet50" and tiny.backbone.weights == named("standin_tiny")


def test_a_study_names_its_test_sets_where_they_are_not_the_usual_ones():
    assert {cell.tests for cell in cells("protocol1")} == {("prid", "grid", "viper", "ilids")}
    left_out = {cell.config.train: cell.tests for cell in cells("protocol2")}
    assert left_out == {
        "cuhksysu+market+msmt": ("cuhk03",),
        "cuhk03+cuhksysu+market": ("msmt",),
        "cuhk03+cuhksysu+msmt": ("market",),
    }
    assert {cell.config.train: cell.tests for cell in cells("single_source")} == {
        "market": ("cuhk03", "msmt"),
        "msmt": ("cuhk03", "market"),
        "cuhk03": ("market", "msmt"),
    }
