"""AlpacaEval with its own files: reference outputs, difficulties and gamed rows, matched by the instruction."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from prefbench.api import Calibration, JudgeReply, Question, Sampling
from prefbench.errors import PrefbenchError
from prefbench.evaluate.alpaca_eval import AlpacaEval, AlpacaEval1
from prefbench.evaluate.alpaca_eval_files import read_outputs, read_tables

COUNT = 60


def outputs(questions: list[Question]) -> list[dict[str, str]]:
    return [
        {"instruction": q.turns[0], "output": f"Reference {i}. " + "um " * (i % 7), "generator": "gpt4"} for i, q in enumerate(questions)
    ]


def table(folder: Path, name: str, header: str, rows: list[str]) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def tables(folder: Path, count: int = COUNT) -> dict[str, Path]:
    """Difficulty i / 10 of row i; two gamed baselines."""
    gamed = [
        f"{model},{i},{sign * (1 + i % 5) / 3},{i / 10},{0.5 + sign * -0.1},False"
        for model, sign in (("verbose", -1), ("concise", 1))
        for i in range(count)
    ]
    header = "model,index,std_delta_len,instruction_difficulty,preference,not_gamed_baseline"
    return {
        "difficulty": table(folder, "difficulty.csv", ",instruction_difficulty", [f"{i},{i / 10}" for i in range(count)]),
        "gamed": table(folder, "gamed.csv", header, gamed),
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.name.endswith(".json"):
        path.write_text(json.dumps(rows))
    else:
        path.write_bytes(gzip.compress("\n".join(json.dumps(row) for row in rows).encode()))
    return path


@pytest.fixture
def asked(world: Any) -> list[Question]:
    questions: list[Question] = world.plain_questions(COUNT)
    return questions


def source(world: Any, questions: list[Question], name: str = "alpaca_eval", **paths: Path) -> Any:
    return world.source(by_harness={name: questions}, paths={name: paths})


@pytest.mark.parametrize("name", ["outputs.json", "outputs.jsonl.gz"])
def test_the_baseline_and_the_tables_are_the_files_and_nobody_is_asked(
    world: Any, asked: list[Question], tmp_path: Path, name: str
) -> None:
    references = write(tmp_path / name, outputs(asked))
    judge = world.length_lover()
    given = source(world, asked[::-1], references=references, **tables(tmp_path))
    made = AlpacaEval().calibrate(None, judge, given)  # type: ignore[arg-type]  # no model is needed
    assert made.texts["baseline"] == {q.id: row["output"] for q, row in zip(asked, outputs(asked), strict=True)}
    assert made.numbers["difficulty"] == {q.id: i / 10 for i, q in enumerate(asked)}, "by the references' rows, not by the questions'"
    assert made.numbers["gamed"]["concise"][asked[7].id] == (1.0, 0.4)
    assert judge.asked == []
    assert AlpacaEval().calibration_load(given).requests == 0


def test_texts_with_line_breaks_of_every_kind_are_one_row(world: Any, tmp_path: Path) -> None:
    strange = 'a\u2028b\x85c\nd,"e"'
    path = tmp_path / "o.jsonl"
    path.write_text(json.dumps({"instruction": strange, "output": strange}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_outputs(path).by_id([Question("q", (strange,))]) == {"q": strange}
    buffer = io.StringIO()
    csv.writer(buffer).writerows(
        [["model", "instruction", "std_delta_len", "instruction_difficulty", "preference"], ["v", strange, 1, 2, 0.5]]
    )
    gamed = tmp_path / "g.csv"
    gamed.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    assert read_tables(gamed, None).difficulty == {strange: 2.0}


def test_cells_that_are_empty_are_no_numbers(tmp_path: Path) -> None:
    rows = ["v,0,1,0.5,", "v,1,,0.5,2", "v,2,1,,3"]
    gamed = table(tmp_path, "g.csv", "model,index,std_delta_len,preference,instruction_difficulty", rows)
    found = read_tables(gamed, None)
    assert found.difficulty == {1: 2.0, 2: 3.0}
    assert found.gamed == {"v": {0: (1.0, 0.5), 2: (1.0, None)}}
    series = table(tmp_path, "d.csv", ",0", ["0,-1.5", "1,2"])
    assert read_tables(gamed, series).difficulty == {0: -1.5, 1: 2.0}, "a series as pandas writes it, whatever it is called"


def test_the_gamed_table_alone_brings_the_difficulties(world: Any, asked: list[Question], tmp_path: Path) -> None:
    references = write(tmp_path / "o.json", outputs(asked))
    gamed = tables(tmp_path)["gamed"]
    made = AlpacaEval().calibrate(None, world.length_lover(), source(world, asked, references=references, gamed=gamed))  # type: ignore[arg-type]
    assert made.numbers["difficulty"][asked[5].id] == 0.5


def test_references_that_name_rows_answer_the_questions_in_their_order(world: Any, asked: list[Question], tmp_path: Path) -> None:
    rows = [{"idx": i, "output": row["output"]} for i, row in enumerate(outputs(asked))]
    made = AlpacaEval().calibrate(
        None,  # type: ignore[arg-type]
        world.length_lover(),
        source(world, asked, references=write(tmp_path / "o.json", rows[::-1]), **tables(tmp_path)),
    )
    assert made.texts["baseline"][asked[3].id] == rows[3]["output"]
    assert made.numbers["difficulty"][asked[3].id] == 0.3


def test_references_that_name_rows_are_refused_beside_a_part_of_the_set(world: Any, asked: list[Question], tmp_path: Path) -> None:
    references = write(tmp_path / "o.json", [{"idx": i, "output": row["output"]} for i, row in enumerate(outputs(asked))])
    with pytest.raises(PrefbenchError, match=rf"names questions by their row, up to {COUNT - 1}, and there are {COUNT - 40} questions"):
        AlpacaEval().calibrate(None, world.length_lover(), source(world, asked[40:], references=references))  # type: ignore[arg-type]


def test_a_subset_of_the_questions_keeps_its_own_difficulties(world: Any, asked: list[Question], tmp_path: Path) -> None:
    references = write(tmp_path / "o.json", outputs(asked))
    made = AlpacaEval().calibrate(
        None,  # type: ignore[arg-type]
        world.length_lover(),
        source(world, asked[40:], references=references, **tables(tmp_path)),
    )
    assert made.numbers["difficulty"] == {q.id: i / 10 for i, q in enumerate(asked) if i >= 40}


def test_without_tables_there_is_a_win_rate_and_a_reason(world: Any, asked: list[Question], tmp_path: Path) -> None:
    harness, given = AlpacaEval(), source(world, asked, references=write(tmp_path / "o.json", outputs(asked)))
    calibration = harness.calibrate(None, world.length_lover(), given)  # type: ignore[arg-type]
    items = harness.judge(harness.collect(world.policy(), given), world.length_lover(), given, calibration)
    assert harness.fitted(items, calibration) == {}
    assert len(harness.values(items)["win_rate"]) == COUNT


def test_a_question_without_a_reference_is_named(world: Any, asked: list[Question], tmp_path: Path) -> None:
    given = source(world, asked, references=write(tmp_path / "o.json", outputs(asked)[:-1]))
    with pytest.raises(PrefbenchError, match=r"o\.json has no reference output to 'What is 59 plus 59"):
        AlpacaEval().calibrate(None, world.length_lover(), given)  # type: ignore[arg-type]


def test_tables_of_another_set_are_refused_and_those_with_instructions_are_not(world: Any, asked: list[Question], tmp_path: Path) -> None:
    references = write(tmp_path / "o.json", outputs(asked))
    other = source(world, asked, references=references, **tables(tmp_path, 50))
    with pytest.raises(PrefbenchError, match=r"50 instructions by row, and o\.json, .* has 60"):
        AlpacaEval().calibrate(None, world.length_lover(), other)  # type: ignore[arg-type]
    header = "model,instruction,std_delta_len,instruction_difficulty,preference_imputed"
    named = [f"{m},{q.turns[0]},0.5,{i},1.25" for m in ("verbose", "concise") for i, q in enumerate(asked[:50])]
    own = source(world, asked, references=references, gamed=table(tmp_path, "own.csv", header, named))
    numbers = AlpacaEval().calibrate(None, world.length_lover(), own).numbers  # type: ignore[arg-type]
    assert numbers["difficulty"][asked[9].id] == 9.0
    assert numbers["gamed"]["verbose"][asked[9].id] == (0.5, 0.25), "a scale from 1 to 2 is that of annotations"
    assert len(numbers["difficulty"]) == 50


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"instruction": "a"}]', "holds no model outputs, but 1 rows with instruction"),
        ('[{"output": "a"}]', "holds no model outputs"),
        ('[{"instruction": "a", "output": 3}]', "holds no model outputs"),
        ('[{"instruction": "a", "output": "x"}, {"instruction": "a", "output": "y"}]', "answers 'a' twice"),
        ("[1, 2]", "holds no JSON objects"),
        ("[]", "holds no JSON objects"),
        ("{", "not JSON"),
    ],
)
def test_other_files_are_refused_in_words(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(PrefbenchError, match=message):
        read_outputs(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no table with model, std_delta_len"),
        ("model,std_delta_len\nv,1", "no column preference"),
        ("model,index,std_delta_len,preference\nv,0,1,0.5", "no column instruction_difficulty"),
        ("model,index,std_delta_len,preference,instruction_difficulty\nv,x,1,0.5,1", "'x' is no row number"),
        ("model,index,std_delta_len,preference,instruction_difficulty\nv,0,long,0.5,1", "std_delta_len is 'long'"),
    ],
)
def test_other_tables_are_refused_in_words(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "gamed.csv"
    path.write_text(content)
    with pytest.raises(PrefbenchError, match=message):
        read_tables(path, None)


# ---------------------------------------------------------------- AlpacaEval 1, both orders, and what judging asks


def ranked(request: Any) -> JudgeReply:
    """A judge that writes that the first is better, in the form that AlpacaEval 1 asks for."""
    return JudgeReply("[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]")


def test_alpaca_eval_1_has_its_own_baseline_and_names_of_its_own(world: Any, asked: list[Question], tmp_path: Path) -> None:
    harness = AlpacaEval1(both_orders=True)
    given = source(world, asked, "alpaca_eval_1", references=write(tmp_path / "o.json", outputs(asked)))
    calibration = harness.calibrate(None, world.length_lover(), given)  # type: ignore[arg-type]
    items = harness.judge(harness.collect(world.policy(), given), world.scripted(ranked), given, calibration)
    values = harness.values(items)
    assert set(values["alpaca_eval_1_win_rate"].values()) == {0.5}
    assert set(values["alpaca_eval_1_flip_rate"].values()) == {1.0}
    assert set(values) == {f"alpaca_eval_1_{name}" for name in ("win_rate", "flip_rate", "length", "gold_win_rate")}
    assert harness.fitted(items, calibration) == {}
    assert items[0]["flip"] is True


def test_alpaca_eval_1_without_its_baseline_is_refused(world: Any, asked: list[Question]) -> None:
    with pytest.raises(PrefbenchError, match="alpaca_eval_1: the source has no reference outputs") as caught:
        AlpacaEval1().calibrate(world.policy(), world.length_lover(), source(world, asked, "alpaca_eval_1"))
    assert "alpaca_eval_1_references" in caught.value.hint


def test_both_versions_grade_the_same_answers(world: Any, asked: list[Question]) -> None:
    both = world.source(by_harness={"alpaca_eval": asked, "alpaca_eval_1": asked})
    assert AlpacaEval().collect(world.policy(), both) == AlpacaEval1().collect(world.policy(), both)


def test_one_order_has_no_flips(world: Any, asked: list[Question]) -> None:
    given = source(world, asked)
    harness = AlpacaEval()
    calibration = Calibration(texts={"baseline": {q.id: "right" for q in asked}})
    items = harness.judge(harness.collect(world.policy(), given), world.length_lover(), given, calibration)
    assert "flip" not in items[0]
    assert "flip_rate" not in harness.values(items)


@pytest.mark.parametrize("both", [False, True])
def test_the_load_is_an_upper_bound_of_what_is_asked(world: Any, asked: list[Question], tmp_path: Path, both: bool) -> None:
    name = "weighted_alpaca_eval_gpt4_turbo"
    given = source(world, asked, references=write(tmp_path / "o.json", outputs(asked)))
    measured = source(world, asked)
    for where, calibrated in ((given, 0), (measured, 10 * COUNT * (2 if both else 1))):
        harness, judge = AlpacaEval(annotator=name, both_orders=both), world.length_lover()
        calibration = harness.calibrate(world.policy(), judge, where)
        check(harness.calibration_load(where), judge, calibrated)
        judge.asked.clear()
        harness.judge(harness.collect(world.policy(), where), judge, where, calibration)
        check(harness.judge_load(where), judge, COUNT * (2 if both else 1))


def check(load: Any, judge: Any, requests: int) -> None:
    characters = sum(len(message["content"]) for request in judge.asked for message in request.messages)
    assert load.requests == requests == load.reply_tokens
    assert len(judge.asked) <= requests
    assert characters <= load.prompt_characters <= max(2.5 * characters, 0)


def test_a_verdict_whose_length_is_the_judges_own_is_counted_as_that(world: Any, asked: list[Question]) -> None:
    load = AlpacaEval().judge_load(source(world, asked))
    assert (load.reply_tokens, load.open_replies) == (0, COUNT)


def test_a_written_verdict_is_counted_at_its_full_length(world: Any, asked: list[Question], tmp_path: Path) -> None:
    given = source(world, asked, "alpaca_eval_1", references=write(tmp_path / "o.json", outputs(asked)))
    assert AlpacaEval1().judge_load(given).reply_tokens == 100 * COUNT


def test_the_sampling_reaches_the_policy(world: Any, asked: list[Question]) -> None:
    class Asked:
        seen: Any = None

        def answer(self, questions: Any, sampling: Any, stream: str) -> Any:
            self.seen = sampling[0]
            return [("answer",) for _ in questions]

    policy = Asked()
    harness = AlpacaEval(temperature=0.7, top_p=0.9, repetition_penalty=1.1, max_new_tokens=9)
    harness.collect(policy, source(world, asked))  # type: ignore[arg-type]
    assert policy.seen == Sampling(temperature=0.7, max_new_tokens=9, top_p=0.9, repetition_penalty=1.1)


def test_an_unknown_annotator_is_refused_before_anything_is_judged(world: Any, asked: list[Question]) -> None:
    with pytest.raises(PrefbenchError, match="no annotator 'gpt5'"):
        AlpacaEval(annotator="gpt5").calibrate(world.policy(), world.length_lover(), source(world, asked))
