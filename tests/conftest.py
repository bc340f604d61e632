"""Fixtures of all tests, in one place."""

from __future__ import annotations

import os

# Before torch is imported: threads that spin while waiting would slow each other down (see bench.cli.main).
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import contextlib
import io
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from apart import Outcome
from campaign import DEV_CLUSTER, Campaign, empty_queue
from made_up_runs import both, cells, run
from networks import pooling
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

from bench.cli import main
from bench.config import CellConfig, merge
from bench.data import ImageRecord
from bench.data.dataset import Dataset
from bench.data.standin import write_standin
from bench.journal.heartbeat import Heartbeat, Place, write_heartbeat
from bench.network.common_start import start_file
from bench.network.matcher import Matcher
from bench.progress import Progress
from bench.running.task import CellTask
from bench.study.definition import load_preset, load_study
from bench.study.plan import plan, resolve
from slurm import worker

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """What tests compute is so small that a second thread costs more than it brings."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _kept_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the preset tiny starts from is made once for all tests, in a cache of their own that other processes see."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    os.environ["TORCH_HOME"] = str(shared / "torch")


@pytest.fixture(scope="session")
def tiny_start() -> None:
    """Has the backbone's start of the preset `tiny` be there, whichever process of the tests comes first."""
    start_file("standin_tiny", "resnet18", "b", Progress(silent=True))


