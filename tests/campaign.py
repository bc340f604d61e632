"""Cells on the one-node cluster of `slurm/dev-cluster`, followed from outside."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from places import ROOT
from waiting import wait_for

from bench.cli import main
from bench.journal.heartbeat import Heartbeat, read_heartbeat
from bench.journal.record import Record, read_records

DEV_CLUSTER = ROOT / "slurm" / "dev-cluster"
RESOURCES = ("gpus=0", "cpus=1", "memory=1G")


def shell(command: str) -> str:
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Campaign:
    """A results folder, and `bench` with the arguments that choose its cells."""

    results: Path
    data: Path
    select: tuple[str, ...]
    asked: list[str] = field(default_factory=list)

    def words(self, command: str, *more: str) -> list[str]:
        """What stands behind `bench`."""
        places = ["--data-dir", str(self.data), "--results", str(self.results)]
        return [command, *self.select, "--preset", "tiny", *places, *more]

    def words_to_submit(self, *more: str) -> list[str]:
        resources = [word for resource in RESOURCES for word in ("--resource", resource)]
        return self.words("run", "--cluster", "slurm", *resources, *more)

    def call(self, command: str, *more: str) -> str:
        """A command in this process, which has imported all that takes long."""
        return called(self.words(command, *more))

    def submit(self, *more: str) -> str:
        return called(self.words_to_submit(*more))

    def status(self) -> str:
        return self.call("status")

    def heartbeats(self) -> dict[Path, Heartbeat]:
        found = {folder: read_heartbeat(folder) for folder in self.results.glob("runs/*")}
        return {folder: heartbeat for folder, heartbeat in found.items() if heartbeat is not None}

    def running(self, prefix: str = "") -> list[Path]:
        """Cells whose process lives."""
        return [
            folder
            for folder, heartbeat in self.heartbeats().items()
            if folder.name.startswith(prefix) and heartbeat.state == "running" and alive(heartbeat.pid)
        ]

    def training(self) -> list[Path]:
        """Cells that are in the first half of their training and have saved."""
        places = {folder: self.heartbeats()[folder] for folder in self.running()}
        return [
            folder
            for folder, heartbeat in places.items()
            if heartbeat.place.phase == "training"
            and heartbeat.saved
            and 1 < heartbeat.place.epoch < heartbeat.place.epochs / 2
        ]

    def states(self) -> list[str]:
        """How all cells that were started say they are."""
        return [heartbeat.state for heartbeat in self.heartbeats().values()]

    def preempted(self) -> list[str]:
        """Cells that were preempted and wait to go on."""
        return [folder.name for folder, heartbeat in self.heartbeats().items() if heartbeat.state == "preempted"]

    def records(self) -> dict[str, Record]:
        return {record.cell: record for record in read_records(self.results)}


def called(words: list[str]) -> str:
    """What a command says that does its work, in this process."""
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main(words)
    assert code == 0, out.getvalue() + err.getvalue()
    return out.getvalue()


def in_a_process_of_its_own(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process that is gone when this returns, having done its work."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words],
        capture_output=True, text=True, cwd=ROOT, timeout=420, env=os.environ | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def alive(pid: int) -> bool:
    """Whether a process runs; one that was killed does not, whether or not anybody has asked for its end."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def empty_queue() -> None:
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    wait_for("an empty queue", lambda: not shell("squeue --noheader"), 60)
