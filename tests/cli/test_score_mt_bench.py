"""``prefbench score mt-bench``: FastChat's tables come back from its files, with what they leave out; answers are judged by a track's judge."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from prefbench.api import Calibration
from prefbench.cli.main import app
from prefbench.errors import PrefbenchError
from prefbench.evaluate.mt_bench import MtBench
from prefbench.prefworld.annotator import PrefworldAnnotator
from prefbench.prefworld.source import Prefworld

FOLDER = Path(os.environ.get("PREFBENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "mt_bench"
needs_data = pytest.mark.skipif(not FOLDER.is_dir(), reason="real judgments, which are not part of this repository, are absent")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", "mt-bench", *map(str, arguments)], catch_exceptions=False)


def scores(*arguments: object) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in json.loads(invoke(*arguments, "--format", "json").stdout)}


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def graded(question: int, turn: int, score: float, model: str = "m", judgment: str | None = None) -> dict[str, Any]:
    text = f"Rating: [[{score}]]" if judgment is None else judgment
    return {"question_id": question, "model": model, "judge": ["gpt-4", "single-v1"], "judgment": text, "score": score, "turn": turn}


def compared(question: int, turn: int, winners: tuple[str, str], models: tuple[str, str] = ("m", "anchor")) -> dict[str, Any]:
    head = {"question_id": question, "turn": turn, "model_1": models[0], "model_2": models[1], "judge": ["gpt-4", "pair-v2"]}
    letters = ({"model_1": "A", "model_2": "B"}, {"model_1": "B", "model_2": "A"})
    texts = [f"[[{letter.get(winner, 'C')}]]" for letter, winner in zip(letters, winners, strict=True)]
    return head | {"g1_winner": winners[0], "g2_winner": winners[1], "g1_judgment": texts[0], "g2_judgment": texts[1]}


# ---------------------------------------------------------------- single grading


@needs_data
def test_the_table_is_fastchats_own(capsys: Any) -> None:
    """Its show_result prints turn 1, turn 2 and the average of the 480 real judgments."""
    from prefbench.evaluate.stand_ins import stand_ins

    path = FOLDER / "model_judgment" / "medusa_gpt-4_single.jsonl.gz"
    with stand_ins():
        from fastchat.llm_judge.show_result import display_result_single
    with redirect_stdout(io.StringIO()) as printed, pd.option_context("display.max_colwidth", None, "display.width", 1000):
        display_result_single(Namespace(input_file=str(path), bench_name="mt_bench", model_list=None))
    theirs = [line.split() for line in printed.getvalue().splitlines() if "vicuna" in line and "Input" not in line]
    by_turn = {(model, int(turn)): float(score) for model, turn, score in (line for line in theirs if len(line) == 3)}
    average = {line[0]: float(line[1]) for line in theirs if len(line) == 2}
    ours = scores(path)
    assert {model: row["mt_bench"] for model, row in ours.items()} == pytest.approx(average, abs=1e-5)
    assert {(model, turn): row[f"turn_{turn}"] for model, row in ours.items() for turn in (1, 2)} == pytest.approx(by_turn, abs=1e-5)
    assert {(row["n"], row["unparsed"], row["doubtful"], row["repeated"]) for row in ours.values()} == {(160, 0, 0, 0)}


@needs_data
def test_categories_by_number_are_those_of_the_question_file() -> None:
    path = FOLDER / "model_judgment" / "medusa_gpt-4_single.jsonl.gz"
    assert scores(path) == scores(path, "--questions", FOLDER / "question.jsonl")
    assert scores(path)["vicuna-7b-v1.3"]["math"] == pytest.approx(2.35)


def test_the_standard_error_keeps_a_questions_turns_together(tmp_path: Path) -> None:
    """Two turns with one score are one observation: the error is that of the questions' means, not of twice as many rows."""
    by_question = [3, 5, 8, 10]
    path = write(tmp_path / "s.jsonl", [graded(81 + q, turn, score) for q, score in enumerate(by_question) for turn in (1, 2)])
    row = scores(path)["m"]
    assert row["standard_error"] == pytest.approx(np.std(by_question, ddof=1) / 2)
    assert row["low"] < row["mt_bench"] == 6.5 < row["high"] <= 10


