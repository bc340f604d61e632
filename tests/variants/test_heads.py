"""The heads themselves: finding them, building them, and what PROTOCOL says of each."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from variants import HeadError, build, describe, names
from variants._base import Repr
from variants._laws import SHAPE, make, maps
from variants.kernels import maxima
from variants.transformer_cross import _DecoderLayer


def test_all_heads_of_the_paper_are_there():
    assert set(names()) >= {
        "cosine",
        "qaconv",
        "transformer",
        "transformer_cat",
        "transformer_cross",
        "transformer_cross_shared",
        "transmatcher",
        "vit",
    }


def test_an_unknown_head_is_named_with_the_nearest():
    with pytest.raises(HeadError, match=r"'transmacher'.*did you mean 'transmatcher'.*known heads: cosine"):
        build("transmacher", SHAPE)


def test_an_unknown_option_is_named_with_the_nearest():
    with pytest.raises(HeadError, match=r"'transmatcher' has no option 'layer' \(did you mean 'layers'\?\)"):
        build("transmatcher", SHAPE, layer=2)


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("vit", {"layers": 0}, "layers must be at least 1"),
        ("vit", {"heads": 3}, "heads must divide the width 16"),
        ("transformer_cat", {"fusion": "sum"}, "fusion must be one of none, score"),
        ("transmatcher", {"layers": 1, "pos_embed": True}, "pos_embed needs an encoder"),
        ("transmatcher", {"first_level": "first"}, "first_level must be one of neck, encoder"),
    ],
)
def test_unusable_values_are_refused(name, options, problem):
    with pytest.raises(ValueError, match=problem):
        build(name, SHAPE, **options)


def test_the_catalogue_agrees_with_the_class():
    info = describe("transmatcher")
    assert info.options["feedforward"] == 2048 and info.options["symmetric_prior"] is True
    assert info.summary.startswith("TransMatcher: N simplified decoders")


def test_the_catalogues_numerics_are_those_of_the_classes():
    for name in names():
        assert describe(name).numerics == type(build(name, SHAPE)).numerics


@pytest.mark.parametrize("imported", ["from variants import vit", "from variants.vit import ViT"])
def test_a_head_inherits_options_and_numerics_from_a_built_in_one(tmp_path, imported):
    path = tmp_path / "mine.py"
    base = "vit.ViT" if imported.endswith("vit") else "ViT"
    path.write_text(f"{imported}\nclass Mine({base}):\n    numerics = 7\n")
    assert describe(str(path)).options == describe("vit").options and describe(str(path)).numerics == 7
    assert len(build(str(path), SHAPE, layers=1).encoder) == 1
    path.write_text(f"{imported}\nclass Mine({base}): ...\n")
    assert describe(str(path)).numerics == describe("vit").numerics


@pytest.mark.parametrize(
    ("source", "problem"),
    [("class A:\n    numerics = V\n", "whole number"), ("class A:\n    def __init__(self, *, x=y): ...\n", "literal")],
)
def test_what_the_catalogue_cannot_read_is_refused(tmp_path, source, problem):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(HeadError, match=problem):
        describe(str(path))


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("x = 1\n", "exactly one public class"),
        ("class A: ...\nclass B: ...\n", "found: A, B"),
        ("class A(:\n", "line 1: not valid Python"),
        ("import nowhere_at_all\nclass A: ...\n", "nowhere_at_all"),
    ],
)
def test_a_file_that_holds_no_head_is_refused(tmp_path, source, problem):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(HeadError, match=problem):
        build(str(path), SHAPE)


def test_decoder_layer_equals_the_vanilla_one_of_torch():
    torch.manual_seed(0)
    width, heads = 16, 2
    vanilla = nn.TransformerDecoderLayer(width, heads, 24, dropout=0.0, batch_first=True)
    for norm in (vanilla.norm1, vanilla.norm2, vanilla.norm3):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    nn.init.normal_(vanilla.multihead_attn.in_proj_bias)
    ours = _DecoderLayer(width, 24, heads)
    ours.self_attention.load_state_dict(vanilla.self_attn.state_dict())
    weights = vanilla.multihead_attn.in_proj_weight.chunk(3)
    biases = vanilla.multihead_attn.in_proj_bias.chunk(3)
    for linear, weight, bias in zip((ours.query, ours.key, ours.value), weights, biases, strict=True):
        linear.load_state_dict({"weight": weight, "bias": bias})
    ours.out.load_state_dict(vanilla.multihead_attn.out_proj.state_dict())
    for name in ("norm1", "norm2", "norm3", "linear1", "linear2"):
        getattr(ours, name).load_state_dict(getattr(vanilla, name).state_dict())
    tokens, memory = torch.randn(3, 8, width), torch.randn(3, 6, width)
    attended = ours.attend_self(tokens)
    found = ours.attend_memory(attended, ours.query(attended), *ours.project_memory(memory))
    torch.testing.assert_close(found, vanilla(tokens, memory))


def test_shared_fc_is_one_set_of_weights():
    own = {name for name, _ in make("transformer_cross", {}).named_parameters()}
    shared = {name for name, _ in make("transformer_cross_shared", {}).named_parameters()}
    assert own - shared == {f"decoder.{n}.query.{part}" for n in range(2) for part in ("weight", "bias")}


def test_every_layer_is_drawn_by_itself():
    for name in ("vit", "transmatcher", "transformer_cross", "transformer_cat"):
        head = make(name, {"layers": 3})
        first, second = head.encoder[0].linear1.weight, head.encoder[1].linear1.weight
        assert not torch.equal(first, second)


@pytest.mark.parametrize("name", ["vit", "transformer", "transformer_cat", "transformer_cross", "transmatcher"])
def test_encoder_layers_start_as_torch_draws_them_or_from_xavier(name):
    plain, xavier = (make(name, options).encoder[0].linear2.weight for options in ({}, {"encoder_init": "xavier"}))
    outputs, inputs = plain.shape
    assert plain.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.2)
    assert xavier.std().item() == pytest.approx((2 / (inputs + outputs)) ** 0.5, rel=0.2)
    with pytest.raises(ValueError, match="encoder_init must be one of torch, xavier, not 'zeros'"):
        make(name, {"encoder_init": "zeros"})


def test_matrices_are_xavier_uniform_and_r_too():
    head = make("transmatcher", {})
    prior = head.decoder[0].score_embed
    bound = (6 / (prior.shape[2] * prior.shape[1] + prior.shape[3] * prior.shape[1] * prior.shape[2])) ** 0.5
    assert prior.abs().max() <= max(bound, (6 / 16) ** 0.5) and prior.std() > 0.01


def test_maxima_by_hand():
    query = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    gallery = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    assert maxima(query, gallery).tolist() == [[[[2.0, 3.0], [2.0, 3.0]]]]
    prior = torch.tensor([[1.0, 1.0], [1.0, -1.0]])  # turns the second query position's best match around
    assert maxima(query, gallery, prior).tolist() == [[[[2.0, 0.0], [2.0, 0.0]]]]


def test_prior_weighs_query_position_by_gallery_position():
    """Published priors have the gallery position first; the operator takes the query position first."""
    head = make("transmatcher", {"symmetric_prior": False, "layers": 1})
    decoder = head.decoder[0]
    with torch.no_grad():
        decoder.score_embed.zero_()
        decoder.score_embed[0, 0, 2, 5] = 100.0
    prior = decoder.prior(symmetric=False)
    assert prior[5, 2] == 1.0 and prior[2, 5] == 0.5


def test_cosine_is_the_known_answer():
    head = build("cosine", SHAPE).eval()
    found = head.encode(maps(4, 1))
    scores = head.match(found, found)
    expected = nn.functional.cosine_similarity(maps(4, 1).mean((2, 3))[:, None], maps(4, 1).mean((2, 3))[None], dim=-1)
    torch.testing.assert_close(scores, expected / (1 + head.norm.norm.eps) ** 0.5)


def test_position_embedding_is_not_added_to_level_0():
    head = make("transmatcher", {"pos_embed": True})
    images = maps(2, 1)
    before = head.levels(images)
    with torch.no_grad():
        head.position += 1.0
    after = head.levels(images)
    assert torch.equal(before[0], after[0]) and not torch.equal(before[1], after[1])


def test_encoders_are_one_fewer_than_decoders_unless_level_0_is_encoded():
    assert len(make("transmatcher", {"layers": 3}).encoder) == 2
    assert len(make("transmatcher", {"layers": 3, "first_level": "encoder"}).encoder) == 3


def test_a_repr_slices_joins_weighs_and_refuses_unequal_lengths():
    whole = Repr(a=torch.arange(6.0).view(3, 2), b=torch.arange(3, dtype=torch.float64))
    joined = Repr.join([whole[:1], whole[[2, 1]]])
    assert len(joined) == 3 and joined.a.tolist() == [[0, 1], [4, 5], [2, 3]]
    assert whole.bytes_per_image == 2 * 4 + 8
    with pytest.raises(ValueError, match="first axis"):
        Repr(a=torch.zeros(2), b=torch.zeros(3))
    with pytest.raises(AttributeError, match="holds a, b, not 'c'"):
        _ = whole.c
