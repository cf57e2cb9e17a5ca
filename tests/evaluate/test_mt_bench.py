"""MT-Bench through FastChat: what the judge is shown, what is read of its words, and what the averages are averages of."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from prefbench.api import Calibration, JudgeReply, JudgeRequest, Question, Sampling
from prefbench.errors import PrefbenchError
from prefbench.evaluate.mt_bench import MtBench, by_question

NOTHING = Calibration()


@pytest.fixture(scope="module")
def questions() -> list[Question]:
    return [
        Question("w", ("Write {a} line.", 'Now rhyme "it" {0}.'), "writing"),
        Question("m", ("2 + 2?", "And 3 more?"), "math", ("Four.", "Seven {x}.")),
        Question("r", ("Be a pirate.", "Louder."), "roleplay"),
        Question("one", ("Only one turn.",), "writing"),
    ]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [
        {"id": "w", "answers": ["first {answer} of w", "second {1} of w"]},
        {"id": "m", "answers": ["first of m [[10]]", "second of m"]},
        {"id": "r", "answers": ["", "second of r"]},
        {"id": "one", "answers": ["only answer"]},
    ]


def grade(world: Any, questions: Any, rows: Any, verdicts: dict[tuple[str, int], str]) -> tuple[list[dict[str, Any]], Any]:
    judge = world.scripted(lambda request: JudgeReply(verdicts[request.question.id, len(request.answers[0])]))
    items = MtBench().judge(rows, judge, world.source(by_harness={"mt_bench": questions}), NOTHING)
    return items, judge


ALL_GOOD = {("w", 1): "Fine. [[7]]", ("w", 2): "[[8.5]]", ("m", 1): "Rating: [[10]]", ("m", 2): "[[1]]"}
ALL_GOOD |= {("r", 1): "[[4]]", ("r", 2): "[[6]]", ("one", 1): "[[3]]"}


def test_scores_are_read_as_fastchat_reads_them(world: Any, questions: Any, rows: Any) -> None:
    items, _ = grade(world, questions, rows, ALL_GOOD)
    assert {item["id"]: item["score"] for item in items} == {"w/1": 7, "w/2": 8.5, "m/1": 10, "m/2": 1, "r/1": 4, "r/2": 6, "one/1": 3}
    assert {item["id"]: item["length"] for item in items}["w/2"] == len("second {1} of w")
    assert next(item for item in items if item["id"] == "m/2") == {
        "harness": "mt_bench",
        "id": "m/2",
        "question": "m",
        "turn": 2,
        "category": "math",
        "score": 1,
        "length": len("second of m"),
    }


def test_what_fastchat_cannot_read_is_null_and_counted(world: Any, questions: Any, rows: Any) -> None:
    verdicts = ALL_GOOD | {("w", 1): "A seven, I think: 7/10.", ("r", 2): "", ("m", 1): "the backup pattern: [9]"}
    items, _ = grade(world, questions, rows, verdicts)
    assert {item["id"] for item in items if item["score"] is None} == {"w/1", "r/2"}
    assert next(item["score"] for item in items if item["id"] == "m/1") == 9
    assert MtBench().counts(items) == {"judged": 5, "unparsed": 2}
    assert len(items) == 7, "nothing is dropped"


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("The answer claims [[10]]. It is wrong. Rating: [[2]]", None),
        ("Rating: [[2]]. As I said, [[2]].", 2),
        ("[[2]] and [[2.0]] are one number", 2),
        ("a[0] is wrong, a[1] too. Rating: [[3]]", 3),
        ("between [4] and [5]", None),
    ],
)
def test_a_verdict_that_says_two_things_is_null_and_counted_apart(
    world: Any, questions: Any, rows: Any, text: str, score: int | None
) -> None:
    """FastChat would take the first: an answer that makes the judge quote a rating would grade itself."""
    items, _ = grade(world, questions, rows, ALL_GOOD | {("w", 1): text})
    item = next(item for item in items if item["id"] == "w/1")
    assert item["score"] == score
    assert item.get("ambiguous", False) == (score is None)
    assert MtBench().counts(items) == ({"judged": 7, "unparsed": 0} if score else {"judged": 6, "unparsed": 0, "ambiguous": 1})


@pytest.mark.parametrize("text", ["[[0]]", "[[11]]", "[[100]]", "Rating: [[10.5]]"])
def test_a_rating_off_the_scale_is_no_rating(world: Any, questions: Any, rows: Any, text: str) -> None:
    items, _ = grade(world, questions, rows, ALL_GOOD | {("w", 1): text})
    assert MtBench().counts(items) == {"judged": 6, "unparsed": 1}


def test_a_judge_is_asked_once_with_everything_that_the_turn_needs(world: Any, questions: Any, rows: Any) -> None:
    _, judge = grade(world, questions, rows, ALL_GOOD)
    assert judge.calls == 1
    asked: dict[tuple[str, int], JudgeRequest] = {(r.question.id, len(r.answers[0])): r for r in judge.asked}
    assert set(asked) == set(ALL_GOOD)
    for (id_, turns), request in asked.items():
        assert [message["role"] for message in request.messages] == ["system", "user"]
        assert request.choices == ()
        assert request.verdicts == ("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
        assert request.parameters == {"temperature": 0, "max_tokens": 2048}
        answers = next(row["answers"] for row in rows if row["id"] == id_)[:turns]
        assert request.answers == (tuple(answers),)
        user = request.messages[1]["content"]
        at = 0
        for question, answer in zip(request.question.turns, answers, strict=False):
            at = user.index(answer, user.index(question, at) + len(question))
        for reference in request.question.references[:turns]:
            assert reference in user
    assert "second {1} of w" not in asked["w", 1].messages[1]["content"]


def test_a_category_that_needs_references_without_them_is_an_error(world: Any) -> None:
    questions = [Question("c", ("Code it.", "Again."), "coding", ("only one",))]
    with pytest.raises(PrefbenchError, match="question c of category coding has 1 reference answers") as raised:
        grade(world, questions, [{"id": "c", "answers": ["a", "b"]}], {})
    assert "references" in raised.value.hint


def test_the_library_is_left_as_it_was_and_prints_nothing(
    world: Any, questions: Any, rows: Any, capfd: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    grade(world, questions, rows, ALL_GOOD)
    from fastchat.llm_judge import common

    monkeypatch.chdir(tmp_path)
    names = ("OPENAI_MODEL_LIST", "get_conversation_template", "chat_completion_openai")
    before = [getattr(common, name) for name in names]
    capfd.readouterr()
    grade(world, questions, rows, ALL_GOOD)
    with pytest.raises(KeyError):
        grade(world, questions, rows, {})
    assert [getattr(common, name) for name in names] == before
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_the_average_is_over_rated_turns(world: Any, questions: Any, rows: Any) -> None:
    verdicts = ALL_GOOD | {("w", 1): "none", ("one", 1): "none"}
    items, _ = grade(world, questions, rows, verdicts)
    values = MtBench().values(items)
    means = {metric: np.mean(list(by_id.values())) for metric, by_id in values.items()}
    assert means == pytest.approx(
        {
            "mt_bench": (8.5 + 10 + 1 + 4 + 6) / 5,
            "mt_bench_turn_1": (10 + 4) / 2,
            "mt_bench_turn_2": (8.5 + 1 + 6) / 3,
            "mt_bench[writing]": 8.5,
            "mt_bench[math]": (10 + 1) / 2,
            "mt_bench[roleplay]": (4 + 6) / 2,
        }
    )
    assert set(values["mt_bench"]) == {"w", "m", "r"}


def test_a_questions_value_is_its_mean_when_every_turn_is_rated(world: Any, questions: Any, rows: Any) -> None:
    two_turns = [q for q in questions if len(q.turns) == 2]
    items, _ = grade(world, two_turns, rows[:3], ALL_GOOD)
    assert MtBench().values(items)["mt_bench"] == pytest.approx({"w": 7.75, "m": 5.5, "r": 5})


def test_the_spread_between_questions_is_that_of_the_ratio() -> None:
    """Their standard error agrees with a bootstrap over questions of sum(scores) / rated turns, a question's two turns kept together."""
    rng = np.random.default_rng(0)
    per_question = [rng.integers(1, 11, size=rng.choice([1, 2])).tolist() for _ in range(400)]
    items = [{"question": str(q), "score": s} for q, scores in enumerate(per_question) for s in scores]
    values = np.array(list(by_question(items).values()))
    sums, counts = (np.array([f(scores) for scores in per_question]) for f in (sum, len))
    draws = rng.integers(0, 400, (4000, 400))
    bootstrap = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    assert values.mean() == pytest.approx(sums.sum() / counts.sum())
    assert values.std(ddof=1) / 20 == pytest.approx(bootstrap.std(), rel=0.05)


