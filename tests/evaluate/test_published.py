"""Published numbers of AlpacaEval 2 and 1 come back through the harness; see test_published_mt_bench for the other benchmark."""

from __future__ import annotations

import csv
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from prefbench.api import JudgeReply, Question
from prefbench.cli.main import app
from prefbench.evaluate.alpaca_eval import AlpacaEval, AlpacaEval1
from prefbench.evaluate.annotators import load_annotator
from prefbench.evaluate.pairwise import Comparison, preferences

SHARED = Path(os.environ.get("PREFBENCH_SHARED", Path(__file__).parents[3] / "shared")) / "data"
BASELINES = {"ae1": "ae1_baseline_text_davinci_003", "ae2": "gpt4_1106_preview"}
ANNOTATORS = {"ae1": "alpaca_eval_gpt4", "ae2": "weighted_alpaca_eval_gpt4_turbo"}
TABLES = {"gamed": "df_gamed_reconstructed.csv", "difficulty": "instruction_difficulty_reconstructed.csv"}
WITH_LOG_PROBS = ("alpaca-7b", "alpaca-farm-ppo-human", "gemma-2b-it", "phi-2", "vicuna-7b-v1.3")

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
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reference outputs of both versions as alpaca-eval has them, with the instructions."""
    folder = tmp_path_factory.mktemp("references")
    instructions = {row["idx"]: row["instruction"] for row in lines("alpaca_eval/eval_set.jsonl.gz")}
    for version, model in BASELINES.items():
        outputs = lines(f"alpaca_eval/outputs/{model}.jsonl.gz")
        rows = [{"instruction": instructions[row["idx"]], "output": row["output"], "generator": model} for row in outputs]
        (folder / f"{version}.json").write_text(json.dumps(rows))
    return folder


def published(version: str) -> dict[str, dict[str, str]]:
    return {row[""]: row for row in table(f"leaderboard_{version}_subset.csv")}


def judged_models(version: str) -> list[str]:
    return sorted(path.name.removesuffix(".jsonl.gz") for path in (SHARED / "alpaca_eval" / f"annotations_{version}").glob("*.gz"))


def source_of(world: Any, harness: str, files: Path) -> Any:
    questions = [Question(str(row["idx"]), (row["instruction"],)) for row in lines("alpaca_eval/eval_set.jsonl.gz")]
    folder = SHARED / "alpaca_eval"
    paths = {"references": files / "ae2.json", **{name: folder / file for name, file in TABLES.items()}}
    if harness == "alpaca_eval_1":
        paths = {"references": files / "ae1.json"}
    return world.source(by_harness={harness: questions}, paths={harness: paths})


def graded(version: str, model: str) -> list[dict[str, Any]]:
    """The rows that the harness collects from a model; the judgments hold those that are not in its outputs."""
    stored = {row["idx"]: row["output"] for row in lines(f"alpaca_eval/outputs/{model}.jsonl.gz")}
    annotated = lines(f"alpaca_eval/annotations_{version}/{model}.jsonl.gz")
    answers = {row["idx"]: row.get("output_2", stored.get(row["idx"])) for row in annotated}
    return [{"id": str(index), "answer": answer, "length": len(answer)} for index, answer in answers.items()]


def as_alpaca_eval_has_them(version: str, model: str, files: Path) -> list[dict[str, Any]]:
    """The judgments of a model with their texts, in the shape of ``annotations.json``."""
    reference = json.loads((files / f"{version}.json").read_text())
    answers = {int(row["id"]): row["answer"] for row in graded(version, model)}
    rows = []
    for row in lines(f"alpaca_eval/annotations_{version}/{model}.jsonl.gz"):
        texts = {"instruction": reference[row["idx"]]["instruction"], "output_1": reference[row["idx"]]["output"]}
        names = {"generator_1": BASELINES[version], "generator_2": model, "annotator": ANNOTATORS[version]}
        top = [{"token": token, "logprob": value} for token, value in row.get("top_logprobs", {}).items()]
        raw = {"text": top[0]["token"], "logprobs": {"content": [{"top_logprobs": top}]}} if top else None
        rows.append({**texts, "output_2": answers[row["idx"]], **names, "preference": row["preference"], "raw_completion": raw})
    return rows


def score(*arguments: str | Path) -> list[dict[str, Any]]:
    """What the command prints."""
    done = CliRunner().invoke(app, ["score", "alpaca-eval", *map(str, arguments), "--format", "json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def length_control(files: Path | None = None) -> list[str | Path]:
    folder = SHARED / "alpaca_eval"
    options: list[str | Path] = ["--gamed", folder / TABLES["gamed"], "--difficulty", folder / TABLES["difficulty"]]
    return options if files is None else [*options, "--references", files / "ae2.json"]


@pytest.mark.parametrize("version", ["ae1", "ae2"])
def test_the_command_gives_the_leaderboards_numbers(tmp_path: Path, files: Path, version: str) -> None:
    """From the judgments alone: ``alpaca_eval``'s own file format, and the same rows without texts."""
    models = judged_models(version)
    assert models, "there are judgments"
    for model in models:
        path = tmp_path / f"{model}.json"
        path.write_text(json.dumps(as_alpaca_eval_has_them(version, model, files)))
        bare = SHARED / "alpaca_eval" / f"annotations_{version}" / f"{model}.jsonl.gz"
        rows, board = score(path, bare, *(length_control() if version == "ae2" else [])), published(version)[model]
        for row in rows:
            for name in ("win_rate", "standard_error"):
                assert row[name] == pytest.approx(float(board[name]), abs=1e-6)
            for name in ("n_total", "n_wins", "n_wins_base", "n_draws", "avg_length"):
                assert row[name] == int(board[name])
            assert (row["win_rate"] - row["win_rate_low"]) / row["standard_error"] == pytest.approx(1.963, abs=0.001), "t of 800 questions"
            if version == "ae2":
                controlled = row["length_controlled_winrate"]
                assert controlled == pytest.approx(float(board["length_controlled_winrate"]), abs=1.0)
                assert row["length_controlled_low"] < controlled < row["length_controlled_high"]


