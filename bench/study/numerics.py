"""Versions of the code that makes a run's numbers; runs of other versions count as missing."""

from __future__ import annotations

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
    numerics = {"head": info.numerics, "layers": variants.SHARED_NUMERICS, "trainer": TRAINER_NUMERICS}
    if config.backbone.batchnorm == "frozen":
        numerics["frozen"] = FROZEN_NUMERICS
    if config.evaluation.scoring in HALVES:
        numerics["scoring"] = SCORING_NUMERICS
    return numerics
