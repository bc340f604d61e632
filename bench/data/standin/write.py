"""Draw the stand-in sets and put them in place, whole or not at all."""

import json
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

from tqdm import tqdm

from bench.data.dataset import STANDIN_MARKER
from bench.data.standin.cameras import Shot, take
from bench.data.standin.layouts import SETS, SIZES, SetPlan, plan
from bench.data.standin.pool import drawing_pool
from bench.environment import cpus
from bench.errors import UserError
from bench.system.locks import alone
from bench.system.signals import held_back

VERSION = 2
"""Raised whenever the same size and seed would give other files."""

_NOTE = "Generated stand-in data: drawn persons, no photographs. Numbers measured on it say nothing about the real set."
_PARTIAL = ".partial-"
_LOCK = ".standin.lock"
_BATCH = 40
_WORTH_A_POOL = 400
"""With fewer images than this, starting worker processes takes longer than drawing."""

Batch = list[tuple[str, Shot]]


def write_standin(
    root: Path,
    size: str,
    seed: int = 0,
    sets: Sequence[str] = SETS,
    workers: int | None = None,
    progress: bool = False,
) -> dict[str, int]:
    """Write generated sets below `root`, in the real sets' layouts; return the number of images written per set.

    `size` is one of tiny, demo, full; `seed` >= 0; `sets` some of `layouts.SETS`. The files depend on these alone:
    `workers` (processes; None = as many as there are cores) changes no byte. A set that is
    already complete with the same size, seed and generator version is left as it is and counts 0 (with `progress`,
    a line on stderr says so); what an interrupted call left behind is drawn anew. A set appears under its name only
    when complete.

    Raises UserError for an unknown size or set, for a folder that this function did not write or wrote with other
    settings (nothing is ever overwritten or mixed), where the disk cannot be written or worker processes fail.
    """
    _check_request(size, seed, sets)
    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with alone(root / _LOCK, partial(_tell_waiting, root, progress)):
            return _write_all(root, size, seed, list(dict.fromkeys(sets)), workers, progress)
    except BrokenProcessPool as error:
        raise UserError(
            "a process drawing stand-in data ended early: out of memory, or called from a script without "
            "`if __name__ == '__main__':`. Call again with workers=1."
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write stand-in data below {root}: {error.strerror or error}. Free some space there, or choose "
            "a folder you may write to."
        ) from error


def _check_request(size: str, seed: int, sets: Sequence[str]) -> None:
    if size not in SIZES:
        raise UserError(f"unknown size {size!r} of stand-in data; choose one of {', '.join(SIZES)}")
    unknown = [name for name in sets if name not in SETS]
    if unknown:
        raise UserError(f"no stand-in for {', '.join(map(repr, unknown))}; choose from {', '.join(SETS)}")
    if seed < 0:
        raise UserError(f"the seed of stand-in data must be 0 or more, not {seed}")


def _write_all(
    root: Path, size: str, seed: int, sets: list[str], workers: int | None, progress: bool
) -> dict[str, int]:
    stamp: dict[str, object] = {"size": size, "seed": seed, "version": VERSION, "note": _NOTE}
    folders = {name: plan(name, "tiny").folder for name in SETS}
    _check_root(root, stamp, set(folders.values()))
    missing = []
    for name in sets:
        if (root / folders[name]).exists():
            _check_marker(root / folders[name], stamp)
            _check_whole(root, plan(name, size))
            if progress:
                print(f"{root / folders[name]}: already there, nothing to do", file=sys.stderr)
        else:
            missing.append(name)
    written = dict.fromkeys(sets, 0)
    plans = {name: plan(name, size) for name in missing}
    total = sum(len(p.images) for p in plans.values())
    with (
        drawing_pool(_processes(workers, total)) as pool,
        tqdm(total=total, unit="image", disable=not progress, desc=f"stand-in ({size})") as bar,
    ):
        for name, set_plan in plans.items():
            written[name] = _write_set(root, set_plan, stamp, pool, bar)
    _write_marker(root, stamp)
    return written


