"""From records to the rows of tables: which runs answer which cell of which study, under which settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from bench.config import OUTSIDE, TEST_SETS, merge
from bench.errors import UserError
from bench.journal.record import Record
from bench.report.board import Board, LeftOut, Row, Setting, own_trains
from bench.report.published import published_of
from bench.study.definition import Preset, Study, load_study, study_names
from bench.study.names import tell_apart
from bench.study.plan import Cell, answers, plan, request_key, study_tests, usual_tests

OUTSIDE_ROWS = "table2"
"""The study whose tables also list runs that no row of any study asks for: heads from outside the suite."""


def collect(
    records: Iterable[Record], asked: Sequence[str] | None = None, own: Mapping[str, Study] | None = None
) -> list[Board]:
    """The boards of all settings, in the order of settings and studies; `own` are studies beside those of the suite.

    Without `asked`, studies that no run answers are skipped, as are always boards of a training set that is not the
    study's own and whose runs another board shows. Raises UserError for unknown studies.
    """
    own = own or {}
    asked_names = [name for name in asked or () if name not in own]
    studies = {**{name: load_study(name) for name in [*study_names(), *asked_names]}, **own}
    chosen: list[Board] = []
    for setting in settings(records):
        found = {name: _study_rows(name, study, setting) for name, study in studies.items()}
        used = {id(record) for rows in found.values() for row in rows for record in row.all_records}
        others = [record for record in setting.records if id(record) not in used]
        found[OUTSIDE_ROWS] += _outside_rows(setting, others, found[OUTSIDE_ROWS])
        boards = [board for name in studies for board in _boards(name, studies[name], setting, found[name])]
        needed = [board for board in boards if set(board.trains) & {*board.own_trains} or not covered(board, boards)]
        chosen += [board for board in needed if (board.name in asked if asked else board.runs)]
    return _with_runs_first(chosen, asked) if asked else chosen


def _with_runs_first(boards: Sequence[Board], asked: Sequence[str]) -> list[Board]:
    """The boards that have runs; of a study that has none anywhere, one empty board shows that."""
    kept: list[Board] = []
    for name in dict.fromkeys(asked):
        own = [board for board in boards if board.name == name]
        kept += [board for board in own if board.runs] or own[:1]
    return kept


def covered(board: Board, boards: Sequence[Board]) -> bool:
    """Whether another board shows all of a board's runs: of equals, the one with more runs, then table2, is kept."""

    def weight(item: Board) -> tuple[int, bool, bool, str]:
        own = item.trains[0] in item.own_trains
        return len(item.runs), own, item.name == OUTSIDE_ROWS, item.slug

    same = (other for other in boards if other.setting is board.setting and other is not board)
    return any(board.runs <= other.runs and weight(other) > weight(board) for other in same)


