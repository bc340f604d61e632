"""What is on the page: whose lists, which queries, which pictures; and what it says when something is not there."""

from __future__ import annotations

import base64
import io
import json
from html.parser import HTMLParser

import pytest
from made_up_runs import both, cells, run
from PIL import Image
from played_lists import LABELS, ODD, QUERIES, play

from bench.journal.record import read_records
from bench.report.collect import collect
from bench.report.page.cameras import camera_matrices
from bench.report.page.explorer import shown_tests
from bench.report.page.options import PageOptions
from bench.report.page.render import as_script_data
from bench.report.write import write_report

pytestmark = pytest.mark.slow


def explored(results):
    """The one test set of the runs below a folder, as the page sees it."""
    [test], lacking = shown_tests(collect(read_records(results), ["table2"]), results)
    assert not lacking
    return test


class Read(HTMLParser):
    """Texts of a page, its elements with their attributes, and the texts of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self.scripts = [], [], []
        self._inside = ""
        self.feed(page.read_text())

    def handle_starttag(self, tag, attributes):
        self._inside = tag
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, text):
        (self.scripts if self._inside == "script" else self.texts).append(text)

    @property
    def data(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def results(tmp_path):
    play(tmp_path, tmp_path / "data")
    return tmp_path


@pytest.fixture
def make(results, monkeypatch):
    """Write the page of the played runs, with changes to its options; the report and what the page says.

    It has no pictures of the rows, whose drawing takes most of a page's time.
    """
    monkeypatch.setattr("bench.report.figures.draw", lambda *of_a_board: {})

    def make(**changes):
        options = PageOptions(**{"data_dir": results / "data"} | changes)
        report = write_report(results, results / "out", ["table2"], ["html"], page=options)
        return report, Read(report.files[0]) if report.files else None

    return make


def test_every_list_is_shown_with_what_was_left_out_and_missed(make):
    [test] = make()[1].data["tests"]
    assert test["title"] == "Market-1501" and [head["name"] for head in test["heads"]] == list(LABELS)
    assert len(test["queries"]) == QUERIES
    names = [picture[0] for picture in test["pictures"]]
    for query in test["queries"]:
        first, second = query["under"]
        assert names[query["picture"]][:4] == names[first["entries"][1][0]][1:5]
        assert [entry[3] for entry in first["entries"]] == [2, 0, *[1] * 9]
        assert [entry[3] for entry in second["entries"]] == [2, *[1] * 10, 3]
        assert second["entries"][-1][2] == second["first"] == 12 and second["ap"] == pytest.approx(1 / 12, rel=1e-3)
    assert test["pictures"][test["queries"][0]["picture"]][1:3] == [1, 1]  # person as in the set, cameras from 1


def test_the_surest_mistake_is_that_of_the_highest_first_score_of_its_own_head(make):
    for query in make()[1].data["tests"][0]["queries"]:
        last = query["under"][1]["entries"][1][1] > 5
        assert query["under"][0]["confidence"] is None
        assert (query["under"][1]["confidence"] > 0) == last


def test_mistakes_are_counted_by_camera_pair(make, results):
    [right, wrong] = camera_matrices(0, explored(results))
    assert right.cameras == wrong.cameras == (2,)
    assert [(row.camera, row.queries, [cell.text for cell in row.cells]) for row in right.rows] == [(1, 3, ["0.0"] * 2)]
    assert [(row.camera, row.queries, [cell.text for cell in row.cells]) for row in wrong.rows] == [
        (1, 3, ["100.0"] * 2)
    ]
    cells = [attributes for tag, attributes in make()[1].elements if tag == "td" and "data-asked" in attributes]
    assert [(cell["data-asked"], cell["data-mistaken"], cell["class"]) for cell in cells] == [
        ("1", "2", "shade-0"),
        ("1", "2", "shade-5"),
    ]


def test_pictures_are_webp_and_stored_once(make, results):
    data = make()[1].data
    pictures = data["tests"][0]["pictures"]
    assert len(data["thumbnails"]) == len(set(data["thumbnails"])) == len(pictures)
    image = Image.open(io.BytesIO(base64.b64decode(data["thumbnails"][pictures[1][3]])))
    assert image.format == "WEBP" and image.size == (48, 96)


def test_without_images_no_picture_is_opened_or_stored(make, results):
    report, page = make(images="none", data_dir=results / "absent")
    assert page.data["thumbnails"] == [] and {picture[3] for picture in page.data["tests"][0]["pictures"]} == {-1}
    assert ODD in [picture[0] for picture in page.data["tests"][0]["pictures"]]
    assert "absent" not in report.text and "data:image/webp" not in report.files[0].read_text().partition("<script>")[0]


def test_pictures_that_are_gone_are_counted_and_named(make, results):
    (results / "data/market" / ODD).unlink()
    (results / "data/market/g0001_c2.png").write_bytes(b"no picture")
    report, page = make()
    assert "frames with names instead of 2 pictures; the first: cannot read the image" in report.text
    assert any("2 pictures could not be read when this page was made" in text for text in page.texts)
    assert [picture[3] for picture in page.data["tests"][0]["pictures"]].count(-1) == 2


def test_an_absent_data_folder_is_named_once(make, results):
    report, page = make(data_dir=results / "absent")
    assert report.text.count("there is no folder") == 1 and "--data-dir" in report.text
    assert page.data["thumbnails"] == [] and not report.undrawn


def test_names_come_out_as_themselves(make):
    report, page = make()
    assert page.data["tests"][0]["pictures"][page.data["tests"][0]["queries"][0]["picture"]][0] == ODD
    text = report.files[0].read_text()
    assert "<script>alert" not in text and text.count("<script") == text.count("</script>") == 2
    assert json.loads(as_script_data("</script><!-- \u2028")) == "</script><!-- \u2028"
    assert "<" not in as_script_data("</script><!--")


def test_a_row_called_like_markup_is_no_markup(tmp_path):
    odd = "</th><script>alert(1)</script>'\"&|$x$ 😀"
    run(tmp_path, cells("ViT")[0], both((0.3, 0.2), (0.7, 0.4)), label=odd)
    report = write_report(tmp_path, tmp_path / "out", ["table2"], ["html"], page=PageOptions(tmp_path))
    page = Read(report.files[0])
    assert odd in page.texts and [tag for tag, _ in page.elements].count("script") == 1


def test_only_what_is_asked_for_is_shown_and_the_rest_is_counted(make):
    _, page = make(queries=1)
    assert len(page.data["tests"][0]["queries"]) == 1
    assert any("1 of 3 queries" in text and "2 left out" in text for text in page.texts)


def test_a_page_that_is_too_large_says_what_to_lower(make):
    size = make()[0].files[0].stat().st_size
    report, page = make(megabytes=(size - 50) / 1e6)
    assert len(page.data["tests"][0]["queries"]) < QUERIES and report.files[0].stat().st_size <= size - 50
    report, page = make(megabytes=(size - 50) / 1e6, queries=QUERIES)
    assert page is None and "--page-queries" in report.undrawn[0] and "--images none" in report.undrawn[0]
    report, page = make(megabytes=0.001)
    assert page is None and "--page-mb" in report.undrawn[0] and report.undrawn[0] in report.text


def test_the_same_runs_make_the_same_page(make):
    assert make()[0].files[0].read_bytes() == make()[0].files[0].read_bytes()


def test_a_run_without_lists_is_named_and_the_page_made_without_it(make, results):
    run(results, cells("Transformer")[0], both((0.3, 0.2), (0.7, 0.4)), name="before")
    report, page = make()
    assert "before has no ranked lists of cuhk03, market; to test it again, without training: bench run" in report.text
    assert not report.undrawn
    assert [head["name"] for head in page.data["tests"][0]["heads"]] == list(LABELS)
    assert any("Not here for want of ranked lists: 1 run" in text for text in page.texts)


def test_lists_that_are_damaged_are_named_and_the_page_made_without_them(make, results):
    (results / "runs" / "ViT-played" / "lists-market.npz").write_bytes(b"no lists")
    report, page = make()
    assert "ViT-played has no ranked lists of market; to test it again" in report.text
    assert [head["name"] for head in page.data["tests"][0]["heads"]] == [LABELS[1]]


def test_options_of_the_page_belong_to_it(bench, results):
    for words in ("--matches", "--images none", "--page-mb 3", "--page-queries 3", "--device cpu"):
        found = bench("report", "--results", results, "--format", "text", *words.split())
        assert found.code == 2 and words.split()[0] in found.err and "--format html" in found.err
    found = bench("report", "--results", results, "--format", "html", "--page-mb", "-1")
    assert found.code == 2 and "needs a number of megabytes" in found.err


def test_the_page_holds_tables_pictures_notes_and_where_they_come_from(results):
    page = Read(write_report(results, results / "out", ["table2"], ["html"], page=PageOptions(results)).files[0])
    tables = [attributes["aria-label"] for tag, attributes in page.elements if tag == "table"]
    assert any("Accuracy" in label for label in tables) and "Runs" in tables
    pictures = [attributes for tag, attributes in page.elements if tag == "img"]
    assert pictures and all(picture["src"].startswith("data:image/webp;base64,") for picture in pictures)
    assert all(attributes.get("scope") for tag, attributes in page.elements if tag == "th")
    assert "1111111111"[:8] in page.texts and any("NVIDIA H200" in text for text in page.texts)
