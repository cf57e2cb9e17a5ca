"""What doctor says of a track: tiny ones on this disk that lack one thing each, and the shipped ones as they are."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import prefbench.readiness.track as readiness
import prefbench.readiness.training as training
from prefbench.cli.main import app
from prefbench.config import find_track, packaged_folder, read_track
from prefbench.readiness.effort import disk_needed, operations, trained_cells
from prefbench.readiness.findings import Finding
from prefbench.readiness.footprint import Shape
from prefbench.readiness.track import track_findings
from prefbench.registry import load_registry
from tests.models import tiny_llama, word_tokenizer

TRACK = """
[track]
name = "own"
version = 1
seeds = [0, 1]
[source]
name = "files"
model = "model"
pairs_file = "pairs.jsonl"
[train]
steps = 10
pool = 4
max_length = 32
[[harness]]
name = "held_out"
[[grid]]
methods = ["dpo", "ipo"]
[trivial]
rows = ["sft"]
"""
JUDGED = """
[judge]
name = "endpoint"
model = "judge"
key_env = "KEY_OF_THE_TEST"
prompt_price = 10.0
max_cost = 0.001
[[harness]]
name = "alpaca_eval"
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A track with its model and its pairs."""
    tiny_llama().save_pretrained(tmp_path / "model")
    word_tokenizer().save_pretrained(tmp_path / "model")
    rows = [{"prompt": f"w{i}", "chosen": "w1", "rejected": "w2"} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "track.toml").write_text(TRACK)
    return tmp_path


def findings(place: Path) -> dict[str, Finding]:
    registry = load_registry()
    track = read_track(place / "track.toml", registry)
    return {found.check: found for found in track_findings(track, registry, place / "runs")}


def change(place: Path, old: str, new: str) -> None:
    path = place / "track.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_track_that_has_everything_is_ok_line_by_line(place: Path) -> None:
    found = findings(place)
    assert {finding.state for finding in found.values()} == {"ok"}
    assert list(found) == ["track", "model", "pairs_file", "format of pairs_file", "memory", "disk", "time"]
    assert "6 cells, 4 of them trained" in found["track"].finding
    assert found["format of pairs_file"].finding == "standard"


def test_a_file_that_is_missing_is_named_and_costs_no_other_line(place: Path) -> None:
    (place / "pairs.jsonl").unlink()
    found = findings(place)
    assert found["pairs_file"].state == "missing"
    assert "format of pairs_file" not in found
    assert found["memory"].state == "ok"


def test_pairs_of_no_known_shape_are_wrong(place: Path) -> None:
    (place / "pairs.jsonl").write_text('{"question": "w1", "best": "w2"}\n')
    assert findings(place)["format of pairs_file"].state == "wrong"


def test_without_the_model_nothing_is_known_of_memory(place: Path) -> None:
    (place / "model" / "config.json").unlink()
    found = findings(place)
    assert {found[check] for check in ("memory", "disk", "time")} == {
        Finding(check, "unknown", "known once the model is here") for check in ("memory", "disk", "time")
    }


def test_a_model_that_is_not_here_has_the_shape_of_its_base(place: Path) -> None:
    known = findings(place)["memory"]
    (place / "model").rename(place / "its-base")
    change(place, 'model = "model"', 'model = "model"\nbase = "its-base"')
    assert findings(place)["model"].state == "missing"
    assert findings(place)["memory"] == known


def test_a_local_judge_takes_memory_for_its_weights(place: Path) -> None:
    alone = findings(place)["memory"].finding
    (place / "track.toml").write_text(TRACK + '[judge]\nname = "local"\nmodel = "judge"\n')
    assert "without the judge's model, which is not here" in findings(place)["memory"].finding
    shape = tiny_llama().config
    shape.intermediate_size = 1 << 22  # two layers of three matrices of 16 x 2^22: 1.5 GiB in float32, which are not made
    shape.save_pretrained(place / "judge")
    assert " + judge 1.5)" in findings(place)["memory"].finding
    assert "judge" not in alone


def test_a_key_is_looked_for_and_never_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "track.toml").write_text(TRACK + JUDGED)
    monkeypatch.delenv("KEY_OF_THE_TEST", raising=False)
    assert findings(place)["key"] == Finding("key", "missing", "export KEY_OF_THE_TEST=...")
    monkeypatch.setenv("KEY_OF_THE_TEST", "sk-very-secret")
    found = findings(place)
    assert found["key"].state == "ok"
    assert "sk-very-secret" not in repr(found)


def test_judging_that_costs_more_than_the_budget_is_wrong(place: Path) -> None:
    questions = [{"instruction": f"w{i}", "output": "w3"} for i in range(6)]
    (place / "questions.json").write_text(json.dumps(questions))
    (place / "track.toml").write_text(TRACK + JUDGED)
    change(place, 'model = "model"', 'model = "model"\nalpaca_eval_questions = "questions.json"\nalpaca_eval_references = "questions.json"')
    found = findings(place)["judge calls"]
    assert found.state == "wrong"
    assert "max_cost = 0.001" in found.finding
    assert "36 calls" in found.finding  # 6 questions of 6 cells
    change(place, "max_cost = 0.001", "max_cost = 100.0")
    assert findings(place)["judge calls"].state == "ok"
    (place / "questions.json").unlink()
    assert findings(place)["judge calls"].state == "unknown"
    assert "known once the questions are here" in findings(place)["judge calls"].finding


def test_too_little_memory_is_wrong_and_what_would_help_is_said(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "device_memory", lambda: ("a small GPU", 1 << 16))
    change(place, "pool = 4", "pool = 4\ngradient_checkpointing = true")
    found = findings(place)["memory"]
    assert found.state == "wrong"
    assert "a small GPU" in found.finding
    assert "smaller: gradient_accumulation = true, [lora]" in found.finding
    assert "gradient_checkpointing = true" not in found.finding.partition("smaller")[2]


def test_too_little_disk_is_wrong(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "free_disk", lambda folder: 1000)
    assert findings(place)["disk"].state == "wrong"


def test_plugins_that_are_not_installed_are_missing(place: Path) -> None:
    change(place, "[[grid]]", '[methods.foreign]\ndistribution = "prefbench-foreign"\n[[grid]]')
    assert "pip install prefbench-foreign" in findings(place)["methods.foreign"].finding


def test_vllm_is_looked_for_where_the_track_wants_it(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(place, "[train]", '[answers]\nbackend = "vllm"\n[train]')
    monkeypatch.setattr(readiness, "find_spec", lambda name: None)
    assert findings(place)["vllm"].state == "missing"


def test_an_option_that_the_source_refuses_is_wrong(place: Path) -> None:
    change(place, 'pairs_file = "pairs.jsonl"', 'pairs_file = ""')
    assert findings(place)["options"].state == "wrong"


def test_disk_and_operations_follow_from_the_track(place: Path) -> None:
    track = read_track(place / "track.toml", load_registry())
    shape = Shape.read(place / "model", track.model, None)
    assert trained_cells(track) == 4
    assert disk_needed(shape, track) == 4 * 4 * shape.weights + 12 * shape.weights
    assert operations(shape, track.train) == 6 * shape.weights * 10 * 4 * 2 * 32
    longer = dataclasses.replace(track.train, gradient_checkpointing=True, gradient_accumulation=True)
    assert operations(shape, longer) == 10 * shape.weights * 10 * 4 * 2 * 32


@pytest.mark.parametrize(
    "name", ["ultrafeedback-qwen2.5-0.5b", "summarize-tldr", "imdb-gemma-270m-low", "hh-pythia-2.8b", "ultrafeedback-llama3-8b"]
)
def test_a_shipped_track_is_looked_at_without_a_network(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody answers
    registry = load_registry()
    found = list(track_findings(read_track(find_track(name), registry), registry, tmp_path))
    assert {finding.check for finding in found} >= {"track", "model", "pairs_file", "memory", "disk", "time"}
    assert {finding.state for finding in found if finding.check in ("model", "pairs_file")} <= {"missing", "wrong"}
    assert {finding.state for finding in found if finding.check in ("memory", "disk", "time")} == {"unknown"}
    assert not any(str(packaged_folder()) in finding.finding for finding in found)


def test_the_command_ends_with_1_where_something_is_missing(place: Path) -> None:
    asked = ["doctor", str(place / "track.toml"), "--format", "json", "--out", str(place / "runs")]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    (place / "pairs.jsonl").unlink()
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 1
    rows = {row["check"]: row for row in json.loads(result.stdout)}
    assert rows["pairs_file"]["state"] == "missing"
    assert CliRunner().invoke(app, ["doctor", str(place / "elsewhere.toml")]).exit_code == 1


def test_what_is_not_known_yet_does_not_end_with_1(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "track_findings", lambda *_: iter([Finding("memory", "unknown", "known once the model is here")]))
    result = CliRunner().invoke(app, ["doctor", str(place / "track.toml"), "--format", "json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[-1]["state"] == "unknown"