def settings(records: Iterable[Record]) -> list[Setting]:
    """Records grouped by what may share a table, real data first."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        weights = record.config.backbone.weights
        changes = json.dumps(record.overrides, sort_keys=True) if record.overrides else ""
        groups.setdefault((record.standin or "", record.preset or "", changes, weights or ""), []).append(record)
    return [
        Setting(group[0].preset, group[0].overrides, group[0].standin, group[0].config.backbone.weights, tuple(group))
        for _, group in sorted(groups.items())
    ]


def _study_rows(name: str, study: Study, setting: Setting) -> list[Row]:
    """One row per study row and training set, with the runs that answer it."""
    if setting.loaded_preset is None:
        return []
    published = published_of(study)
    by_request: dict[str, list[Record]] = {}
    for record in setting.records:
        by_request.setdefault(request_key(record.config), []).append(record)
    rows: dict[tuple[str, str], list[tuple[Record | None, list[LeftOut]]]] = {}
    first: dict[tuple[str, str], Cell] = {}
    for cell in _cells(study, setting, setting.loaded_preset):
        key = (cell.config.train, cell.label)
        first.setdefault(key, cell)
        rows.setdefault(key, []).append(_choose(by_request.get(request_key(cell.config), []), cell))
    return [
        Row(
            label,
            train,
            tests=first[train, label].tests,
            config=first[train, label].config,
            records=tuple(record for record, _ in chosen if record is not None),
            planned=setting.loaded_preset.seeds or study.seeds,
            left_out=tuple(item for _, left_out in chosen for item in left_out),
            published=None if setting.holds_out else published.row(label, train),
        )
        for (train, label), chosen in rows.items()
    ]


def _cells(study: Study, setting: Setting, preset: Preset) -> list[Cell]:
    """The study's cells under a setting. Rows that refuse the setting's options are left out: no run can have them."""
    found = {record.config.seed for record in setting.records}
    seeds = sorted({*range(preset.seeds or study.seeds), *found})
    trains = list(dict.fromkeys([*own_trains(study), *sorted({record.config.train for record in setting.records})]))
    trains = [train for train in trains if train != OUTSIDE]
    # The file of the weights may be gone; its hash is all that is needed here.
    overrides = merge(setting.overrides, {"backbone": {"weights": "imagenet"}})
    cells: list[Cell] = []
    for row in study.whole_rows:
        alone = study.model_copy(update={"rows": [row], "base": {}, "sweep": {}})
        try:
            cells += plan(alone, preset, overrides, train=trains, seeds=[0])
        except UserError:
            continue
    return [_at(cell, seed, setting.weights) for cell in cells for seed in seeds]


def _at(cell: Cell, seed: int, weights: str | None) -> Cell:
    """The cell of another seed, with backbone weights as records name them."""
    backbone = cell.config.backbone.model_copy(update={"weights": weights})
    return replace(cell, config=cell.config.model_copy(update={"seed": seed, "backbone": backbone}))


def _choose(candidates: Sequence[Record], cell: Cell) -> tuple[Record | None, list[LeftOut]]:
    """The run that counts for a cell - finished before failed, then the newest - and why the others do not."""
    current = sorted((record for record in candidates if answers(record, cell)), key=_rank)
    outdated = [LeftOut(record, "by an earlier version of the code") for record in candidates if record not in current]
    if not current:
        return None, outdated
    chosen = current[-1]
    return chosen, [LeftOut(record, _difference(record, chosen)) for record in current[:-1]] + outdated


def _rank(record: Record) -> tuple[bool, str]:
    return record.is_done(), record.provenance.finished


def _difference(record: Record, chosen: Record) -> str:
    if chosen.is_done() and not record.is_done():
        return f"{'failed' if record.status == 'failed' else 'unfinished'}, run again since"
    if record.fingerprint != chosen.fingerprint:
        return "on other training data"
    if record.config.training.precision != chosen.config.training.precision:
        return f"in {record.config.training.precision}"
    if record.config.threads != chosen.config.threads:
        kinds = {type(run.config.threads) for run in (record, chosen)}
        return f"with {record.config.threads} CPU threads" if kinds == {int} else "on another device"
    return "older"


def _outside_rows(setting: Setting, records: Sequence[Record], study_rows: Sequence[Row]) -> list[Row]:
    """Rows for runs that no study asks for, one for each configuration; another source of a head is another one."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in sorted(records, key=lambda record: (record.config.train, record.label)):
        what = record.config.model_copy(update={"seed": 0})
        groups.setdefault((record.config.train, record.label, request_key(what)), []).append(record)
    beside = [(row.label, row.config) for row in study_rows if row.config is not None]
    names = tell_apart([*beside, *((label, group[0].config) for (_, label, _), group in groups.items())])
    planned = setting.loaded_preset.seeds if setting.loaded_preset else None
    usual = planned or load_study(OUTSIDE_ROWS).seeds
    return [
        _outside_row(name, train, group, 1 if train == OUTSIDE else usual)
        for name, ((train, _, _), group) in zip(names[len(beside) :], groups.items(), strict=True)
    ]


def _outside_row(label: str, train: str, group: Sequence[Record], planned: int) -> Row:
    newest = max(group, key=lambda record: record.provenance.finished)
    current = [record for record in group if record.numerics == newest.numerics]
    left_out = [LeftOut(record, "by an earlier version of the code") for record in group if record not in current]
    chosen = {record.config.seed: record for record in sorted(current, key=_rank)}
    for record in current:
        if record is not chosen[record.config.seed]:
            left_out.append(LeftOut(record, _difference(record, chosen[record.config.seed])))
    records = tuple(chosen[seed] for seed in sorted(chosen))
    return Row(
        label,
        train,
        "outside",
        usual_tests(train, newest.config.training),
        newest.config,
        records,
        planned,
        tuple(left_out),
    )


def _boards(name: str, study: Study, setting: Setting, rows: Sequence[Row]) -> list[Board]:
    """One board for the study's own training sets, and one for each other set that runs of its rows were trained on."""
    own = own_trains(study)
    answered = {row.train for row in rows if row.all_records}
    groups = [own, *((train,) for train in sorted(answered.difference(own), key=_place))]
    boards = []
    for group in groups:
        of_group = [row for row in rows if row.train in group]
        if group is own and (len(own) > 1 or study.averages) and not setting.holds_out:
            of_group = _with_literature(study, own, of_group)
        boards.append(Board(setting, name, study, group, tuple(of_group)))
    return boards


def _place(train: str) -> tuple[int, str]:
    """Where a training set stands among boards: the paper's first, in its order."""
    return ([*TEST_SETS].index(train) if train in TEST_SETS else len(TEST_SETS)), train


def _with_literature(study: Study, trains: Sequence[str], rows: Sequence[Row]) -> list[Row]:
    """The rows by training set as the paper orders them: published methods that are not run here come first."""
    table = published_of(study)
    labels = {row.label for row in rows}
    merged: list[Row] = []
    for train in trains:
        others = [row for row in table.rows if row.train == train and row.label not in labels]
        tests = study_tests(study, train)
        merged += [Row(row.label, train, "published", tests, published=row) for row in others]
        merged += [row for row in rows if row.train == train]
    return merged
