"""Answers in whole runs: a kill costs no answer that is finished, neither of a cell nor of a calibration; and vLLM as the back end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prefbench.cell import perform
from prefbench.engine.tasks import Event
from prefbench.errors import PrefbenchError
from prefbench.evaluate import answers, vllm_backend
from prefbench.evaluate.kept_answers import KeptAnswers
from prefbench.orders import Order, Site
from prefbench.planned import RunOptions, plan_run
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.workshop import Workshop
from tests.bad_input.place import TRACK, good_folder
from tests.evaluate.test_vllm_backend import STAND_IN

PLUGIN = """
from dataclasses import dataclass
from prefbench.api import Calibration, Harness, Question, Sampling, hyper

@dataclass
class Dialogues(Harness):
    name = "dialogues"

    def answers(self, policy, stream):
        questions = [Question(str(i), (f"w{i} w{i + 1}", "w3 w4")) for i in range(9)]
        return {q.id: list(turns) for q, turns in zip(questions, policy.answer(questions, [Sampling(1.0, 8)] * 9, stream))}

    def calibrate(self, policy, judge, source):
        return Calibration(texts=self.answers(policy, "baseline"))

    def collect(self, policy, source):
        return [{"id": id_, "answers": turns} for id_, turns in self.answers(policy, "answers").items()]

    def judge(self, rows, judge, source, calibration):
        return [
            {"harness": self.name, "id": row["id"], "longer": float(len(row["answers"][1]) > len(calibration.texts[row["id"]][1]))}
            for row in rows
        ]

    def values(self, items):
        return {"longer": {item["id"]: item["longer"] for item in items}}
"""
CALIBRATION, CELL = 6, 6
"""Batches of three rows: nine dialogues of two turns."""


class KilledError(BaseException):
    """Nothing that anybody catches, as a signal is."""


@pytest.fixture(autouse=True)
def three_rows_at_a_time(monkeypatch):
    monkeypatch.setattr(answers, "_batches", lambda model, asked: [range(len(asked))[i : i + 3] for i in range(0, len(asked), 3)])


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A track without a training: the reference answers, for the calibration and then as a row of the board."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    folder = good_folder(tmp_path / "place")
    text = TRACK.replace('name = "held_out"\nmax_new_tokens = 3', 'name = "dialogues"')
    (folder / "track.toml").write_text(text.replace('[[grid]]\nmethods = ["dpo"]\nschedulers = ["uniform"]\n', ""))
    (folder / "dialogues.py").write_text(PLUGIN)
    return folder


def options(place: Path, out: str = "run") -> RunOptions:
    return RunOptions(track=str(place / "track.toml"), out=place / out, plugin_files=(place / "dialogues.py",), in_process=True)


def stored(place: Path, out: str = "run") -> dict[str, Any]:
    return {cell: record["result"] for cell, record in Folder(place / out).records().items()}


def left_over(place: Path) -> list[str]:
    """Files of answers, in the run folder or the cache."""
    return [str(path) for path in place.parent.rglob("*answers.jsonl")]


@pytest.fixture
def drawn(monkeypatch) -> list[int]:
    """The rows of every batch that the model draws."""
    batches, draw = list[int](), answers._generate_batch

    def count(model, asked, source, ends):
        batches.append(len(asked))
        return draw(model, asked, source, ends)

    monkeypatch.setattr(answers, "_generate_batch", count)
    return batches


@pytest.mark.parametrize("kept", [1, 4, CALIBRATION, CALIBRATION + 1, CALIBRATION + CELL])
def test_a_killed_run_goes_on_with_the_next_batch(place, drawn, monkeypatch, kept):
    add = KeptAnswers.add

    def add_or_die(self, lines):
        add(self, lines)
        if len(drawn) == kept:
            raise KilledError

    monkeypatch.setattr(KeptAnswers, "add", add_or_die)
    with pytest.raises(KilledError):
        run(options(place), lambda _: None)
    monkeypatch.setattr(KeptAnswers, "add", add)
    assert len(left_over(place)) == 1
    run(options(place), lambda _: None)
    assert len(drawn) == CALIBRATION + CELL
    assert left_over(place) == []
    monkeypatch.setenv("PREFBENCH_CACHE", str(place.parent / "another"))
    run(options(place, "undisturbed"), lambda _: None)
    assert len(drawn) == 2 * (CALIBRATION + CELL)
    assert stored(place) == stored(place, "undisturbed")


def test_what_finished_answers_took_is_charged_to_the_cell_that_goes_on(place, drawn, monkeypatch):
    add = KeptAnswers.add
    monkeypatch.setattr(KeptAnswers, "add", lambda self, lines: add(self, [{**line, "seconds": 1000.0} for line in lines]))

    def interrupt(event: Event) -> None:
        if event.task == "sft.-.s0" and event.kind == "progress" and event.data.get("answers") == 3:
            signal.raise_signal(signal.SIGINT)

    run(options(place), interrupt)
    run(options(place), lambda _: None)
    seconds = Folder(place / "run").read_record("sft.-.s0")["clocks"]["answer"]
    assert 6000 < seconds < 6100  # two batches of three, and what the others really took


KILLS_ITSELF = """
import os, signal
from prefbench.evaluate.kept_answers import KeptAnswers
from prefbench.store.files import lines_bytes
add = KeptAnswers.add
def add_half_and_die(kept, lines):
    lines = list(lines)
    add(kept, lines[:1])
    with kept.path.open("ab") as file:
        file.write(lines_bytes(lines[1:])[:-30])
    os.kill(os.getpid(), signal.SIGKILL)
