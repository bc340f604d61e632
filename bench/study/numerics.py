"""Versions of the code that makes a run's numbers; runs of other versions count as missing."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import variants
from bench.config import HALVES, CellConfig

TRAINER_NUMERICS = 3
"""Raised whenever trainer, sampler, augmentation, backbone or evaluator change a run's numbers."""

FROZEN_NUMERICS = 2
"""Raised whenever a backbone with frozen batch norms changes a run's numbers and one that trains them does not."""

SCORING_NUMERICS = 2
"""Raised whenever scoring in 16 bits changes a run's numbers; it is in the identity of runs that do so."""


def numerics_of(info: variants.HeadInfo, config: CellConfig) -> dict[str, int]:
    """The versions of all code that a run's numbers come from, by part."""
    return {"head": info.numerics, **_shared(config)}


def outdated(config: CellConfig, numerics: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """The parts of which a run was made by an earlier version, as (then, now); 0 for a part that had no version yet.

    Nothing for a run that a later version of the suite has made. What a head from outside the suite, or one that is no
    longer there, is by now is not asked.
    """
    now = {"head": numerics.get("head", 0), **_shared(config)}
    if not config.head_digest:
        with contextlib.suppress(variants.HeadError):
            now["head"] = variants.describe(config.head).numerics
    then = {part: numerics.get(part, 0) for part in {*now, *numerics}}
    if any(version > now.get(part, 0) for part, version in then.items()):
        return {}
    return {part: (then[part], version) for part, version in now.items() if then[part] < version}


def _shared(config: CellConfig) -> dict[str, int]:
    numerics = {"layers": variants.SHARED_NUMERICS, "trainer": TRAINER_NUMERICS}
    if config.backbone.batchnorm == "frozen":
        numerics["frozen"] = FROZEN_NUMERICS
    if config.evaluation.scoring in HALVES:
        numerics["scoring"] = SCORING_NUMERICS
    return numerics
