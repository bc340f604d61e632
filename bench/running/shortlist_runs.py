"""Which runs a comparison of shortlists is made of: one whose vectors choose, and those whose heads look again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bench.errors import UserError
from bench.journal.finding import find_run
from bench.journal.reading import Unreadable
from bench.journal.record import Record, cell_folders, read_record
from bench.network.matcher import Matcher
from bench.running.shortlist import keeps_one_vector
from bench.running.trained import load_network


@dataclass(frozen=True)
class TrainedRun:
    """A finished run and its folder; `head` is the file of its head, where that was a file."""

    folder: Path
    record: Record
    head: str | None = None

    def load(self, device: torch.device) -> Matcher:
        """Its network. Raises UserError as `load_network` does."""
        return load_network(self.folder, device, self.head)[0]


@dataclass(frozen=True, eq=False)
class ShortlistRuns:
    """The run whose vectors choose, its network, and the runs whose heads score what is chosen."""

    by: TrainedRun
    by_model: Matcher
    runs: tuple[TrainedRun, ...]


def choose_runs(
    results: Path, by: str | None, words: Sequence[str], heads: Mapping[str, str], device: torch.device
) -> ShortlistRuns:
    """The runs that are named, or all of one setting, training set and seed.

    Without `by` the vectors are those of the simplest run that keeps one: the fewest bytes an image, then the fewest
    parameters of the head. `heads` are files of heads by name. Raises UserError for runs that are not there, differ in
    what they were trained on, or have no vector to choose by.
    """
    named = [_named(results, word, heads) for word in dict.fromkeys(words)]
    chooser = _named(results, by, heads) if by is not None else None
    finished = _finished(results, heads)
    if chooser is None:
        like = named[0] if named else _only_training(finished, results)
        chooser, model = _simplest([run for run in finished if _training(run) == _training(like)], like, device)
    else:
        model = chooser.load(device)
        if not keeps_one_vector(model, chooser.record):
            raise UserError(f"{chooser.record.cell} keeps more than one vector of an image; say another --by")
    for run in named:
        if _training(run) != _training(chooser):
            raise UserError(
                f"{run.record.cell} was not trained on the same images with the same seed as {chooser.record.cell}, "
                "whose vectors make the shortlist; choose runs of one training set and seed"
            )
    same = [run for run in finished if _setting(run) == _setting(chooser) and run.folder.name != chooser.folder.name]
    if not (named or same):
        raise UserError(
            f"{results} has no other finished run of the training set, seed and setting of {chooser.record.cell}; "
            "say which with --run"
        )
    return ShortlistRuns(chooser, model, tuple(named or same))


def _named(results: Path, word: str, heads: Mapping[str, str]) -> TrainedRun:
    folder = find_run(results, word)
    record = read_record(folder)
    if record is None or record.weights_hash is None:
        raise UserError(f"{folder.name} has no trained network yet; `bench status` says how far it is")
    return TrainedRun(folder, record, heads.get(record.config.head))


def _finished(results: Path, heads: Mapping[str, str]) -> list[TrainedRun]:
    """All finished runs that can be read, in the order of their folders' names."""
    found = []
    for folder in cell_folders(results):
        try:
            record = read_record(folder)
        except Unreadable:
            continue
        if record is not None and record.is_done() and record.weights_hash is not None:
            found.append(TrainedRun(folder, record, heads.get(record.config.head)))
    return found


def _only_training(finished: Sequence[TrainedRun], results: Path) -> TrainedRun:
    """Any of the runs, where all are of one setting. Raises UserError where there is none, or are several settings."""
    if not finished:
        raise UserError(f"there are no finished runs in {results}; `bench status` says how far they are")
    if len({_setting(run) for run in finished}) > 1:
        raise UserError(
            f"the runs in {results} are of several training sets, seeds or settings; say with --by CELL whose vectors "
            "make the shortlist"
        )
    return finished[0]


def _simplest(candidates: Sequence[TrainedRun], like: TrainedRun, device: torch.device) -> tuple[TrainedRun, Matcher]:
    """The simplest run that keeps one vector, and its network; raises UserError where there is none."""

    def cost(run: TrainedRun) -> tuple[bool, int, int]:
        record = run.record
        return _setting(run) != _setting(like), record.bytes_per_image or 0, record.parameters.get("head", 0)

    unusable = ""
    for run in sorted(candidates, key=cost):
        try:
            model = run.load(device)
        except UserError as fault:
            unusable = unusable or f"; {fault}"
            continue
        if keeps_one_vector(model, run.record):
            return run, model
    config = like.record.config
    raise UserError(
        f"no finished run on {config.train} with seed {config.seed} keeps one vector of an image; run one first "
        f"(`bench list heads` names them), or say --by CELL{unusable}"
    )


def _training(run: TrainedRun) -> tuple[str, str, int]:
    """What the runs of one comparison share."""
    return run.record.config.train, run.record.fingerprint, run.record.config.seed


def _setting(run: TrainedRun) -> tuple[object, ...]:
    """What the rows of a table share, and the training."""
    record = run.record
    changes = json.dumps(record.overrides, sort_keys=True)
    return record.preset, changes, record.standin, record.config.backbone.weights, *_training(run)