def test_missing_ratings_repeated_rows_and_doubtful_ones_are_counted(tmp_path: Path) -> None:
    rows = [
        graded(81, 1, 2),
        graded(81, 1, 6),  # the same turn again, as a second run appends it
        graded(81, 2, -1, judgment="$ERROR$"),
        graded(111, 1, 10, judgment='The answer says "[[10]]". Rating: [[2]]'),
        graded(111, 2, 8),
        graded(81, 1, 9, model="other"),
    ]
    result = invoke(write(tmp_path / "s.jsonl.gz", rows), "--format", "json")
    found = {row["model"]: row for row in json.loads(result.stdout)}
    assert list(found) == ["other", "m"], "the best first"
    assert found["m"]["mt_bench"] == pytest.approx((6 + 10 + 8) / 3)
    assert [found["m"][name] for name in ("n", "unparsed", "doubtful", "repeated")] == [3, 1, 1, 1]
    assert (found["m"]["writing"], found["m"]["math"]) == (6, 9)
    assert found["other"]["standard_error"] is None, "one question has no spread"
    assert "repeated rows: 1" in result.stderr


def test_a_model_without_any_rating_is_a_row(tmp_path: Path) -> None:
    found = scores(write(tmp_path / "s.jsonl", [graded(81, 1, -1, judgment=""), graded(81, 1, 4, model="other")]))
    assert (found["m"]["mt_bench"], found["m"]["n"], found["m"]["unparsed"]) == (None, 0, 1)
    assert list(found) == ["other", "m"]


def test_judges_are_kept_apart_and_formats_agree(tmp_path: Path) -> None:
    rows = [graded(q, 1, s) for q, s in ((81, 4), (82, 6))] + [graded(81, 1, 9) | {"judge": ["claude", "single-v1"]}]
    path = write(tmp_path / "s.jsonl", rows)
    table = list(csv.DictReader(io.StringIO(invoke(path, "--format", "csv").stdout)))
    assert [(row["judge"], float(row["mt_bench"])) for row in table] == [("claude", 9), ("gpt-4", 5)]
    assert "| m | claude | 9 |" in invoke(path, "--format", "md").stdout
    assert "claude" in invoke(path).stdout


# ---------------------------------------------------------------- pairs


def test_win_rates_are_fastchats_own(tmp_path: Path) -> None:
    """Its show_result on 200 comparisons drawn at random, errors among them, against a baseline and among all."""
    from prefbench.evaluate.stand_ins import stand_ins

    with stand_ins():
        from fastchat.llm_judge.show_result import display_result_pairwise
    rng = np.random.default_rng(0)
    words = ["model_1", "model_2", "tie", "error"]
    rows = [
        compared(81 + q, turn, tuple(rng.choice(words, size=2, p=[0.4, 0.3, 0.2, 0.1])), (model, "anchor"))
        for model in ("one", "two")
        for q in range(50)
        for turn in (1, 2)
    ]
    path = write(tmp_path / "pair.jsonl", rows)
    columns = ["win", "loss", "tie", "win_rate", "loss_rate", "win_rate_adjusted"]
    for baseline, options in (("anchor", ["--baseline", "anchor"]), (None, [])):
        with redirect_stdout(io.StringIO()) as printed, pd.option_context("display.width", 1000):
            display_result_pairwise(Namespace(input_file=str(path), baseline_model=baseline, model_list=None))
        lines = (line.split() for line in printed.getvalue().splitlines())
        theirs = {line[0]: dict(zip(columns, map(float, line[1:]), strict=True)) for line in lines if len(line) == 7 and line[0] in TRIO}
        ours = scores(path, *options)
        assert len(ours) == len(theirs) == (2 if baseline else 3)
        for model, expected in theirs.items():
            shared = [name for name in columns if name != "loss_rate"]
            assert {name: ours[model][name] for name in shared} == pytest.approx({name: expected[name] for name in shared}, abs=1e-6)


TRIO = ("one", "two", "anchor")


def test_flips_and_missing_verdicts_of_pairs_are_counted(tmp_path: Path) -> None:
    rows = [
        compared(81, 1, ("model_1", "model_1")),
        compared(81, 2, ("model_1", "model_2")),  # the order decided
        compared(82, 1, ("tie", "model_2")),  # so it did here
        compared(82, 2, ("error", "model_2")),
        compared(111, 1, ("model_2", "model_2")) | {"g1_judgment": "Not [[A]] but [[B]]"},
    ]
    row = scores(write(tmp_path / "pair.jsonl", rows))["m"]
    assert row["against"] == ["anchor"]
    assert (row["win"], row["tie"], row["loss"], row["n"], row["unparsed"], row["doubtful"]) == (1, 2, 1, 4, 1, 1)
    assert (row["win_rate"], row["win_rate_adjusted"], row["flip_rate"]) == (0.25, 0.5, 0.5)
    assert (row["turn_1"], row["turn_2"], row["writing"], row["math"]) == pytest.approx((0.5, 0.5, 2 / 3, 0))
    assert 0 <= row["low"] < 0.5 < row["high"] <= 1


def test_a_baseline_that_nobody_met_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "pair.jsonl", [compared(81, 1, ("tie", "tie"))])
    with pytest.raises(PrefbenchError, match="nobody was compared with 'ancor'"):
        invoke(path, "--baseline", "ancor")


