"""What the laws find out of heads that lie, and that they find it whatever Python was told about assertions."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest
from places import ROOT

from variants import _laws, _soundness
from variants._errors import LawBroken
from variants._laws import all_laws

HEAD = '''
import torch
from variants._base import Head, Repr
class Mine(Head):
    """Dot products."""
    {declared}
    def __init__(self, feature_shape):
        super().__init__(feature_shape)
        self.scale = torch.nn.Parameter(torch.ones(1))
        self.symmetric = {symmetric}
    def encode(self, feature_map):
        kept = feature_map.mean(dim=(2, 3))
        return {encode}
    def match(self, query, gallery):
        q, g = query.kept, gallery.kept
        return {match}
    def pair_bytes(self, training=False):
        return {pair_bytes}
    {more}
'''
SOUND = {"declared": "", "symmetric": "True", "encode": "Repr(kept=kept)", "match": "self.scale * (q @ g.T)",
         "pair_bytes": "8", "more": ""}  # fmt: skip


@pytest.fixture
def broken(tmp_path):
    """Hold a head against one law; returns what is broken, or "" if it holds."""

    def hold(law: str, **parts: str) -> str:
        path = tmp_path / "mine.py"
        path.write_text(HEAD.format(**SOUND | parts))
        try:
            all_laws()[law](str(path), {})
        except LawBroken as fault:
            return str(fault)
        return ""

    return hold


@pytest.mark.parametrize("law", all_laws())
def test_the_sound_form_obeys(broken, law):
    assert broken(law) == ""


ROOTS = {
    "root at 0": "-((q[:, None] - g[None]) ** 2).sum(2).sqrt() * self.scale",
    "root of a root": "-((q[:, None] - g[None]) ** 2).sum(2).pow(0.25) * self.scale",
    "logarithm at 0": "-((q[:, None] - g[None]) ** 2).sum(2).log1p().sqrt() * self.scale",
    "division by 0": "self.scale * torch.where(q[:, :1] == g[:, :1].T, 0.0, 1 / (q[:, :1] - g[:, :1].T))",
}


@pytest.mark.parametrize("kind", ROOTS)
def test_gradients_that_are_not_finite_where_an_image_meets_itself_are_found(broken, kind):
    assert "is not finite where an image meets itself" in broken("gradients_are_finite", match=ROOTS[kind])
    assert broken("scores_have_their_shape_and_are_finite", match=ROOTS[kind]) == ""


def test_a_root_that_is_kept_from_0_is_fine(broken):
    assert broken("gradients_are_finite", match=ROOTS["root at 0"].replace(".sqrt()", ".add(1e-6).sqrt()")) == ""


def test_a_head_that_carries_no_gradient_is_found(broken):
    assert "carry no gradient" in broken("gradients_are_finite", match="(self.scale * (q @ g.T)).detach()")


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"match": "(q @ g.T) * 1j"}, "scores must be real numbers, not torch.complex64"),
        ({"match": "(q @ g.T).long()"}, "scores must be real numbers, not torch.int64"),
        ({"match": "(q @ g.T) > 0"}, "scores must be real numbers, not torch.bool"),
        ({"match": "(q @ g.T) + 1e-6 * torch.rand(len(q), len(g))"}, "score differently each time"),
        ({"match": "[0.0]"}, "match must return a tensor, not list"),
        ({"match": "(q @ g.T).log() - q @ g.T"}, "some scores are not finite"),
        ({"match": "(q @ g.T).T"}, "match gave (7, 5) for 5 queries and 7 gallery images"),
        ({"encode": "kept"}, "encode must return a Repr, not Tensor"),
        ({"encode": "Repr(kept=kept.round().long())"}, "kept must be real numbers, not torch.int64"),
        ({"encode": "Repr(kept=kept * 1j)"}, "kept must be real numbers, not torch.complex64"),
        ({"encode": "Repr(kept=kept[:1])"}, "encode made 1 images of 5"),
        ({"encode": "Repr(kept=torch.nn.functional.dropout(kept, 0.5))"}, "score differently each time"),
    ],
)
def test_scores_that_are_none_are_found(broken, parts, words):
    assert words in broken("scores_have_their_shape_and_are_finite", **parts)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        *(({"pair_bytes": size}, "pair_bytes must") for size in ("0", "-8", "8.0", "True", "None", "2**60", "'8'")),
        ({"symmetric": "'yes'"}, "symmetric must be True or False, not 'yes'"),
        ({"symmetric": "1"}, "symmetric must be True or False, not 1"),
        ({"declared": "exact_representations = 'no'"}, "exact_representations must be True or False"),
        ({"declared": "exact_representations = None"}, "exact_representations must be True or False"),
        ({"more": "numerics = property(lambda self: 1.5)"}, "whole number from 1"),
        ({"more": "def training_bytes(self, batch, device_kind='cpu'): return 1e9"}, "training_bytes must give"),
        ({"more": "def training_bytes(self, batch, device_kind='cpu'): return -1"}, "training_bytes must give"),
        ({"more": "def pair_parameters(self): return ['scale']"}, "pair_parameters must give a set of names"),
        ({"more": "def pair_parameters(self): return {'scales'}"}, "pair_parameters names what is none: scales"),
        ({"more": "def void_parameters(self): return 'scale'"}, "void_parameters must give a set of names"),
        ({"more": "def encode_products(self, images): return None"}, "encode_products must give a list of Product"),
        ({"more": "def match_products(self, q, g, same=False): return [(1, 2, 3)]"}, "match_products must give a list"),
        ({"more": "def matcher(self): return None"}, "matcher must give a Head, not NoneType"),
    ],
)  # fmt: skip
def test_what_is_declared_in_another_type_is_one_sentence(broken, parts, words):
    if "numerics" in parts.get("more", ""):
        with pytest.raises(ValueError, match=words):
            broken("declarations_are_sound", **parts)
    else:
        said = broken("declarations_are_sound", **parts)
        assert words in said and "\n" not in said


def test_no_check_of_the_packages_is_an_assertion():
    for package in ("variants", "bench", "slurm"):
        for path in (ROOT / package).rglob("*.py"):
            found = [node.lineno for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Assert)]
            assert not found, f"{path}, line {found}: python -O leaves assertions out"


LIES = {
    "scores_have_their_shape_and_are_finite": {"match": "self.scale * 1j * (q @ g.T)"},
    "saving_a_repr_keeps_the_scores": {"match": "self.scale * torch.rand(len(q), len(g))"},
    "declared_symmetry_holds": {"match": "self.scale * (q @ g.T) + q[:, :1]"},
    "gradients_are_finite": {"match": ROOTS["root at 0"]},
    "declarations_are_sound": {"pair_bytes": "0"},
}


def test_liars_are_found_as_python_O_compiles_the_laws(tmp_path, monkeypatch):
    def optimised(module: ModuleType) -> dict:
        names = dict(module.__dict__)
        exec(compile(Path(module.__file__).read_text(), module.__file__, "exec", optimize=1), names)
        return names

    for name, value in optimised(_soundness).items():
        monkeypatch.setattr(_soundness, name, value)
    laws = optimised(_laws)["all_laws"]()
    path = tmp_path / "mine.py"
    for law, lie in LIES.items():
        path.write_text(HEAD.format(**SOUND | lie))
        with pytest.raises(LawBroken):
            laws[law](str(path), {})
