"""What `auto` precision means on a cluster's GPU, from the name that the cluster gives it."""

from __future__ import annotations

import pytest
from called import called

from bench.running.jobs import ClusterSettings
from slurm.gpus import precision_of
from slurm.remote import SlurmCluster


@pytest.mark.parametrize(
    ("names", "precision"),
    [
        ("a100 nvidia_a100-sxm4-80gb A100 h100_pcie l40s rtx_3090 rtx_a6000 rtxa5000 geforce_rtx_4090 mi250x", "bf16"),
        ("v100 tesla_v100 V100S-PCIE-32GB t4 tesla-t4 rtx_2080_ti rtx2080ti titan_rtx quadro_rtx_8000", "fp16"),
        ("p100 gtx_1080_ti titan_xp k80", "fp32"),
        ("gpu any 1g.10gb rtx6000 rtx_5000 2 100", None),
    ],
)
def test_clusters_name_the_same_card_in_many_ways(names, precision):
    assert {name: precision_of(name) for name in names.split()} == dict.fromkeys(names.split(), precision)
    assert precision_of(None) is None and precision_of("") is None


@pytest.fixture
def target(tmp_path):
    """The machine that runs a head, by resources as --resource says them."""

    def of(*resources: str):
        return SlurmCluster(ClusterSettings("slurm", tmp_path, overrides=resources)).target(called("vit"))

    return of


def test_a_known_kind_decides_and_an_unknown_one_is_said_to_be_assumed(target):
    assert (target("gpu_type=v100").precision, target("gpu_type=v100").assumption) == ("fp16", "")
    assert target("gpu_type=h100").precision == "bf16"
    assert target("gpu_type=tpu9").precision == "bf16" and "gpu_type=tpu9" in target("gpu_type=tpu9").assumption
    assert "no gpu_type is named, so training.precision=auto is taken to be bf16" in target().assumption
    on_cpus = target("gpus=0")
    assert (on_cpus.device, on_cpus.precision, on_cpus.assumption) == ("cpu", "fp32", "")
