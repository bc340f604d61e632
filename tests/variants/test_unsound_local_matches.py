"""What the laws find out of heads whose local matches are not as the contract says."""

from __future__ import annotations

import pytest

from variants._errors import LawBroken
from variants._laws import all_laws

HEAD = '''
import torch
from variants._base import LocalMatches
from variants import cosine
class Mine(cosine.Cosine):
    """Cosine that says it matched the first position with the last."""
    offers_local_matches = {offers}
    def local_matches(self, query, gallery):
        n = len(query)
        first, score = torch.zeros(n, 3, dtype=torch.int64), (query.feature * gallery.feature).sum(dim=1)
        last = torch.full_like(first, {last})
        value = {value}
        level = LocalMatches({name}, first, last, value, value * 2, {score})
        return {returned}
'''
SOUND = {
    "offers": "True",
    "last": "self.tokens - 1",
    "value": "torch.ones(n, 3)",
    "name": "'pooled'",
    "score": "score",
    "returned": "[level]",
}


@pytest.fixture
def broken(tmp_path):
    """Hold a head against the laws of local matches; returns what is broken, or "" if they hold."""

    def hold(**parts: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(HEAD.format(**SOUND | parts))
        try:
            for law in ("declarations_are_sound", "local_matches_are_those_of_each_pair"):
                all_laws()[law](str(path), {})
        except LawBroken as fault:
            return str(fault)
        return ""

    return hold


def test_the_sound_form_obeys(broken):
    assert broken() == ""


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"offers": "False"}, "local_matches is defined, but offers_local_matches is not True"),
        ({"offers": "1"}, "offers_local_matches must be True or False, not 1"),
        ({"returned": "level"}, "must give a list of LocalMatches"),
        ({"returned": "[]"}, "must give a list of LocalMatches"),
        ({"returned": "[level, level]"}, "each level of local_matches needs a name of its own"),
        ({"name": "' '"}, "each level of local_matches needs a name of its own"),
        ({"last": "self.tokens"}, "gallery_cell must be positions from 0 to 7"),
        ({"last": "-1"}, "gallery_cell must be positions from 0 to 7"),
        ({"value": "torch.ones(n, 4)"}, "must all be [n, m]"),
        ({"value": "torch.ones(n, 3).double()"}, "similarity must be a tensor of torch.float32, not torch.float64"),
        ({"value": "torch.ones(n, 3) * float('nan')"}, "some values of similarity are not finite"),
        ({"score": "score[:, None]"}, "score must be [n] = (5,), not (5, 1)"),
        ({"score": "score / 0"}, "some scores are not finite"),
        ({"score": "score - score.mean()"}, "score of a pair depends on the other pairs"),
    ],
)
def test_what_the_contract_excludes_is_found(broken, parts, reason):
    assert reason in broken(**parts)


def test_a_declaration_without_the_method_is_found(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from variants import vit\nclass Mine(vit.ViT):\n    'Mine.'\n    offers_local_matches = True\n")
    with pytest.raises(LawBroken, match="offers_local_matches is True, but local_matches is not defined"):
        all_laws()["declarations_are_sound"](str(path), {})
