"""Whole runs against the loopback server: faults, a server that dies, a budget that ends, and a key that stays where it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefbench.data.files import Files
from tests.judges.places import CELLS, IN_PROCESS, QUESTIONS, RUN, JudgedPlace
from tests.judges.server import Fault, JudgeServer, judge_server


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JudgedPlace:
    return JudgedPlace(tmp_path, monkeypatch)


def statuses(place: JudgedPlace) -> list[str]:
    return [status for status, _ in place.verdicts().values()]


def distinct(*servers: JudgeServer) -> int:
    """Message lists that had a reply; none was sent again after it had one."""
    answered = [call.messages for server in servers for call in server.answered]
    assert len(answered) == len(set(answered))
    return len(answered)


FAULTS = (
    Fault("rate_limit", calls=(0, 5)),
    Fault("server_error", calls=(2, 9)),
    Fault("truncated", calls=(4,)),
    Fault("dropped", calls=(7,)),
    Fault("hang", calls=(11,), seconds=2.0),
)


def test_a_run_with_faults_that_pass_ends_as_one_without(place: JudgedPlace) -> None:
    with judge_server() as server:
        place.track(server)
        assert place.run() == 0
        calm = place.verdicts()
    (place.folder / "run").rename(place.folder / "calm")
    (place.folder / "cache").rename(place.folder / "calm-cache")
    with judge_server(*FAULTS) as server:
        place.track(server, timeout=1.0, retries=9)
        assert place.run() == 0
        assert server.arrived == CELLS * QUESTIONS + 7
    assert place.verdicts() == calm
    assert statuses(place) == ["done"] * CELLS


def test_what_a_server_never_gives_is_null_or_a_whole_vote(place: JudgedPlace) -> None:
    faults = (Fault("no_logprobs"), Fault("refuse_max_tokens"), Fault("empty", where='"w2 w9'), Fault("content_filter", where='"w3 w10'))
    with judge_server(*faults) as server:
        place.track(server)
        assert place.run() == 0
    assert all(metric["n"] == QUESTIONS - 2 for _, metric in place.verdicts().values())


SMUGGLING = """
[[harness]]
name = "alpaca_eval"
max_new_tokens = 6
panel = 10
[[harness]]
name = "mt_bench"
max_new_tokens = 6
[[harness]]
name = "mt_bench"
label = "pairs"
grading = "pairwise"
max_new_tokens = 6
"""


def test_a_reply_that_tries_to_smuggle_a_verdict_has_none(place: JudgedPlace, capsys: pytest.CaptureFixture[str]) -> None:
    """Ratings and letters that contradict count for nothing; of AlpacaEval's verdict the log-probs of the first token alone are read."""
    turns = [{"question_id": 81 + n, "category": "writing", "turns": [f"w{n}", f"w{n + 9}"]} for n in range(QUESTIONS)]
    (place.folder / "mt.jsonl").write_text("\n".join(map(json.dumps, turns)))
    with judge_server(Fault("smuggled")) as server:
        place.track(server)
        text = (place.folder / "track.toml").read_text()
        text = text.replace('[[harness]]\nname = "verdicts"\n', SMUGGLING.lstrip())
        (place.folder / "track.toml").write_text(
            text.replace("alpaca_eval_questions", 'mt_bench_questions = "mt.jsonl"\nalpaca_eval_questions')
        )
        assert place.run() == 0
    records = [json.loads(path.read_text()) for path in (place.folder / "run" / "records").glob("*.json")]
    assert [record["status"] for record in records] == ["done"] * CELLS
    for record in records:
        counts, metrics = record["result"]["counts"], record["result"]["metrics"]
        assert counts["mt_bench"] == {"judged": 0, "unparsed": 0, "ambiguous": 2 * QUESTIONS}
        assert counts["mt_bench.pairs"] == {"judged": 0, "unparsed": 0, "ambiguous": 2 * QUESTIONS}
        assert counts["alpaca_eval"] == {"judged": QUESTIONS, "null": 0}
        assert not [name for name in metrics if name.startswith("mt_bench")]
    capsys.readouterr()
    assert place.run("board show run --format md") == 0
    assert capsys.readouterr().out.count(f"{4 * QUESTIONS} of {4 * QUESTIONS} mt_bench verdicts ambiguous") == CELLS / 2, "in each row"


def test_a_server_that_dies_is_asked_only_for_what_is_missing_when_it_is_back(place: JudgedPlace) -> None:
    with judge_server(Fault("death", calls=(8,))) as first:
        place.track(first)
        assert place.run() == 1
    assert statuses(place).count("failed") >= 1
    records = "".join(path.read_text() for path in (place.folder / "run" / "records").glob("*.json"))
    assert "failed 2 times in a row" in records
    with judge_server(port=first.port) as second:
        assert place.run(f"{IN_PROCESS} --retry-failed") == 0
        assert statuses(place) == ["done"] * CELLS
        assert distinct(first, second) == len({call.messages for call in (*first.calls, *second.calls)})
        before = len(second.calls)
        assert place.run(f"{IN_PROCESS} --retry-failed") == 0
        assert len(second.calls) == before


