"""What a study's rows will take on a machine: seconds, memory and disk, projected from measured tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.config import HELD_OUT, CellConfig
from bench.perf.tiles import Tiles
from bench.running.ledger import Ledger
from bench.running.set_counts import SetCounts, Sets
from bench.study.plan import Cell, request_key, tests_of
from bench.testing.memory_budget import ScoringPlan
from bench.testing.projection import TestRates, project_test

LIST_BYTES = 400
"""About what a query takes in a file of ranked lists, with its share of the gallery's paths."""

CHECKPOINTS = 2
"""That are kept while a run trains, each with the optimiser's momentum."""


@dataclass(frozen=True)
class Load:
    """What is left to do of a row on one training set."""

    cell: Cell
    """One of the cells; they differ in their seeds alone."""
    config: CellConfig
    """Resolved for the machine."""
    train: SetCounts
    tests: Mapping[str, SetCounts]
    runs: int
    """Cells with something left to do."""
    trainings: int
    """Cells that are still to be trained."""
    testings: Mapping[str, int]
    """Of each test set, how many times a network is to be tested on it."""
    finished: int
    shared: int
    """Cells that an earlier row has too."""

    @property
    def persons(self) -> int:
        """That an epoch knows."""
        training = self.config.training
        persons = self.train.persons - (training.held_out_persons or 0)
        return min(persons, training.sampled_persons or persons)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch."""
        return min(self.persons, self.config.training.steps_per_epoch or self.persons)

    @property
    def steps(self) -> int:
        """Batches of a training."""
        return self.config.training.epochs * self.steps_per_epoch

    @property
    def looks(self) -> int:
        """Tests on the persons held out during a training."""
        every = self.config.training.held_out_every
        return 1 + -(-self.steps // every) if every else 0


@dataclass(frozen=True)
class Forecast:
    """What a load will take. Seconds are of one run at a time; memory and disk in bytes."""

    load: Load
    tiles: Tiles
    step: float = 0.0
    sampling: float = 0.0
    """Seconds of all epochs together."""
    tests: Mapping[str, float] = field(default_factory=dict)
    """Seconds of one test on each test set."""
    device_bytes: int = 0
    """Peak of the GPU, or on a CPU of the process, of the largest training or test."""
    host_bytes: int = 0
    """Peak of the process on the machine."""
    checkpoint_bytes: int = 0
    """Of all networks that are kept."""
    spilled_bytes: int = 0
    """Of one run at a time: its checkpoints under way and representations on disk."""
    list_bytes: int = 0
    note: str = ""

    @property
    def training(self) -> float:
        """Seconds of one training, with looks at the persons held out where a test on them is planned too."""
        looks = self.load.looks * self.tests.get(HELD_OUT, 0.0)
        return self.load.steps * self.step + self.sampling + looks

    @property
    def seconds(self) -> float:
        """Of all that is left, one run after the other."""
        tested = sum(self.load.testings[name] * seconds for name, seconds in self.tests.items())
        return self.load.trainings * self.training + tested

    @property
    def projected(self) -> bool:
        """Whether a whole step was too long to be timed."""
        return self.tiles.timed < self.tiles.batch


def loads(
    cells: Sequence[Cell],
    resolved: Callable[[Cell], CellConfig],
    sets: Sets,
    ledger: Ledger,
    asked: Iterable[str] | None,
    states: int,
) -> list[Load]:
    """What is left of each row and training set. A cell that stands in several rows is the first one's.

    `asked` are the test sets if not the study's; `states` of a network, trained and untrained, are tested. Raises
    UserError for sets that are unknown or cannot be read.
    """
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.label, cell.config.train), []).append(cell)
    known: set[str] = set()
    made = []
    for members in groups.values():
        tests = tests_of(members[0], asked)
        runs, trainings, testings, finished, shared = 0, 0, dict.fromkeys(tests, 0), 0, 0
        for cell in members:
            key = f"{request_key(cell.config)} {sorted(cell.numerics.items())}"
            if key in known:
                shared += 1
                continue
            known.add(key)
            state = ledger.state_of(cell)
            done = state.kind == "done"
            trainings += not done
            lacking = state.lacking(tests) if done else tests
            runs += bool(lacking)
            finished += not lacking
            for name in lacking:
                testings[name] += states
        config, held_out = resolved(members[0]), members[0].config.training.held_out_persons
        counts = {name: sets.of_test(name, config.train, held_out) for name in tests}
        train = sets.of_source(config.train)
        made.append(Load(members[0], config, train, counts, runs, trainings, testings, finished, shared))
    return made


def forecast(load: Load, tiles: Tiles, on_gpu: bool) -> Forecast:
    """What a load takes, from what was measured of its row. Raises UserError for a test beyond its memory budget."""
    if tiles.note:
        return Forecast(load, tiles, note=tiles.note)
    sampled = _planned(load, tiles, replace(load.train, queries=load.persons, gallery=load.persons))
    plans = {name: _planned(load, tiles, counts) for name, counts in load.tests.items()}
    tests = {name: _test_seconds(tiles, plan) for name, plan in plans.items()}
    tested = max(_tested_bytes(tiles, plan) for plan in (sampled, *plans.values()))
    scores = max(_score_bytes(plan) for plan in (sampled, *plans.values()))
    device = max(tiles.training_bytes, tiles.testing_bytes + tested)
    under_way = CHECKPOINTS * (tiles.state_bytes + tiles.momentum_bytes)
    spilled = max(plan.work.gallery * plan.work.bytes_per_image * (plan.keep == "disk") for plan in plans.values())
    queries = sum(load.tests[name].queries * times for name, times in load.testings.items())
    return Forecast(
        load,
        tiles,
        step=tiles.step,
        sampling=load.config.training.epochs * _sampling_seconds(tiles, sampled),
        tests=tests,
        device_bytes=device,
        host_bytes=tiles.host_bytes + scores if on_gpu else device,
        checkpoint_bytes=load.trainings * tiles.state_bytes,
        spilled_bytes=max(under_way, tiles.state_bytes + spilled),
        list_bytes=queries * LIST_BYTES,
    )


def galleries_of(load: Load) -> list[int]:
    """The sizes of gallery for which ranking has to be timed."""
    return sorted({counts.gallery for counts in load.tests.values()})


def image_bytes(every: Iterable[Load]) -> int:
    """Of the decoded images that these loads take together, each set once at each size."""
    found: dict[tuple[str, int, int], int] = {}
    for load in every:
        size = load.config.input
        images = {f"{load.config.train} train": load.train.train}
        images |= {f"{name} test": counts.tested for name, counts in load.tests.items() if name in load.testings}
        for name, count in images.items():
            if load.runs:
                found[name, size.height, size.width] = 3 * count * size.height * size.width
    return sum(found.values())


def _planned(load: Load, tiles: Tiles, counts: SetCounts) -> ScoringPlan:
    settings = load.config.evaluation
    budget = int(settings.memory_gib * 2**30)
    return tiles.plan(counts.queries, counts.gallery, counts.both_ways, budget, settings.batch)


def _test_seconds(tiles: Tiles, plan: ScoringPlan) -> float:
    rates = TestRates(tiles.pair, tiles.image, tiles.ranked[plan.work.gallery])
    return project_test(plan, rates, tiles.symmetric).total


def _sampling_seconds(tiles: Tiles, plan: ScoringPlan) -> float:
    """Of an epoch, in which persons are scored against themselves and hardly ranked."""
    found = project_test(plan, TestRates(tiles.pair, tiles.image, 0.0), tiles.symmetric)
    # Queries and gallery are the same images, encoded once where memory keeps them.
    return found.total - (plan.work.queries * tiles.image if plan.keep == "memory" else 0.0)


def _tested_bytes(tiles: Tiles, plan: ScoringPlan) -> int:
    """Of a device, what a test holds beside the network and its blocks."""
    work = plan.work
    held = plan.query_chunk + (work.gallery if plan.keep == "memory" else 2 * plan.batch)
    scores = 0 if plan.gpu is not None else _score_bytes(plan)
    return held * work.bytes_per_image + scores


def _score_bytes(plan: ScoringPlan) -> int:
    return plan.buffers * 4 * plan.query_chunk * plan.work.gallery * (2 if plan.work.both_ways else 1)
