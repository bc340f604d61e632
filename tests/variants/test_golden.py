"""Agreement with numbers recorded from the authors' public implementation (tests/golden)."""

from __future__ import annotations

import zlib
from math import prod

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from bench.network.backbone import build_backbone
from bench.testing.metrics import rank_metrics
from bench.training.losses import mean_of_finite, pairwise_matching_loss
from variants import build


def agree(found: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    """max|a - b| <= tolerance * max|b|; tensors below 1e-4 hold rounding noise and are held to 1e-4."""
    found = found.detach().numpy().reshape(expected.shape)
    size = np.abs(expected).max()
    assert np.abs(found - expected).max() <= (1e-4 if size < 1e-4 else tolerance * size)


def tensors(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: torch.from_numpy(value) for key, value in arrays.items() if key.startswith(prefix)}


@pytest.fixture
def transmatcher(golden):
    arrays = golden("transmatcher")
    height, width, channels, layers, feedforward = map(int, arrays["config"])
    head = build("transmatcher", feature_shape=(channels, height, width), layers=layers, feedforward=feedforward)
    with pytest.warns(UserWarning, match="symmetric_prior is now off"):
        head.load_published(tensors(arrays, "matcher/"), tensors(arrays, "encoder/"))
    maps = {
        role: torch.from_numpy(arrays[role]).permute(0, 3, 1, 2).contiguous().requires_grad_()
        for role in ("query", "gallery")
    }
    return head, arrays, maps


def test_transmatcher_levels_are_the_published_ones(transmatcher):
    head, arrays, maps = transmatcher
    levels = torch.cat(head.eval().levels(maps["query"]), dim=-1)
    agree(levels, arrays["levels_query"].reshape(levels.shape), 1e-4)


def test_transmatcher_scores_in_evaluation_are_the_published_ones(transmatcher):
    head, arrays, maps = transmatcher
    head.eval()
    query, gallery = head.encode(maps["query"]), head.encode(maps["gallery"])
    agree(head.match(query, gallery), arrays["eval_scores"], 1e-4)
    agree(head.match(gallery, query), arrays["eval_scores_swapped"], 1e-4)


@pytest.mark.parametrize(("case", "gallery"), [("train", "gallery"), ("self", "query")])
def test_transmatcher_scores_and_gradients_in_training_are_the_published_ones(transmatcher, case, gallery):
    head, arrays, maps = transmatcher
    head.train()
    query = head.encode(maps["query"])
    scores = head.match(query, query if case == "self" else head.encode(maps[gallery]))
    agree(scores, arrays[f"{case}_scores"], 1e-4)
    (scores * torch.from_numpy(arrays[f"{case}_cotangent"])).sum().backward()
    for role in {"query", gallery}:
        agree(maps[role].grad.permute(0, 2, 3, 1), arrays[f"{case}_grad_{role}"], 1e-3)
    expected = {**tensors(arrays, f"{case}_grad/matcher/"), **tensors(arrays, f"{case}_grad/encoder/")}
    parameters = head.published_parameters()
    assert parameters.keys() == expected.keys()
    for key, parameter in parameters.items():
        agree(parameter.grad, expected[key].numpy(), 1e-3)


def test_qaconv_scores_and_gradients_are_the_published_ones(golden):
    arrays = golden("qaconv")
    height, width, channels = map(int, arrays["config"])
    head = build("qaconv", feature_shape=(channels, height, width))
    head.load_published(tensors(arrays, "state/"))
    query = torch.from_numpy(arrays["query"]).requires_grad_()
    gallery = torch.from_numpy(arrays["gallery"])
    head.eval()
    agree(head.match(head.encode(query), head.encode(gallery)), arrays["eval_scores"], 1e-4)
    head.train()
    scores = head.match(head.encode(query), head.encode(gallery))
    agree(scores, arrays["train_scores"], 1e-4)
    (scores * torch.from_numpy(arrays["cotangent"])).sum().backward()
    agree(query.grad, arrays["grad_query"], 1e-3)


@pytest.mark.parametrize("change", ["surplus", "missing", "shape"])
def test_published_states_that_do_not_fit_are_refused_by_key(golden, change):
    arrays = golden("transmatcher")
    height, width, channels, layers, feedforward = map(int, arrays["config"])
    head = build("transmatcher", feature_shape=(channels, height, width), layers=layers, feedforward=feedforward)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    matcher, encoder = tensors(arrays, "matcher/"), tensors(arrays, "encoder/")
    key = "decoder.layers.0.fc2.weight"
    if change == "surplus":
        key = "decoder.layers.9.fc2.weight"
        matcher[key] = torch.zeros(1)
    elif change == "missing":
        del matcher[key]
    else:
        matcher[key] = torch.zeros(3, 3)
    with pytest.raises(ValueError, match=key.replace(".", r"\.")):
        head.load_published(matcher, encoder)
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_the_unused_decoder_template_of_published_states_is_dropped(golden):
    arrays = golden("transmatcher")
    height, width, channels, layers, feedforward = map(int, arrays["config"])
    head = build("transmatcher", feature_shape=(channels, height, width), layers=layers, feedforward=feedforward)
    matcher = tensors(arrays, "matcher/") | {"decoder_layer.fc1.weight": torch.zeros(2, 2)}
    with pytest.warns(UserWarning):
        head.load_published(matcher, tensors(arrays, "encoder/"))
    assert not head.symmetric


def test_loss_and_hits_are_the_published_ones(golden):
    arrays = golden("pairwise_loss")
    loss, hit = pairwise_matching_loss(torch.from_numpy(arrays["scores"]), torch.from_numpy(arrays["labels"]))
    assert_allclose(loss.numpy(), arrays["loss_per_query"], rtol=1e-4)
    assert (hit.numpy() == arrays["hit_per_query"].astype(bool)).all()
    assert float(mean_of_finite(loss)) == pytest.approx(float(arrays["loss"]), rel=1e-4)


@pytest.mark.parametrize("name", ["metrics", "metrics_ties"])
def test_metrics_are_the_published_ones(golden, name):
    arrays = golden(name)
    found = rank_metrics(
        arrays["distance"],
        arrays["query_ids"],
        arrays["gallery_ids"],
        arrays["query_cams"],
        arrays["gallery_cams"],
    )
    assert found.mAP == pytest.approx(float(arrays["mAP"]), abs=1e-9)
    assert len(found.queries.index) == len(arrays["query_ids"]) - 1
    if len(arrays["cmc"]):
        assert_allclose(found.cmc, arrays["cmc"], atol=1e-9)
    else:
        assert found.rank1 == pytest.approx(0.407, abs=5e-4)


def published_backbone_state(keys: np.ndarray) -> dict[str, torch.Tensor]:
    """Weights by the formula of the golden files' README."""
    state = {}
    for entry in keys:
        key, shape_text = str(entry).split(" ", 1)
        shape = tuple(int(part) for part in shape_text.strip("()").split(",") if part.strip())
        values = np.sin(0.9 * np.arange(prod(shape)) + zlib.crc32(key.encode()) % 1000)
        if len(shape) > 1:
            values = values * np.sqrt(2 / prod(shape[1:]))
        elif key.endswith("running_var"):
            values = 1 + 0.2 * values
        else:
            values = 1 + 0.1 * values if key.endswith("weight") else 0.1 * values
        state[key] = torch.from_numpy(values.reshape(shape).astype(np.float32))
    return state


@pytest.mark.slow
@pytest.mark.parametrize("frozen", [False, True])
def test_backbone_features_from_a_published_state_are_the_published_ones(golden, tmp_path, frozen):
    arrays = golden("resnet50_ibn_b")
    path = tmp_path / "weights.pth"
    torch.save(published_backbone_state(arrays["state_keys"]), path)
    height, width = map(int, arrays["size"])
    images = torch.sin(0.013 * torch.arange(2 * 3 * height * width, dtype=torch.float64)).float()
    images = images.reshape(2, 3, height, width)
    for cut in ("layer3", "layer2"):
        backbone = build_backbone("resnet50", ibn="b", cut=cut, neck=None, weights=path).eval()
        backbone.freeze_batchnorm = frozen
        with torch.no_grad():
            found = backbone(images)
        if cut == "layer3":
            agree(found, arrays["layer3"], 1e-4)
        else:
            agree(found.mean(dim=(0, 2, 3)), arrays["layer2_mean"], 1e-4)