@pytest.mark.parametrize("model", WITH_LOG_PROBS)
def test_log_probs_give_the_preferences_again(world: Any, tmp_path: Path, files: Path, model: str) -> None:
    """The order of the answers, the parser and the arithmetic of the published run, from the raw replies through the harness and the command."""
    rows = as_alpaca_eval_has_them("ae2", model, files)
    raw = {str(index): row["raw_completion"] for index, row in zip(indices(model), rows, strict=True)}
    source, annotator = source_of(world, "alpaca_eval", files), load_annotator(ANNOTATORS["ae2"])
    asked = [Comparison(Question(str(index), (row["instruction"],)), row["output_1"], row["output_2"]) for index, row in enumerate(rows)]
    by_row = {str(number): row["raw_completion"] for number, row in enumerate(rows)}
    got = preferences(asked, world.scripted(lambda request: reply(by_row[request.question.id])), annotator)
    assert got == pytest.approx([row["preference"] - 1 for row in rows], abs=1e-9)

    harness, judge = AlpacaEval(annotator=ANNOTATORS["ae2"]), world.scripted(lambda request: reply(raw[request.question.id]))
    calibration = harness.calibrate(None, judge, source)  # type: ignore[arg-type]  # the baseline is a file
    items = harness.judge(graded("ae2", model), judge, source, calibration)
    board = published("ae2")[model]
    win_rate = list(harness.values(items)["win_rate"].values())
    assert 100 * np.mean(win_rate) == pytest.approx(float(board["win_rate"]), abs=1e-6)
    controlled = 100 * harness.fitted(items, calibration)["length_controlled_win_rate"].value
    assert controlled == pytest.approx(float(board["length_controlled_winrate"]), abs=1.0)

    path = tmp_path / "raw.json"
    path.write_text(json.dumps([{key: value for key, value in row.items() if key != "preference"} for row in rows]))
    (row,) = score(path)
    assert row["win_rate"] == pytest.approx(float(board["win_rate"]), abs=1e-6)


def indices(model: str) -> list[int]:
    return [row["idx"] for row in lines(f"alpaca_eval/annotations_ae2/{model}.jsonl.gz")]


def reply(raw: dict[str, Any]) -> JudgeReply:
    return JudgeReply(raw["text"], {entry["token"]: entry["logprob"] for entry in raw["logprobs"]["content"][0]["top_logprobs"]})


@pytest.mark.parametrize("model", judged_models("ae1"))
def test_written_rankings_give_the_win_rate_of_alpaca_eval_1(world: Any, files: Path, model: str) -> None:
    stored = {str(row["idx"]): row["preference"] for row in lines(f"alpaca_eval/annotations_ae1/{model}.jsonl.gz")}
    rows = graded("ae1", model)
    answers = {row["id"]: row["answer"] for row in rows}

    def ranking(request: Any) -> JudgeReply:
        preference, id_ = stored[request.question.id], request.question.id
        if preference is None:
            return JudgeReply("I cannot say.")
        assert preference != 0, "draws are answers that equal the baseline's, and nobody is asked about them"
        first = (preference == 2) == (request.answers[0] == (answers[id_],))
        ranks = (1, 2) if first else (2, 1)
        return JudgeReply(str([{"model": f"model_{place}", "rank": rank} for place, rank in zip((1, 2), ranks, strict=True)]))

    harness, source, judge = AlpacaEval1(), source_of(world, "alpaca_eval_1", files), world.scripted(ranking)
    items = harness.judge(rows, judge, source, harness.calibrate(None, judge, source))  # type: ignore[arg-type]
    win_rate = list(harness.values(items)["alpaca_eval_1_win_rate"].values())
    assert 100 * np.mean(win_rate) == pytest.approx(float(published("ae1")[model]["win_rate"]), abs=1e-6)
    assert len(win_rate) == int(published("ae1")[model]["n_total"])


def test_rows_in_another_order_keep_their_difficulties_when_the_references_are_given(tmp_path: Path, files: Path) -> None:
    rows = as_alpaca_eval_has_them("ae2", "gemma-2b-it", files)
    order = np.random.default_rng(0).permutation(len(rows))
    here, there = tmp_path / "here.json", tmp_path / "there.json"
    here.write_text(json.dumps(rows))
    there.write_text(json.dumps([rows[i] for i in order]))
    same, keyed = score(here, there, *length_control(files))
    assert keyed["length_controlled_winrate"] == pytest.approx(same["length_controlled_winrate"], abs=0.3), "only the folds differ"
    _, by_position = score(here, there, *length_control())
    assert abs(by_position["length_controlled_winrate"] - same["length_controlled_winrate"]) > 0.5, "what alpaca-eval would silently do"
