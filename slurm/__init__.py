"""Running cells through Submitit: on a SLURM cluster, detached on this machine, or one by one for a debugger.

`cluster` is the one call that `bench` makes; of `bench`, this package runs nothing but `bench.running.cell.run_cell`
and, for several cells on one machine, `bench.running.runner.run_all`.
"""

from __future__ import annotations

from bench.running.jobs import Cluster, ClusterSettings


def cluster(settings: ClusterSettings) -> Cluster:
    """The cluster that settings name. Raises UserError for resources that make no sense."""
    if settings.name == "slurm":
        from slurm.remote import SlurmCluster

        return SlurmCluster(settings)
    from slurm.local import DebugCluster, LocalCluster

    return LocalCluster(settings) if settings.name == "local" else DebugCluster(settings)
