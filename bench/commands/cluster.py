"""The one place where `bench` calls `slurm`, and the ledger that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.running.jobs import Cluster, ClusterSettings
from bench.running.ledger import Ledger


def open_cluster(settings: ClusterSettings) -> Cluster:
    """The cluster that settings name. Imported only when one is needed."""
    from slurm import cluster

    return cluster(settings)


def ledger(results: Path) -> Ledger:
    """The ledger of a results folder; SLURM is asked only if some job there is unsettled."""
    return Ledger(
        results,
        lambda: open_cluster(ClusterSettings("slurm", results)),
        lambda text: print(text, file=sys.stderr, flush=True),
    )
