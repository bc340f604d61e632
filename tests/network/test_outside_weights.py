"""Networks that were trained elsewhere: the authors' code gives golden scores, one's own code the network it was."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from networks import fresh
from numpy.testing import assert_allclose
from outside_checkpoints import authors_parts, tensors, wrapped, write
from torch.nn import functional as F

import variants
from bench.errors import UserError
from bench.network.backbone import build_backbone
from bench.network.outside_weights import fitted, outside_network, read_outside
from bench.testing.evaluator import evaluate
from bench.testing.metrics import rank_metrics

pytestmark = pytest.mark.slow

SIZE = {"height": 48, "width": 16}
"""Pixels of pictures whose maps are of 6 x 2 places, as the golden ones."""


@pytest.fixture
def parts(golden):
    """Those of TransMatcher, with the template of its decoders that the authors' code stores and never uses."""
    arrays = golden("transmatcher")
    template = {"decoder_layer.fc1.weight": torch.zeros(16, 16), "decoder_layer.bn1.running_mean": torch.zeros(1)}
    return authors_parts({**tensors(arrays, "matcher/"), **template}, tensors(arrays, "encoder/"))


@pytest.fixture
def load(tiny_config, tmp_path):
    """The network of a checkpoint, for a configuration that knows none of its sizes."""

    def make(path, head="transmatcher", **changes):
        config = tiny_config("TransMatcher", **{"input": SIZE, **changes})
        config = config.model_copy(update={"head": head, "options": dict(variants.describe(head).options)})
        weights = read_outside(path)
        config = fitted(weights, config, head)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return outside_network(weights, config, head).eval(), config

    return make


def maps(arrays, role):
    found = torch.from_numpy(arrays[role])
    return found.permute(0, 3, 1, 2).contiguous() if found.shape[-1] == 16 else found


@pytest.mark.parametrize("form", [dict, wrapped], ids=["plain", "module"])
@pytest.mark.parametrize("name", ["transmatcher", "qaconv"])
def test_a_checkpoint_of_the_authors_scores_and_ranks_as_their_code_does(golden, load, tmp_path, name, form):
    arrays = golden(name)
    matcher = tensors(arrays, "matcher/" if name == "transmatcher" else "state/")
    path = write(form(authors_parts(matcher, tensors(arrays, "encoder/"))), tmp_path / "theirs.pth")
    model, config = load(path, name)
    assert config.width == 16 and config.backbone.arch == "resnet18" and config.backbone.cut == "layer2"
    with torch.no_grad():
        scores = model.head.match(model.head.encode(maps(arrays, "query")), model.head.encode(maps(arrays, "gallery")))
    assert_allclose(scores.numpy(), arrays["eval_scores"], atol=1e-4 * np.abs(arrays["eval_scores"]).max())
    persons, cameras = (np.arange(5) % 3, np.arange(7) % 3), (np.zeros(5, int), np.ones(7, int))
    ours, theirs = (rank_metrics(-found, *persons, *cameras) for found in (scores.numpy(), arrays["eval_scores"]))
    assert ours.mAP == pytest.approx(theirs.mAP, abs=1e-6) and 0.1 < ours.mAP < 1


def test_sizes_are_read_from_the_tensors(load, parts, tmp_path):
    _, config = load(write(parts, tmp_path / "theirs.pth"))
    found = {name: config.options[name] for name in ("feedforward", "layers", "heads", "symmetric_prior")}
    assert found == {"feedforward": 32, "layers": 2, "heads": 1, "symmetric_prior": False}


def test_the_whole_network_ranks_as_its_parts_put_together_by_hand(load, parts, tmp_path, small_dataset):
    dataset, images = small_dataset
    images = images.repeat(3, axis=2)[:, :, ::2]
    model, config = load(write(wrapped(parts), tmp_path / "theirs.pth"))
    found = evaluate(model, dataset, images, config.evaluation)

    torch.save({key.removeprefix("base."): value for key, value in parts["model"].items()
                if key.startswith("base.")}, tmp_path / "base.pth")  # fmt: skip
    stages = build_backbone("resnet18", "b", "layer2", None, tmp_path / "base.pth").eval()
    head = variants.build("transmatcher", (16, 6, 2), feedforward=32, layers=2, symmetric_prior=False).eval()
    criterion = {key.removeprefix("matcher."): value for key, value in parts["criterion"].items()}
    head.load_published(criterion, {key: value for key, value in parts["model"].items() if key.startswith("encoder.")})
    with torch.no_grad():
        features = stages(torch.from_numpy(images).float() / 255)
        kept = head.encode(
            F.conv2d(features, *(parts["model"][f"neck_conv.{name}"] for name in ("weight", "bias")), padding=1)
        )
        queries = len(dataset.query)
        scores = head.match(kept[:queries], kept[queries:]).numpy()
    columns = [np.array([getattr(record, name) for record in side])
               for name in ("person", "camera") for side in (dataset.query, dataset.gallery)]  # fmt: skip
    assert found.mAP == pytest.approx(rank_metrics(-scores, *columns).mAP, abs=1e-6)
    assert found.mAP < 1


