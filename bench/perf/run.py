"""All comparisons of one `bench perf`, one after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

import variants
from bench.computing import compute_as_runs_do
from bench.journal.provenance import provenance
from bench.perf import AROUND, MATCHING, PEERS, SERVING, STEP, STREAMING, TEST
from bench.perf.around import data_path, metrics, streaming
from bench.perf.flex import FLEX, flex_run
from bench.perf.measure import interleave, products_run
from bench.perf.peak import extra_bytes
from bench.perf.peers import shared_work
from bench.perf.records import Breakdown, Comparison, PerfRecord, PerfSizes, Serving, Streaming, Timing
from bench.perf.rows import StudyRow, described
from bench.perf.serving import ServingCase, measure_serving
from bench.perf.step import measure_step
from bench.perf.whole_test import measure_test
from bench.perf.works import (
    OPERATOR,
    TASKS,
    Work,
    fitting_batch,
    head_of,
    operands,
    prepare,
    products_of,
    sizes_of,
)
from bench.progress import Progress
from variants.kernels import maxima

Finding = Comparison | Streaming | Serving | Breakdown

PLAIN_FLOAT32 = "plain float32"
"""The plain form in float32 beside another dtype: what one starts from."""


@dataclass(frozen=True)
class PerfPlan:
    """What to measure: `subjects` are heads and the operator, `dtypes` torch names, `parts` some of PARTS."""

    sizes: PerfSizes
    subjects: tuple[str, ...]
    dtypes: tuple[str, ...]
    parts: tuple[str, ...]
    repeats: int
    threads: int
    device: torch.device
    memory: int
    """Bytes that a work may take."""
    served: tuple[ServingCase, ...] = ()
    rows: tuple[StudyRow, ...] = ()
    """Whose steps and tests are measured."""
    tested: tuple[int, int] = (64, 512)
    """Queries and gallery images of a whole test."""
    label: str = ""

    def works(self) -> Iterator[Work]:
        """Everything to be timed in the suite's form; batches of heads that pay per pair are cut to what fits."""
        for subject in self.subjects:
            sizes = self.sizes.model_dump()
            for dtype in self.dtypes:
                for task in TASKS:
                    work = Work(subject=subject, task=task, dtype=dtype, device=str(self.device), **sizes)
                    if subject != OPERATOR:
                        work = replace(work, batch=fitting_batch(head_of(work), work.batch, self.memory))
                    yield work


def measure(plan: PerfPlan, progress: Progress) -> Iterator[Finding]:
    """Measure everything; each finding comes as it is made."""
    compute_as_runs_do(plan.device, plan.threads)
    jobs = list(_jobs(plan))
    with progress.bar(len(jobs), "perf", "task") as bar:
        for name, job in jobs:
            bar.set_description(name)
            yield from job()
            bar.update()


def record_of(plan: PerfPlan, started: str, findings: Sequence[Finding]) -> PerfRecord:
    """What was found since `started`, with where it comes from."""
    return PerfRecord(
        sizes=plan.sizes,
        threads=plan.threads,
        repeats=plan.repeats,
        provenance=provenance(plan.device, started, jobs=1),
        comparisons=[found for found in findings if isinstance(found, Comparison)],
        streaming=[found for found in findings if isinstance(found, Streaming)],
        serving=[found for found in findings if isinstance(found, Serving)],
        breakdowns=[found for found in findings if isinstance(found, Breakdown)],
        label=plan.label,
    )


def _jobs(plan: PerfPlan) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    """What to call for each measurement, by what a progress bar says of it."""
    if MATCHING in plan.parts:
        for work in plan.works():
            name = f"{work.subject} {work.task} {work.dtype}"
            yield name, partial(_each, compare, work, plan.repeats, plan.memory)
    if AROUND in plan.parts:
        yield "data path", partial(_each, data_path, plan.repeats, plan.device)
        yield "metrics", partial(_each, metrics, plan.repeats)
    if STREAMING in plan.parts:
        for subject in plan.subjects:
            if subject != OPERATOR:
                yield f"streaming {subject}", partial(streaming, subject, plan.repeats, plan.threads, str(plan.device))
    for row in plan.rows:
        settings = plan.repeats, str(plan.device)
        if STEP in plan.parts:
            yield f"step {row.row}", partial(_each, measure_step, row, *settings)
        if TEST in plan.parts:
            yield f"test {row.row}", partial(_each, measure_test, row, *plan.tested, *settings)
    if SERVING in plan.parts:
        for case in plan.served:
            name = f"serving {case.row} {case.config.evaluation.scoring}"
            yield name, partial(_each, measure_serving, case, plan.repeats, plan.threads, str(plan.device))
    if PEERS in plan.parts:
        yield from _peer_jobs(plan)