def test_a_new_run_folder_buys_nothing_that_is_kept(place: JudgedPlace) -> None:
    with judge_server() as server:
        place.track(server)
        assert place.run() == 0
        before = len(server.calls)
        assert place.run(IN_PROCESS.replace("--out run", "--out again")) == 0
        assert len(server.calls) == before > 0


def test_other_questions_are_asked_again_by_a_harness_of_somebodys_own(place: JudgedPlace) -> None:
    with judge_server() as server:
        place.track(server)
        assert place.run() == 0
        before = len(server.calls)
        questions = place.folder / "questions.json"
        questions.write_text(questions.read_text().replace('"w0 w7"', '"w5 w9"'))
        assert place.run() == 0
        assert len(server.calls) == before + CELLS


def test_workers_that_share_a_budget_never_exceed_it(place: JudgedPlace) -> None:
    with judge_server() as server:
        place.track(server, max_calls=9)
        assert place.run(f"{RUN} --jobs 2 --yes") == 1
        assert len(server.calls) == 9
        assert "failed" in statuses(place)
        assert "max_calls = 9" in place.everything()
        place.track(server, max_calls=100)  # no other cell: a budget is no part of what a cell depends on
        assert place.run(f"{IN_PROCESS} --retry-failed") == 0
        assert statuses(place) == ["done"] * CELLS
        assert distinct(server) == len(server.calls)


def test_a_run_that_may_exceed_its_budget_asks_first(place: JudgedPlace, capsys: pytest.CaptureFixture[str]) -> None:
    # 3 cells of 6 questions of 100 characters and 10 tokens each, and a calibration of 400 characters and 10 tokens.
    tokens = CELLS * (QUESTIONS * 100 // 4 + QUESTIONS * 10) + 400 // 4 + 10
    cost = (CELLS * QUESTIONS * 25 + 100) * 1000 / 1e6 + (CELLS * QUESTIONS * 10 + 10) * 4000 / 1e6
    words = f"at most {CELLS * QUESTIONS + 1} calls and about {tokens} tokens for {CELLS} cells, cost about {cost:.2f}"
    with judge_server() as server:
        place.track(server, prompt_price=1000.0, reply_price=4000.0, max_cost=1.0)
        assert place.run() == 2
        error, hint = capsys.readouterr().err.splitlines()[-2:]
        assert words in error
        assert error.endswith("this may exceed max_cost = 1")
        assert "--yes" in hint
        assert not server.calls
        assert place.run("plan track.toml --out run --plugin harness.py") == 0
        assert words in capsys.readouterr().err
        place.track(server, prompt_price=1000.0, reply_price=4000.0, max_cost=100.0, max_tokens=16)
        assert place.run() == 0
        assert words in capsys.readouterr().err
    records = "".join(path.read_text() for path in (place.folder / "run" / "records").glob("*.json"))
    assert "max_cost" not in records  # prices and limits decide nothing about a result


def test_a_plan_tells_the_cost_without_fetching_a_model_or_reading_the_pairs(
    place: JudgedPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.monkeypatch.setattr(Files, "prepare", lambda *_: pytest.fail("nothing is run for a plan"))
    with judge_server() as server:
        place.track(server, max_calls=100)
        assert place.run("plan track.toml --out run --plugin harness.py") == 0
    assert f"at most {CELLS * QUESTIONS + 1} calls" in capsys.readouterr().err


def test_a_run_without_its_key_trains_nothing(place: JudgedPlace, capsys: pytest.CaptureFixture[str]) -> None:
    place.monkeypatch.delenv("OPENAI_API_KEY")
    with judge_server() as server:
        place.track(server)
        assert place.run() == 2
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err
    assert not (place.folder / "run" / "cells").exists()


@pytest.mark.parametrize("fault", ["none", "unauthorized", "rate_limit", "content_filter", "server_error"])
def test_the_key_is_written_nowhere(fault: str, place: JudgedPlace, key: str, capfd: pytest.CaptureFixture[str]) -> None:
    with judge_server(Fault(fault)) as server:
        place.track(server)
        place.run()
        assert {call.key for call in server.calls} == {key}
    assert len(place.everything()) > 1000
    assert key not in place.everything()
    told = capfd.readouterr()
    assert key not in told.out + told.err


EMBEDDED = """

from prefbench.api import Judge, JudgeReply


@dataclass
class Coin(Judge):
    name = "coin"

    def judge(self, requests):
        return [JudgeReply(request.choices[0]) for request in requests]


@hookimpl
def prefbench_judges():
    return [Coin]
"""


def test_an_embedded_judge_is_asked_every_time_and_nothing_of_it_is_kept(place: JudgedPlace, capsys: pytest.CaptureFixture[str]) -> None:
    with judge_server() as server:
        place.track(server)
    text = (place.folder / "track.toml").read_text()
    (place.folder / "track.toml").write_text(text[: text.index("[judge]")] + '[judge]\nname = "coin"\n')
    with (place.folder / "harness.py").open("a") as file:
        file.write(EMBEDDED)
    assert place.run() == 0
    assert all(metric["value"] == 1.0 for _, metric in place.verdicts().values())
    assert not (place.folder / "cache" / "judgments").exists()
    assert not (place.folder / "run" / "spent.json").exists()
    assert "at most" not in capsys.readouterr().err
