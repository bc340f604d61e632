"""How a process computes for a run: repeatably, on the run's own device, and in float32 where float32 is said."""

from __future__ import annotations

import pytest
import torch

from bench import computing
from bench.computing import compute_as_runs_do, out_of_memory
from bench.environment import available_memory, triton_cache
from bench.errors import UserError

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _settings():
    """The settings of this process are put back."""
    threads = torch.get_num_threads()
    yield
    compute_as_runs_do(CPU, threads)
    torch.use_deterministic_algorithms(False)


def test_results_are_the_same_each_time_and_memory_is_not_filled_for_it():
    compute_as_runs_do(CPU, 1)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_num_threads() == 1
    assert not torch.utils.deterministic.fill_uninitialized_memory and not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("tf32", [False, True])
def test_products_and_convolutions_are_rounded_alike(tf32):
    compute_as_runs_do(CPU, tf32=tf32)
    assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32 == tf32


def test_a_runs_gpu_becomes_the_current_one(monkeypatch):
    used, current = [], []
    monkeypatch.setattr(computing, "use_once", used.append)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    for name in ("cuda:1", "cuda", "cpu"):
        compute_as_runs_do(torch.device(name))
    assert used == [torch.device("cuda:1"), torch.device("cuda"), CPU] and current == [torch.device("cuda:1")]


def test_a_device_that_cannot_be_used_is_one_sentence():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="cuda:3 cannot be used: "):
        compute_as_runs_do(torch.device("cuda:3"))


def test_lack_of_memory_is_told_from_other_faults():
    assert out_of_memory(MemoryError()) and out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not out_of_memory(RuntimeError("CUDA error: invalid argument")) and not out_of_memory(KeyError("memory"))


def test_memory_is_what_is_free_or_what_a_control_group_leaves(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 64 kB\nMemAvailable:       48 kB\n")
    assert available_memory(tmp_path) == 48 * 1024
    (tmp_path / "proc/self/cgroup").write_text("0::/job\n")
    (tmp_path / "proc/self/mounts").write_text("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    group = tmp_path / "sys/fs/cgroup/job"
    group.mkdir(parents=True)
    (group / "memory.max").write_text("max\n")
    (group / "memory.current").write_text("30000\n")
    (group / "memory.stat").write_text("anon 20000\ninactive_file 5000\n")
    assert available_memory(tmp_path) == 48 * 1024
    (group / "memory.max").write_text("40000\n")
    assert available_memory(tmp_path) == 15000


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder on a file system of some kind, and a temporary folder."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path / "home/me")

    def on(kind: str) -> None:
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/self/mounts").write_text(f"disk / ext4 rw 0 0\nthere {tmp_path / 'home'} {kind} rw 0 0\n")

    return on


def test_compiled_kernels_stay_on_this_machine_where_the_home_folder_does_not(home, tmp_path):
    home("ext4")
    assert triton_cache(tmp_path) is None
    home("nfs4")
    folder = tmp_path / triton_cache(tmp_path)
    assert folder.parent == tmp_path and folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert triton_cache(tmp_path) is None, "others could put kernels there"
    folder.rmdir()
    folder.symlink_to(tmp_path / "home")
    (tmp_path / "home").mkdir()
    assert triton_cache(tmp_path) is None


def test_a_machine_that_does_not_say_what_is_mounted_has_its_home_to_itself(tmp_path):
    assert triton_cache(tmp_path / "nothing") is None
