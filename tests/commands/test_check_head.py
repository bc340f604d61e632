"""`bench check-head` on heads from outside that end Python, crash, loop or lie: a sentence, and its own exit code."""

from __future__ import annotations

import pytest

from bench.running import apart
from variants._laws import all_laws

HEAD = '''
import ctypes, os, sys, time
{first}
import torch
from variants import vit
class Mine(vit.ViT):
    """ViT, in two minds."""
    def __init__(self, feature_shape, *, layers: int = 1):
        super().__init__(feature_shape, layers=layers, feedforward=16)
        {built}
    def match(self, query, gallery):
        {match}
        return super().match(query, gallery)
'''
SOUND = {"first": "", "built": "pass", "match": "pass"}


@pytest.fixture
def check(bench, tmp_path):
    """Check a head of these parts."""

    def call(**parts: str):
        path = tmp_path / "mine.py"
        path.write_text(HEAD.format(**SOUND | parts))
        found = bench("check-head", path)
        assert "Traceback" not in found.out + found.err
        assert f"trying {path}" in found.err
        return found

    return call


@pytest.mark.slow
def test_a_sound_one_holds_all(check):
    found = check()
    assert found.code == 0 and "broken  " not in found.out and f"{len(all_laws())} laws hold, 0 broken" in found.out


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"first": "sys.exit(0)"}, "SystemExit: 0"),
        ({"first": "sys.exit('bye')"}, "SystemExit: bye"),
        ({"first": "os._exit(0)"}, "it ended its process with 0"),
        ({"first": "os.kill(os.getpid(), 9)"}, "it ended its process by SIGKILL"),
        ({"first": "ctypes.string_at(0)"}, "it ended its process by SIGSEGV"),
        ({"first": "raise KeyboardInterrupt"}, "KeyboardInterrupt"),
        ({"first": "input()"}, "EOFError"),
        ({"built": "sys.exit(0)"}, "SystemExit: 0"),
        ({"built": "raise BaseException('odd')"}, "BaseException: odd"),
    ],
)
def test_one_that_cannot_be_built_is_wrong_use_whatever_it_does(check, parts, reason):
    found = check(**parts)
    assert found.code == 2 and reason in found.err and "cannot be built" in found.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "loop",
    ["while True: pass", "time.sleep(10**6)", "ctypes.CDLL(None).pause()", "while True: torch.zeros(10**6).sort()"],
)
def test_one_that_does_not_come_to_an_end_is_ended(check, monkeypatch, loop):
    """In Python, in a call that waits, and in C code."""
    monkeypatch.setattr(apart, "TRIAL_SECONDS", 1)
    found = check(match=loop)
    assert found.code == 1 and "it did not come to an end within 1 s" in found.out
    assert found.out.endswith(f"0 laws hold, 1 broken, {len(all_laws()) - 1} not tried\n")


@pytest.mark.slow
def test_a_law_that_fails_does_not_keep_the_others_from_being_tried(check):
    found = check(match="sys.exit(0) if self.training else None")
    assert found.code == 1 and "SystemExit: 0" in found.out and "not tried" not in found.out
    assert "holds   scores have their shape" in found.out and "broken  gradients are finite" in found.out


@pytest.mark.slow
def test_a_head_whose_gradient_is_no_number_fails_with_the_cause(bench, tmp_path):
    """Minus the Euclidean distance: its root is at 0 where an image meets itself."""
    path = tmp_path / "euclid.py"
    path.write_text(
        "from variants._base import Repr\nfrom variants._layers import VectorHead\n"
        "class Euclid(VectorHead):\n    '''Minus the Euclidean distance.'''\n"
        "    def encode(self, feature_map):\n        return Repr(feature=feature_map.mean(dim=(2, 3)))\n"
        "    def match(self, query, gallery):\n"
        "        apart = query.feature[:, None] - gallery.feature[None]\n"
        "        return self.norm(-(apart**2).sum(2).sqrt())\n"
    )
    found = bench("check-head", path)
    assert found.code == 1
    assert "broken  gradients are finite: the gradient of the feature maps is not finite where an image" in found.out


def test_perf_tries_a_head_from_outside_before_it_measures(bench, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HEAD.format(**SOUND | {"first": "sys.exit(0)"}))
    found = bench("perf", "--variants", path, "--results", tmp_path, "--tokens", "8", "--width", "16", "--batch", "4")
    assert found.code == 2 and "SystemExit: 0" in found.err and not (tmp_path / "perf").exists()
