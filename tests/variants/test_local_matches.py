"""What heads say they matched fits the scores that they give, and what a head from outside says is checked."""

from __future__ import annotations

import pytest
import torch

from variants._errors import LawBroken
from variants._laws import all_laws, make, maps
from variants.kernels import dense_maxima

LAW = all_laws()["declared_local_matches_are_sound"]
PAIRS = 4
OFFERED = ("qaconv", "transformer_cross", "transformer_cross_shared", "transmatcher")


@pytest.fixture
def matched():
    """Make a head of random weights: returns it, both sides of some pairs, its levels, and its scores of the pairs."""

    def make_and_match(name: str, **options):
        head = make(name, options)
        with torch.no_grad():
            query, gallery = head.encode(maps(PAIRS, 1)), head.encode(maps(PAIRS, 2))
            return head, query, gallery, head.local_matches(query, gallery), head.match(query, gallery).diagonal()

    return make_and_match


def test_heads_without_local_matches_say_so():
    for name in ("cosine", "vit", "transformer", "transformer_cat"):
        head = make(name, {})
        assert not head.offers_local_matches
        with pytest.raises(NotImplementedError, match="offers no local matches"):
            head.local_matches(None, None)
    assert all(make(name, {}).offers_local_matches for name in OFFERED)


@pytest.mark.parametrize(
    "options", [{}, {"symmetric_prior": False}, {"prior_embed": False}, {"mlp_head1": False, "bn1": False}]
)
def test_transmatchers_levels_make_up_its_score(matched, options):
    head, _, _, levels, scores = matched("transmatcher", **options)
    assert [level.level for level in levels] == ["decoder 1", "decoder 2"]
    total = torch.stack([level.score for level in levels]).sum(dim=0)
    torch.testing.assert_close(head.norm(total[:, None])[:, 0], scores)


def test_transmatchers_matches_are_its_maxima_with_the_prior(matched):
    head, query, gallery, levels, _ = matched("transmatcher", symmetric_prior=False)
    for n, (decoder, level) in enumerate(zip(head.decoder, levels, strict=True)):
        ours, theirs, prior = query.levels[:, n], gallery.levels[:, n], decoder.prior(False).detach()
        best = dense_maxima(ours, theirs, prior).diagonal(dim1=0, dim2=1)  # [2, T, pairs]
        torch.testing.assert_close(level.similarity, best.permute(2, 0, 1).flatten(1))
        for pair in range(PAIRS):
            cells = level.query_cell[pair], level.gallery_cell[pair]
            products = (ours[pair, cells[0]] * theirs[pair, cells[1]]).sum(dim=1)
            torch.testing.assert_close(level.similarity[pair], products * prior[cells])
            assert torch.equal(level.weight[pair], prior[cells])


def test_both_directions_count(matched):
    for name in ("qaconv", "transmatcher"):
        head, _, _, levels, _ = matched(name)
        every = torch.arange(head.tokens)
        for level in levels:
            assert torch.equal(level.query_cell[0, : head.tokens], every)
            assert torch.equal(level.gallery_cell[0, head.tokens :], every)


def test_qaconvs_only_level_bears_its_score_and_its_cosines(matched):
    _, query, gallery, (level,), scores = matched("qaconv")
    torch.testing.assert_close(level.score, scores)
    first = (query.tokens[0, level.query_cell[0]] * gallery.tokens[0, level.gallery_cell[0]]).sum(dim=1)
    torch.testing.assert_close(level.similarity[0], first)
    assert level.similarity.abs().max() <= 1 + 1e-6 and (level.weight == 1).all()