KeptAnswers.add = add_half_and_die
from prefbench.cli.main import main
main()
"""


def test_a_process_that_is_killed_while_it_writes_leaves_what_the_next_one_can_use(place, drawn):
    words = ["run", "track.toml", "--out", "run", "--in-process", "--plugin", "dialogues.py"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLS_ITSELF, *words], cwd=place, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL
    (path,) = left_over(place)
    assert not Path(path).read_bytes().endswith(b"\n")
    run(options(place), lambda _: None)
    assert left_over(place) == []
    assert set(stored(place)) == {"sft.-.s0"}


@pytest.mark.parametrize("task", ["calibrate dialogues", "sft.-.s0"])
def test_a_signal_ends_the_run_behind_the_batch_that_is_being_drawn_and_nothing_is_lost(place, drawn, task):
    def interrupt(event: Event) -> None:
        if event.task == task and event.kind == "progress" and event.data.get("answers") == 3:
            signal.raise_signal(signal.SIGINT)

    assert run(options(place), interrupt).stopped == "interrupted"
    assert len(drawn) == (2 if task.startswith("calibrate") else CALIBRATION + 2)
    assert run(options(place), lambda _: None).stopped == ""
    assert len(drawn) == CALIBRATION + CELL


# ---------------------------------------------------------------- vLLM


def use_vllm(place: Path) -> None:
    (place / "track.toml").write_text((place / "track.toml").read_text() + '[answers]\nbackend = "vllm"\n')


def test_a_run_without_vllm_ends_before_anything_starts(place, monkeypatch):
    use_vllm(place)
    monkeypatch.setattr(vllm_backend.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PrefbenchError, match="not installed"):
        run(options(place), lambda _: None)
    assert not (place / "run" / "track.toml").exists()


def test_a_run_with_vllm_draws_every_answer_with_it_and_gives_the_gpu_back(place, drawn, monkeypatch):
    before = plan_run(options(place)).cells[0].keys
    use_vllm(place)
    monkeypatch.syspath_prepend(STAND_IN)
    run(options(place), lambda _: None)
    engines = sys.modules.pop("vllm").LLM.made
    sys.modules.pop("vllm.distributed")
    assert [len(engine.asked) for engine in engines] == [18, 18]  # the calibration's and the cell's
    assert not any(engine.running for engine in engines)
    assert drawn == []
    after = plan_run(options(place)).cells[0].keys
    assert (before["train"] == after["train"], before["answer"] == after["answer"]) == (True, False)
    assert set(stored(place)) == {"sft.-.s0"}


# ---------------------------------------------------------------- before the first answer


def test_pairs_and_questions_that_are_rendered_otherwise_are_remarked_once_a_run(tmp_path, monkeypatch):
    """When everything is prepared, and not by every worker that loads the source."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    folder = good_folder(tmp_path / "place")
    (folder / "questions.json").write_text('[{"instruction": "w1 w2"}]')
    judged = '[judge]\nname = "local"\nmodel = "sft"\n[[harness]]\nname = "alpaca_eval"\n[train]'
    text = TRACK.replace("held_out_share", 'alpaca_eval_questions = "questions.json"\nheld_out_share')
    (folder / "track.toml").write_text(text.replace("[train]", judged))
    planned = plan_run(RunOptions(track=str(folder / "track.toml"), out=folder / "run"))
    site, said = Site(planned.track, (), folder / "run", tmp_path / "cache", "float32"), list[dict[str, Any]]()
    for kind, times in (("prepare", 1), ("data", 1)):
        perform(Order(kind, site, 1), Workshop(site), said.append)
        assert sum("used as they stand" in told.get("message", "") for told in said) == times
