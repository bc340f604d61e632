"""`bench match` and `bench search`: scores of a trained run for pictures of one's own."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from bench.api import load
from bench.data.sources import load_source
from bench.testing.different_persons import scores_of_different_persons

pytestmark = pytest.mark.slow

RUN = "qaconv-msmt-s0"


@pytest.fixture(scope="module")
def market(tiny_data):
    return load_source("market", tiny_data / "standin-tiny", None)


@pytest.fixture(scope="module")
def folder(market, tmp_path_factory):
    """A folder of six pictures, one of them below it, and with a name that is HTML."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "more").mkdir()
    names = ("0.jpg", "1.jpg", "2.jpg", "3.jpg", "<b>4&.jpg", "more/5.jpg")
    for name, record in zip(names, market.gallery, strict=False):
        shutil.copy(record.path, place / name)
    return place


@pytest.fixture
def match(bench, finished, tiny_data):
    return lambda *words: bench("match", *words, "--results", finished, "--data-dir", tiny_data)


@pytest.fixture
def search(bench, finished):
    return lambda *words: bench("search", *words, "--results", finished)


def test_match_prints_the_score_and_the_share_of_different_persons_that_score_as_high(match, market, folder, finished):
    done = match(folder / "0.jpg", folder / "1.jpg", "--run", RUN, "--test", "market", "--sample", "12", "--seed", "3")
    assert done.code == 0, done.err
    matcher = load(RUN, results=finished)
    score = matcher.match(folder / "0.jpg", folder / "1.jpg").item()
    assert f"score {score:.4f}" in done.out
    as_high, pairs = map(int, re.search(r"\((\d+) of (\d+) pairs of Market-1501", done.out).groups())
    images = np.stack([np.asarray(image) for image in _decoded(matcher, market)])
    others = scores_of_different_persons(matcher.network, market, images, matcher.record.config, 12, 3)
    assert (as_high, pairs) == (int((others >= score).sum()), len(others))
    assert "seed 3" in done.out and "tiny" in done.out  # stand-in data are told


def _decoded(matcher, market):
    from bench.data.images import decode

    size = matcher.record.config.input
    return [decode(record.path, size.height, size.width) for record in market.test_images]


def test_a_sample_holds_no_pair_of_one_person_and_is_the_seeds(market, finished):
    matcher = load(RUN, results=finished)
    images = np.stack(_decoded(matcher, market))
    config = matcher.record.config
    first, again, other = (
        scores_of_different_persons(matcher.network, market, images, config, 9, seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not (len(first) == len(other) and np.array_equal(first, other))
    whole = scores_of_different_persons(matcher.network, market, images, config, 10_000, 0)
    same = sum(query.person == image.person for query in market.query for image in market.gallery)
    assert len(whole) == len(market.query) * len(market.gallery) - same


def test_match_without_the_data_tells_the_score_and_why_there_is_no_chance(bench, finished, folder, tmp_path):
    words = ("match", folder / "0.jpg", folder / "1.jpg", "--run", RUN, "--results", finished, "--data-dir", tmp_path)
    done = bench(*words)
    assert done.code == 0 and "score" in done.out and "is not known" in done.out
    assert bench(*words, "--test", "market").code == 2


def test_search_prints_the_best_first_and_writes_a_page_of_its_own(search, folder, finished, tmp_path):
    page = tmp_path / "found.html"
    done = search(folder / "2.jpg", folder, "--run", RUN, "--top", "5", "--html", page)
    assert done.code == 0, done.err
    rows = re.findall(r"(?m)^ +(\d+) +(-?[\d.]+) +(\S+)$", done.out)
    assert [rank for rank, _, _ in rows] == ["1", "2", "3", "4", "5"]
    scores = [float(score) for _, score, _ in rows]
    assert scores == sorted(scores, reverse=True)
    matcher = load(RUN, results=finished)
    for _, score, name in rows:
        assert float(score) == pytest.approx(matcher.match(folder / "2.jpg", folder / name).item(), abs=1e-4)
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 6 and "<script" not in html and "http" not in html


def test_names_are_escaped_on_the_page(search, folder, tmp_path):
    assert search(folder / "<b>4&.jpg", folder, "--run", RUN, "--html", tmp_path / "found.html").code == 0
    html = (tmp_path / "found.html").read_text()
    assert "&lt;b&gt;4&amp;.jpg" in html and "<b>4" not in html


def test_search_takes_a_shortlist_of_another_run(search, folder):
    done = search(folder / "2.jpg", folder, "--run", RUN, "--shortlist", "2", "--by", "vit-msmt-s0")
    assert done.code == 0 and "chose 2" in done.out
    assert len(re.findall(r"(?m)^ +\d+ +-?[\d.]+ ", done.out)) == 2


def test_wrong_use_is_one_sentence(match, search, folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("no picture")
    good = folder / "0.jpg"
    for done, reason in (
        (match(good, tmp_path / "gone.jpg", "--run", RUN), "gone.jpg"),
        (match(good, tmp_path / "text.jpg", "--run", RUN), "text.jpg"),
        (match(good, good, "--run", "nobody"), "no run 'nobody'"),
        (match(good, good, "--run", RUN, "--sample", "0"), "at least 1"),
        (match(good, good, "--run", RUN, "--test", "msmt_all"), "for training only"),
        (search(good, tmp_path / "empty", "--run", RUN), "no picture in"),
        (search(good, good, "--run", RUN), "is no folder"),
        (search(good, tmp_path, "--run", RUN), "text.jpg"),
        (search(good, folder, "--run", RUN, "--top", "0"), "at least 1"),
        (search(good, folder, "--run", RUN, "--shortlist", "3"), "--by"),
        (search(tmp_path / "gone.jpg", folder, "--run", RUN), "gone.jpg"),
    ):
        assert done.code == 2 and reason in done.err and "Traceback" not in done.err, done.err
        assert done.out == ""


@pytest.mark.parametrize("command", ["match", "search"])
def test_the_help_shows_an_example(bench, command):
    done = bench(command, "--help")
    assert done.code == 0 and f"bench {command}" in done.out.partition("examples:")[2]
