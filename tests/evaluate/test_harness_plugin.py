"""The built-in harnesses as the registry meets them, and what their items take on disk."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import prefbench
from prefbench.api import Calibration, JudgeReply, Pair, Question
from prefbench.evaluate.plugin import prefbench_harnesses


def test_every_harness_has_options_of_its_own() -> None:
    by_name = {harness.name: harness() for harness in prefbench_harnesses()}
    assert set(by_name) == {"alpaca_eval", "alpaca_eval_1", "mt_bench", "held_out", "validation"}
    shared = {"temperature": 1.0, "max_new_tokens": 64, "top_p": 1.0, "repetition_penalty": 1.0, "both_orders": False}
    assert by_name["alpaca_eval"].options() == {**shared, "panel": 10, "annotator": "prefbench"}
    assert by_name["alpaca_eval_1"].options() == {**shared, "annotator": "alpaca_eval_gpt4"}
    assert by_name["validation"].options() == {**shared, "annotator": "prefbench"}
    assert by_name["mt_bench"].options() == {
        "grading": "single",
        "temperature": 0.7,
        "by_category": False,
        "top_p": 1.0,
        "max_new_tokens": 64,
    }
    assert by_name["held_out"].options() == {"divergence_prompts": 200, "max_new_tokens": 64}


def test_listing_them_imports_nothing_heavy() -> None:
    program = (
        "import sys, prefbench.evaluate.plugin; print([m for m in ('torch', 'pandas', 'alpaca_eval', 'fastchat') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(prefbench.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_items_of_a_cell_take_less_than_20_kb(world: Any) -> None:
    rng = np.random.default_rng(0)
    alpaca = [Question(f"alpaca-{i}", (f"question {i}",)) for i in range(805)]
    mt = [Question(f"mt-{i}", ("one", "two"), "writing") for i in range(80)]
    held = [Pair(f"prompt {i}", f"right {i}", f"wrong {i}", {"gold_margin": 1.0}) for i in range(400)]
    source = world.source(by_harness={"alpaca_eval": alpaca, "mt_bench": mt}, held=held)

    def reply(request: Any) -> JudgeReply:
        p = rng.uniform()
        return JudgeReply(f"[[{rng.uniform(1, 10):.2f}]]", {"m": float(np.log(p)), "M": float(np.log1p(-p))} if request.choices else None)

    lines = []
    for harness in (harness_class() for harness_class in prefbench_harnesses()):
        rows = harness.collect(world.policy(shift=rng.uniform()), source)
        calibration = Calibration(texts={"baseline": {q.id: "um " * int(rng.integers(9)) for q in alpaca}})
        lines += [json.dumps(item) for item in harness.judge(rows, world.scripted(reply), source, calibration)]
    assert len(lines) == 805 + 160 + 400
    assert len(gzip.compress("\n".join(lines).encode(), mtime=0)) < 20_000
