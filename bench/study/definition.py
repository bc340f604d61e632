"""What a study and a preset may say, and reading them: `studies/` and `presets/` hold one YAML file each."""

from __future__ import annotations

from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from bench.config import Option, Recipe, Settings, keys_of, merge, nearest, one_of, validate
from bench.errors import UserError
from bench.study.published import PublishedTable, load_published
from bench.system.paths import expand
from bench.values import read_yaml

STUDY_SUFFIXES = (".yaml", ".yml")
MOST_ROWS = 1000
"""Rows of a study that nobody is asked about."""
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
    published: str | PublishedTable | None = None
    """Key of the table of published numbers that stand beside the measured ones, or the table itself."""
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
    """Keys of a row (`width`, `options.layers`) or of the recipe (`training.lr`), each with values that it takes while
    the others stay as they are."""

    @property
    def size(self) -> int:
        """How many rows it has, before those of a sweep that equal their own row are left out."""
        return len(self.rows) * (1 + sum(map(len, self.sweep.values())))

    @property
    def whole_rows(self) -> list[Row]:
        """The rows with what they share, then those that the sweep makes of each: one key changed at a time."""
        rows = [Row.model_validate(merge(self.base, row.model_dump(exclude_unset=True))) for row in self.rows]
        return [made for row in rows for made in (row, *self._swept(row))]

    def _swept(self, row: Row) -> list[Row]:
        made = []
        for key, values in self.sweep.items():
            *groups, name = key.split(".")
            groups = groups if key == "width" or groups == ["options"] else ["recipe", *groups]
            for value in values:
                change: dict[str, Any] = {name: value}
                for group in reversed(groups):
                    change = {group: change}
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
    """A study by name, or from the file of that path, to whose folder paths in it are relative.

    Raises UserError for unknown ones, unknown keys, and for a sweep over what no row has.
    """
    if name.endswith(STUDY_SUFFIXES):
        return _from_file(name)
    study = validate(Study, _read_yaml("bench.study.studies", one_of("study", name, study_names())), f"study {name}")
    _check_sweep(study, f"study {name}")
    return study


def study_name(word: str) -> str:
    """What a study is called: a file's stem in the place of its path."""
    return Path(word).stem if word.endswith(STUDY_SUFFIXES) else word


def check_size(study: Study) -> None:
    """Raise UserError for a study of so many rows that somebody may not have meant them."""
    if study.size > MOST_ROWS:
        raise UserError(
            f"{study.title}: its sweep makes {study.size:,} rows of each training set and seed; if that is meant, say"
            " --yes"
        )


def _from_file(word: str) -> Study:
    path = expand(word)
    try:
        content = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as fault:
        raise UserError(f"the study {path} cannot be read ({fault.strerror}): give the path of a file") from fault
    except UnicodeError as fault:
        raise UserError(f"{path} is no text in UTF-8 ({fault}): save it as that") from fault
    if not isinstance(content, dict):
        raise UserError(f"{path} is no study: it needs title, train, seeds and rows, as `bench list studies` shows")
    study = validate(Study, content, str(path))
    if path.stem in study_names():
        raise UserError(f"{path}: the suite has a study {path.stem}; call the file otherwise, my_{path.stem}.yaml say")
    if isinstance(study.published, str):
        one_of("table of published numbers", study.published, load_published())
    _check_sweep(study, str(path))
    if not study.train or not study.rows:
        raise UserError(f"{path}: a study needs at least one set in train, and one row in rows")
    labels = Counter(row.label for row in study.rows)
    for label, count in labels.items():
        if count > 1 or not label.strip() or "," in label:
            why = "stands at two rows" if count > 1 else "is empty or has a comma"
            raise UserError(f"{path}: the label {label!r} {why}; labels choose rows, so give each its own")
    return _with_places(study, path)


def _with_places(study: Study, file: Path) -> Study:
    """The study with the paths of its sets and heads as seen from here."""

    def place(word: str) -> str:
        return str(file.parent / expand(word)) if word.endswith((".csv", ".py")) else word

    def source(word: str) -> str:
        return "+".join(place(part.strip()) for part in word.split("+"))

    rows = [row.model_copy(update={"head": place(row.head)}) if row.head else row for row in study.rows]
    base = {**study.base, **({"head": place(study.base["head"])} if isinstance(study.base.get("head"), str) else {})}
    tests = None if study.tests is None else [place(word) for word in study.tests]
    return study.model_copy(
        update={"train": [source(word) for word in study.train], "tests": tests, "rows": rows, "base": base}
    )


def _check_sweep(study: Study, where: str) -> None:
    recipe = [key for key in keys_of(Recipe) if not key.startswith("evaluation.memory")]
    for key in study.sweep:
        group, _, last = key.rpartition(".")
        if key not in ("width", *recipe) and (group != "options" or not last):
            known = ["width", "options.NAME", *recipe]
            raise UserError(f"{where}: sweep takes {', '.join(known)}, not {key!r}{nearest(key, known)}")


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
