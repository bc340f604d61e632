"""Every head, with every switch, obeys every law."""

from __future__ import annotations

import pytest

from variants import names
from variants._errors import LawBroken
from variants._laws import all_laws

SWITCHES: list[tuple[str, dict]] = [
    *[
        ("transmatcher", options)
        for options in (
            {"fc1": False},
            {"bn1": False},
            {"mlp_head1": False},
            {"mlp_head1": False, "bn1": False},
            {"prior_embed": False},
            {"pos_embed": True},
            {"prior_embed": False, "pos_embed": True},
            {"symmetric_prior": False},
            {"first_level": "encoder"},
            {"first_level": "encoder", "layers": 1},
            {"layers": 1},
            {"layers": 1, "mlp_head1": False},
            {"heads": 2},
        )
    ],
    *[("transformer_cat", {"fusion": fusion}) for fusion in ("score", "score_nonorm", "feature")],
    *[
        ("transformer_cat", {"norm_first": True, "fusion": fusion})
        for fusion in ("none", "score", "score_nonorm", "feature")
    ],
    *[("transformer_cat", {"pooling": "mean", "norm_first": first}) for first in (False, True)],
    ("transformer_cat", {"pooling": "mean", "fusion": "feature"}),
    *[
        (head, options)
        for head in ("transformer_cross", "transformer_cross_shared")
        for options in (
            {"encode_query": True},
            {"fusion": "multi_scale"},
            {"fusion": "multi_scale", "encode_query": True},
            {"norm_first": True},
            {"norm_first": True, "fusion": "multi_scale"},
            {"heads": 2},
        )
    ],
    *[(head, {"heads": 2, "layers": 1}) for head in ("vit", "transformer", "transformer_cat")],
]
CASES = [(name, {}) for name in names()] + SWITCHES


@pytest.mark.parametrize("law", all_laws().values(), ids=all_laws().keys())
@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda case: str(case))
def test_law_holds(name, options, law):
    law(name, options)


BROKEN = '''
import torch
from variants._base import Head, Product, Repr

class Broken(Head):
    """A head that breaks one law."""
    def __init__(self, feature_shape):
        super().__init__(feature_shape)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.symmetric = {symmetric}
        self.calls = torch.nn.Buffer(torch.zeros(1))
    def encode(self, feature_map):
        feature = feature_map.mean(dim=(2, 3))
        return Repr(feature=feature{encode})
    def match(self, query, gallery):
        {match}
        return self.scale * (query.feature @ gallery.feature.T){scores}
    def plain_match(self, query, gallery):
        return self.match(query, gallery){plain}
    def match_products(self, queries, gallery, same=False):
        return [Product(queries, self.feature_shape[0], gallery{products})]
    def pair_bytes(self):
        return {pair_bytes}
    def void_parameters(self):
        return {void}
'''
SOUND = {
    "symmetric": "True",
    "encode": "",
    "match": "",
    "scores": "",
    "pair_bytes": "8",
    "void": "set()",
    "plain": "",
    "products": "",
}
BREAKS = {
    "scores_have_their_shape_and_are_finite": {"scores": ".T"},
    "encode_sees_one_image_at_a_time": {"encode": " - feature.mean(0)"},
    "blocks_give_the_scores_of_the_whole": {"scores": " * len(gallery)"},
    "permuting_the_gallery_permutes_the_columns": {"scores": " + torch.arange(float(len(gallery)))"},
    "saving_a_repr_keeps_the_scores": {"scores": " + torch.rand(1)"},
    "a_copy_scores_as_the_same_object": {"scores": " + float(query is gallery)"},
    "the_plain_form_scores_the_same": {"plain": " + 1"},
    "declared_products_are_those_of_the_plain_form": {"products": ", 2"},
    "declared_symmetry_holds": {"scores": " + query.feature.sum(1, keepdim=True)"},
    "evaluation_keeps_no_state": {"match": "self.calls += 1"},
    "gradients_reach_all_but_void_parameters": {"void": "{'scale'}"},
    "declarations_are_sound": {"pair_bytes": "0"},
}


@pytest.mark.parametrize("broken", BREAKS)
def test_each_law_finds_a_head_that_breaks_it(broken, tmp_path):
    path = tmp_path / "broken.py"
    path.write_text(BROKEN.format(**SOUND | BREAKS[broken]))
    with pytest.raises(LawBroken):
        all_laws()[broken](str(path), {})


def test_a_norm_that_updates_twice_is_found(tmp_path):
    path = tmp_path / "twice.py"
    path.write_text(
        (BROKEN.format(**SOUND))
        .replace("self.calls = torch.nn.Buffer(torch.zeros(1))", "self.norm = torch.nn.BatchNorm1d(1)")
        .replace(
            "        \n        return self.scale",
            "        self.norm(self.norm(torch.rand(4, 1)))\n        return self.scale",
        )
    )
    with pytest.raises(LawBroken, match="2 updates"):
        all_laws()["norms_over_pairs_update_once_per_call"](str(path), {})


def test_the_sound_version_of_that_head_obeys_all(tmp_path):
    path = tmp_path / "sound.py"
    path.write_text(BROKEN.format(**SOUND))
    for law in all_laws().values():
        law(str(path), {})
