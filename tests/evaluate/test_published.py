"""Published numbers of AlpacaEval 2 and stored GPT-4 verdicts of MT-Bench come back through the two harnesses."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration, JudgeReply, Question
from prefbench.evaluate.annotators import load_annotator
from prefbench.evaluate.length_control import length_controlled, refusal
from prefbench.evaluate.mt_bench import MtBench
from prefbench.evaluate.pairwise import Comparison, preferences

SHARED = Path(os.environ.get("PREFBENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data"
MODELS = ("FuseChat-Llama-3.2-1B-Instruct", "alpaca-7b", "alpaca-farm-ppo-human", "gemma-2b-it", "phi-2", "vicuna-7b-v1.3")

pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="real judgments, under licences that keep them out of this repository, are absent"
)


def lines(name: str) -> list[dict[str, Any]]:
    path = SHARED / name
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def table(name: str) -> list[dict[str, str]]:
    with (SHARED / "alpaca_eval" / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    difficulty = {row["index"]: float(row["instruction_difficulty"]) for row in table("instruction_difficulty_reconstructed.csv")}
    gamed: dict[str, Any] = {}
    for row in table("df_gamed_reconstructed.csv"):
        gamed.setdefault(row["model"], {})[row["index"]] = (float(row["std_delta_len"]), float(row["preference_imputed"]) - 1)
    return Calibration(numbers={"difficulty": difficulty, "gamed": gamed})


def judged(model: str) -> list[dict[str, Any]]:
    return [
        {
            "id": str(row["idx"]),
            "preference": None if row["preference"] is None else row["preference"] - 1,
            "length": row["len_2"],
            "baseline_length": row["len_1"],
        }
        for row in lines(f"alpaca_eval/annotations_ae2/{model}.jsonl.gz")
    ]


@pytest.mark.parametrize("model", MODELS)
def test_win_rates_of_the_leaderboard(calibration: Calibration, model: str) -> None:
    published = next(row for row in table("leaderboard_ae2_subset.csv") if row[""] == model)
    items = judged(model)
    valid = [item["preference"] for item in items if item["preference"] is not None]
    assert 100 * np.mean(valid) == pytest.approx(float(published["win_rate"]), abs=1e-6)
    assert refusal(items, calibration) is None
    # The gamed rows are a reconstruction, on which the cross-validation may choose another C than the published one.
    controlled = 100 * length_controlled(items, calibration).value
    assert controlled == pytest.approx(float(published["length_controlled_winrate"]), abs=1.0)


def test_stored_log_probs_give_the_stored_preferences(world: Any) -> None:
    """The same order of the answers and the same parsing as in the published run, on the 805 real texts."""
    baseline, answers = (
        {row["idx"]: row["output"] for row in lines(f"alpaca_eval/outputs/{m}.jsonl.gz")} for m in ("gpt4_1106_preview", "alpaca-7b")
    )
    stored = {str(row["idx"]): row for row in lines("alpaca_eval/annotations_ae2/alpaca-7b.jsonl.gz")}
    questions = [(row["idx"], Question(str(row["idx"]), (row["instruction"],))) for row in lines("alpaca_eval/eval_set.jsonl.gz")]
    judge = world.scripted(lambda request: JudgeReply("", stored[request.question.id]["top_logprobs"]))
    got = preferences(
        [Comparison(question, baseline[index], answers[index]) for index, question in questions],
        judge,
        load_annotator("weighted_alpaca_eval_gpt4_turbo"),
    )
    assert got == pytest.approx([stored[question.id]["preference"] - 1 for _, question in questions], abs=1e-9)


@pytest.mark.parametrize("model", ["vicuna-7b-v1.3", "vicuna-7b-v1.3-greedy"])
def test_stored_verdicts_give_the_stored_scores(world: Any, model: str) -> None:
    stored = [row for row in lines("mt_bench/model_judgment/medusa_gpt-4_single.jsonl.gz") if row["model"] == model]
    verdict = {(str(row["question_id"]), row["turn"]): row for row in stored}
    reference = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in lines("mt_bench/reference_answer_gpt-4.jsonl")}
    questions = [
        Question(str(row["question_id"]), tuple(row["turns"]), row["category"], reference.get(row["question_id"], ()))
        for row in lines("mt_bench/question.jsonl")
    ]
    judge = world.scripted(lambda request: JudgeReply(verdict[request.question.id, len(request.answers[0])]["judgment"]))
    rows = [{"id": question.id, "answers": ["first answer", "second answer"]} for question in questions]
    items = MtBench().judge(rows, judge, world.source(by_harness={"mt_bench": questions}), Calibration())
    assert {(item["question"], item["turn"]): item["score"] for item in items} == {key: row["score"] for key, row in verdict.items()}
    values = MtBench().values(items)
    assert np.mean(list(values["mt_bench"].values())) == pytest.approx(np.mean([row["score"] for row in stored]))
    assert sum(name.startswith("mt_bench[") for name in values) == 8
