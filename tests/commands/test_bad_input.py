"""Bad input: one clear sentence, exit code 2, nothing lost, no traceback."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture
def refused(bench, tiny_data, tmp_path):
    """Call bench, demand exit code 2 without output or traceback, and return the message."""

    def call(*arguments, data=None):
        places = ("--results", tmp_path / "results", "--data-dir", data or tiny_data)
        found = bench(*arguments, *places)
        assert found.code == 2, found.out + found.err
        assert "Traceback" not in found.err and not list((tmp_path / "results").glob("runs/*/*"))
        return found.err

    return call


RUN = ("run", "--train", "msmt", "--preset", "tiny", "--variants", "ViT")


def test_absent_data_names_folders_and_shows_the_way_to_stand_in_data(refused, tmp_path):
    message = refused(*RUN, data=tmp_path / "nothing")
    assert "MSMT17_V1" in message and str(tmp_path / "nothing") in message
    assert "bench data standin" in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--variants", "transmacher"), ("transmacher", "did you mean 'transmatcher'")),
        (("run", "--study", "table9"), ("table9", "table1, table2, table2_full, table3")),
        (("run", "--preset", "dem"), ("dem", "did you mean 'demo'")),
        (("run", "--train", "mrket"), ("mrket", "Did you mean market?")),
        ((*RUN, "--memory", "0.0000001"), ("ViT", "1e-07 GiB is too small", "the least that works is", "--memory")),
        ((*RUN, "--test", "duke"), ("duke", "market")),
        ((*RUN, "--test", "randperson"), ("randperson has no query and gallery",)),
        ((*RUN[:2], "msmt_all", *RUN[3:], "--test", "msmt"), ("msmt_all trains on the test persons",)),
        ((*RUN, "--set", "training.epocs=1"), ("training.epocs", "did you mean 'training.epochs'")),
        ((*RUN, "--set", "options.heads=3"), ("ViT", "heads must divide")),
        ((*RUN, "--seeds", "x"), ("--seeds",)),
        ((*RUN, "--jobs", "-1"), ("--jobs", "at least 1")),
        ((*RUN, "--workers", "0"), ("--workers", "at least 1")),
        ((*RUN, "--varients", "x"), ("--varients", "did you mean '--variants'")),
        ((*RUN, "--set", "options.feedforward=-1"), ("ViT",)),
        ((*RUN, "--device", "cuda:7"), ("--device cuda:7", "--device cpu")),
        ((*RUN, "--set", "backbone.weights=imagenet"), ("ImageNet weights", "bench weights fetch")),
    ],
)
def test_unknown_and_unusable_words_are_named(refused, arguments, words, tmp_path, monkeypatch):
    import torch

    from bench.network.published_weights import PUBLISHED, Published

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(PUBLISHED, ("resnet18", "b"), Published("http://localhost:9/x-00000000.pth"))
    message = refused(*arguments)
    assert all(word in message for word in words), message


def test_unknown_options_of_the_command_line_end_with_2(bench):
    found = bench("run", "--no-such-option")
    assert found.code == 2 and "--no-such-option" in found.err


@pytest.fixture
def own_data(tiny_data, tmp_path):
    """A copy of the tiny sets, to be damaged."""
    return shutil.copytree(tiny_data, tmp_path / "data")


def test_an_unreadable_image_is_found_before_the_first_run(refused, own_data):
    victim = sorted((own_data / "standin-tiny").glob("MSMT17_V1/train/*/*.jpg"))[0]
    victim.write_bytes(b"x" * victim.stat().st_size)
    assert str(victim) in refused(*RUN, data=own_data)


def test_a_half_copied_set_names_what_is_missing(refused, own_data):
    victim = sorted((own_data / "standin-tiny").glob("MSMT17_V1/train/*/*.jpg"))[0]
    victim.unlink()
    assert victim.name in refused(*RUN, data=own_data)


def test_a_file_name_that_does_not_parse_is_named(refused, own_data):
    folder = own_data / "standin-tiny" / "Market-1501-v15.09.15" / "query"
    shutil.copy(sorted(folder.glob("*.jpg"))[0], folder / "holiday.jpg")
    assert "holiday.jpg" in refused(*RUN, data=own_data)


def test_test_and_train_persons_that_overlap_are_named(refused, own_data):
    market = own_data / "standin-tiny" / "Market-1501-v15.09.15"
    victim = sorted((market / "query").glob("*.jpg"))[0]
    shutil.copy(victim, market / "bounding_box_train" / victim.name)
    message = refused(*RUN, data=own_data)
    assert "both" in message or "overlap" in message
    assert str(int(victim.name[:4])) in message


def test_queries_whose_matches_are_all_of_their_own_camera_are_told(refused, own_data):
    market = own_data / "standin-tiny" / "Market-1501-v15.09.15"
    for folder in ("query", "bounding_box_test"):
        for number, path in enumerate(sorted((market / folder).glob("*.jpg"))):
            person = path.name.split("_")[0]
            path.rename(path.with_name(f"{person}_c1s1_{900000 + number:06d}_00.jpg"))
    message = refused(*RUN, data=own_data)
    assert "camera" in message and "market" in message.lower()


def test_real_and_stand_in_data_do_not_mix(refused, own_data):
    standin = own_data / "standin-tiny"
    for marker in (standin / "Market-1501-v15.09.15").rglob("STAND-IN.json"):
        marker.unlink()
    assert "real and stand-in data must not meet" in refused(*RUN, data=own_data)


def test_a_results_folder_that_cannot_be_written_is_named(bench, tiny_data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    found = bench(*RUN, "--data-dir", tiny_data, "--results", tmp_path / "file" / "results")
    assert found.code == 2 and "cannot write to the results folder" in found.err and "--results" in found.err


@pytest.mark.slow
def test_a_test_set_that_changed_since_is_noticed(bench, own_data, tmp_path):
    command = (*RUN, "--test", "market", "--data-dir", own_data, "--results", tmp_path / "results")
    assert bench(*command).code == 0
    records = {path: path.read_bytes() for path in (tmp_path / "results").glob("runs/*/record.json")}
    gallery = own_data / "standin-tiny" / "Market-1501-v15.09.15" / "bounding_box_test"
    sorted(gallery.glob("0000_*.jpg"))[0].unlink()
    found = bench(*command)
    assert found.code == 2 and "market has changed on disk" in found.err
    assert {path: path.read_bytes() for path in records} == records


def test_a_damaged_weight_file_is_found_before_the_first_run(refused, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"damaged")
    message = refused(*RUN, "--set", f"backbone.weights={tmp_path / 'weights.pth'}")
    assert "weights.pth: it is a text file, not weights" in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class Mine: ...\n", "must inherit from variants._base.Head"),
        ("from variants import vit\nclass Mine(vit.ViT):\n    def match(self, q, g):\n"
         "        return super().match(g, q)\n", "match gave (3, 2) for 2 queries and 3 gallery images"),
        ("from variants._base import Head\nclass Mine(Head):\n    def __init__(self, shape):\n"
         "        super().__init__(shape)\n", "must define encode"),
    ],
)  # fmt: skip
def test_a_head_that_cannot_match_is_found_before_training(refused, tmp_path, source, words):
    path = tmp_path / "mine.py"
    path.write_text(source)
    assert words in refused("run", "--variants", path, "--train", "msmt", "--preset", "tiny")


def test_a_head_that_cannot_be_built_is_named(refused, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "from variants._base import Head\n"
        "class Mine(Head):\n    def __init__(self, shape):\n        raise KeyError('lost')\n"
    )
    assert "mine: KeyError: 'lost'" in refused("run", "--variants", path, "--train", "msmt", "--preset", "tiny")


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_named(bench, tiny_data, tmp_path):
    assert bench(*RUN, "--data-dir", tiny_data, "--results", tmp_path).code == 0
    (tmp_path / "file").touch()
    found = bench("report", "--results", tmp_path, "--out", tmp_path / "file" / "report")
    assert found.code == 2 and "cannot write the report" in found.err


def test_a_report_on_an_empty_folder_shows_how_to_fill_it(bench, tmp_path):
    found = bench("report", "--results", tmp_path)
    assert found.code == 2 and "bench run" in found.err


def test_a_head_file_with_a_fault_is_named(refused, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("import no_such_module\nclass Mine: ...\n")
    assert "no_such_module" in refused("run", "--variants", path, "--train", "msmt", "--preset", "tiny")
