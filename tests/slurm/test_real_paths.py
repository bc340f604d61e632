"""A results folder with everything in its name that SLURM or a shell could take for something else, on a real SLURM."""

from __future__ import annotations

import pytest
from campaign import Campaign
from waiting import wait_for

from bench.running.jobs import job_logs, read_job

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("cluster")]


def test_runs_come_home_to_a_folder_of_any_name(campaign_of, tmp_path):
    some = campaign_of("--variants", "cosine", "--seeds", "2")
    campaign = Campaign(tmp_path / "%j %A_%a '%t' \"\\%x\" #1 $HOME", some.data, some.select)
    campaign.submit()
    wait_for("the ends", lambda: campaign.states() == ["done", "done"])
    assert "2 of 2 done" in campaign.status()
    for folder in (campaign.results / "runs").iterdir():
        logs = {log.suffix: log.read_text() for log in job_logs(read_job(folder))}
        assert f"{folder.name}: done" in logs[".out"]
    assert [path.name for path in tmp_path.iterdir()] == [campaign.results.name]
