"""What a run asks SLURM for, and how it is run there."""

from __future__ import annotations

import shlex
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from bench.config import MOST_THREADS, Settings
from bench.running.jobs import Asked
from bench.values import read_yaml
from slurm.memory import bytes_of

OWN_OPTIONS = {
    "sbatch": ("array", "chdir", "dependency", "error", "job-name", "no-requeue", "open-mode", "output", "signal"),
    "srun": ("chdir", "cpus-per-task", "error", "input", "multi-prog", "nodes", "ntasks", "output"),
}
"""Options of SLURM's commands by which a job comes home; what jobs ask for must leave them alone."""

LISTS = ("sbatch", "srun", "setup", "teardown")
"""Keys that hold several words, each of which is given on the command line by itself."""

AUTO = "auto"


class Resources(Settings):
    """One class of jobs. Times as sbatch takes them; memory of the machine as in 32G, or "auto": as is predicted."""

    time: str = "24:00:00"
    memory: str | None = None
    most_memory: str | None = None
    """Up to which a run asks for more after it was killed for memory; None: four times what it asked for at first."""
    gpus: int = Field(1, ge=0, le=1000)
    gpu_type: str | None = None
    cpus: int = Field(8, ge=1, le=MOST_THREADS)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    wckey: str | None = None
    signal_seconds: int = Field(120, ge=1, le=65535)
    """How long before its time is up a run is told to save."""
    sbatch: list[str] = []
    """Further options of sbatch, such as --exclude=node7."""
    srun: list[str] = []
    """Further options of srun, which starts the run, such as --container-image=pairbench.sqsh."""
    python: str | None = None
    """The Python of the nodes, as the shell reads it: a path, or a command that ends in one. None: the present one."""
    setup: list[str] = []
    """Shell commands before the run."""
    teardown: list[str] = []
    """Shell commands after the run, however it ended."""

    @field_validator("*", mode="before")
    @classmethod
    def _null(cls, value: Any) -> Any:
        return None if value in ("null", "") else value

    @field_validator("gpus", "cpus", "signal_seconds", mode="before")
    @classmethod
    def _number(cls, value: Any, place: ValidationInfo) -> Any:
        return read_yaml(value, str(place.field_name)) if isinstance(value, str) else value

    @field_validator("time")
    @classmethod
    def _is_time(cls, value: str) -> str:
        minutes_of(value)
        return value

    @field_validator("memory", "most_memory")
    @classmethod
    def _is_memory(cls, value: str | None, place: ValidationInfo) -> str | None:
        words = (AUTO, "0") if place.field_name == "memory" else ()  # 0 is all that a node has
        if value is not None and value not in words and bytes_of(value) is None:
            raise ValueError(f"no amount of memory: {value!r}; write 64G, or 65536 for MiB")
        return value

    @field_validator("sbatch", "srun")
    @classmethod
    def _are_options(cls, value: list[str], place: ValidationInfo) -> list[str]:
        command = str(place.field_name)
        for option in value:
            if not option.startswith("--"):
                raise ValueError(f"{command}: options begin with --, not {option!r}")
            name = option.removeprefix("--").partition("=")[0]
            # SLURM takes a name by its beginning too.
            if any(own.startswith(name) for own in OWN_OPTIONS[command]):
                raise ValueError(f"{command}: --{name} is set by bench itself")
        return value

    @field_validator("python")
    @classmethod
    def _is_a_command(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            words = shlex.split(value)
        except ValueError as fault:
            raise ValueError(f"python: the shell cannot read {value!r} ({fault})") from fault
        if not words or not value.isprintable():
            raise ValueError(f"python: needs a path, or a command that ends in one, on one line, not {value!r}")
        return value

    @field_validator("setup", "teardown")
    @classmethod
    def _are_commands(cls, value: list[str], place: ValidationInfo) -> list[str]:
        for command in value:
            if "\0" in command or not command.strip():
                raise ValueError(f"{place.field_name}: no command: {command!r}")
        return value

    @property
    def counted_by(self) -> tuple[str | None, ...]:
        """What SLURM counts a user's jobs by, to say that there are as many as there may be."""
        return self.account, self.qos, self.partition

    @property
    def asked(self) -> Asked:
        """What a job of these resources asks for, in numbers."""
        return Asked(
            seconds=60 * minutes_of(self.time),
            host_bytes=bytes_of(self.memory),
            cpus=self.cpus,
            gpus=self.gpus,
            gpu_type=self.gpu_type,
            partition=self.partition,
            constraint=self.constraint,
        )

    def sbatch_options(self) -> dict[str, str | bool]:
        """Options that Submitit has no word for, as option -> value."""
        options: dict[str, str | bool] = {"requeue": True}
        if self.memory == AUTO:
            raise ValueError("memory is still to be predicted")
        if self.memory is not None:
            options["mem"] = self.memory
        if self.gpus:
            options["gres"] = ":".join(filter(None, ("gpu", self.gpu_type, str(self.gpus))))
        for option in self.sbatch:
            name, equals, value = option.removeprefix("--").partition("=")
            options[name] = value if equals else True
        return options


def minutes_of(text: str) -> int:
    """Whole minutes, rounded up, of a time limit as sbatch takes it. Raises ValueError for anything else."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdecimal() for part in parts) or (dash and not days.isdecimal()) or len(parts) > 3:
        raise ValueError(f"no time limit: {text!r}; write MINUTES, H:M:S, D-H or D-H:M:S")
    numbers = [int(part) for part in parts]
    if dash:
        hours, minutes, seconds = (*numbers, 0, 0)[:3]
    elif len(numbers) == 3:
        hours, minutes, seconds = numbers
    else:
        hours, (minutes, seconds) = 0, (*numbers, 0)[:2]
    total = ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise ValueError(f"no time limit: {text!r} is no time at all")
    return -(-total // 60)
