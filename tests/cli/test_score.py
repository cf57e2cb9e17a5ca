"""``prefbench score alpaca-eval``: files of every shape, length control with and without its tables, and a track's own judge."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from prefbench.cli.main import app
from prefbench.errors import PrefbenchError

COUNT = 60


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["score", "alpaca-eval", *map(str, arguments)], catch_exceptions=False)


def score(*arguments: object) -> list[dict[str, Any]]:
    done = invoke(*arguments, "--format", "json")
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "instruction": f"What is {number} plus {number}?",
        "output_1": "It is " + "very " * (number % 5) + "simple.",
        "generator_1": "gpt4_1106_preview",
        "output_2": f"It is {2 * number}.",
        "generator_2": "my-model",
        "annotator": "weighted_alpaca_eval_gpt4_turbo",
        "preference": 1 + (number % 10) / 10,
    }
    return {**row, **changes}


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = json.dumps(rows) if ".jsonl" not in path.name else "\n".join(map(json.dumps, rows))
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    return write(tmp_path / "annotations.json", [annotation(number) for number in range(COUNT)])


@pytest.fixture
def gamed(tmp_path: Path) -> Path:
    lines = [
        f"{model},{i},{sign * (0.2 + i % 3)},{math.sin(i)},{0.5 + 0.1 * sign},False"
        for model, sign in (("verbose", -1), ("concise", 1))
        for i in range(COUNT)
    ]
    header = "model,index,std_delta_len,instruction_difficulty,preference,not_gamed_baseline"
    (tmp_path / "gamed.csv").write_text("\n".join([header, *lines]))
    return tmp_path / "gamed.csv"


def test_the_arithmetic_is_plain(judged: Path) -> None:
    (row,) = score(judged)
    shares = [(number % 10) / 10 for number in range(COUNT)]
    mean = sum(shares) / COUNT
    deviation = math.sqrt(sum((share - mean) ** 2 for share in shares) / (COUNT - 1))
    assert row["win_rate"] == pytest.approx(100 * mean, abs=1e-9)
    assert row["standard_error"] == pytest.approx(100 * deviation / math.sqrt(COUNT), abs=1e-9)
    assert (row["n_total"], row["n_null"], row["n_wins"], row["n_wins_base"], row["n_draws"]) == (60, 0, 24, 30, 6)
    assert row["avg_length"] == int(sum(len(annotation(number)["output_2"]) for number in range(COUNT)) / COUNT)
    assert (row["model"], row["baseline"]) == ("my-model", "gpt4_1106_preview")
    assert row["length_controlled_winrate"] is None
    assert "--gamed" in row["why_no_length_control"]


def test_nulls_are_dropped_and_zero_is_a_draw(tmp_path: Path) -> None:
    given = [2.0, None, 0, 1.5, 1, None]
    path = write(tmp_path / "a.jsonl.gz", [annotation(number, preference=value) for number, value in enumerate(given)])
    (row,) = score(path)
    assert row["win_rate"] == pytest.approx(50.0)
    assert (row["n_total"], row["n_null"], row["n_draws"]) == (4, 2, 2)


def test_a_file_without_any_verdict_has_no_win_rate(tmp_path: Path) -> None:
    (row,) = score(write(tmp_path / "a.json", [annotation(number, preference=None) for number in range(5)]))
    assert row["win_rate"] is None
    assert (row["n_total"], row["n_null"]) == (0, 5)


def test_several_models_of_a_file_are_a_row_each(tmp_path: Path) -> None:
    rows = [annotation(number, generator_2=model, preference=value) for model, value in (("a", 1.0), ("b", 2.0)) for number in range(4)]
    assert {row["model"]: row["win_rate"] for row in score(write(tmp_path / "a.json", rows))} == {"a": 0.0, "b": 100.0}


def test_length_control_comes_with_its_interval(judged: Path, gamed: Path) -> None:
    (row,) = score(judged, "--gamed", gamed)
    assert row["length_controlled_low"] < row["length_controlled_winrate"] < row["length_controlled_high"]
    assert row["why_no_length_control"] is None


def test_length_control_is_refused_with_its_reason(tmp_path: Path, gamed: Path) -> None:
    few = write(tmp_path / "few.json", [annotation(number) for number in range(9)])
    bare = write(tmp_path / "bare.json", [{"idx": number, "preference": 1.0} for number in range(COUNT)])
    whys = [row["why_no_length_control"] for row in score(few, bare, "--gamed", gamed)]
    assert whys == ["9 questions, fewer than 50", "the file holds neither the outputs nor their lengths"]


def test_questions_that_are_missing_count_against_the_coverage_as_nulls_do(tmp_path: Path, gamed: Path) -> None:
    missing = write(tmp_path / "missing.json", [annotation(number, idx=number) for number in range(COUNT - 4)])
    nulls = write(tmp_path / "nulls.json", [annotation(n, idx=n, **({"preference": None} if n < 4 else {})) for n in range(COUNT)])
    enough = write(tmp_path / "enough.json", [annotation(number, idx=number) for number in range(COUNT - 3)])
    rows = score(missing, nulls, enough, "--gamed", gamed)
    assert [row["why_no_length_control"] for row in rows] == [*["coverage 93.3% of the questions, below 95%"] * 2, None]


def test_rows_that_say_which_they_are_keep_their_difficulties_in_any_order(tmp_path: Path, gamed: Path) -> None:
    rows = [annotation(number, idx=number) for number in range(COUNT)]
    for row in rows:
        row["preference"] = 1.5 + 0.4 * math.sin(row["idx"])  # as the tables have it: rows elsewhere would be too easy or too hard
    here, there = (write(tmp_path / name, order) for name, order in (("here.json", rows), ("there.json", rows[7:] + rows[:7])))
    same, moved = (row["length_controlled_winrate"] for row in score(here, there, "--gamed", gamed))
    assert moved == pytest.approx(same, abs=0.5)
    lost = write(tmp_path / "lost.json", [{key: value for key, value in row.items() if key != "idx"} for row in rows[7:] + rows[:7]])
    (by_position,) = score(lost, "--gamed", gamed)
    assert by_position["length_controlled_winrate"] != pytest.approx(same, abs=0.5)


def test_what_the_command_takes_for_granted_is_told(tmp_path: Path, gamed: Path, judged: Path, caplog: Any) -> None:
    """A shuffled file cannot be told from one in order, and gives another length-controlled rate; questions without a row are no nulls."""
    references = write(tmp_path / "r.json", [{"instruction": annotation(n)["instruction"], "output": "?"} for n in range(COUNT)])
    fewer = write(tmp_path / "a.json", [annotation(number) for number in range(COUNT - 2)])
    numbered = write(tmp_path / "n.json", [annotation(number, idx=number) for number in range(COUNT - 2)])
    told: dict[tuple[Path, bool], list[bool]] = {}
    for path in (judged, fewer, numbered):
        for options in ((), ("--references", references)):
            caplog.clear()
            score(path, "--gamed", gamed, *options)
            told[path, bool(options)] = ["matched by position" in caplog.text, "58 judgments, and the set has 60 questions" in caplog.text]
    by_position = [True, False], [True, True], [False, True]
    assert [told[path, False] for path in (judged, fewer, numbered)] == list(by_position)
    assert [told[path, True] for path in (judged, fewer, numbered)] == [[False, False], [False, True], [False, True]]


def test_raw_completions_are_read_by_the_annotator_that_they_name(tmp_path: Path) -> None:
    top = [{"token": "m", "logprob": math.log(0.7)}, {"token": "M", "logprob": math.log(0.3)}]
    raw = {"text": "m", "logprobs": {"content": [{"token": "m", "top_logprobs": top}]}}
    rows = [{**annotation(number), "preference_raw_completion": raw} for number in range(20)]
    for row in rows:
        del row["preference"]
    (row,) = score(write(tmp_path / "a.json", rows))
    firsts = row["n_wins"]
    assert 0 < firsts < 20, "which answer was shown first depends on the instruction"
    assert row["win_rate"] == pytest.approx(100 * (0.7 * firsts + 0.3 * (20 - firsts)) / 20)
    written = [{**row, "preference_raw_completion": "Output (a)", "annotator": "chatgpt"} for row in rows]
    (row,) = score(write(tmp_path / "b.json", written))
    assert row["win_rate"] == pytest.approx(5 * firsts)
    with pytest.raises(PrefbenchError, match="does not say whose"):
        score(write(tmp_path / "c.json", [{k: v for k, v in row.items() if k != "annotator"} for row in rows]))


@pytest.mark.parametrize(
    ("rows", "message", "hint"),
    [
        ([{"instruction": "a", "output": "b"}], "holds model outputs and no judgments", "--track"),
        ([{"question_id": 81, "score": 9}], "holds no annotations, but 1 rows with question_id, score", "raw_completion"),
        ([{"preference": "better"}], "a preference is 'better'", "1 to 2"),
        ([{"preference": 7}], "a preference is 7", "1 to 2"),
        ([{"preference": True}], "a preference is True", "1 to 2"),
    ],
)
def test_other_shapes_are_told_what_they_are_and_what_is_expected(tmp_path: Path, rows: Any, message: str, hint: str) -> None:
    with pytest.raises(PrefbenchError, match=message) as caught:
        invoke(write(tmp_path / "a.json", rows))
    assert hint in caught.value.hint


def test_tables_need_the_gamed_rows(judged: Path, gamed: Path) -> None:
    with pytest.raises(PrefbenchError, match="--difficulty is given without --gamed"):
        invoke(judged, "--difficulty", gamed)


def test_csv_holds_what_json_holds(judged: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(invoke(judged, "--format", "csv").stdout))
    assert float(row["win_rate"]) == score(judged)[0]["win_rate"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['prefbench', 'score', 'alpaca-eval', '--help']\nfrom prefbench.cli.main import main\ntry: main()\n"
        "except SystemExit: pass\nprint([m for m in ('torch', 'numpy', 'pandas', 'alpaca_eval') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--gamed" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------- outputs, with a track


PLUGIN = """
import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from prefbench.api import Judge, JudgeReply, Question, Source, hyper, hookimpl

