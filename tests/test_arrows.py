"""Who may know whom: variants nothing of bench, bench no head by name, of slurm one call; slurm runs cells."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import variants

ROOT = Path(__file__).parent.parent


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


def test_slurm_runs_cells_and_computes_nothing():
    data = {"config", "environment", "errors", "heartbeat", "interruption", "jobs", "preflight", "provenance"}
    for path in sources("slurm"):
        found = {name for name in imports(path) if name.split(".")[0] in ("bench", "variants", "torch", "results")}
        assert {name.split(".")[1] for name in found if name.startswith("bench.")} <= data | {"cell", "runner"}, path
        assert not {name for name in found if not name.startswith("bench")}, path


def test_bench_knows_no_head_by_name():
    heads = set(variants.names())
    allowed = {"variants", "variants._base", "variants._base.Head", "variants._base.Repr", "variants.HeadError"}
    checks = {"variants._laws", "variants._laws.all_laws", "variants._laws.make"}
    operator = {"variants._base.Product", "variants.kernels"}
    operator |= {f"variants.kernels.{name}" for name in ("dense_maxima", "kernel_name", "maxima", "maxima_products")}
    for path in sources("bench"):
        found = {name for name in imports(path) if name.split(".")[0] == "variants"}
        extra = checks if path.name == "check_head.py" else set()
        if path.parent.name == "perf" or path.name == "provenance.py":
            extra = operator
        assert found <= allowed | extra, path
        words = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
        assert not words & heads, f"{path} names a head"


@pytest.mark.parametrize(
    "module", ["bench.cli", "bench.plan", "bench.records", "bench.data", "bench.ledger", "slurm.queue", "variants"]
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
