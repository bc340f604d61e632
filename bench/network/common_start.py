"""The common start of presets without ImageNet weights: made once on this machine, kept beside published weights.

A backbone learns to tell kinds of drawn things apart (`bench.data.standin.objects`), none of them a person, under
cameras and before scenes that no stand-in set has. It learns on one CPU thread whatever the machine has, and each
picture depends on its number alone: the same version gives the same bits on the same kind of CPU, whoever draws.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from bench.architectures import ARCHITECTURES
from bench.data.standin.objects import pictures
from bench.data.standin.pool import drawing_pool
from bench.errors import UserError
from bench.journal.record import write_atomically
from bench.network.architectures import build_stages
from bench.network.published_weights import noted_sha256
from bench.network.stages import Stages
from bench.network.weight_file import WeightFile, read_file
from bench.progress import Progress
from bench.randomness import Stream, generator, torch_seeded
from bench.starts import COVERED, STARTS, Start, check_covered, name_of, named
from bench.system.locks import alone
from bench.system.signals import held_back

SEED = 0
WORTH_A_PROCESS = 2000
"""With fewer pictures than this, starting a process takes longer than drawing."""
MOMENTUM, WEIGHT_DECAY, CLIP = 0.9, 5e-4, 5.0

Batch = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures [B, 3, H, W] and their kinds [B]."""


def start_path(weights: str, arch: str, ibn: str) -> Path:
    """Where a start is kept: in torch's hub cache, under its name and hash (`starts.named`) and the backbone's."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _file_name(*weights.split(":"), arch, ibn)


def _file_name(*parts: str) -> str:
    return f"pairbench-{'-'.join(parts)}.pth"


def start_file(weights: str, arch: str, ibn: str, progress: Progress | None = None, workers: int = 0) -> WeightFile:
    """The file of a start for a backbone, out of the cache or else made and kept there.

    `weights` is its name, or name and hash (`starts.named`). One process makes it, others that want it wait. Where it
    is worth it, `workers` processes draw beside the one that learns, and change no bit. One line tells that it is
    made, and why if there is one that cannot be used.

    Raises UserError for a backbone that no start covers, a start of another version of the suite, and where the cache
    cannot be written.
    """
    progress = progress or Progress()
    name = name_of(weights)
    if weights not in (name, named(name)):
        raise UserError(
            f"backbone.weights={weights} is a start of another version of the suite, which makes {named(name)}"
        )
    check_covered(arch, ibn, COVERED.get((arch, ibn), ARCHITECTURES[arch].cut), weights)
    path = start_path(named(name), arch, ibn)
    if whole := _read(path):
        return whole
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(
            path.with_name(path.name + ".lock"), lambda: progress.say(f"{path} is made by another process: waits")
        ):
            if whole := _read(path):
                return whole
            progress.say(f"{_why(path, name, arch, ibn)}; teaching {arch} drawn things, once")
            content, start = io.BytesIO(), STARTS[name]
            torch.save(
                learn(start, arch, ibn, progress, workers if start.steps * start.batch >= WORTH_A_PROCESS else 0),
                content,
            )
            write_atomically(path, content.getvalue())
            file = read_file(path)
            write_atomically(noted_sha256(path), f"{file.sha256}  {path.name}\n".encode())
            return file
    except OSError as fault:
        raise UserError(
            f"cannot keep the backbone's start in {path.parent} ({fault.strerror or fault}); set TORCH_HOME to a "
            "folder that can be written"
        ) from fault


def learn(start: Start, arch: str, ibn: str, progress: Progress, workers: int = 0) -> dict[str, Tensor]:
    """The state of the backbone's stages, by published keys, after all steps of a start."""
    draw = partial(_batch, start)
    steps = range(start.steps)
    try:
        with (
            _one_thread(),
            torch_seeded(SEED, Stream.PRETRAINING),
            drawing_pool(workers) as pool,
            progress.bar(start.steps, "stand-in pretraining", "step") as bar,
        ):
            with held_back():  # the processes of the pool come to be here
                batches = pool.map(draw, steps) if pool is not None else map(draw, steps)
            return _learn(start, build_stages(arch, ibn, COVERED[arch, ibn]), _told(batches, bar))
    except BrokenProcessPool as fault:
        raise UserError("a process that draws pictures ended early: out of memory? Call again") from fault


def _learn(start: Start, stages: Stages, batches: Iterable[Batch]) -> dict[str, Tensor]:
    classifier = nn.Linear(stages.channels, start.kinds)
    parameters = [*stages.layers.parameters(), *classifier.parameters()]
    sgd = torch.optim.SGD(parameters, start.lr, momentum=MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
    cycle = torch.optim.lr_scheduler.OneCycleLR(sgd, start.lr, total_steps=start.steps, cycle_momentum=False)
    with torch.enable_grad():
        for images, kinds in batches:
            found = stages.layers(torch.from_numpy(images).float() / 255).mean(dim=(2, 3))
            loss = nn.functional.cross_entropy(classifier(found), torch.from_numpy(kinds))
            sgd.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, CLIP)
            sgd.step()
            cycle.step()
    return {key: tensor.detach().clone() for key, tensor in stages.layers.state_dict().items()}


def _batch(start: Start, step: int) -> Batch:
    """What a step learns from; runs in worker processes, so all it needs comes as arguments."""
    kinds = generator(SEED, Stream.PRETRAINING, step).integers(start.kinds, size=start.batch)
    return pictures(kinds, step * start.batch, start.height, start.width), kinds


def _told(batches: Iterable[Batch], bar: tqdm) -> Iterator[Batch]:
    """The batches, each counted when the next is asked for."""
    for batch in batches:
        yield batch
        bar.update()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """More threads would add in another order, and a machine with fewer could not give the same bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(path: Path) -> WeightFile | None:
    """The start in the cache; None where there is none, or one that is not as it was made."""
    try:
        noted = noted_sha256(path).read_text(encoding="utf-8", errors="replace").split()
        file = read_file(path)
    except (OSError, UserError):
        return None
    return file if noted[:1] == [file.sha256] else None


def _why(path: Path, name: str, arch: str, ibn: str) -> str:
    """Why a start is made now."""
    if path.exists():
        return f"{path} is damaged"
    others = sorted(path.parent.glob(_file_name(name, "*", arch, ibn)))
    return f"{others[0]} is of another version" if others else f"there is no {path} yet"
