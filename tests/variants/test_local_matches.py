"""Local matches: what each head that offers them says of a pair is what it scored the pair by."""

from __future__ import annotations

import pytest
import torch

from variants import names
from variants._laws import SHAPE, make, maps

PAIRS = 6
OFFERING = ("qaconv", "transformer_cross", "transformer_cross_shared", "transmatcher")
TRANSMATCHERS = [
    {},
    {"fc1": False},
    {"bn1": False},
    {"mlp_head1": False},
    {"prior_embed": False},
    {"symmetric_prior": False},
    {"first_level": "encoder"},
]


@pytest.fixture
def levels_of():
    """A small head with options, its representations of both sides of the pairs, and their local matches."""

    def make_them(name: str, **options: object):
        head = make(name, options)
        with torch.no_grad():
            query, gallery = head.encode(maps(PAIRS, 1)), head.encode(maps(PAIRS, 2))
            return head, query, gallery, head.local_matches(query, gallery)

    return make_them


def test_these_heads_offer_local_matches_and_the_others_refuse():
    assert tuple(name for name in names() if make(name, {}).offers_local_matches) == OFFERING
    for name in set(names()) - set(OFFERING):
        head = make(name, {})
        one = head.encode(maps(1, 1))
        with pytest.raises(NotImplementedError, match="offers no local matches"):
            head.local_matches(one, one)


@pytest.mark.parametrize("options", TRANSMATCHERS, ids=str)
def test_scores_of_transmatchers_decoders_add_up_to_its_logit_before_the_last_norm(levels_of, options):
    head, query, gallery, levels = levels_of("transmatcher", **options)
    assert [level.level for level in levels] == ["decoder 1", "decoder 2"]
    summed = torch.stack([level.score for level in levels]).sum(dim=0)
    with torch.no_grad():
        torch.testing.assert_close(head.norm(summed[:, None])[:, 0], head.match(query, gallery).diagonal())


def test_the_score_of_qaconv_is_its_logit(levels_of):
    head, query, gallery, (level,) = levels_of("qaconv")
    torch.testing.assert_close(level.score, head.match(query, gallery).diagonal().detach())


@pytest.mark.parametrize("name", ["transformer_cross", "transformer_cross_shared"])
@pytest.mark.parametrize("fusion", ["none", "multi_scale"])
@pytest.mark.parametrize("norm_first", [False, True])
def test_the_scores_of_cross_are_those_behind_its_last_norms(levels_of, name, fusion, norm_first):
    head, query, gallery, levels = levels_of(name, fusion=fusion, norm_first=norm_first)
    scores = torch.stack([level.score for level in levels])
    found = scores.sum(dim=0) if fusion == "multi_scale" else scores[-1]
    torch.testing.assert_close(found, head.match(query, gallery).diagonal().detach())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("qaconv", {}),
        ("transmatcher", {"mlp_head1": False}),
        ("transformer_cross", {}),
        ("transformer_cross_shared", {}),
        ("transformer_cross", {"norm_first": True}),
    ],
)
def test_where_a_score_is_a_sum_its_matches_weigh_what_they_add(levels_of, name, options):
    for level in levels_of(name, **options)[3]:
        constants = level.score - level.weight.sum(dim=1)
        torch.testing.assert_close(constants, constants[:1].expand(PAIRS))
        assert level.weight.std() > 1e-5


def test_a_weight_of_transmatcher_is_the_slope_times_the_distance_from_the_mean_of_all_matches(levels_of):
    head, _, _, levels = levels_of("transmatcher")
    decoder = head.decoder[0].double()
    best = levels[0].similarity.double().view(PAIRS, 2, -1)
    nudged = best.clone()
    nudged[:, 1, 3] += 1e-7

    def score(maxima: torch.Tensor) -> torch.Tensor:
        return decoder.bn3(decoder._plain_score(maxima))

    with torch.no_grad():
        slope = (score(nudged) - score(best))[:, 0] / 1e-7
    weight = slope * (best[:, 1, 3] - float(decoder.bn1.running_mean))
    torch.testing.assert_close(levels[0].weight.view(best.shape)[:, 1, 3].double(), weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["transmatcher", "qaconv"])
def test_maxima_are_the_largest_similarities_of_both_images(levels_of, name):
    head, query, gallery, levels = levels_of(name)
    for n, level in enumerate(levels):
        if name == "transmatcher":
            weights = head.decoder[n].prior(head.symmetric_prior)
            table = query.levels[:, n] @ gallery.levels[:, n].transpose(1, 2) * weights
        else:
            table = query.tokens @ gallery.tokens.transpose(1, 2)
        best = torch.cat((table.max(dim=2).values, table.max(dim=1).values), dim=1)
        torch.testing.assert_close(level.similarity, best.detach())
        pairs = torch.arange(PAIRS)[:, None]
        assert torch.equal(table[pairs, level.query_cell, level.gallery_cell].detach(), level.similarity)
        tokens = head.tokens
        assert level.query_cell[:, :tokens].equal(torch.arange(tokens).expand(PAIRS, -1))
        assert level.gallery_cell[:, tokens:].equal(torch.arange(tokens).expand(PAIRS, -1))


@pytest.mark.parametrize("name", ["transmatcher", "qaconv"])
def test_swapping_the_pictures_turns_the_matches_round(levels_of, name):
    head, query, gallery, levels = levels_of(name)
    for here, there in zip(levels, head.local_matches(gallery, query), strict=True):
        turned = torch.arange(2 * head.tokens).roll(head.tokens)
        assert here.query_cell[:, turned].equal(there.gallery_cell)
        torch.testing.assert_close(here.similarity[:, turned], there.similarity)
        torch.testing.assert_close(here.score, there.score)


@pytest.mark.parametrize("heads", [1, 2])
def test_the_strongest_attention_of_cross_is_that_of_torchs_own_attention(levels_of, heads):
    _, query, gallery, levels = levels_of("transformer_cross", heads=heads)
    width = SHAPE[0]
    attention = torch.nn.MultiheadAttention(width, heads, batch_first=True).eval()
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.eye(width).repeat(3, 1))
        attention.in_proj_bias.zero_()
        _, weights = attention(query.queries, gallery.keys[:, 0], gallery.values[:, 0])
    strongest = weights.max(dim=2)
    torch.testing.assert_close(levels[0].similarity, strongest.values)
    assert levels[0].gallery_cell.equal(strongest.indices)
