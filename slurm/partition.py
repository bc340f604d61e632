"""Keeping jobs off nodes, as far as others are left to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.errors import UserError
from slurm import queue
from slurm.resources import Resources


@dataclass
class Partitions:
    """The nodes of partitions, each asked for once."""

    _known: dict[str | None, frozenset[str]] = field(default_factory=dict)

    def kept_off(self, resources: Resources, nodes: Sequence[str]) -> Resources:
        """The resources without these nodes, beside those that they name themselves.

        Unchanged where no other node would be left, or none of them is known: SLURM would refuse the job.
        """
        if not nodes:
            return resources
        there = self._nodes(resources.partition)
        out = [node for node in nodes if node in there]
        if not out or not there - set(out):
            return resources
        own = [option for option in resources.sbatch if _excludes(option)]
        named = [option.partition("=")[2] for option in own]
        rest = [option for option in resources.sbatch if option not in own]
        return resources.model_copy(update={"sbatch": [*rest, f"--exclude={','.join([*named, *out])}"]})

    def _nodes(self, partition: str | None) -> frozenset[str]:
        if partition not in self._known:
            try:
                self._known[partition] = frozenset(queue.nodes(partition))
            except UserError:
                self._known[partition] = frozenset()
        return self._known[partition]


def _excludes(option: str) -> bool:
    # SLURM takes a name by its beginning too; "exclusive" is another one.
    return option.startswith("--exclud") and "=" in option