def _peer_jobs(plan: PerfPlan) -> Iterator[tuple[str, Callable[[], Iterable[Finding]]]]:
    sizes = plan.sizes.model_dump()
    for dtype in plan.dtypes:
        scoring = Work(subject=OPERATOR, task="scoring", dtype=dtype, device=str(plan.device), **sizes)
        yield f"peers maxima {dtype}", partial(_each, compare_flex, scoring, plan.repeats)
        if plan.device.type == "cuda":
            for work in (scoring, replace(scoring, task="forward+backward")):
                yield f"peers {work.task} {dtype}", partial(_each, compare_peers, work, plan.repeats)


def _each(measure_one: Callable[..., Finding], *arguments: object) -> Iterator[Finding]:
    yield measure_one(*arguments)


def compare(work: Work, repeats: int, memory: int) -> Comparison:
    """The work in the suite's form, the plain form (in float32 too), and as its matrix products alone.

    A form that needs more than `memory` bytes is left out, with a note.
    """
    forms = {"ours": work, "plain": replace(work, form="plain")}
    if work.dtype != "float32":
        forms[PLAIN_FLOAT32] = replace(work, form="plain", dtype="float32")
    peaks = {form: extra_bytes(each, memory) for form, each in forms.items()}
    fits = {form: each for form, each in forms.items() if isinstance(peaks[form], int)}
    runs: dict[str, Callable[[], object]] = {form: prepare(each)[0] for form, each in fits.items()}
    device, backward = torch.device(work.device), work.task == "forward+backward"
    products = products_of(work)
    if products:
        runs["limit"] = products_run(products, backward, work.torch_dtype, device)
    seconds = interleave(runs, repeats, device)
    timings = [
        Timing(
            form=form,
            seconds=seconds.get(form, []),
            extra_bytes=found if isinstance(found := peaks.get(form), int) else None,
            note=found if isinstance(found, str) else "",
        )
        for form in [*forms, *(["limit"] if products else [])]
    ]
    queries, gallery = sizes_of(work)
    flop = sum(product.flop(backward) for product in products) if products else None
    return Comparison(
        subject=work.subject,
        task=work.task,
        dtype=work.dtype,
        size=f"{queries} x {gallery}",
        units=queries * gallery,
        unit="pair",
        flop=flop,
        timings=timings,
    )


def compare_peers(work: Work, repeats: int) -> Comparison:
    """MaxSim in both directions for all pairs of two batches, by the operator and by packages that do the same."""
    runs, missing = shared_work(work)
    seconds = interleave(runs, repeats, torch.device(work.device))
    timings = [Timing(form=form, seconds=found) for form, found in seconds.items()]
    timings += [Timing(form=form, note=reason) for form, reason in missing.items()]
    return _of_all_pairs("MaxSim", work, timings)


def compare_flex(work: Work, repeats: int) -> Comparison:
    """The operator's maxima with a prior for all pairs of two batches, by itself and by FlexAttention."""
    query, gallery, prior = operands(work)
    runs: dict[str, Callable[[], object]] = {"ours": lambda: maxima(query, gallery, prior)}
    notes = {}
    try:
        runs[FLEX] = flex_run(query, gallery, prior)
    except RuntimeError as fault:
        notes[FLEX] = str(fault)
    with torch.inference_mode():
        seconds = interleave(runs, repeats, torch.device(work.device))
    timings = [Timing(form=form, seconds=seconds.get(form, []), note=notes.get(form, "")) for form in ("ours", FLEX)]
    return _of_all_pairs("maxima with a prior", work, timings)


def _of_all_pairs(subject: str, work: Work, timings: list[Timing]) -> Comparison:
    return Comparison(
        subject=subject,
        task=work.task,
        dtype=work.dtype,
        size=described((work.batch, work.batch)),
        units=work.batch**2,
        unit="pair",
        flop=2 * math.prod((work.batch, work.batch, work.tokens, work.tokens, work.width)),
        timings=timings,
    )


def subjects_of(names: Sequence[str]) -> tuple[str, ...]:
    """The operator and heads by name, in the order of the catalogue. Raises HeadError for unknown ones."""
    known = (OPERATOR, *variants.names())
    chosen = known if list(names) == ["all"] else names
    for name in chosen:
        if name != OPERATOR:
            variants.describe(name)
    return tuple(chosen)
