"""What is timed: a head's training step or its scoring, or the operator alone, in the suite's form or the plain one.

Letters: B images of a batch, Q queries, G gallery images, T tokens, d width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

import variants
from bench.config import Evaluation
from bench.testing.blocks import CPU_CACHE_FRIENDLY_BYTES, score_all
from bench.testing.device_memory import gpu_budget
from bench.testing.memory_budget import Work as ScoringWork
from bench.testing.memory_budget import plan_scoring
from variants._base import Head, Product, Repr
from variants.kernels import dense_maxima, maxima, maxima_bytes, maxima_products

OPERATOR = "operator"
"""Subject that stands for the matching operator alone, apart from any head."""

Task = Literal["forward", "forward+backward", "scoring"]
TASKS: tuple[Task, ...] = ("forward", "forward+backward", "scoring")
Form = Literal["ours", "plain"]

LARGEST_TEST = 11_659, 82_161
"""Queries and gallery images of MSMT17, in whose blocks is scored."""

MOST_GALLERY = 16384
"""Gallery images of a scoring measurement at most."""

SCORING_QUERIES = 1024
"""Queries of a scoring measurement where a pair takes next to nothing, so that there is something to time."""


@dataclass(frozen=True)
class Work:
    """One thing to run. `batch` images with themselves in training, `queries` x `gallery` in scoring."""

    subject: str
    task: Task
    dtype: str
    batch: int
    tokens: int
    width: int
    feedforward: int
    layers: int
    device: str
    form: Form = "ours"

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of operands of matrix products."""
        return getattr(torch, self.dtype)

    def autocast(self) -> AbstractContextManager:
        """Mixed precision where the dtype is not float32, as in a run."""
        device = torch.device(self.device).type
        return torch.autocast(device, self.torch_dtype, enabled=self.dtype != "float32", cache_enabled=False)


def head_of(work: Work) -> Head:
    """The part of the head that is timed, with weights drawn from a fixed seed."""
    sizes = {"feedforward": work.feedforward, "layers": work.layers}
    options = {key: value for key, value in sizes.items() if key in variants.describe(work.subject).options}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        head = variants.build(work.subject, (work.width, work.tokens, 1), **options)
    return head.matcher().to(work.device)


def fitting_batch(head: Head, wanted: int, memory: int) -> int:
    """The largest of `wanted`, a half, a quarter, ... images whose pairs keep at most a quarter of `memory` bytes.

    The plain form of a training step keeps all pairs at once.
    """
    while wanted > 1 and wanted**2 * head.pair_bytes(training=True) > memory // 4:
        wanted //= 2
    return wanted


def block_bytes(pair_bytes: int, bytes_per_image: int, device: torch.device) -> int:
    """Working memory of a call of `match` in a run's test of the largest published set."""
    settings, work = Evaluation(), ScoringWork(*LARGEST_TEST, bytes_per_image, pair_bytes)
    plan = plan_scoring(work, int(settings.memory_gib * 2**30), gpu=gpu_budget(settings, device))
    return min(plan.block_bytes, CPU_CACHE_FRIENDLY_BYTES) if device.type == "cpu" else plan.block_bytes


