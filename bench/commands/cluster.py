"""The one place where `bench` calls `slurm`, and the ledger that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import variants
from bench.commands.common import Selection
from bench.data import NAMES
from bench.running.jobs import Cluster, ClusterSettings, Names
from bench.running.ledger import Ledger
from bench.study.definition import load_study, study_name, study_names


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


def names_of(selection: Selection, study: str) -> Names:
    """What the runs of a selection are called by, and all that runs of the suite may be called by."""
    studies = [*map(load_study, study_names()), selection.study]
    configs = [cell.config for cell in selection.cells]
    parts = [part.partition("@")[0] for config in configs for part in config.train.split("+")]
    labels = [row.label for each in studies for row in each.whole_rows]
    return Names(
        study=study_name(study),
        studies=(*study_names(), study_name(study)),
        heads=(*variants.names(), *variants.unusable(), *(config.head for config in configs)),
        train=(*NAMES, *parts),
        rows=tuple(dict.fromkeys((*labels, *(cell.label for cell in selection.cells)))),
    )
