"""A trained run in a program: it scores as its test did, whatever its images come as, and finds the best."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from places import ROOT

from bench.api import load, pictures_in
from bench.data.cache import load_images
from bench.data.sources import load_source
from bench.errors import UserError
from bench.journal.lists import read_lists
from bench.journal.record import CHECKPOINT, cell_folders, read_record
from bench.progress import QUIET
from bench.stopwatch import Stopwatch
from bench.testing.scoring import Scorer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def matcher(finished):
    return load("qaconv-msmt-s0", results=finished)


@pytest.fixture(scope="module")
def market(tiny_data):
    return load_source("market", tiny_data / "standin-tiny", None)


@pytest.fixture(scope="module")
def paths(market):
    return [record.path for record in market.gallery][:12]


@pytest.fixture(scope="module")
def gallery(matcher, paths):
    return matcher.encode(paths)


def test_every_row_scores_as_its_test_did(finished, market, tmp_path):
    for folder in cell_folders(finished):
        loaded = load(folder)
        config = loaded.record.config
        images = load_images(market, "test", config.input.height, config.input.width, tmp_path, 1, QUIET)
        query, gallery = (np.array(side, np.int64) for side in market.sides)
        scorer = Scorer(loaded.network, images, query, gallery, config.evaluation, Stopwatch(torch.device("cpu")))
        tested = torch.cat([scores.clone() for _, scores in scorer.chunks()])
        found = loaded.match([record.path for record in market.query], [record.path for record in market.gallery])
        assert (found - tested).abs().max() <= 1e-6, folder.name


def test_a_score_is_that_of_the_stored_ranked_list(finished, market, matcher):
    lists = read_lists(finished / "runs" / matcher.record.cell, "market")
    for query in lists.queries[:3]:
        for entry in lists.of(int(query))[:3]:
            score = matcher.match(market.query[query].path, market.gallery[entry.gallery].path).item()
            assert score == pytest.approx(entry.score, abs=1e-6)


def test_a_run_is_named_by_its_folder_its_checkpoint_its_id_or_the_start_of_that(finished, matcher, paths, monkeypatch):
    folder = finished / "runs" / matcher.record.cell
    monkeypatch.setenv("BENCH_RESULTS", str(finished))
    for word in (folder, folder / CHECKPOINT, str(folder), folder.name, folder.name[:-3]):
        assert load(word).record.weights_hash == read_record(folder).weights_hash
    with pytest.raises(UserError, match="no run 'qaconw"):
        load("qaconw")


def test_images_are_paths_pillow_images_arrays_or_tensors(matcher, paths):
    expected = matcher.encode(paths[:2])
    opened = [Image.open(path).convert("RGB") for path in paths[:2]]
    arrays = [np.asarray(image) for image in opened]
    tensors = [torch.from_numpy(array.copy()).permute(2, 0, 1) for array in arrays]
    given = [[str(path) for path in paths[:2]], opened, arrays, tensors, [tensor / 255 for tensor in tensors]]
    if arrays[0].shape == arrays[1].shape:
        given += [np.stack(arrays), torch.stack(tensors)]
    for images in [*given, [opened[0], arrays[1]]]:
        for name, tensor in matcher.encode(images).items():
            assert torch.equal(tensor, dict(expected.items())[name])


def test_encoding_in_blocks_changes_nothing(matcher, paths, gallery):
    small = matcher.record.config.evaluation.model_copy(update={"batch": 5})
    config = matcher.record.config.model_copy(update={"evaluation": small})
    blocks = type(matcher)(matcher.network, matcher.record.model_copy(update={"config": config})).encode(paths)
    for (_, one), (_, other) in zip(blocks.items(), gallery.items(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_an_image_alone_is_encoded_as_among_others(matcher, paths, gallery):
    for number, path in enumerate(paths):
        for (_, alone), (_, among) in zip(matcher.encode(path).items(), gallery.items(), strict=True):
            assert torch.allclose(alone[0], among[number], rtol=0, atol=1e-6)


def test_one_image_has_no_axis(matcher, paths):
    assert matcher.match(paths[0], paths[1]).shape == ()
    assert matcher.match(paths[0], paths[:3]).shape == (3,)
    assert matcher.match(paths[:2], paths[0]).shape == (2,)
    assert matcher.match(paths[:2], paths[:3]).shape == (2, 3)


def test_a_search_finds_the_highest_scores(matcher, paths, gallery, monkeypatch):
    scores = matcher.match(paths[:3], gallery)
    order = scores.argsort(dim=1, descending=True, stable=True)
    monkeypatch.setattr("bench.testing.searching.BLOCK_BYTES", 5 * gallery.bytes_per_image)
    monkeypatch.setattr("bench.testing.searching.QUERIES", 2)
    found = matcher.search(paths[:3], gallery, top=4)
    assert torch.equal(found.position, order[:, :4])
    assert torch.allclose(found.score, scores.gather(1, order[:, :4]), atol=1e-6)
    assert matcher.search(paths[0], gallery, top=100).position.shape == (1, len(paths))


def test_of_equal_scores_the_first_comes_first(matcher, paths):
    found = matcher.search(paths[0], [paths[1]] * 5, top=3)
    assert found.position.tolist() == [[0, 1, 2]]


def test_a_shortlist_is_the_best_of_the_cheap_matcher_in_the_order_of_the_head(finished, matcher, paths, gallery):
    cheap = load("vit-msmt-s0", results=finished)
    chosen = cheap.search(paths[:2], paths, top=5).position
    scores = matcher.match(paths[:2], gallery)
    found = matcher.search(paths[:2], paths, top=3, shortlist=5, by=cheap)
    for row in range(2):
        expected = chosen[row][scores[row, chosen[row]].argsort(descending=True)][:3]
        assert found.position[row].tolist() == expected.tolist()
    prepared = matcher.search(paths[:2], gallery, top=3, shortlist=5, by=cheap, by_gallery=cheap.encode(paths))
    assert torch.equal(prepared.position, found.position) and torch.equal(prepared.score, found.score)
    whole = matcher.search(paths[:2], gallery, top=3, shortlist=len(paths), by=cheap)
    assert torch.equal(whole.score, matcher.search(paths[:2], gallery, top=3).score)


def test_saved_representations_are_mapped_and_score_the_same(matcher, paths, gallery, tmp_path, finished):
    matcher.save(gallery, tmp_path / "gallery.pt")
    opened = matcher.open(tmp_path / "gallery.pt")
    assert torch.equal(matcher.match(paths[0], opened), matcher.match(paths[0], gallery))
    assert str(tmp_path / "gallery.pt") in Path("/proc/self/maps").read_text()
    with pytest.raises(UserError, match="another network"):
        load("vit-msmt-s0", results=finished).open(tmp_path / "gallery.pt")


def test_a_file_of_another_form_is_refused(matcher, tmp_path):
    (tmp_path / "text.pt").write_text("no tensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    for name, reason in (("text.pt", "`save` wrote"), ("other.pt", "`save` wrote"), ("gone.pt", "no file")):
        with pytest.raises(UserError, match=reason):
            matcher.open(tmp_path / name)


def test_a_folder_is_its_pictures_in_order(paths, tmp_path):
    (tmp_path / "below").mkdir()
    for number, place in enumerate(("b.png", "a.png", "below/c.png")):
        shutil.copy(paths[number], tmp_path / place)
    (tmp_path / "notes.txt").write_text("no picture")
    assert [str(path.relative_to(tmp_path)) for path in pictures_in(tmp_path)] == ["a.png", "b.png", "below/c.png"]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "no images"),
        ("gone.png", "gone.png"),
        (np.zeros((4, 4, 3), np.float32), "of uint8"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \[H, W, 3\]"),
        (torch.full((3, 4, 4), 2.0), "from 0 to 1"),
        (torch.full((3, 4, 4), float("nan")), "from 0 to 1"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), r"shape \[3, H, W\]"),
        ([7], "not int"),
        (Image.new("F", (4, 4)), "mode F"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_with_the_reason(matcher, images, reason):
    with pytest.raises(UserError, match=reason):
        matcher.encode(images)


def test_arguments_that_do_not_go_together_are_refused(matcher, paths, gallery):
    for arguments, reason in (
        ({"top": 0}, "at least 1"),
        ({"shortlist": 5}, "needs both"),
        ({"shortlist": 5, "by": matcher}, "by_gallery"),
        ({"shortlist": 5, "by": matcher, "by_gallery": gallery[:6]}, "holds 6 images"),
    ):
        with pytest.raises(UserError, match=reason):
            matcher.search(paths[0], gallery, **arguments)


def test_the_example_of_the_readme_runs(finished, paths, tmp_path, monkeypatch):
    code = next(
        code for code in re.findall(r"(?s)```python\n(.*?)```", (ROOT / "README.md").read_text()) if "bench.api" in code
    )
    (tmp_path / "gallery").mkdir()
    shutil.copy(paths[0], tmp_path / "a.jpg")
    shutil.copy(paths[1], tmp_path / "b.jpg")
    for number, path in enumerate(paths):
        shutil.copy(path, tmp_path / "gallery" / f"{number}.jpg")
    monkeypatch.setenv("BENCH_RESULTS", str(finished))
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(code, names)
    assert isinstance(names["score"], float)
    assert names["found"].position.shape == (1, 10)