def _tell_waiting(root: Path, progress: bool) -> None:
    if progress:
        print(f"{root}: waits for another process that writes there", file=sys.stderr)


def _processes(workers: int | None, images: int) -> int:
    """Worker processes, 0 where drawing in this process is as quick or asked for."""
    if workers is None:
        workers = cpus() if images >= _WORTH_A_POOL else 1
    return workers if workers > 1 and images > 0 else 0


def _check_root(root: Path, stamp: dict[str, object], known: set[str]) -> None:
    """`root` may hold a marker like ours, or nothing but sets of ours from a call that did not come to its end."""
    if (root / STANDIN_MARKER).exists():
        _check_marker(root, stamp)
        return
    foreign = sorted(e.name for e in root.iterdir() if not e.name.startswith(".") and e.name not in known)
    if foreign:
        raise UserError(
            f"{root} holds other things ({', '.join(foreign[:3])}) and is no stand-in folder; choose an empty or new "
            "folder, so that generated and real data never mix"
        )
    for entry in root.iterdir():
        if entry.name in known:
            _check_marker(entry, stamp)


def _check_marker(folder: Path, stamp: dict[str, object]) -> None:
    marker = folder / STANDIN_MARKER
    if not marker.is_file():
        raise UserError(
            f"{folder} exists and holds no {STANDIN_MARKER}: it may be real data, so it is left untouched. Choose "
            "another folder for the stand-in data, or move this one away."
        )
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{marker} is not readable as JSON; delete {folder} to have its stand-in data written anew")
    if any(found.get(key) != stamp[key] for key in ("size", "seed", "version")):
        theirs, ours = (", ".join(f"{k} {d.get(k)}" for k in ("size", "seed", "version")) for d in (found, stamp))
        raise UserError(
            f"{folder} holds stand-in data of {theirs}, asked for is {ours}; delete that folder or choose another"
        )


def _check_whole(root: Path, set_plan: SetPlan) -> None:
    folder = root / set_plan.folder
    gone = [image.path for image in set_plan.images if not (folder / image.path).is_file()]
    if gone:
        raise UserError(
            f"{len(gone)} of {len(set_plan.images)} images of {folder} are gone, {gone[0]} first; delete that "
            "folder to have it drawn anew"
        )


def _write_marker(folder: Path, stamp: dict[str, object]) -> None:
    """Through a second file, so that a marker is whole wherever there is one."""
    draft = folder / f"{_PARTIAL}{STANDIN_MARKER}"
    draft.write_text(json.dumps(stamp, indent=1) + "\n", encoding="utf-8")
    draft.replace(folder / STANDIN_MARKER)


def _write_set(
    root: Path, set_plan: SetPlan, stamp: dict[str, object], pool: ProcessPoolExecutor | None, bar: tqdm
) -> int:
    """Draw one set in a folder of another name and rename it when all is there."""
    draft = root / f"{_PARTIAL}{set_plan.folder}"
    if draft.exists():
        shutil.rmtree(draft)
    for folder in sorted({str(Path(image.path).parent) for image in set_plan.images}):
        (draft / folder).mkdir(parents=True, exist_ok=True)
    items = [(image.path, image.shot) for image in set_plan.images]
    batches = [items[i : i + _BATCH] for i in range(0, len(items), _BATCH)]
    draw = partial(_draw_batch, draft, stamp["seed"])
    written = 0
    with held_back():  # the processes of the pool come to be here
        counts = pool.map(draw, batches) if pool is not None else map(draw, batches)
    for done in counts:
        bar.update(done)
        written += done
    for path, content in set_plan.files:
        (draft / path).write_bytes(content)
    for folder in set_plan.marked:
        _write_marker(draft / folder, stamp)
    draft.rename(root / set_plan.folder)
    return written


def _draw_batch(folder: Path, seed: int, batch: Batch) -> int:
    """Draw and save some images; runs in worker processes, so all it needs comes as arguments."""
    for path, shot in batch:
        image, quality = take(shot, seed)
        if path.endswith(".png"):
            image.save(folder / path, compress_level=1)
        else:
            image.save(folder / path, quality=quality)
    return len(batch)
