"""A folder with a track whose cells are judged at a loopback server, and a harness that asks little."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.place import TRACK, good_folder, prefbench
from tests.judges.server import JudgeServer

HARNESS = '''\
from dataclasses import dataclass

from prefbench.api import Harness, JudgeLoad, JudgeRequest, Sampling, hookimpl, hyper


@dataclass
class Verdicts(Harness):
    """The share of answers to its own questions that the judge prefers to the word w1."""

    name = "verdicts"
    asks_judge = True

    def collect(self, policy, source):
        questions = source.questions("alpaca_eval")
        answers = policy.answer(questions, [Sampling(1.0, 6)] * len(questions), self.name)
        return [{"id": question.id, "answer": turns[0]} for question, turns in zip(questions, answers, strict=True)]

    def judge(self, rows, judge, source, calibration):
        questions = {question.id: question for question in source.questions("alpaca_eval")}
        replies = judge.judge([self.request(questions[row["id"]], row["answer"]) for row in rows])
        return [{"id": row["id"], "verdict": reply.text or None} for row, reply in zip(rows, replies, strict=True)]

    def request(self, question, answer):
        text = f"{question.turns[0]} M: {answer} m: w1. Which?"
        return JudgeRequest(({"role": "user", "content": text},), question, ((answer,), ("w1",)), ("M", "m"))

    def values(self, items):
        return {"share": {item["id"]: float(item["verdict"] == "M") for item in items if item["verdict"]}}

    def judge_load(self, source):
        count = len(source.questions("alpaca_eval"))
        return JudgeLoad(count, 100 * count, 10 * count)

    def calibration_load(self, source):
        return JudgeLoad(1, 400, 10)


@hookimpl
def prefbench_harnesses():
    return [Verdicts]
'''
QUESTIONS = 6
RUN = "run track.toml --out run --plugin harness.py"
IN_PROCESS = f"{RUN} --in-process"
CELLS = 4
"""Of the track: the untrained model and a method, with two seeds each."""


class JudgedPlace:
    """The folder of a user, with the cache beside the run folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = good_folder(folder), monkeypatch
        rows = [
            {"instruction": f"w{number} w{number + 7}", "output": "w1", "generator": "x", "dataset": "d"} for number in range(QUESTIONS)
        ]
        (folder / "questions.json").write_text(json.dumps(rows))
        (folder / "harness.py").write_text(HARNESS)
        monkeypatch.setenv("PREFBENCH_CACHE", str(folder / "cache"))
        monkeypatch.chdir(folder)

    def track(self, server: JudgeServer, **options: object) -> None:
        """Write the track, its judge at this server."""
        given = {"model": "judge-1", "base_url": server.url, "retries": 1, "concurrency": 2, **options}
        lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in given.items())
        text = TRACK.replace("held_out_share = 0.3", 'held_out_share = 0.3\nalpaca_eval_questions = "questions.json"')
        text = (
            text.replace("steps = 2", "steps = 2\nlearning_rate = 0.3")
            .replace("seeds = [0]", "seeds = [0, 1]")
            .replace('name = "held_out"\nmax_new_tokens = 3', 'name = "verdicts"')
        )
        (self.folder / "track.toml").write_text(f'{text}[judge]\nname = "endpoint"\n{lines}')

    def run(self, command: str = IN_PROCESS) -> int:
        """Run prefbench as its own process would; the exit code."""
        return prefbench(command, self.monkeypatch)

    def verdicts(self) -> dict[str, list[Any]]:
        """The records' statuses and shares, by cell."""
        records = {path.stem: json.loads(path.read_text()) for path in sorted((self.folder / "run" / "records").glob("*.json"))}
        return {cell: [record["status"], record["result"].get("metrics", {}).get("share")] for cell, record in records.items()}

    def everything(self) -> str:
        """The content of every file under run folder and cache, unpacked."""
        files = [path for name in ("run", "cache") for path in (self.folder / name).rglob("*") if path.is_file()]
        contents = [gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in files]
        return b"\n".join(contents).decode("utf-8", "replace")
