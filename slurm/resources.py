"""What a run asks SLURM for, by head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationInfo, field_validator

from bench.config import MOST_THREADS, Settings, merge, one_of, validate
from bench.errors import UserError
from bench.running.jobs import Asked
from bench.values import read_yaml
from slurm.memory import bytes_of

if TYPE_CHECKING:
    from bench.running.task import CellTask

OWN_OPTIONS = ("array", "chdir", "dependency", "error", "job-name", "no-requeue", "open-mode", "output", "signal")
"""Options of sbatch by which a job comes home; what jobs ask for must leave them alone."""


AUTO = "auto"
UNPREDICTED = "32G"
"""Memory where it is to be predicted and cannot be."""


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
    setup: list[str] = []
    """Shell commands before the run."""

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

    @field_validator("most_memory")
    @classmethod
    def _is_memory(cls, value: str | None) -> str | None:
        if value is not None and bytes_of(value) is None:
            raise ValueError(f"no amount of memory: {value!r}; write 64G, or 65536 for MiB")
        return value

    @field_validator("sbatch")
    @classmethod
    def _are_options(cls, value: list[str]) -> list[str]:
        for option in value:
            if not option.startswith("--"):
                raise ValueError(f"sbatch: options begin with --, not {option!r}")
            name = option.removeprefix("--").partition("=")[0]
            # SLURM takes a name by its beginning too.
            if any(own.startswith(name) for own in OWN_OPTIONS):
                raise ValueError(f"sbatch: --{name} is set by bench itself")
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


class _File(Settings):
    defaults: dict[str, Any] = {}
    heads: dict[str, dict[str, Any]] = {}


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


class ResourceTable:
    """Resources by head: the suite's file, the user's file over it, and the command line over both."""

    def __init__(self, file: Path | None, overrides: Sequence[str]) -> None:
        """Raises UserError for files that cannot be read and for unknown keys."""
        own = validate(_File, _parse(_packaged(), "slurm/resources.yaml"), "slurm/resources.yaml")
        source = str(file) if file is not None else "--resource"
        users = validate(_File, _parse(_read(file), source), source) if file is not None else _File()
        self._layers, self._source = (own, users), source
        self._overrides = _parse_overrides(overrides)
        self.of("")  # so that a fault is told whatever heads are run
        for head in users.heads:
            self.of(head)

    def of(self, head: str) -> Resources:
        """What a run of a head asks for."""
        layers = [layer.defaults for layer in self._layers] + [layer.heads.get(head, {}) for layer in self._layers]
        return validate(Resources, merge(*layers, self._overrides), self._source)

    def for_task(self, task: CellTask) -> Resources:
        """What a run asks for, memory included where that is left to prediction."""
        from bench.running.needs import memory_to_ask_for  # torch

        resources = self.of(task.config.head)
        if resources.memory != AUTO:
            return resources
        memory = memory_to_ask_for(task, resources.gpus > 0) or UNPREDICTED
        return resources.model_copy(update={"memory": memory})

    @property
    def time_is_own(self) -> bool:
        """Whether somebody said how long jobs may take."""
        own = [self._layers[1].defaults, *self._layers[1].heads.values(), self._overrides]
        return any("time" in layer for layer in own)


def _packaged() -> str:
    return resources.files("slurm").joinpath("resources.yaml").read_text(encoding="utf-8")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"--resources: cannot read {file} ({fault}); see slurm/resources.yaml for the form") from fault


def _parse(text: str, source: str) -> Mapping[str, Any]:
    try:
        # All values as text: YAML would read 24:00:00 as a number.
        values = yaml.load(text, Loader=yaml.BaseLoader)
    except yaml.YAMLError as fault:
        raise UserError(f"{source} is no YAML: {fault}") from fault
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{source} needs the groups defaults and heads; see slurm/resources.yaml")
    return {key: value or {} for key, value in values.items()}


def _parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--resource needs KEY=VALUE, not {assignment!r}; for example --resource time=4:00:00")
        one_of("key in --resource", key, Resources.model_fields)
        if key in ("sbatch", "setup"):
            values.setdefault(key, []).append(text)
        else:
            values[key] = text
    return values
