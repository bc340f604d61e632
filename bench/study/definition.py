"""What a study and a preset may say, and reading them: `studies/` and `presets/` hold one YAML file each."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bench.config import Option, Settings, merge, one_of, validate
from bench.errors import UserError
from bench.values import read_yaml

MOST_SEEDS = 1000
"""Runs of one row that differ in nothing but their seed."""


class Row(Settings):
    """One row of a study's table. `recipe` holds for this row alone, whatever a preset says (a backbone, say)."""

    label: str
    head: str = ""
    width: int = 0
    options: dict[str, Option] = {}
    recipe: dict[str, Any] = {}


class Study(Settings):
    """A table: rows x training sets x seeds. `base` holds what all rows share."""

    title: str
    published: str
    """Key of the table of published numbers that stand beside the measured ones."""
    train: list[str]
    tests: list[str] | None = None
    """Test sets, where they are not the usual ones of each training set."""
    seeds: int = Field(ge=1, le=MOST_SEEDS)
    layout: Literal["rows", "sources", "curves"] = "rows"
    """"rows": a line for each row and training set; "sources": a line for each row, a column for each pair of training
    and test set; "curves": as "rows", and a picture of each swept key."""
    accuracies: list[Literal["rank1", "mAP"]] = ["rank1", "mAP"]
    """The columns of each test set, in the order in which the table beside prints them."""
    averages: bool = False
    """Each accuracy averaged over the test sets, as tables of the protocols print it, instead of mAcc."""
    recipe: dict[str, Any] = {}
    """Changes to the paper's common recipe; a preset's come after them."""
    base: dict[str, Any] = {}
    rows: list[Row]
    sweep: dict[str, list[Option]] = {}
    """Keys of a row (`width`, `options.layers`), each with values that it takes while the others stay as they are."""

    @property
    def whole_rows(self) -> list[Row]:
        """The rows with what they share, then those that the sweep makes of each: one key changed at a time."""
        rows = [Row.model_validate(merge(self.base, row.model_dump(exclude_unset=True))) for row in self.rows]
        return [made for row in rows for made in (row, *self._swept(row))]

    def _swept(self, row: Row) -> list[Row]:
        made = []
        for key, values in self.sweep.items():
            group, _, name = key.rpartition(".")
            for value in values:
                change = {group: {name: value}} if group else {name: value}
                values_now = merge(row.model_dump(), change)
                if values_now != row.model_dump():
                    made.append(Row.model_validate({**values_now, "label": f"{row.label} {name}={value}"}))
        return made


class Preset(Settings):
    """Changes to the recipe that hold for all rows alike. `divide` divides widths and feed-forward widths."""

    description: str
    standin: str | None = None
    seeds: int | None = Field(None, ge=1, le=MOST_SEEDS)
    untrained: bool = False
    divide: dict[str, int] = {}
    recipe: dict[str, Any] = {}


def study_names() -> list[str]:
    """Names of all studies."""
    return _yaml_names("bench.study.studies")


def preset_names() -> list[str]:
    """Names of all presets."""
    return _yaml_names("bench.study.presets")


def load_study(name: str) -> Study:
    """A study by name. Raises UserError for unknown ones, and for a sweep over what no row has."""
    study = validate(Study, _read_yaml("bench.study.studies", one_of("study", name, study_names())), f"study {name}")
    for key in study.sweep:
        group, _, last = key.rpartition(".")
        if key != "width" and (group != "options" or not last):
            raise UserError(f"study {name}: sweep takes width or options.NAME, not {key!r}")
    return study


def load_preset(name: str | None) -> Preset:
    """A preset by name; None is the paper's own recipe. Raises UserError for unknown ones."""
    if name is None:
        return Preset(description="the paper's recipe")
    return validate(Preset, _read_yaml("bench.study.presets", one_of("preset", name, preset_names())), f"preset {name}")


def data_root(data_dir: Path, preset: Preset | None) -> Path:
    """Where the data sets are: a preset made for stand-in data finds it in its own folder, apart from real sets."""
    standin = data_dir / f"standin-{preset.standin}" if preset and preset.standin else None
    return standin if standin and standin.is_dir() else data_dir


def _yaml_names(package: str) -> list[str]:
    return sorted(
        item.name[: -len(".yaml")] for item in resources.files(package).iterdir() if item.name.endswith(".yaml")
    )


def _read_yaml(package: str, name: str) -> dict[str, Any]:
    return read_yaml(resources.files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), f"{name}.yaml")