def test_a_resnet_50_of_the_authors_is_told_by_its_tensors(load, golden, tmp_path):
    arrays = golden("transmatcher")
    parts = authors_parts(tensors(arrays, "matcher/"), tensors(arrays, "encoder/"), "resnet50", "layer3", "layer4")
    _, config = load(write(parts, tmp_path / "theirs.pth"), input={"height": 96, "width": 32})
    assert (config.backbone.arch, config.backbone.ibn, config.backbone.cut) == ("resnet50", "b", "layer3")


@pytest.mark.parametrize(
    ("row", "head", "options"),
    [
        ("TransMatcher", "transmatcher", {"layers": 2, "feedforward": 48, "pos_embed": True, "fc1": False}),
        ("Transformer-Cat", "transformer_cat", {"layers": 1, "feedforward": 24}),
        ("ViT", "vit", {"layers": 2}),
    ],
)
def test_a_checkpoint_of_ones_own_is_taken_without_its_record(load, tiny_config, tmp_path, row, head, options):
    own = tiny_config(row, options=options, width=24)
    model = fresh(own).eval()
    torch.save({"model": model.state_dict(), "cell": "x", "format": 1}, tmp_path / "checkpoint.pt")
    loaded, config = load(tmp_path / "checkpoint.pt", head, input={"height": 32, "width": 16})
    assert loaded.weights_hash() == model.weights_hash()
    assert own.options.items() <= config.options.items()
    assert config.width == 24 and config.backbone.cut == "layer1"


def surplus(parts):
    parts["criterion"]["matcher.decoder.extra"] = torch.zeros(2)


def surplus_part(parts):
    parts["model"]["classifier.weight"] = torch.zeros(2)


def missing(parts):
    del parts["criterion"]["matcher.decoder.layers.1.fc2.weight"]


def missing_base(parts):
    del parts["model"]["base.layer1.0.conv1.weight"]


def no_neck(parts):
    del parts["model"]["neck_conv.weight"]


def not_finite(parts):
    parts["criterion"]["matcher.decoder.layers.0.fc1.bias"][1] = float("nan")


def other_sizes(parts):
    parts["criterion"]["matcher.decoder.layers.0.score_embed"] = torch.zeros(1, 1, 20, 20)


def no_criterion(parts):
    del parts["criterion"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (surplus, ("unexpected keys", "decoder.extra")),
        (surplus_part, ("beside base., neck_conv., encoder.", "classifier.weight")),
        (missing, ("missing keys", "decoder.layers.1.fc2.weight")),
        pytest.param(missing_base, ("lacks keys", "layer1.0.conv1.weight"), marks=pytest.mark.slow),
        (no_neck, ("no neck",)),
        (not_finite, ("not all numbers in it are finite", "decoder.layers.0.fc1.bias")),
        (other_sizes, ("score_embed has shape (1, 1, 20, 20)", "48 x 16 pixels", "--height and --width")),
        (no_criterion, ("the criterion is missing", "base.conv1.weight")),
    ],
)
def test_what_does_not_fit_is_named(load, parts, tmp_path, damage, words):
    damage(parts)
    path = write(parts, tmp_path / "theirs.pth")
    with pytest.raises(UserError) as refusal:
        load(path)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)
    assert all(word in str(refusal.value) for word in words), refusal.value


@pytest.mark.parametrize("head", ["qaconv", "cosine", "vit"])
def test_the_checkpoint_of_another_head_names_that(load, parts, tmp_path, head):
    with pytest.raises(UserError, match=r"its keys are those of transmatcher, not of .*: say --head transmatcher"):
        load(write(parts, tmp_path / "theirs.pth"), head)