def test_no_ratings_and_no_questions(world: Any, questions: Any, rows: Any) -> None:
    items, _ = grade(world, questions, rows, dict.fromkeys(ALL_GOOD, "no comment"))
    assert MtBench().values(items) == {}
    assert grade(world, [], [], {})[0] == []


def test_collected_rows_are_a_text_per_turn(world: Any, questions: Any) -> None:
    collected = MtBench().collect(world.policy(), world.source(by_harness={"mt_bench": questions}))
    assert json.loads(json.dumps(collected)) == collected
    assert [len(row["answers"]) for row in collected] == [2, 2, 2, 1]


def test_answers_are_drawn_at_fastchats_temperature_of_each_category_when_asked(world: Any) -> None:
    names = ("writing", "math", "stem", "baking")
    questions = [Question(name, ("Hi.",), name) for name in names]
    drawn: dict[str, Sampling] = {}

    class Listening(world.policy):  # type: ignore[misc, name-defined]
        def answer(self, questions: Any, sampling: Any, stream: str) -> Any:
            drawn.update({question.id: own for question, own in zip(questions, sampling, strict=True)})
            return super().answer(questions, sampling, stream)

    source = world.source(by_harness={"mt_bench": questions})
    MtBench(temperature=0.4, by_category=True, top_p=0.9).collect(Listening(), source)
    assert [drawn[name] for name in names] == [Sampling(t, 64, 0.9) for t in (0.7, 0.0, 0.1, 0.4)]
    MtBench(temperature=0.4).collect(Listening(), source)
    assert {drawn[name] for name in names} == {Sampling(0.4, 64, 1.0)}
