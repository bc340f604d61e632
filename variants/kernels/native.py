"""The compiled CPU path of the matching operator: built on first use, kept in PyTorch's cache of extensions.

The source is C++ behind a C interface, so a build needs a compiler alone (some seconds) and fits every version of
PyTorch; what it does depend on, the source, the flags, the C library and the kind of CPU, names the cached file. So
does the hash of what the file holds: one that was damaged since is not loaded, but built again.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import hashlib
import logging
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from variants.kernels.plain import accumulation_dtype

FLAGS = ("-O3", "-march=native", "-std=c++17", "-shared", "-fPIC", "-fopenmp")
_LOG = logging.getLogger(__name__)

SOURCES = ("maxima.cpp", "maxima_simd.h", "maxima_forward.h", "maxima_backward.h")


class _Task(ctypes.Structure):
    """`Task` of maxima_simd.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("Q", "G", "T", "d", "query_stride", "gallery_stride")),
        *((name, ctypes.c_int32) for name in ("same", "symmetric", "threads")),
    ]


def forced() -> str:
    """What PAIRBENCH_KERNEL asks for: "cpu", "plain" or nothing, "". Raises ValueError for anything else."""
    choice = os.environ.get("PAIRBENCH_KERNEL", "")
    if choice not in ("", "cpu", "plain"):
        raise ValueError(f"PAIRBENCH_KERNEL must be cpu or plain, not {choice!r}")
    return choice


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled operator, or None, after one line of warning, where it cannot be built.

    PAIRBENCH_KERNEL=plain turns it off without a word; PAIRBENCH_KERNEL=cpu makes a failed build a RuntimeError.
    """
    choice = forced()
    if choice == "plain":
        return None
    try:
        return ctypes.CDLL(str(build()))
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        reason = _first_line(error)
        if choice == "cpu":
            raise RuntimeError(f"the matching operator cannot be built: {reason}") from error
        _LOG.warning("matching runs in plain PyTorch, several times slower: the operator cannot be built (%s)", reason)
        return None


def build() -> Path:
    """The shared library for this source and CPU, built if it is not in the cache, or there is damaged.

    Several processes may call it at once: one builds, the others wait; the file appears whole or not at all. Raises
    OSError without a compiler or a writable cache, ValueError for a CXX that cannot be read, CalledProcessError if the
    compiler fails.
    """
    folder = Path(__file__).parent
    source = "".join((folder / name).read_text() for name in SOURCES)
    parts = (source, *FLAGS, *platform.libc_ver(), _cpu())
    stem = _cache() / "pairbench_maxima" / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    found = _whole(stem)
    if found is not None:
        return found
    compiler = shlex.split(os.environ.get("CXX", "c++"))
    if not compiler or shutil.which(compiler[0]) is None:
        raise FileNotFoundError(f"no C++ compiler: {' '.join(compiler) or 'CXX is empty'} not found")
    stem.parent.mkdir(parents=True, exist_ok=True)
    with stem.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released by the system even if this process is killed
        found = _whole(stem)
        if found is None:
            for damaged in stem.parent.glob(f"{stem.name}-*.so"):
                damaged.unlink()
            found = _compile([*compiler, *FLAGS, str(folder / "maxima.cpp")], stem)
    return found


def _whole(stem: Path) -> Path | None:
    """The library of this stem that holds what its name says it does; None if there is none."""
    for path in stem.parent.glob(f"{stem.name}-*.so"):
        with contextlib.suppress(OSError):
            if path == _named(stem, path.read_bytes()):
                return path
    return None


def _compile(command: list[str], stem: Path) -> Path:
    partial = stem.with_suffix(".partial")  # of one name, so that what a killed process left is written over
    try:
        subprocess.run([*command, "-o", str(partial)], check=True, capture_output=True, text=True, errors="replace")
        return partial.replace(_named(stem, partial.read_bytes()))
    finally:
        partial.unlink(missing_ok=True)


def _named(stem: Path, content: bytes) -> Path:
    return stem.with_name(f"{stem.name}-{hashlib.sha256(content).hexdigest()[:32]}.so")


def takes(dtype: torch.dtype) -> bool:
    """Whether products of this dtype run without a copy in float32; bfloat16 only where the CPU multiplies it."""
    return hasattr(library(), f"maxima_forward_{_name(dtype)}")


def forward(
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
    positions: bool = True,
    products: str = "ieee",
) -> tuple[Tensor, Tensor | None]:
    """As `plain.forward`. Computes half of the products if `gallery is query`."""
    same = gallery is query
    dtype = accumulation_dtype(query.dtype)
    query = _dense(query if takes(query.dtype) else query.to(dtype))
    gallery = query if same else _dense(gallery.to(query.dtype))
    prior = None if prior is None else prior.to(dtype).contiguous()
    best = torch.empty(len(query), len(gallery), 2, query.shape[1], dtype=dtype)
    at = torch.empty(best.shape, dtype=torch.int16) if positions else None
    function = getattr(library(), f"maxima_forward_{_name(query.dtype)}")
    function(_task(query, gallery, prior, same), *map(_pointer, (query, gallery, prior, best, at)))
    return best, at


def backward(
    grad: Tensor,
    best: Tensor | None,
    at: Tensor,
    query: Tensor,
    gallery: Tensor,
    prior: Tensor | None,
    symmetric: bool = False,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """As `plain.backward`; if `gallery is query`, the gradient of both roles comes first and None for gallery."""
    same = gallery is query
    dtype = accumulation_dtype(query.dtype)
    query = _dense(query.to(dtype))
    gallery = query if same else _dense(gallery.to(dtype))
    prior = None if prior is None else prior.to(dtype).contiguous()
    grad, at = grad.to(dtype).contiguous(), at.contiguous()
    grad_query = torch.zeros(query.shape, dtype=dtype)
    grad_gallery = None if same else torch.zeros(gallery.shape, dtype=dtype)
    grad_prior = None if prior is None else torch.zeros(prior.shape, dtype=dtype)
    function = getattr(library(), f"maxima_backward_{_name(dtype)}")
    tensors = (query, gallery, prior, grad, at, grad_query, grad_gallery, grad_prior)
    function(_task(query, gallery, prior, same), *map(_pointer, tensors))
    return grad_query, grad_gallery, grad_prior


def _task(query: Tensor, gallery: Tensor, prior: Tensor | None, same: bool) -> object:
    # A prior told to be symmetric may not be so to the last bit: a CPU's vectors and what is left over round apart.
    symmetric = prior is None or torch.equal(prior, prior.T)
    sizes = (len(query), len(gallery), *query.shape[1:], query.stride(0), gallery.stride(0))
    return ctypes.byref(_Task(*sizes, same, symmetric, torch.get_num_threads()))


def _dense(images: Tensor) -> Tensor:
    """Images that may lie apart, each of them dense, as the compiled path takes them."""
    return images if images[0].is_contiguous() else images.contiguous()


def _pointer(tensor: Tensor | None) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if tensor is None else tensor.data_ptr())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _cache() -> Path:
    """Where torch.utils.cpp_extension keeps its builds (without importing it: it needs setuptools).

    In a container a user may have no home, or one that cannot be written: then a folder among the temporary ones.
    """
    try:
        if named := os.environ.get("TORCH_EXTENSIONS_DIR"):
            return Path(named).expanduser()
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch_extensions"
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    except (RuntimeError, OSError):  # RuntimeError: nobody knows where this user's home is
        pass
    return _own_temporary_folder()


def _own_temporary_folder() -> Path:
    """A folder that nobody else can write to, so that no foreign code is loaded. Raises OSError without one."""
    folder = Path(tempfile.gettempdir()) / f"pairbench-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(f"{folder} is not this user's own")
    return folder


def _cpu() -> str:
    """What `-march=native` depends on: a home folder may be shared by machines of several kinds."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    kinds = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(kinds)])


def _first_line(error: Exception) -> str:
    return ((getattr(error, "stderr", None) or "").strip() or str(error)).splitlines()[0]