@pytest.fixture(scope="session")
def tiny_data(tiny_start: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder that holds the stand-in sets of size tiny, as `bench data standin` lays them out."""
    root = tmp_path_factory.mktemp("data")
    write_standin(root / "standin-tiny", size="tiny", workers=1)
    return root


@pytest.fixture(scope="session")
def finished(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder in which all of table 2 was run on tiny data; nobody may change it."""
    results = tmp_path_factory.mktemp("finished")
    words = ["run", "--variants", "all", "--train", "msmt", "--preset", "tiny", "--data-dir", tiny_data]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        code = main([*map(str, words), "--results", str(results)])
    assert code == 0 and err.getvalue() == "", out.getvalue() + err.getvalue()
    assert "9 done, 0 skipped, 0 failed" in out.getvalue()
    return results


@pytest.fixture(scope="session")
def page_file(finished: Path, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `finished` with pictures and local matches, of few queries."""
    out = tmp_path_factory.mktemp("page")
    words = ["report", "--results", finished, "--data-dir", tiny_data, "--out", out, "--format", "html", "--matches"]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        code = main([*map(str, words), "--study", "table2", "--page-queries", "12"])
    assert code == 0, told.getvalue()
    return out / "report.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """A headless Chromium without a network that keeps what it asks for and what it complains of."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("needs a browser: Debian's packages chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("headless=new", "disable-gpu", "disable-dev-shm-usage", "force-prefers-reduced-motion"):
        options.add_argument(f"--{word}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture
def bench(capfd: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command `bench` with arguments; wrong use of an option ends as in a shell, with code 2."""

    def call(*arguments: str | Path) -> Outcome:
        capfd.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capfd.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def tiny_config() -> Callable[..., CellConfig]:
    """Resolved configuration of a table 2 row under the preset tiny, with changes as `--set` makes them.

    Its backbone begins from nothing and is cut even earlier, which halves what training takes.
    """

    def make(row: str = "TransMatcher", seed: int = 0, **overrides: object) -> CellConfig:
        changes = merge({"backbone": {"cut": "layer1", "weights": None, "batchnorm": "train"}}, overrides)
        cell = plan(load_study("table2"), load_preset("tiny"), changes, [row], seeds=[seed])[0]
        return resolve(cell.config, "cpu")

    return make


@pytest.fixture(scope="session")
def few_persons() -> tuple[np.ndarray, np.ndarray]:
    """Images [n, 3, 32, 16] and persons [n] of six persons in plain colours, eight noisy images each."""
    draws = np.random.default_rng(0)
    ids = np.repeat(np.arange(6), 8)
    colours = draws.integers(0, 256, (6, 3, 2))
    images = np.zeros((len(ids), 3, 32, 16))
    for position, person in enumerate(ids):
        images[position, :, :16] = colours[person, :, 0, None, None]
        images[position, :, 16:] = colours[person, :, 1, None, None]
    images += draws.normal(0, 25, images.shape)
    return images.clip(0, 255).astype(np.uint8), ids


@pytest.fixture
def small_dataset(few_persons: tuple[np.ndarray, np.ndarray]) -> tuple[Dataset, np.ndarray]:
    """A test set of `few_persons`: image 0 of each person queries the others; and the images in that order."""
    images, ids = few_persons
    is_query = np.arange(len(ids)) % 8 == 0
    order = np.concatenate((np.flatnonzero(is_query), np.flatnonzero(~is_query)))
    records = [ImageRecord(Path(f"{i}.png"), int(ids[i]), 0 if is_query[i] else 1 + i % 2) for i in order]
    queries = int(is_query.sum())
    dataset = Dataset("small", Path(), (), tuple(records[:queries]), tuple(records[queries:]), "f" * 64)
    return dataset, images[order]


@pytest.fixture
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """The arrays of a golden file, by name without suffix."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return dict(arrays)

    return load


@pytest.fixture
def small_blocks(tiny_config):
    """A configuration whose sampling and testing go in blocks of one or a few pairs."""

    def make(**training):
        return tiny_config(training={"epochs": 2, **training}, evaluation={"memory_gib": 112 / 2**20, "batch": 4})

    return make


@pytest.fixture
def two_seeds(tmp_path: Path) -> Path:
    """TransMatcher with two of four seeds: mAcc 40 and 46, CUHK03-NP mAP 20 and 26."""
    first, second, *_ = cells("TransMatcher")
    run(tmp_path, first, both((0.30, 0.20), (0.70, 0.40)))
    run(tmp_path, second, both((0.34, 0.26), (0.78, 0.46)), seconds={"sampling": 600.0, "training": 6600.0})
    return tmp_path


@pytest.fixture(scope="session")
def cluster() -> None:
    """The development cluster, without jobs of earlier tests."""
    try:
        found = subprocess.run([DEV_CLUSTER, "status"], capture_output=True, text=True)
    except OSError as fault:
        pytest.skip(f"needs a SLURM cluster: {fault}")
    if found.returncode:
        pytest.skip("needs a SLURM cluster: slurm/dev-cluster install, then start (as root, on Debian)")


@pytest.fixture(scope="module")
def campaign_of(tiny_data, tmp_path_factory):
    """Makes campaigns; whatever others left in the queue is cancelled first, and what they leave in the end."""
    empty_queue()

    def make(*select: str) -> Campaign:
        return Campaign(tmp_path_factory.mktemp("campaign"), tiny_data, select)

    yield make
    empty_queue()


@pytest.fixture
def played_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """SLURM's commands on the PATH; sbatch counts its calls and answers as told. Nobody insists."""
    monkeypatch.setenv("PAIRBENCH_SLURM_SECONDS", "0")
    folder = tmp_path / "bin"
    folder.mkdir()

    def play(**commands: str) -> Path:
        defaults = {
            "srun": "exit 1", "squeue": "true", "scontrol": "echo 'MaxArraySize = 4'", "scancel": "true",
            "sbatch": f"echo x >> {tmp_path / 'calls'}; echo Submitted batch job 7",
        }  # fmt: skip
        for name, body in {**defaults, **commands}.items():
            (folder / name).write_text(f"#!/bin/sh\n{body}\n")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return tmp_path / "calls"

    return play


@pytest.fixture
def submit(bench, tiny_data: Path, tmp_path: Path) -> Callable[..., Outcome]:
    """Call `bench run --cluster slurm` for some rows and seeds on tiny data."""

    def call(*arguments, rows="ViT", seeds="2"):
        return bench(
            "run", "--cluster", "slurm", "--variants", rows, "--preset", "tiny", "--seeds", seeds, "--data-dir",
            tiny_data, "--results", tmp_path / "results", "--resource", "gpus=0", "--resource", "cpus=1", *arguments,
        )  # fmt: skip

    return call


@pytest.fixture
def slurm_task(bench, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CellTask:
    """ViT on tiny data, as a job is given it."""
    tasks: list[CellTask] = []
    monkeypatch.setattr("slurm.local.run_cell", lambda task: tasks.append(task) or 1)
    found = bench("run", "--cluster", "debug", "--variants", "ViT", "--preset", "tiny", "--data-dir", tiny_data,
                  "--results", tmp_path / "results")  # fmt: skip
    assert len(tasks) == 1, found.err
    [task] = tasks
    for path in task.folder.iterdir():
        path.unlink()
    return task


@pytest.fixture
def said(tmp_path: Path) -> Callable[[], list[str]]:
    """What `job_of` has told scontrol and scancel so far."""
    return lambda: (tmp_path / "said").read_text().splitlines()


@pytest.fixture
def job_of(slurm_task, played_slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the task in a job 7 of 8 GiB on the node n1 of n1 and n2; returns how it ended.

    `process` takes the task and gives the exit code of the run's process, which got to the second epoch. `commands` are
    those of the played SLURM.
    """

    def run(
        process: Callable[[CellTask], int],
        node: str = "n1",
        place: str = "training",
        memory: str | None = "8192",
        **commands: str,
    ) -> str:
        job = {"SLURM_JOB_ID": "7", "SLURMD_NODENAME": node, "SLURM_MEM_PER_NODE": memory}
        for name, value in {**job, "SLURM_ARRAY_JOB_ID": None, "SLURM_JOB_PARTITION": None}.items():
            monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
        scontrol = commands.pop("scontrol", "true")
        played_slurm(**{
            "sinfo": "printf 'n1|262144\\nn2|262144\\n'", "scancel": f'echo scancel "$@" >> {tmp_path}/said',
            "scontrol": f'echo "$@" >> {tmp_path}/said; {scontrol}', **commands,
        })  # fmt: skip

        def once(supervisor: worker._Supervisor) -> int:
            at = Place(phase=place, epoch=2, epochs=5)
            beat = Heartbeat(state="running", updated=supervisor.start.began, host=node, pid=os.getpid(), place=at)
            write_heartbeat(slurm_task.folder, beat)
            return process(slurm_task)

        monkeypatch.setattr(worker._Supervisor, "_run_once", once)
        monkeypatch.setattr(worker.signal, "signal", lambda number, handler: None)
        return worker.run_job(slurm_task, Path.cwd())

    return run


@pytest.fixture
def few_to_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench perf` scores some dozens of images where it would take thousands, so that there is something to time."""
    monkeypatch.setattr("bench.perf.works.SCORING_QUERIES", 24)
    monkeypatch.setattr("bench.perf.works.MOST_GALLERY", 40)


@pytest.fixture
def pooling_model(tiny_config: Callable[..., CellConfig]) -> Callable[..., Matcher]:
    """TransMatcher on maps of two positions, with changes as `--set` makes them; its backbone only pools."""
    return lambda **changes: pooling(tiny_config(backbone={"cut": "layer3"}, **changes))