@dataclass
class Sums(Source):
    name = "sums"
    folder: str = hyper(".", doc="where the files are")
    def locate(self, folder): return Sums(str(folder))
    def identity(self): return {}
    def prepare(self, cache, report): pass
    def models(self): return {}
    def pairs(self, seed): return []
    def held_out(self): return []
    def questions(self, harness): return [Question(str(i), (f"What is {i} plus {i}?",)) for i in range(60)]
    def files(self, harness):
        found = {"references": Path(self.folder) / "references.json", "gamed": Path(self.folder) / "gamed.csv"}
        return {name: path for name, path in found.items() if path.exists()}

@dataclass
class Right(Judge):
    name = "right"
    def judge(self, requests):
        return [self._reply(request) for request in requests]
    def _reply(self, request):
        first, second = (f"{2 * int(request.question.id)}." in answer[0] for answer in request.answers)
        share = 0.5 + 0.4 * (first - second)
        if not request.choices:
            return JudgeReply(str([{"model": f"model_{i + 1}", "rank": rank} for i, rank in enumerate((2 - first, 1 + first))]))
        return JudgeReply("", {"m": math.log(share), "M": math.log(1 - share)})

@hookimpl
def prefbench_sources(): return [Sums]
@hookimpl
def prefbench_judges(): return [Right]
"""
TRACK = """
[track]
name = "sums"
version = 1
seeds = [0]
[source]
name = "sums"
[judge]
name = "right"
[train]
steps = 1
pool = 1
learning_rate = 1e-3
max_length = 9
[[harness]]
name = "alpaca_eval"
both_orders = true
[[harness]]
name = "alpaca_eval_1"
[methods.dpo]
beta = 0.3
[[grid]]
methods = ["dpo"]
schedulers = ["uniform"]
"""


@pytest.fixture
def track(tmp_path: Path, gamed: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "sums.py").write_text(PLUGIN)
    (tmp_path / "track.toml").write_text(TRACK)
    write(
        tmp_path / "references.json",
        [{"instruction": annotation(n)["instruction"], "output": annotation(n)["output_1"]} for n in range(COUNT)],
    )
    return ["--track", tmp_path / "track.toml", "--plugin", tmp_path / "sums.py", "--out", tmp_path / "run"]


def outputs(count: int = COUNT, right: int = COUNT) -> list[dict[str, Any]]:
    return [
        {"instruction": annotation(n)["instruction"], "output": f"It is {2 * n + (n >= right)}.", "generator": "adder"}
        for n in range(count)
    ]


def test_outputs_are_judged_as_the_track_says(tmp_path: Path, track: list[object]) -> None:
    two, one = score(write(tmp_path / "outputs.jsonl.gz", outputs(right=45)), *track)
    assert (two["harness"], two["model"], two["annotator"]) == ("alpaca_eval", "adder", "prefbench")
    assert two["win_rate"] == pytest.approx(100 * (45 * 0.9 + 15 * 0.5) / 60)
    assert two["flip_rate"] == 0.0
    assert two["length_controlled_low"] < two["length_controlled_winrate"] < two["length_controlled_high"]
    assert (one["harness"], one["annotator"]) == ("alpaca_eval_1", "alpaca_eval_gpt4")
    assert one["win_rate"] > 75, "who is right wins; where both are wrong, the ranking prefers the second"
    assert not (tmp_path / "run" / "records").exists(), "nothing is trained"
    (tmp_path / "run" / "spent.json").write_text("{}")
    again, _ = score(tmp_path / "outputs.jsonl.gz", *track)
    assert again == two, "the folder is this track's, whatever its judge left there"


def test_harnesses_that_a_label_tells_apart_are_a_row_each(tmp_path: Path, track: list[object]) -> None:
    text = TRACK.replace("both_orders = true\n", 'both_orders = true\n[[harness]]\nname = "alpaca_eval"\nlabel = "once"\n')
    (tmp_path / "track.toml").write_text(text)
    both, once, _ = score(write(tmp_path / "outputs.json", outputs()), *track)
    assert (both["harness"], once["harness"]) == ("alpaca_eval", "alpaca_eval.once")
    assert (both["flip_rate"], once["flip_rate"]) == (0.0, None)


def test_questions_that_are_not_answered_are_counted(tmp_path: Path, track: list[object]) -> None:
    row, _ = score(write(tmp_path / "outputs.json", outputs(count=50)), *track)
    assert (row["n_total"], row["n_unanswered"]) == (50, 10)
    assert row["avg_length"] == sum(len(output["output"]) for output in outputs(50)) // 60


def test_outputs_to_other_questions_are_refused(tmp_path: Path, track: list[object]) -> None:
    other = write(tmp_path / "outputs.json", [{"instruction": "Sing.", "output": "La."}])
    with pytest.raises(PrefbenchError, match="answers none of the 60 questions"):
        invoke(other, *track)


def test_a_track_brings_its_own_tables(judged: Path, gamed: Path, track: list[object]) -> None:
    with pytest.raises(PrefbenchError, match="--track brings its own tables"):
        invoke(judged, *track, "--gamed", gamed)