@pytest.mark.parametrize("name", ["transformer_cross", "transformer_cross_shared"])
@pytest.mark.parametrize("options", [{}, {"heads": 2}, {"encode_query": True}])
def test_cross_shows_its_strongest_attention_beside_its_score(matched, name, options):
    head, query, gallery, levels, scores = matched(name, **options)
    for level in levels:
        torch.testing.assert_close(level.score, scores)
        assert (level.similarity > 1 / head.tokens).all() and (level.similarity <= 1).all()
    attention = head.decoder[0].attention(query.queries, gallery.keys[:, 0]).detach()
    torch.testing.assert_close(attention.sum(dim=2), torch.ones(PAIRS, head.tokens))
    assert torch.equal(levels[0].gallery_cell, attention.argmax(dim=2))


def test_attention_is_the_one_that_the_decoder_uses(matched):
    head, query, gallery, *_ = matched("transformer_cross", heads=1)
    layer, keys, values = head.decoder[0], gallery.keys[:, 0], gallery.values[:, 0]
    found = layer.attention(query.queries, keys) @ values
    torch.testing.assert_close(found, torch.nn.functional.scaled_dot_product_attention(query.queries, keys, values))


def test_scores_of_several_scales_add_up(matched):
    *_, levels, scores = matched("transformer_cross", fusion="multi_scale")
    torch.testing.assert_close(torch.stack([level.score for level in levels]).sum(dim=0), scores)


HEAD = '''
import torch
from variants._base import Head, LocalMatches, Repr
class Mine(Head):
    """Dot products."""
    offers_local_matches = True
    def __init__(self, feature_shape):
        super().__init__(feature_shape)
        self.scale = torch.nn.Parameter(torch.ones(1))
    def encode(self, feature_map):
        return Repr(kept=feature_map.mean(dim=(2, 3)))
    def match(self, query, gallery):
        return self.scale * (query.kept @ gallery.kept.T)
    def pair_bytes(self, training=False):
        return 8
    def local_matches(self, query, gallery):
        cell = torch.zeros(len(query), 3, dtype=torch.int64)
        strength = (query.kept * gallery.kept)[:, :3]
        score = self.match(query, gallery).diagonal()
        return {returned}
'''
SOUND = '[LocalMatches("all", cell, cell, strength, torch.ones_like(strength), score)]'


def test_a_head_from_outside_may_offer_local_matches(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(returned=SOUND))
    LAW(str(path), {})


@pytest.mark.parametrize(
    ("found", "instead", "words"),
    [
        ("[LocalMatches", "[(1, 2), LocalMatches", "must give a list of LocalMatches"),
        (SOUND, "[]", "must give a list of LocalMatches"),
        ('"all"', '" "', "needs a name of its own"),
        (SOUND, SOUND + " * 2", "needs a name of its own"),
        ("cell, cell", "cell, cell.int()", "gallery_cell of the local matches of all must be torch.int64"),
        ("cell, cell", "cell + 8, cell", "query_cell of the local matches of all lies outside the 8 cells"),
        ("cell, cell", "cell, cell[:, :2]", r"gallery_cell of the local matches of all has shape \(5, 2\)"),
        ("cell, strength", "cell, strength / 0", "similarity of the local matches of all is not finite"),
        ("cell, strength", "cell, strength.tolist()", "similarity of the local matches of all must be a tensor"),
        (", score)", ", score[:, None])", r"score of the local matches of all has shape \(5, 1\)"),
        (", score)", ", score.double())", "score of the local matches of all must be torch.float32"),
        (", score)", ", score - score.mean())", "score of the local matches of all depends on the other pairs"),
    ],
)
def test_local_matches_that_are_none_are_found(tmp_path, found, instead, words):
    path = tmp_path / "mine.py"
    assert SOUND.count(found) == 1
    path.write_text(HEAD.format(returned=SOUND.replace(found, instead)))
    with pytest.raises(LawBroken, match=words):
        LAW(str(path), {})


def test_declaring_local_matches_by_another_word_than_true_is_found(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(returned=SOUND).replace("local_matches = True", 'local_matches = "yes"'))
    with pytest.raises(LawBroken, match="offers_local_matches must be True or False, not 'yes'"):
        all_laws()["declarations_are_sound"](str(path), {})
