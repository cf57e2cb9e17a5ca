"""MT-Bench's 480 stored GPT-4 judgments: the prompts byte for byte, every score, and the averages, through the harness and the command."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prefbench.api import Calibration, JudgeReply, Question
from prefbench.data.json_files import read_objects
from prefbench.data.question_files import mt_bench_questions
from prefbench.evaluate.mt_bench import MtBench
from prefbench.evaluate.mt_bench.asking import Sheet, asked_turns
from prefbench.evaluate.mt_bench.files import judge_prompts, model_answers

FOLDER = Path(os.environ.get("PREFBENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "mt_bench"
JUDGMENTS = FOLDER / "model_judgment" / "medusa_gpt-4_single.jsonl.gz"
PROMPTS = FOLDER / "judge_prompts.jsonl"
VICUNA = "vicuna-7b-v1.3"
MODELS = (VICUNA, "vicuna-7b-v1.3-greedy", "medusa-vicuna-7b-v1.3-1-temperature-0.0-posterior_threshold-0.09-posterior_alpha-0.3")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="real judgments, which are not part of this repository, are absent")

Turn = tuple[str, int]


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return mt_bench_questions(FOLDER / "question.jsonl", FOLDER / "reference_answer_gpt-4.jsonl")


@pytest.fixture(scope="module")
def stored() -> dict[str, dict[Turn, dict[str, Any]]]:
    """The rows of each model by question and turn."""
    found: dict[str, dict[Turn, dict[str, Any]]] = {model: {} for model in MODELS}
    for row in read_objects(JUDGMENTS):
        found[row["model"]][str(row["question_id"]), row["turn"]] = row
    return found


def test_prompts_of_published_answers_are_the_stored_ones(questions: Any, stored: Any) -> None:
    """The folder has one of the three models' answers, of another run of it: they are the graded ones where decoding gave the same text.

    That is so for 121 of the model's 160 turns, and for 134 of the greedy runs of the same weights, which agree with it in the categories
    that are answered at temperature 0. These 255 prompts owe nothing to the stored prompts themselves.
    """
    answers = model_answers(FOLDER / "model_answer" / f"{VICUNA}.jsonl.gz")[VICUNA]
    asked = asked_turns(Sheet(questions, answers, None, judge_prompts(PROMPTS, "single")))
    rendered = {(turn.question.id, turn.turn): turn.requests[0].messages[1]["content"] for turn in asked}
    equal = {model: sum(rendered[turn] == row["user_prompt"] for turn, row in rows.items()) for model, rows in stored.items()}
    assert equal == dict(zip(MODELS, (121, 66, 68), strict=True))


@pytest.fixture(scope="module", params=MODELS)
def judged(request: Any, world: Any, questions: Any, stored: Any) -> tuple[list[dict[str, Any]], dict[Turn, dict[str, Any]]]:
    """The harness's items of one model, and the stored rows. The judge knows its reply to a stored prompt and to no other."""
    rows = stored[request.param]
    replies = {row["user_prompt"]: row["judgment"] for row in rows.values()}

    class WithPrompts(world.source):  # type: ignore[misc, name-defined]
        def files(self, harness: str) -> Mapping[str, Path]:
            return {"judge_prompts": PROMPTS}

    judge = world.scripted(lambda asked: JudgeReply(replies[asked.messages[1]["content"]]))
    source = WithPrompts(by_harness={"mt_bench": questions})
    return MtBench().judge(shown_answers(questions, rows), judge, source, Calibration()), rows


def test_every_stored_prompt_comes_back_and_every_score(judged: Any) -> None:
    """A round trip: the answers are cut out of the stored prompts. The first answer of a second turn is that of the first turn's prompt."""
    items, rows = judged
    assert {(item["question"], item["turn"]): item["score"] for item in items} == {turn: row["score"] for turn, row in rows.items()}
    assert len(items) == 160
    assert MtBench().counts(items) == {"judged": 160, "unparsed": 0}


def test_averages_are_those_of_the_stored_scores(judged: Any, questions: Any) -> None:
    items, rows = judged
    table = pd.DataFrame([{"question": turn[0], "turn": turn[1], "score": row["score"]} for turn, row in rows.items()])
    table["category"] = table["question"].map({question.id: question.category for question in questions})
    expected = {"mt_bench": table["score"].mean()}
    expected |= {f"mt_bench_turn_{turn}": mean for turn, mean in table.groupby("turn")["score"].mean().items()}
    expected |= {f"mt_bench[{category}]": mean for category, mean in table.groupby("category")["score"].mean().items()}
    found = {metric: np.mean(list(values.values())) for metric, values in MtBench().values(items).items()}
    assert found == pytest.approx(expected, abs=1e-9)


def test_no_real_verdict_is_ambiguous(stored: Any) -> None:
    """Each of the 480 has one rating in double brackets, 17 have other numbers in single ones: reading all of them costs nothing."""
    judgments = [row["judgment"] for rows in stored.values() for row in rows.values()]
    assert Counter(len(re.findall(r"\[\[\d+\.?\d*\]\]", text)) for text in judgments) == {1: 480}
    assert sum(len(re.findall(r"\[\d+\.?\d*\]", text)) > 1 for text in judgments) == 17


def test_the_system_message_is_the_prompts_own(questions: Any) -> None:
    prompts = judge_prompts(PROMPTS, "single")
    answers = {question.id: ("one", "two") for question in questions}
    asked = asked_turns(Sheet(questions, answers, None, prompts))
    systems = Counter(turn.requests[0].messages[0]["content"] for turn in asked)
    assert systems[prompts["single-v1"]["system_prompt"]] == 80, "the two prompts of first turns share theirs"
    assert systems[prompts["single-v1-multi-turn"]["system_prompt"]] == 50
    assert systems[prompts["single-math-v1-multi-turn"]["system_prompt"]] == 30


# ---------------------------------------------------------------- answers out of prompts


def shown_answers(questions: list[Question], rows: Mapping[Turn, Mapping[str, Any]]) -> list[dict[str, Any]]:
    prompts = judge_prompts(PROMPTS, "single")
    found = []
    for question in questions:
        first, second = ((rows[question.id, turn], turn) for turn in (1, 2))
        answers = [
            cut(prompts[row["judge"][1]]["prompt_template"], question, row["user_prompt"], turn)[-1] for row, turn in (first, second)
        ]
        found.append({"id": question.id, "answers": answers})
    return found


def cut(template: str, question: Question, prompt: str, turns: int) -> list[str]:
    """The answers between the parts of a prompt that are known."""
    mark = "\0"
    texts = {"question": question.turns[0], "question_1": question.turns[0], "question_2": question.turns[1]}
    texts |= {f"ref_answer_{n}": text for n, text in enumerate(question.references, start=1)}
    known = template.format(**texts, answer=mark, answer_1=mark, answer_2=mark).split(mark)
    assert prompt.startswith(known[0])
    assert prompt.endswith(known[-1])
    rest = prompt.removeprefix(known[0]).removesuffix(known[-1])
    found = rest.split(known[1]) if turns == 2 else [rest]
    assert len(found) == turns
    return found
