"""`bench matches` draws what finished runs matched, and says in one sentence why it cannot."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from bench.errors import UserError
from bench.journal.record import read_record, read_records, write_record
from bench.running.trained import load_network


def run_of(results: Path, label: str) -> Path:
    """The folder of the one run of a row."""
    (cell,) = (record.cell for record in read_records(results) if record.label == label)
    return results / "runs" / cell


@pytest.fixture
def matches(bench, finished, tiny_data, tmp_path):
    """Call the command on a finished run of TransMatcher, or another; returns the outcome."""

    def call(*words: str | Path, run: str | Path = "", out: str = "out", **places: Path):
        results, data = places.get("results", finished), places.get("data", tiny_data)
        return bench(
            "matches", "--run", run or run_of(finished, "TransMatcher").name, "--results", results, "--data-dir", data,
            "--out", tmp_path / out, "--device", "cpu", *words,
        )  # fmt: skip

    return call


@pytest.fixture
def copied(finished, tmp_path):
    """The run of TransMatcher in a results folder of its own, which may be changed."""
    folder = run_of(finished, "TransMatcher")
    return Path(shutil.copytree(folder, tmp_path / "results" / "runs" / folder.name))


def pictures(data: Path, count: int = 2) -> list[Path]:
    return sorted((data / "standin-tiny").glob("Market*/query/*.jpg"))[:count]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_pairs_of_a_test_set_are_drawn_and_told_the_same_each_time(matches, finished, tmp_path):
    first, again = (matches("--test", "market", "--pairs", "2", "--far", "0.2", out=out) for out in ("a", "b"))
    assert first.code == 0 and first.err == "" and first.out.replace("/a:", "/b:") == again.out
    stem = f"matches-{run_of(finished, 'TransMatcher').name}-market"
    assert files(tmp_path / "a") == files(tmp_path / "b") and set(files(tmp_path / "a")) == {
        f"{stem}.pdf",
        f"{stem}.png",
    }
    assert first.out.count("decoder 1: score") == 4
    assert "same person:" in first.out and "another person, hard:" in first.out
    wrong = re.findall(r"(decoder \d): score \S+, (\d+) of (\d+) matches", first.out.partition("another person")[2])
    for level in ("decoder 1", "decoder 2"):
        counts = [(int(passing), int(every)) for name, passing, every in wrong if name == level]
        assert len(counts) == 2 and sum(passing for passing, _ in counts) <= 0.2 * sum(every for _, every in counts)
    other = matches("--test", "market", "--pairs", "2", "--seed", "5", out="c")
    assert other.code == 0 and files(tmp_path / "c") != files(tmp_path / "a")


@pytest.mark.slow
@pytest.mark.parametrize("head", ["TransMatcher", "Transformer-Cross"])
def test_two_pictures_are_matched_by_the_folder_of_a_run_too(matches, finished, tiny_data, tmp_path, head):
    one, other = pictures(tiny_data)
    found = matches(one, other, run=run_of(finished, head))
    assert found.code == 0 and f"{one.name}  |  {other.name}" in found.out
    assert f"matches-{run_of(finished, head).name}-{one.stem}-{other.stem}.png" in files(tmp_path / "out")


def test_a_network_is_loaded_as_it_was_trained(finished):
    folder = run_of(finished, "TransMatcher")
    model, record = load_network(folder, "cpu")
    assert model.weights_hash() == record.weights_hash == read_record(folder).weights_hash and not model.training


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["one.jpg"], "two pictures make a pair, the query first; 1 given"),
        (["a.jpg", "b.jpg", "c.jpg"], "two pictures make a pair, the query first; 3 given"),
        (["--run", "nothing"], "no run 'nothing' in"),
        (["--run", ""], "an empty path"),
        (["--run", "vit"], "ViT offers no local matches: it does not say which positions"),
        (["--far", "0"], "needs a share above 0 and below 1, such as 0.01, not '0'"),
        (["--far", "1"], "needs a share above 0 and below 1"),
        (["--far", "nan"], "needs a share above 0 and below 1"),
        (["--seed", "-1"], "needs a whole number of at least 0"),
        (["--pairs", "0"], "needs a whole number of at least 1 and at most 20"),
        (["--test", "nowhere"], "There is no data set 'nowhere'"),
        (["--test", "randperson"], "randperson is for training only; choose another --test"),
        (["--test", "market", "--pairs", "20"], "queries with a right image; ask for so many --pairs or fewer"),
        (["gone.jpg", "gone.jpg"], "cannot read the picture gone.jpg (No such file or directory)"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(matches, tmp_path, words, sentence):
    found = matches(*words)
    assert found.code == 2 and sentence in found.err and "Traceback" not in found.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("name", "content"), [("text.jpg", b"hello"), ("empty.png", b""), ("cut.jpg", None)])
def test_pictures_that_are_none_are_named(matches, tiny_data, tmp_path, name, content):
    sound = pictures(tiny_data, 1)[0]
    path = tmp_path / name
    path.write_bytes(sound.read_bytes()[:200] if content is None else content)
    found = matches(sound, path)
    assert found.code == 2 and f"cannot read the picture {path}" in found.err


def test_a_picture_of_another_mode_and_size_is_taken(matches, tmp_path):
    for name, mode, size in (("grey.png", "L", (9, 40)), ("clear.png", "RGBA", (300, 100))):
        Image.new(mode, size).save(tmp_path / name)
    assert matches(tmp_path / "grey.png", tmp_path / "clear.png").code == 0


def test_a_test_set_that_is_absent_or_changed_is_named(matches, tiny_data, tmp_path):
    found = matches("--test", "market", data=tmp_path)
    assert found.code == 2 and "market" in found.err.lower() and str(tmp_path) in found.err
    changed = tmp_path / "data"
    shutil.copytree(tiny_data, changed)
    pictures(changed, 1)[0].unlink()
    gone = matches("--test", "market", data=changed)
    assert gone.code == 2 and "changed on disk since" in gone.err and "put its images back" in gone.err


def test_a_run_without_its_network_is_refused(matches, copied):
    results = copied.parents[1]
    (copied / "checkpoint.pt").rename(copied / "kept.pt")
    found = matches(results=results)
    assert found.code == 2 and "checkpoint.pt is gone; delete the folder to train this run anew" in found.err
    (copied / "checkpoint.pt").write_bytes((copied / "kept.pt").read_bytes()[:1000])
    assert matches(results=results).code == 2
    (copied / "record.json").unlink()
    found = matches(results=results)
    assert found.code == 2 and "has no trained network yet" in found.err


def test_networks_that_would_score_otherwise_are_refused(copied):
    record = read_record(copied)
    write_record(copied, record.model_copy(update={"numerics": record.numerics | {"head": 1}}))
    with pytest.raises(UserError, match="was made by a version whose transmatcher scored in another way; run it anew"):
        load_network(copied, "cpu")
    write_record(copied, record.model_copy(update={"config": record.config.model_copy(update={"head": "mine"})}))
    with pytest.raises(UserError, match=r"'mine'.*where its head was a file, say --head FILE"):
        load_network(copied, "cpu")


OUTSIDE = '''
import torch
from variants import cosine
from variants._base import LocalMatches

class Mine(cosine.Cosine):
    """Cosines, which match the first positions."""

    offers_local_matches = True

    def local_matches(self, query, gallery):
        cell = torch.zeros(len(query), 2, dtype=torch.int64)
        strength = (query.feature * gallery.feature)[:, :2]
        return [LocalMatches("all", cell, cell, strength, torch.ones_like(strength), strength.sum(dim=1))]
'''


@pytest.mark.slow
def test_a_head_from_outside_is_drawn_by_its_file(bench, matches, tiny_data, tmp_path):
    head = tmp_path / "mine.py"
    head.write_text(OUTSIDE)
    results = tmp_path / "results"
    assert bench("check-head", head).code == 0
    places = ("--data-dir", tiny_data, "--results", results)
    assert bench("run", "--variants", head, "--preset", "tiny", "--seeds", "1", *places).code == 0
    assert "say --head FILE" in matches(run="mine", results=results).err
    found = matches("--head", head, run="mine", results=results)
    assert found.code == 0 and "all: score" in found.out
    head.write_text(OUTSIDE + "# edited\n")
    assert "has changed since the run was planned" in matches("--head", head, run="mine", results=results).err
