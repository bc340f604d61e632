"""Which run asks SLURM for what: resources by head, training set, study and row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench.config import Settings, merge, nearest, one_of, validate
from bench.errors import UserError
from bench.running.jobs import Called, Names
from bench.running.took import Took
from slurm.resources import AUTO, LISTS, Resources

if TYPE_CHECKING:
    from bench.running.task import CellTask

GROUPS = {"heads": "head", "train": "training set", "studies": "study", "rows": "row"}
"""Groups of a file, each by what its names are of; later ones win over earlier ones, and all over `defaults`."""

UNPREDICTED = "32G"
"""Memory where it is to be predicted and cannot be."""

Values = dict[str, Any]


class _File(Settings):
    defaults: Values = {}
    heads: dict[str, Values] = {}
    train: dict[str, Values] = {}
    studies: dict[str, Values] = {}
    rows: dict[str, Values] = {}

    def groups(self) -> dict[str, dict[str, Values]]:
        """The groups by their names."""
        return {name: getattr(self, name) for name in GROUPS}


class ResourceTable:
    """Resources of each run: the suite's file, the user's over it, and the command line over both.

    Of what files say, that of a row wins over its study's, then come its training set, its head and the defaults; where
    both files say something of the same, the user's wins.
    """

    def __init__(self, file: Path | None, overrides: Sequence[str], names: Names | None = None) -> None:
        """`names` are what the runs of the command are called by; without them names in the file are not checked.

        Raises UserError for a file that cannot be read, and for unknown keys and names.
        """
        own = validate(_File, _parse(_packaged(), "slurm/resources.yaml"), "slurm/resources.yaml")
        source = str(file) if file is not None else "--resource"
        users = validate(_File, _parse(_read(file), source), source) if file is not None else _File()
        self._own, self._users, self._source = own, users, source
        self._study = names.study if names is not None else ""
        self._overrides, self._took = _parse_overrides(overrides), Took()
        self._check(names)

    def of(self, run: Called) -> Resources:
        """What a run asks for, as far as it is said."""
        return self._made(*self._layers(run))

    def for_task(self, task: CellTask) -> Resources:
        """What a run asks for, with memory as predicted where nobody says it, and time as runs like it took, if any."""
        from bench.running.needs import memory_to_ask_for  # torch

        found = self.of(task)
        if found.memory == AUTO:
            memory = memory_to_ask_for(task, found.gpus > 0) or UNPREDICTED
            found = found.model_copy(update={"memory": memory})
        limit = None if self.time_is_own(task) else self._took.time_to_ask_for(task, found.asked)
        return found if limit is None else found.model_copy(update={"time": limit})

    def time_words(self, task: CellTask, resources: Resources) -> str:
        """The time limit of a run, and where it is from: what this machine would need says nothing of a node."""
        if self.time_is_own(task):
            return f"time {resources.time}"
        took = self._took.longest(task, resources.asked)
        if took is not None:
            return f"time {resources.time}, since runs like it took up to {took / 60:.0f} minutes on such nodes"
        return f"time {resources.time}, not predicted here; `bench plan` in a job on such a node predicts it"

    def time_is_own(self, run: Called) -> bool:
        """Whether somebody but the suite says how long a run's job may take."""
        return any(layer.get("time", AUTO) != AUTO for layer in (*self._chosen(self._users, run), self._overrides))

    def _layers(self, run: Called) -> list[Values]:
        """From the weakest on."""
        pairs = zip(self._chosen(self._own, run), self._chosen(self._users, run), strict=True)
        return [layer for pair in pairs for layer in pair]

    def _chosen(self, file: _File, run: Called) -> Iterator[Values]:
        """What a file says of a run: defaults first, then each group."""
        yield file.defaults
        yield file.heads.get(run.config.head, {})
        sets = {plain_source(name): values for name, values in file.train.items()}
        yield sets.get(plain_source(run.config.train), {})
        yield file.studies.get(self._study, {})
        yield file.rows.get(run.label, {})

    def _made(self, *layers: Values) -> Resources:
        said = [{key: value for key, value in layer.items() if (key, value) != ("time", AUTO)} for layer in layers]
        overrides = {key: value for key, value in self._overrides.items() if (key, value) != ("time", AUTO)}
        return validate(Resources, merge(*said, overrides), self._source)

    def _check(self, names: Names | None) -> None:
        """All that files and command line say must make sense, whatever is run."""
        self._made(self._own.defaults, self._users.defaults)
        for group, entries in self._users.groups().items():
            for name, values in entries.items():
                self._made(self._own.defaults, self._users.defaults, values)
                if names is not None:
                    self._check_name(group, name, names)

    def _check_name(self, group: str, name: str, names: Names) -> None:
        known = getattr(names, group)
        parts = plain_source(name).split("+") if group == "train" else [name]
        for part in parts:
            if part not in known:
                where = "bench list studies" if group == "rows" else "bench list"
                raise UserError(
                    f"{self._source}: unknown {GROUPS[group]} {part!r} in {group}{nearest(part, known)}; "
                    f"`{where}` shows them all"
                )


def plain_source(source: str) -> str:
    """A training set whatever the order of its parts, and, of sets of one's own, whatever their files hold."""
    return "+".join(sorted(part.strip().partition("@")[0] for part in source.split("+")))


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
        raise UserError(f"{source} needs groups such as defaults and heads; see slurm/resources.yaml")
    return {key: value or {} for key, value in values.items()}


def _parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--resource needs KEY=VALUE, not {assignment!r}; for example --resource time=4:00:00")
        one_of("key in --resource", key, Resources.model_fields)
        if key in LISTS:
            values.setdefault(key, []).append(text)
        else:
            values[key] = text
    return values
