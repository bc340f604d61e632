"""On a real SLURM that lets a user have fewer jobs than the matrix has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from campaign import empty_queue, shell
from waiting import wait_for

from bench.running import submission

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


@pytest.fixture
def limited() -> Iterator[None]:
    """This user may have four jobs, queued or running."""
    empty_queue()
    shell("sacctmgr --immediate modify user where name=$(id -un) set MaxSubmitJobs=4")
    yield
    shell("sacctmgr --immediate modify user where name=$(id -un) set MaxSubmitJobs=-1")


def test_the_matrix_comes_home_through_fewer_places(campaign_of, limited, monkeypatch):
    monkeypatch.setattr(submission, "FIRST_PAUSE", 1.0)
    monkeypatch.setattr(submission, "LONGEST_PAUSE", 2.0)
    campaign = campaign_of("--variants", "cosine", "--seeds", "6")
    told = campaign.submit()
    assert "submitted 4 runs" in told or "submitted 3 runs" in told
    assert "left open for want of room (SLURM refuses: " in told and "SubmitJob" in told
    assert f"{6 - int(told.partition('submitted ')[2].split()[0])} runs are left open" in told
    told = campaign.submit("--wait-for-room")
    assert "submitted" in told and told.splitlines()[-1].startswith("`bench status`")
    wait_for("the ends", lambda: campaign.states() == ["done"] * 6)
    assert len(campaign.records()) == 6