def scoring_sizes(pair_bytes: int, batch: int, block: int) -> tuple[int, int]:
    """(Q, G) of a scoring measurement: what one call of `match` takes in a block of so many bytes."""
    queries = SCORING_QUERIES if pair_bytes <= 64 else batch
    return queries, min(MOST_GALLERY, max(batch, block // (pair_bytes * queries)))


def sizes_of(work: Work) -> tuple[int, int]:
    """(Q, G) that the work matches."""
    if work.task != "scoring":
        return work.batch, work.batch
    pair_bytes = maxima_bytes(work.tokens) if work.subject == OPERATOR else head_of(work).pair_bytes()
    return scoring_sizes(pair_bytes, work.batch, _block_of(work, pair_bytes))


def _block_of(work: Work, pair_bytes: int) -> int:
    size = work.tokens * work.width * work.layers * work.torch_dtype.itemsize
    return block_bytes(pair_bytes, size, torch.device(work.device))


def products_of(work: Work) -> list[Product]:
    """The matrix products that the work cannot do without; empty where the head declares none."""
    queries, gallery = sizes_of(work)
    training = work.task != "scoring"
    if work.subject == OPERATOR:
        return maxima_products(queries, gallery, work.tokens, work.width, same=training)
    head = head_of(work)
    encoding = head.encode_products(queries) if training else []
    return [*encoding, *head.match_products(queries, gallery, same=training)]


def prepare(work: Work) -> tuple[Callable[[], Tensor], list[Tensor]]:
    """A function that does the work once and returns its scores, and the tensors that get gradients from it."""
    if work.subject == OPERATOR:
        return _prepare_operator(work)
    return _prepare_scoring(work) if work.task == "scoring" else _prepare_step(work)


def operands(work: Work, queries: int = 0, gallery: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """What the operator takes: queries [Q, T, d], gallery [G, T, d] (by default a batch each) and a prior [T, T]."""
    shapes = [(queries or work.batch, work.tokens, work.width), (gallery or work.batch, work.tokens, work.width)]
    query, other = (_draw(*shape, seed=seed) for seed, shape in enumerate(shapes, start=1))
    prior = torch.sigmoid(_draw(work.tokens, work.tokens, seed=3))
    query, other, prior = (tensor.to(work.device, work.torch_dtype) for tensor in (query, other, prior))
    return query, other, prior


def _prepare_operator(work: Work) -> tuple[Callable[[], Tensor], list[Tensor]]:
    queries, gallery = sizes_of(work)
    training = work.task != "scoring"
    query, other, prior = operands(work, queries, 1 if training else gallery)
    other = query if training else other
    leaves = [query.requires_grad_(), prior.requires_grad_()] if training else []
    compute = partial(maxima, symmetric_prior=True) if work.form == "ours" else dense_maxima
    weights = _draw(queries, gallery, 2, work.tokens, seed=4).to(work.device) if training else None

    def run() -> Tensor:
        with torch.set_grad_enabled(training):
            best = compute(query, other, prior)
            if work.task == "forward+backward":
                (best.float() * weights).sum().backward()
            return best.detach()

    return run, leaves


def _prepare_step(work: Work) -> tuple[Callable[[], Tensor], list[Tensor]]:
    head = head_of(work).train()
    maps = _draw(work.batch, work.width, work.tokens, 1, seed=1).to(work.device).requires_grad_()
    weights = _draw(work.batch, work.batch, seed=4).to(work.device)
    match = head.match if work.form == "ours" else head.plain_match

    def run() -> Tensor:
        with work.autocast():
            found = head.encode(maps)
            scores = match(found, found)
        if work.task == "forward+backward":
            (scores.float() * weights).sum().backward()
        return scores.detach()

    return run, [maps, *head.parameters()]


def _prepare_scoring(work: Work) -> tuple[Callable[[], Tensor], list[Tensor]]:
    head = head_of(work).eval()
    queries, gallery = sizes_of(work)
    query, other = (_encoded(work, head, count, seed) for count, seed in ((queries, 1), (gallery, 2)))
    # On a CPU `score_all` keeps half of a budget back.
    budget = _block_of(work, head.pair_bytes()) * (2 if torch.device(work.device).type == "cpu" else 1)

    def run() -> Tensor:
        if work.form == "ours":
            return score_all(head, query, other, budget)
        with torch.inference_mode(), contextlib.nullcontext() if head.exact_representations else work.autocast():
            return head.plain_match(query, other)

    return run, []


@torch.inference_mode()
def _encoded(work: Work, head: Head, count: int, seed: int) -> Repr:
    dtype = torch.float32 if head.exact_representations else work.torch_dtype
    parts = []
    for start in range(0, count, work.batch):
        images = min(work.batch, count - start)
        with work.autocast():
            maps = _draw(images, work.width, work.tokens, 1, seed=seed * 10_000 + start).to(work.device)
            found = head.encode(maps)
        parts.append(Repr(**{name: tensor.to(dtype) for name, tensor in found.items()}))
    return Repr.join(parts)


def _draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
