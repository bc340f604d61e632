"""Sets of one's own: a CSV file becomes a data set, or one sentence says what is wrong with it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.data import load_dataset
from bench.data.cache import load_images
from bench.data.dataset import UNKNOWN, Dataset
from bench.data.export import TEMPLATE, exported
from bench.data.own import load_own
from bench.data.own_check import check_own
from bench.data.own_names import OwnSets, is_own
from bench.data.own_table import read_table
from bench.data.sources import load_source
from bench.errors import UserError
from bench.progress import QUIET

HEADER = "label,path,split,is_query,is_gallery,camera"
ROWS = (
    "ann,p/0.png,train,,,door",
    "bob,p/1.png,train,,,hall",
    "cat,p/2.png,test,True,False,door",
    "cat,p/3.png,test,False,True,hall",
    "dan,p/4.png,test,False,True,hall",
)


def write(folder: Path, rows=ROWS, header: str = HEADER, name: str = "my.csv") -> Path:
    """A file with its pictures, 16 x 8 pixels: the left half black, the right half white."""
    (folder / "p").mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    for number in range(5):
        Image.fromarray(pixels).save(folder / "p" / f"{number}.png")
    file = folder / name
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def load(file: Path) -> Dataset:
    own = OwnSets(file.parent)
    return load_own(own.name(str(file)), own.paths)


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lines_become_images_whose_numbers_follow_their_labels(tmp_path):
    found = load(write(tmp_path))
    assert [(record.person, record.camera) for record in found.train] == [(0, 0), (1, 1)]
    assert [(record.person, record.camera) for record in found.query + found.gallery] == [(2, 0), (2, 1), (3, 1)]
    assert found.root == tmp_path and found.standin is None and found.left_out == ("camera",)


@pytest.mark.parametrize(
    "header",
    ["identity,filepath,split,is_query,is_gallery,camid", "PID,Image,Split,IS_QUERY,is_gallery,position"],
)
def test_the_usual_other_names_of_columns_are_taken(tmp_path, header):
    assert load(write(tmp_path, header=header)).gallery == load(write(tmp_path)).gallery


def test_numbers_count_in_their_order_and_other_separators_are_taken(tmp_path):
    rows = [row.replace("ann", "9").replace("bob", "10").replace("cat", "100").replace("dan", "11") for row in ROWS]
    table = read_table(write(tmp_path, [row.replace(",", ";") for row in rows], HEADER.replace(",", ";")))
    assert list(table.labels) == ["9", "10", "11", "100"] and list(table.person) == [0, 1, 3, 3, 2]


def test_without_cameras_none_is_known_and_the_test_says_so(tmp_path):
    file = write(tmp_path, [row.rpartition(",")[0] for row in ROWS], HEADER.rpartition(",")[0])
    found = load(file)
    assert {record.camera for record in found.query + found.gallery} == {UNKNOWN} and found.left_out == ()
    assert any("unknown cameras" in note for note in check_own("my", file).notes)


def test_one_against_the_rest_and_sequences(tmp_path):
    rows = [row.replace("True,False", "True,True").replace("False,True", "True,True") for row in ROWS]
    rows = [f"{row},{number // 2}" for number, row in enumerate(rows)]
    rows[4] = rows[4].replace("hall", "door")
    found = load(write(tmp_path, [row.replace("cat,p/3", "dan,p/3") for row in rows], HEADER + ",sequence"))
    assert found.one_side and found.left_out == ("camera", "itself", "sequence") and len(found.test_images) == 3


def test_boxes_are_cut_out_and_part_of_the_fingerprint(tmp_path):
    header, edges = HEADER + ",x_1,y_1,x_2,y_2", ("0,0,8,8", ",,,", "0,0,16,8", "8,0,99,8", "-5,0,8,8")
    boxed = load(write(tmp_path, [f"{row},{edge}" for row, edge in zip(ROWS, edges, strict=True)], header))
    images = load_images(boxed, "test", 8, 8, tmp_path / "cache", 1, QUIET)
    assert images[0].min() == 0 and images[0].max() == 255
    assert images[1].min() == 255 and images[2].max() == 0
    texts = ("0,0,8,8", "", "0,0,16,8", "8,0,91,8", "-5,0,13,8")
    bbox = load(write(tmp_path, [f'{row},"{text}"' for row, text in zip(ROWS, texts, strict=True)], HEADER + ",bbox"))
    assert [record.box for record in bbox.gallery] == [record.box for record in boxed.gallery]
    assert bbox.fingerprint != boxed.fingerprint != load(write(tmp_path)).fingerprint


def test_the_check_tells_of_boxes_identities_and_pictures(tmp_path):
    rows = [*ROWS, "ann,p/gone.png,test,False,True,hall"]
    edges = ("0,0,8,8", ",,,", "0,0,16,9", "50,0,60,8", "0,0,8,8", "0,0,8,8")
    file = write(
        tmp_path, [f"{row},{edge}" for row, edge in zip(rows, edges, strict=True)], HEADER + ",x_1,y_1,x_2,y_2"
    )
    report = check_own("my", file)
    assert [(split.split, split.found.images, split.found.persons, split.cameras) for split in report.splits] == [
        ("train", 2, 2, 2),
        ("query", 1, 1, 1),
        ("gallery", 3, 3, 1),
    ]
    assert any("1 identities are both in training and in test: ann" in note for note in report.notes)
    assert any("1 boxes reach beyond" in note and "line 4" in note for note in report.notes)
    assert any("1 boxes lie outside" in fault and "line 5" in fault for fault in report.faults)
    assert any("gone.png of line 7" in fault for fault in report.faults)


def test_only_the_deep_check_opens_pictures(tmp_path):
    file = write(tmp_path)
    (tmp_path / "p" / "3.png").write_bytes(b"no picture")
    assert not check_own("my", file).faults
    assert any("3.png" in fault for fault in check_own("my", file, deep_workers=1).faults)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("label,", "lable,"), ["lacks the column 'label'", "did you mean 'lable'"]),
        (lambda text: text.replace("is_query", "query"), ["lacks the column 'is_query'"]),
        (lambda text: text.replace("cat", "1", 1).replace("cat", "1.0"), ["'1'", "'1.0'", "two ways"]),
        (lambda text: text.replace("dan", "'dan'"), ["line 6", "quotation mark"]),
        (lambda text: text.replace("p/4.png", "../elsewhere/4.png"), ["elsewhere/4.png of line 6", "No such file"]),
        (lambda text: text.replace("p/4.png", "/no/where.png"), ["/no/where.png of line 6"]),
        (lambda text: "\n".join(line.replace(line.split(",")[0], "me", 1) if at else line
                                for at, line in enumerate(text.splitlines())), ["one identity only, 'me'"]),
        (lambda text: text.replace("True,False", "False,True"), ["no query", "is_query"]),
        (lambda text: text.replace("False,True", "False,False"), ["no gallery"]),
        (lambda text: text.replace("True,False", "maybe,False"), ["line 4", "'maybe'"]),
        (lambda text: text.replace("test", "exam", 1), ["line 4", "'exam'", "train, validation, test"]),
        (lambda text: text.replace("cat,p/3.png,test,False,True,hall", "cat,p/3.png,test,False,True,door"),
         ["no query can be ranked"]),
        (lambda text: text.replace("p/4.png", "p/3.png"), ["listed twice for gallery"]),
        (lambda text: text.replace("bob,", "bob,x,x,x,"), ["line 3"]),
        (lambda text: text.splitlines()[0], ["no line below its header"]),
        (lambda text: text.replace("ann", '"ann'), ["EOF inside string"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_sentence(tmp_path, change, words):
    file = write(tmp_path)
    file.write_text(change(file.read_text()))
    said = refusal(file)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ("9,0,8,8", ["line 2", "empty", "x_2 must be"]),
        ('"0,5",0,8,8', ["line 2", "decimal comma"]),
        ("a,0,8,8", ["line 2", "no number"]),
        (",0,8,8", ["line 2", "no number"]),
    ],
)
def test_boxes_that_are_none_are_refused(tmp_path, edges, words):
    rows = [f"{ROWS[0]},{edges}", *(f"{row},,,," for row in ROWS[1:])]
    said = refusal(write(tmp_path, rows, HEADER + ",x_1,y_1,x_2,y_2"))
    assert all(word in said for word in words), said


def test_a_name_is_the_stem_and_letters_of_the_content(tmp_path):
    file, other = write(tmp_path / "a"), write(tmp_path / "b", ROWS[::-1])
    own = OwnSets(tmp_path)
    names = own.name(str(file)), own.name(str(other))
    assert all(name.startswith("my@") and is_own(name) for name in names) and len({*names}) == 2
    assert own.source(f"msmt + {file}") == f"msmt+{names[0]}" and own.name("msmt") == "msmt"
    same = write(tmp_path / "c")
    with pytest.raises(UserError, match="same name and content"):
        own.name(str(same))


def test_words_of_sets_yaml_name_files_below_the_data_directory(tmp_path):
    write(tmp_path / "shop")
    (tmp_path / "sets.yaml").write_text("shop: shop/my.csv\n")
    own = OwnSets(tmp_path)
    name = own.source("shop")
    assert own.listed == ["shop"] and own.file("shop") == tmp_path / "shop" / "my.csv"
    assert name.startswith("shop@") and len(load_own(name, own.paths).gallery) == 2
    with pytest.raises(UserError, match="did you mean 'shop'"):
        own.source("shpo")
    (tmp_path / "sets.yaml").write_text("market: shop/my.csv\n")
    with pytest.raises(UserError, match="cannot name a set"):
        OwnSets(tmp_path).source("market")


def test_an_edited_file_is_not_loaded_under_its_old_name(tmp_path):
    file, own = write(tmp_path), OwnSets(tmp_path)
    name = own.name(str(file))
    file.write_text(file.read_text() + "\n")
    with pytest.raises(UserError, match="edited since"):
        load_own(name, own.paths)


def test_own_and_known_sets_are_joined_with_cameras_and_identities_apart(tmp_path, tiny_data):
    root = tiny_data / "standin-tiny"
    file = tmp_path / "m.csv"
    file.write_text(exported(load_dataset("cuhk03", root), tmp_path))
    own = OwnSets(tmp_path)
    joined = load_source(own.source(f"market+{file}"), root, own=own.paths)
    separate = [len({record.person for record in load_dataset(name, root).train}) for name in ("market", "cuhk03")]
    assert len({record.person for record in joined.train}) == sum(separate)
    assert joined.standin is not None  # drawn pictures stay drawn ones


@pytest.mark.parametrize("name", ["market", "cuhk03", "ilids", "cuhksysu"])
def test_a_known_set_survives_its_export(name, tmp_path, tiny_data):
    root = tiny_data / "standin-tiny"
    known, file = load_dataset(name, root), tmp_path / "known.csv"
    file.write_text(exported(known, tmp_path))
    again = load(file)
    assert [record.path.resolve() for record in again.train + again.test_images] == [
        record.path.resolve() for record in known.train + known.test_images
    ]
    ranks = sorted({record.person for record in known.train + known.query + known.gallery})
    assert [record.person for record in again.gallery] == [ranks.index(record.person) for record in known.gallery]


def test_the_template_is_a_set(tmp_path):
    (tmp_path / "my.csv").write_text(TEMPLATE)
    table = read_table(tmp_path / "my.csv")
    assert len(table.path) == 8 and sum(table.query) == 3 and table.box[1] is None


@pytest.mark.slow
@pytest.mark.parametrize(("boxes", "most"), [(False, 5.0), (True, 10.0)])
def test_a_hundred_thousand_lines_are_checked_in_seconds(tmp_path, boxes, most):
    """Of one CPU, as other tests may share the machine; with boxes each picture is opened for its size."""
    file, edges = write(tmp_path), ",0,0,16,8" if boxes else ""
    for number in range(100_000):
        (tmp_path / "p" / f"x{number}.png").hardlink_to(tmp_path / "p" / f"{number % 5}.png")
    lines = [HEADER + (",x_1,y_1,x_2,y_2" if boxes else "")]
    for number in range(100_000):
        camera, identity = divmod(number, 5000)
        split = "train,," if identity < 2500 else f"test,{camera == 0},{camera > 0}"
        lines.append(f"id{identity},p/x{number}.png,{split},cam{camera}{edges}")
    file.write_text("\n".join(lines))
    start = time.process_time()
    report = check_own("my", file)
    seconds = time.process_time() - start
    assert not report.faults and sum(split.found.images for split in report.splits) == 100_000
    assert seconds < most, f"{seconds:.1f} s"
