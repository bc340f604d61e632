"""Who may know whom: no room of bench one above it; variants nothing of bench; bench of slurm one call."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

import variants

FLOORS = (
    {"commands"},
    {"report"},
    {"running"},
    {"perf"},
    {"training"},
    {"testing"},
    {"study", "network"},
    {"data", "journal"},
    {"system"},
)
"""The folders of bench from top to bottom; each imports only those on floors below its own."""


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def test_variants_know_nothing_of_bench():
    for path in sources("variants"):
        assert not {name for name in imports(path) if name.split(".")[0] in ("bench", "slurm", "results")}, path


def test_bench_knows_of_slurm_one_call_in_one_place():
    for path in sources("bench"):
        found = {name for name in imports(path) if name.split(".")[0] in ("slurm", "submitit")}
        assert found == ({"slurm", "slurm.cluster"} if path.name == "cluster.py" else set()), path


def room_of(module: str) -> str:
    """The folder of bench in which a module lies; "" for those on the ground, and for the doors above all."""
    name = module.split(".")[1] if "." in module else ""
    return name if (ROOT / "bench" / name).is_dir() else ""


def test_every_folder_of_bench_has_its_floor():
    folders = {path.name for path in (ROOT / "bench").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {room for floor in FLOORS for room in floor}


def test_no_import_of_bench_points_up_or_to_a_room_beside():
    floor_of = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    for path in sources("bench"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        own = room_of(module)
        if module in ("bench.api", "bench.cli", "bench.__main__"):
            continue  # the doors, above all rooms
        for name in imports(path):
            room = room_of(name) if name.startswith("bench.") else ""
            if room and room != own:
                assert own, f"{path} lies on the ground and imports {name}"
                assert floor_of[own] < floor_of[room], f"{path} imports {name}, which lies above it or beside it"


def test_every_package_says_what_is_in_it():
    for package in ("bench", "variants", "slurm", "results"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name == "__init__.py":
                assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"
                assert (path.parent / "__init__.py").is_file()


def test_slurm_runs_cells_and_computes_nothing():
    ground = {f"bench.{name}" for name in ("config", "environment", "errors", "system", "values")}
    allowed = {*ground, "bench.journal", "bench.running"}
    for path in sources("slurm"):
        found = {name for name in imports(path) if name.split(".")[0] in ("bench", "variants", "torch", "results")}
        assert {".".join(name.split(".")[:2]) for name in found if name.startswith("bench.")} <= allowed, path
        assert not {name for name in found if not name.startswith("bench")}, path


def test_bench_knows_no_head_by_name():
    heads = set(variants.names())
    contract = {f"variants._base.{name}" for name in ("Head", "LocalMatches", "Repr")}
    allowed = {"variants", "variants._base", "variants.HeadError", *contract}
    checks = {"variants._laws", "variants._laws.all_laws", "variants._laws.make"}
    checks |= {"variants._soundness", "variants._soundness.check_declarations", "variants._soundness.check_scores"}
    operator = {"variants._base.Product", "variants.kernels"}
    operator |= {
        f"variants.kernels.{name}"
        for name in (
            "dense_maxima",
            "float32_products",
            "forced_kernel",
            "kernel_name",
            "maxima",
            "maxima_bytes",
            "maxima_products",
            "usable_kernel",
        )
    }
    memory = {f"variants.kernels.{how}_freed_memory" for how in ("keep", "give_back")} | {"variants.kernels"}
    for path in sources("bench"):
        found = {name for name in imports(path) if name.split(".")[0] == "variants"}
        extra = checks if path.name in ("check_head.py", "trial.py") else set()
        if path.parent.name in ("perf", "testing", "training") or path.name in (
            "provenance.py",
            "preflight.py",
            "devices.py",
        ):
            extra = operator
        if path.name in ("computing.py", "stopwatch.py"):
            extra = memory
        assert found <= allowed | extra, path
        words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not words & heads, f"{path} names a head"


@pytest.mark.parametrize(
    "module",
    [
        "bench.cli",
        "bench.study.plan",
        "bench.journal.record",
        "bench.data",
        "bench.running.ledger",
        "slurm.queue",
        "variants",
    ],
)
def test_planning_imports_neither_torch_nor_plotting(module):
    code = f"import sys, {module}; print(*sorted({{'torch', 'matplotlib', 'pandas', 'seaborn'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_files_and_functions_stay_readable():
    for package in ("variants", "bench", "slurm"):
        for path in sources(package):
            assert len(path.read_text().splitlines()) <= 350, f"{path} is too long"
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert node.end_lineno - node.lineno < 70, f"{path}: {node.name} is too long"


def test_the_code_is_clean():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--check", "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
