"""Published weights: fetched, kept in the cache, and taken only if they are the published file."""

from __future__ import annotations

import functools
import http.server
import threading

import pytest
import torch

from bench.errors import UserError
from bench.network import published_weights
from bench.network.backbone import build_backbone
from bench.network.published_weights import PUBLISHED, Published, fetch_weights, noted_sha256, weights_path
from bench.network.weight_file import read_file

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path):
    """A folder and the address at which a server gives its files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


@pytest.fixture
def publish(server, tmp_path, monkeypatch):
    """Publish ResNet-18 weights with or without their whole SHA-256; the cache is empty. Gives what is published."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    folder, address = server

    def call(whole: bool) -> Published:
        path = folder / "weights.pth"
        torch.save(build_backbone("resnet18", "b", "layer4").stages.state_dict(), path)
        sha256 = read_file(path).sha256
        named = path.rename(folder / f"resnet18_ibn_b-{sha256[:8]}.pth")
        item = Published(f"{address}/{named.name}", sha256 if whole else "")
        monkeypatch.setitem(PUBLISHED, ("resnet18", "b"), item)
        return item

    return call


def test_names_and_hashes_go_together():
    assert set(PUBLISHED) == {
        *((arch, ibn) for arch in ("resnet18", "resnet34", "resnet50", "resnet101") for ibn in ("none", "a", "b")),
        ("mobilenet_v2", "none"),
    }
    for item in PUBLISHED.values():
        digits = item.name.removesuffix(".pth")[-8:]
        assert int(digits, 16) and item.url.startswith("https://")
        assert item.expected == item.sha256 if item.sha256 else item.expected == digits
        assert not item.sha256 or (len(item.sha256) == 64 and item.sha256.startswith(digits))


@pytest.mark.parametrize("whole", [True, False])
def test_they_are_fetched_once_and_used(publish, server, bench, whole):
    publish(whole)
    found = bench("weights", "fetch", "--arch", "resnet18")
    path = weights_path("resnet18", "b")
    assert found.code == 0 and found.out.strip() == str(path)
    assert f"SHA-256 {read_file(path).sha256}, {'as published' if whole else 'of which the first 8'}" in found.err
    for served in server[0].iterdir():
        served.unlink()
    backbone = build_backbone("resnet18", weights="imagenet")
    assert torch.equal(backbone.stages.conv1.weight, torch.load(path)["conv1.weight"])
    assert backbone.weights_sha256 == read_file(path).sha256


def test_where_the_whole_hash_is_unknown_it_is_noted_as_sha256sum_does(publish):
    publish(whole=False)
    file = fetch_weights("resnet18", "b", progress=False)
    assert noted_sha256(file.path).read_text() == f"{file.sha256}  {file.path.name}\n"


def test_fetching_never_unpickles(publish, monkeypatch):
    publish(whole=True)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("unpickled"))
    fetch_weights("resnet18", "b", progress=False)


def test_a_file_that_was_put_there_by_hand_is_noted_when_it_is_first_used(publish, server):
    item = publish(whole=False)
    path = weights_path("resnet18", "b")
    path.parent.mkdir(parents=True)
    (server[0] / item.name).rename(path)
    build_backbone("resnet18", weights="imagenet")
    assert noted_sha256(path).exists()


def test_a_cache_that_may_not_be_written_serves_all_the_same(publish, monkeypatch):
    publish(whole=False)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(published_weights, "write_atomically", refuse)
    build_backbone("resnet18", weights="imagenet")


@pytest.mark.parametrize("whole", [True, False])
def test_another_file_under_the_name_is_refused(publish, whole):
    publish(whole)
    path = fetch_weights("resnet18", "b", progress=False).path
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(UserError, match=r"is not the published file .*delete it and run `bench weights fetch --arch"):
        build_backbone("resnet18", weights="imagenet")
    path.write_text("<html>log in first</html>")
    with pytest.raises(UserError, match="is a web page"):
        build_backbone("resnet18", weights="imagenet")


def test_a_file_that_agrees_in_its_first_digits_only_is_told_from_the_noted_one(publish):
    publish(whole=False)
    path = fetch_weights("resnet18", "b", progress=False).path
    noted_sha256(path).write_text(f"{'0' * 64}  {path.name}\n")
    with pytest.raises(UserError, match=r"changed since its SHA-256 was noted in resnet18_ibn_b-.*\.sha256"):
        build_backbone("resnet18", weights="imagenet")


def test_what_is_served_must_be_the_published_file(publish, server):
    item = publish(whole=True)
    (server[0] / item.name).write_text("<html>log in first</html>")
    with pytest.raises(UserError, match=r"cannot be downloaded .*invalid hash value"):
        fetch_weights("resnet18", "b", progress=False)
    assert not list(weights_path("resnet18", "b").parent.iterdir())


def test_without_file_or_network_the_error_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setitem(PUBLISHED, ("resnet50", "b"), Published("http://localhost:9/resnet50_ibn_b-9ca61e85.pth"))
    with pytest.raises(UserError, match=r"not in the cache .*bench weights fetch --arch resnet50 --ibn b"):
        build_backbone("resnet50", weights="imagenet")