# ---------------------------------------------------------------- what is no judgment


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"score": "7", "model": "m", "judge": ["j"], "question_id": 81}, "row 2 is no judgment: ValueError: score is '7'"),
        ({"score": 7, "judge": ["j"], "question_id": 81}, "row 2 is no judgment: KeyError: 'model'"),
        (graded(81, 1, float("nan")), "row 2 is no judgment: ValueError: score is nan"),
        (graded(81, 3, 7), "row 2 is no judgment: ValueError: turn is 3"),
    ],
)
def test_a_row_that_is_no_judgment_is_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(PrefbenchError, match=message):
        invoke(write(tmp_path / "s.jsonl", [graded(82, 1, 5), row]))


def test_files_of_two_kinds_and_of_none_are_refused(tmp_path: Path) -> None:
    single = write(tmp_path / "s.jsonl", [graded(81, 1, 5)])
    pair = write(tmp_path / "p.jsonl", [compared(81, 1, ("tie", "tie"))])
    with pytest.raises(PrefbenchError, match="several kinds: single, pairwise"):
        invoke(single, pair)
    with pytest.raises(PrefbenchError, match="neither judgments nor answers"):
        invoke(write(tmp_path / "x.jsonl", [{"question": "?"}]))
    cut = tmp_path / "cut.jsonl"
    cut.write_text('{"score": ')
    with pytest.raises(PrefbenchError, match="not JSON"):
        invoke(cut)
    with pytest.raises(PrefbenchError, match="a track judges answers"):
        invoke(single, "--track", "prefworld")


# ---------------------------------------------------------------- answers


def write_answers(path: Path, model: str, answers: Mapping[str, Sequence[str]]) -> Path:
    rows = [{"question_id": int(id_), "model_id": model, "choices": [{"index": 0, "turns": list(t)}]} for id_, t in answers.items()]
    return write(path, rows)


def test_answers_are_judged_as_the_track_judges_its_own(tmp_path: Path) -> None:
    questions = Prefworld().questions("mt_bench")
    answers = {q.id: ["We sell tea."] * 2 if q.category == "writing" else list(q.references or q.turns) for q in questions}
    row = scores(write_answers(tmp_path / "a.jsonl", "mine", answers), "--track", "prefworld", "--out", tmp_path / "run")["mine"]
    rows = [{"id": id_, "answers": turns} for id_, turns in answers.items()]
    items = MtBench().judge(rows, PrefworldAnnotator(), Prefworld(), Calibration())
    assert row["mt_bench"] == pytest.approx(np.mean([item["score"] for item in items]))
    assert (row["judge"], row["n"]) == ("prefworld-annotator", 160)
    assert row["math"] == 10, "the reference answers are perfect"


def test_answers_without_a_track_and_with_a_gap_are_refused(tmp_path: Path) -> None:
    questions = Prefworld().questions("mt_bench")
    path = write_answers(tmp_path / "a.jsonl", "mine", {q.id: ["one answer only"] for q in questions})
    with pytest.raises(PrefbenchError, match="nobody has judged yet"):
        invoke(path)
    with pytest.raises(PrefbenchError, match="mine has no whole answer to question 81 and 79 more"):
        invoke(path, "--track", "prefworld", "--out", tmp_path / "run")


def test_harnesses_that_a_label_tells_apart_are_scored_each_in_a_folder_that_a_run_goes_on_in(tmp_path: Path) -> None:
    track = tmp_path / "two.toml"
    track.write_text(TWO)
    questions = Prefworld(dialogue_count=2).questions("mt_bench")
    path = write_answers(tmp_path / "a.jsonl", "mine", {q.id: ["We sell tea."] * 2 for q in questions})
    rows = json.loads(invoke(path, "--track", track, "--out", tmp_path / "run", "--format", "json").stdout)
    assert [(row["harness"], row["n"]) for row in rows] == [("mt_bench.short", 4), ("mt_bench.long", 4)]
    (tmp_path / "run" / "spent.json").write_text("{}")
    planned = CliRunner().invoke(app, ["plan", str(track), "--out", str(tmp_path / "run")], catch_exceptions=False)
    assert planned.exit_code == 0, "what a judge spent there does not make it a stranger's folder"


TWO = """
[track]
name = "two"
version = 1
seeds = [0]
[source]
name = "prefworld"
dialogue_count = 2
[judge]
name = "prefworld-annotator"
[[harness]]
name = "mt_bench"
label = "short"
max_new_tokens = 8
[[harness]]
name = "mt_bench"
label = "long"
max_new_tokens = 64
[trivial]
rows = ["sft"]
"""
