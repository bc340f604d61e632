"""Looks at a network while it trains: accuracy on held-out persons, losses, gradient norms. They change no weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.journal.measures import Level, Look
from bench.network.matcher import Matcher
from bench.training.optimizer import StepOutcome

Examine = Callable[[Matcher], Level]
"""Tests a network on the persons held out."""


@dataclass
class _Sums:
    """Over steps that were taken."""

    steps: int = 0
    loss: float = 0.0
    hit: float = 0.0
    norms: dict[str, float] = field(default_factory=dict)
    clipped: dict[str, int] = field(default_factory=dict)

    def add(self, outcome: StepOutcome, clip: float | None) -> None:
        self.steps += 1
        self.loss += outcome.loss
        self.hit += outcome.hit
        for name, norm in outcome.gradient_norms.items():
            self.norms[name] = self.norms.get(name, 0.0) + norm
            self.clipped[name] = self.clipped.get(name, 0) + (clip is not None and norm > clip)


class Looks:
    """What the steps since the last look came to, and all looks so far."""

    def __init__(self, every: int, clip: float | None, examine: Examine) -> None:
        """A look is due after each `every` steps; gradients are clipped at the norm `clip`."""
        self.every, self.clip, self.examine = every, clip, examine
        self.taken: list[Look] = []
        self._since = _Sums()

    def add(self, outcome: StepOutcome | None) -> None:
        """Count a step's outcome in, if there is one to be had yet and the step was taken."""
        if outcome is not None and outcome.taken:
            self._since.add(outcome, self.clip)

    def is_due(self, step: int, last: bool = False) -> bool:
        """Whether to look after so many steps, of which the last one is due too; never twice after the same."""
        return (last or step % self.every == 0) and (not self.taken or self.taken[-1].step < step)

    def look(self, step: int, model: Matcher, learning_rates: list[float]) -> Look:
        """Test the network, which is left in evaluation mode, and keep that with the means since the last look."""
        since, self._since = self._since, _Sums()
        found = Look(
            step=step,
            loss=since.loss / since.steps if since.steps else None,
            hit=since.hit / since.steps if since.steps else None,
            learning_rates=learning_rates,
            gradient_norms={name: norm / since.steps for name, norm in since.norms.items()},
            clipped={name: count / since.steps for name, count in since.clipped.items()},
            held_out=self.examine(model),
        )
        self.taken.append(found)
        return found

    def state_dict(self) -> dict[str, Any]:
        """All that going on takes."""
        return {"taken": [look.model_dump() for look in self.taken], "since": asdict(self._since)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from where `state_dict` was taken."""
        self.taken = [Look(**look) for look in state["taken"]]
        self._since = _Sums(**state["since"])
