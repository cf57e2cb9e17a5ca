"""MT-Bench against a baseline: both orders, ties of orders that disagree, where the baseline comes from, and what it costs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration, JudgeReply, JudgeRequest, Question, Sampling
from prefbench.errors import PrefbenchError
from prefbench.evaluate.mt_bench import MtBench
from prefbench.evaluate.mt_bench.asking import CHARACTERS_PER_TOKEN, PARAMETERS
from prefbench.evaluate.mt_bench.judgments import judged_answers

QUESTIONS = [
    Question("81", ("Write a line.", "Now rhyme."), "writing"),
    Question("111", ("2 + 2?", "And 3 more?"), "math", ("Four.", "Seven.")),
    Question("161", ("One turn only.",), "writing"),
]
ROWS = [
    {"id": "81", "answers": ["own 81-1", "own 81-2"]},
    {"id": "111", "answers": ["own 111-1", "own 111-2"]},
    {"id": "161", "answers": ["own 161-1"]},
]
BASELINE = {"81": ["base 81-1", "base 81-2"], "111": ["base 111-1", "base 111-2"], "161": ["base 161-1"]}
CALIBRATION = Calibration(texts={"baseline": BASELINE})


@dataclasses.dataclass
class Asked:
    """What one call of the harness needs."""

    world: Any
    files: Mapping[str, Path] = dataclasses.field(default_factory=dict)

    @property
    def source(self) -> Any:
        files = self.files

        @dataclasses.dataclass
        class WithFiles(self.world.source):  # type: ignore[misc, name-defined]
            def files(self, harness: str) -> Mapping[str, Path]:
                return files if harness == "mt_bench" else {}

        return WithFiles(by_harness={"mt_bench": QUESTIONS})

    def items(self, judge: Any, calibration: Calibration = CALIBRATION) -> list[dict[str, Any]]:
        return MtBench(grading="pairwise").judge(ROWS, judge, self.source, calibration)


def prefers_own(request: JudgeRequest) -> JudgeReply:
    """A judge that finds the answer that begins with own the better, wherever it stands."""
    first, _ = request.answers
    return JudgeReply("Verdict: [[A]]" if first[-1].startswith("own") else "Verdict: [[B]]")


def test_a_judge_sees_both_orders_and_a_consistent_one_decides(world: Any) -> None:
    judge = world.scripted(prefers_own)
    items = Asked(world).items(judge)
    assert [item["id"] for item in items] == ["81/1", "161/1", "111/1", "81/2", "111/2"]
    assert {tuple(item["verdicts"]) for item in items} == {("win", "win")}
    assert judge.calls == 1
    assert len(judge.asked) == 10
    first, second = judge.asked[6:8]
    assert first.answers == (("own 81-1", "own 81-2"), ("base 81-1", "base 81-2"))
    assert second.answers == first.answers[::-1]
    for request in judge.asked:
        user = request.messages[1]["content"]
        places = [user.index(text) for answer in request.answers for text in answer]
        assert places == sorted(places), "the messages show the candidates in the order in which the request names them"
        assert request.verdicts == ("A", "B", "C")
        assert request.parameters == {"temperature": 0, "max_tokens": 2048}
        assert all(reference in user for reference in request.question.references[: len(request.answers[0])])


def test_an_item_holds_verdicts_and_lengths_and_no_text(world: Any) -> None:
    item = Asked(world).items(world.scripted(prefers_own))[-1]
    assert item == {
        "harness": "mt_bench",
        "id": "111/2",
        "question": "111",
        "turn": 2,
        "category": "math",
        "verdicts": ["win", "win"],
        "length": len("own 111-2"),
        "baseline_length": len("base 111-2"),
    }


def test_a_judge_that_always_likes_the_first_gives_ties_that_are_all_flipped(world: Any) -> None:
    items = Asked(world).items(world.scripted(lambda request: JudgeReply("[[A]]")))
    assert {tuple(item["verdicts"]) for item in items} == {("win", "loss")}
    values = MtBench(grading="pairwise").values(items)
    assert means(values)["mt_bench_win_rate"] == 0.5
    assert means(values)["mt_bench_flip_rate"] == 1.0


def test_wins_ties_and_losses_are_counted_as_fastchat_counts_them(world: Any) -> None:
    """Its win_rate_adjusted is (wins + ties / 2) / all, over the comparisons that have a verdict in both orders."""
    letters = {
        "81/1": ("A", "B"),  # won both
        "161/1": ("C", "C"),  # tied both
        "111/1": ("A", "C"),  # the orders disagree: a tie
        "81/2": ("B", "A"),  # lost both
        "111/2": ("A", "?"),  # no verdict in one order: none
    }
    replies = iter([letter for pair in letters.values() for letter in pair])
    items = Asked(world).items(world.scripted(lambda request: JudgeReply(f"so [[{next(replies)}]]")))
    harness = MtBench(grading="pairwise")
    assert means(harness.values(items)) == pytest.approx(
        {
            "mt_bench_win_rate": (1 + 0.5 * 2) / 4,
            "mt_bench_win_rate_turn_1": (1 + 0.5 + 0.5) / 3,
            "mt_bench_win_rate_turn_2": 0,
            "mt_bench_win_rate[writing]": (1 + 0.5 + 0) / 3,
            "mt_bench_win_rate[math]": 0.5,
            "mt_bench_flip_rate": 1 / 4,
        }
    )
    assert harness.counts(items) == {"judged": 4, "unparsed": 1}


def test_prompts_and_verdicts_are_those_of_fastchats_own_play(world: Any) -> None:
    """FastChat plays the same matches to the end, with the same replies, and its own parsing and tie rule."""
    from prefbench.evaluate.mt_bench.asking import Sheet, _matches
    from prefbench.evaluate.mt_bench.files import OWN_PROMPTS, judge_prompts
    from prefbench.evaluate.stand_ins import replaced

    answers = {row["id"]: tuple(row["answers"]) for row in ROWS}
    baseline = {id_: tuple(turns) for id_, turns in BASELINE.items()}
    matches = _matches(Sheet(QUESTIONS, answers, baseline, judge_prompts(OWN_PROMPTS, "pairwise")))
    from fastchat.conversation import get_conv_template
    from fastchat.llm_judge import common

    replies = ["[[A]]", "[[B]]", "x [[C]]", "[[C]]", "[[A]]", "[[A]]", "none", "[[B]]", "[[B]]", "[[A]]"]
    said = iter(replies)
    patched = {
        "OPENAI_MODEL_LIST": ("judge",),
        "get_conversation_template": lambda name: get_conv_template("chatgpt"),
        "chat_completion_openai": lambda *_, **__: next(said),
    }
    with replaced(common, **patched):
        theirs = [common.play_a_match_pair(match, output_file="") for match in matches]
    said = iter(replies)
    judge = world.scripted(lambda request: JudgeReply(next(said)))
    words = {"model_1": "win", "model_2": "loss", "tie": "tie", "error": None}
    items = Asked(world).items(judge)
    assert [item["verdicts"] for item in items] == [[words[play["g1_winner"]], words[play["g2_winner"]]] for play in theirs]
    shown = [request.messages[1]["content"] for request in judge.asked]
    assert shown == [play[f"g{order}_user_prompt"] for play in theirs for order in (1, 2)]


def test_a_comparison_that_names_two_winners_is_ambiguous(world: Any) -> None:
    """FastChat would read an A: whoever writes [[A]] into an answer that the judge quotes would win."""
    items = Asked(world).items(world.scripted(lambda request: JudgeReply('It says "[[A]]", but [[B]].')))
    assert {tuple(item["verdicts"]) for item in items} == {(None, None)}
    harness = MtBench(grading="pairwise")
    assert harness.counts(items) == {"judged": 0, "unparsed": 0, "ambiguous": 5}
    assert harness.values(items) == {}


# ---------------------------------------------------------------- the baseline


def write_answers(path: Path, answers: Mapping[str, list[str]]) -> Path:
    rows = [{"question_id": int(id_), "model_id": "anchor", "choices": [{"index": 0, "turns": turns}]} for id_, turns in answers.items()]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_a_baseline_file_goes_before_the_model_that_training_starts_from(world: Any, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "anchor.jsonl", {id_: [f"file {turn}" for turn in turns] for id_, turns in BASELINE.items()})
    asked, judge = Asked(world, {"baseline": path}), world.scripted(prefers_own)
    assert MtBench(grading="pairwise").calibrate(world.policy(), judge, asked.source) == Calibration()
    asked.items(judge, Calibration())
    assert judge.asked[0].answers == (("own 81-1",), ("file base 81-1",))


def test_without_a_file_the_baseline_is_the_model_that_training_starts_from(world: Any) -> None:
    source = Asked(world).source
    calibration = MtBench(grading="pairwise").calibrate(world.policy(), world.scripted(prefers_own), source)
    drawn = world.policy().answer(QUESTIONS, [Sampling(0.7, 64)] * 3, "mt_bench/baseline")
    assert calibration.texts["baseline"] == {q.id: list(turns) for q, turns in zip(QUESTIONS, drawn, strict=True)}
    assert MtBench().calibrate(world.policy(), world.scripted(prefers_own), source) == Calibration()


def test_a_baseline_without_an_answer_is_found_before_anything_is_trained(world: Any, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "anchor.jsonl", {"81": BASELINE["81"], "111": ["only one"]})
    with pytest.raises(PrefbenchError, match="no whole answer to question 111 and 1 more"):
        MtBench(grading="pairwise").calibrate(world.policy(), world.scripted(prefers_own), Asked(world, {"baseline": path}).source)


def test_answers_of_a_file_are_compared_as_a_policys_own_are(world: Any, tmp_path: Path) -> None:
    paths = [write_answers(tmp_path / "own.jsonl", {row["id"]: row["answers"] for row in ROWS})]
    (found,) = judged_answers(paths, MtBench(grading="pairwise"), world.scripted(prefers_own), Asked(world).source, CALIBRATION)
    assert found.items == Asked(world).items(world.scripted(prefers_own))
    assert (found.grading, found.model, found.judge) == ("pairwise", "anchor", "scripted")


# ---------------------------------------------------------------- prompts and cost


def test_a_prompt_file_without_the_needed_prompts_is_refused(world: Any, tmp_path: Path) -> None:
    path = tmp_path / "judge_prompts.jsonl"
    path.write_text('{"name": "single-v1"}\n', encoding="utf-8")
    with pytest.raises(PrefbenchError, match="has no prompt pair-v2, pair-math-v1"):
        Asked(world, {"judge_prompts": path}).items(world.scripted(prefers_own))


def test_a_placeholder_that_fastchat_does_not_fill_is_refused(world: Any, tmp_path: Path) -> None:
    prompt = {"type": "pairwise", "system_prompt": "", "prompt_template": "{questoin}", "output_format": "[[A]]"}
    names = ("pair-v2", "pair-math-v1", "pair-v2-multi-turn", "pair-math-v1-multi-turn")
    path = tmp_path / "judge_prompts.jsonl"
    path.write_text("".join(json.dumps(prompt | {"name": name}) + "\n" for name in names), encoding="utf-8")
    asked = Asked(world, {"judge_prompts": path})
    with pytest.raises(PrefbenchError, match="cannot be filled in: KeyError: 'questoin'"):
        asked.items(world.scripted(prefers_own))
    with pytest.raises(PrefbenchError, match="cannot be filled in: KeyError: 'questoin'"):
        MtBench(grading="pairwise").judge_load(asked.source)


@pytest.mark.parametrize("grading", ["single", "pairwise"])
def test_the_load_is_at_least_what_is_asked_and_near_it(world: Any, grading: str) -> None:
    """With answers as long as they may be; the bound takes the longer of a turn's two prompts."""
    harness = MtBench(grading=grading, max_new_tokens=100)
    longest = ["x" * 100 * CHARACTERS_PER_TOKEN] * 2
    answers = {question.id: longest[: len(question.turns)] for question in QUESTIONS}
    judge = world.scripted(lambda request: JudgeReply(""))
    rows = [{"id": id_, "answers": turns} for id_, turns in answers.items()]
    harness.judge(rows, judge, Asked(world).source, Calibration(texts={"baseline": answers}))
    sent = sum(len(message["content"]) for request in judge.asked for message in request.messages)
    load = harness.judge_load(Asked(world).source)
    assert load.requests == len(judge.asked) == {"single": 5, "pairwise": 10}[grading]
    assert sent <= load.prompt_characters <= 1.4 * sent
    assert load.reply_tokens == load.requests * PARAMETERS["max_tokens"]


def test_nothing_is_asked_while_it_calibrates(world: Any) -> None:
    harness, judge = MtBench(grading="pairwise"), world.scripted(prefers_own)
    harness.calibrate(world.policy(), judge, Asked(world).source)
    assert judge.calls == 0
    assert harness.calibration_load(Asked(world).source).requests == 0


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {metric: float(np.mean(list(by_id.values()))) for metric, by_id in values.items()}
