"""What a run imports: the process that plans it no model code, and a worker nothing that its cell does not use."""

from __future__ import annotations

import subprocess
import sys

PLANS = """
import sys
from pathlib import Path
from prefbench.planned import RunOptions, plan_run

assert plan_run(RunOptions(out=Path({folder!r}))).pending
"""
WORKS = "import sys; import prefbench.cell"


def heavy_after(code: str, *modules: str) -> set[str]:
    """Which of some modules a fresh process has imported by then."""
    code += f"\nprint(*{set(modules)!r} & set(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_run_is_planned_without_transformers_which_takes_longer_than_all_the_rest(tmp_path):
    assert heavy_after(PLANS.format(folder=str(tmp_path / "run")), "transformers", "matplotlib", "datasets", "pyarrow") == set()


def test_a_worker_imports_neither_adapters_nor_harness_libraries_before_they_are_used():
    modules = ("transformers", "peft", "pandas", "sklearn", "matplotlib", "datasets", "alpaca_eval", "fastchat")
    # Older versions of transformers import some of them themselves.
    assert heavy_after(WORKS, *modules) == {"transformers"} | heavy_after(
        "import sys; from transformers import AutoModelForCausalLM", *modules
    )
