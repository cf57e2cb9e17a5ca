"""Kept judgments: bought once, found by any process, and never stored where they are none."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from prefbench.api import Judge, JudgeReply, JudgeRequest, hyper
from prefbench.errors import PrefbenchError
from prefbench.judges.judgments import Judgments
from prefbench.judges.kept import Kept, judgments_of
from tests.judges.requests import compared, endpoint, graded
from tests.judges.server import Fault, judge_server

REQUESTS = [compared(0), graded(1), compared(2), compared(0)]


def kept(judge: Judge, cache: Path) -> Kept:
    return Kept(judge, judgments_of(judge, cache))


def test_a_judgment_is_bought_once_whoever_asks_again(tmp_path: Path) -> None:
    with judge_server() as server:
        first = kept(endpoint(server), tmp_path).judge(REQUESTS)
        assert len(server.calls) == 3  # two requests are the same
        assert first[0] == first[3]
        assert kept(endpoint(server, concurrency=1, timeout=9.0), tmp_path).judge(REQUESTS) == first
        assert len(server.calls) == 3


def test_other_parameters_choices_messages_or_options_are_other_judgments(tmp_path: Path) -> None:
    with judge_server() as server:
        judge = kept(endpoint(server), tmp_path)
        others = [compared(0), compared(0, temperature=1.0), compared(1), JudgeRequest(compared(0).messages, compared(0).question, ())]
        judge.judge(others)
        assert len(server.calls) == 4
        kept(endpoint(server, temperature=0.5), tmp_path).judge([compared(0)])
        assert len(server.calls) == 5


def test_an_empty_reply_is_given_and_asked_for_again(tmp_path: Path) -> None:
    with judge_server(Fault("empty", where="Question 1?"), Fault("content_filter", where="Question 2?")) as server:
        judge = kept(endpoint(server), tmp_path)
        judge.judge(REQUESTS[:3])
        replies = judge.judge(REQUESTS[:3])
        assert [bool(reply.text) for reply in replies] == [True, False, False]
        assert len(server.calls) == 5
        assert len(lines(tmp_path)) == 1


def lines(cache: Path) -> list[dict[str, object]]:
    (path,) = cache.glob("judgments/*/judgments.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_holds_the_request_and_the_reply_as_it_came(tmp_path: Path) -> None:
    with judge_server() as server:
        (reply,) = kept(endpoint(server), tmp_path).judge([graded(1)])
    (line,) = lines(tmp_path)
    assert line["question"] == "q1"
    assert line["messages"] == [dict(message) for message in graded(1).messages]
    assert (line["text"], line["usage"], line["raw"]) == (reply.text, reply.usage, reply.raw)


def test_what_came_before_an_error_is_kept(tmp_path: Path) -> None:
    with judge_server(Fault("unauthorized", calls=range(2, 100))) as server:
        judge = kept(endpoint(server, concurrency=1), tmp_path)
        with pytest.raises(PrefbenchError):
            judge.judge([compared(number) for number in range(5)])
    with judge_server() as server:
        kept(endpoint(server), tmp_path).judge([compared(number) for number in range(5)])
        assert len(server.calls) == 3


def test_a_line_that_was_never_finished_counts_as_absent_and_harms_no_other(tmp_path: Path) -> None:
    with judge_server() as server:
        kept(endpoint(server), tmp_path).judge([compared(0), compared(1)])
        (path,) = tmp_path.glob("judgments/*/judgments.jsonl")
        path.write_bytes(path.read_bytes()[:-20])
        first = kept(endpoint(server), tmp_path).judge([compared(0), compared(1)])
        assert len(server.calls) == 3
        assert kept(endpoint(server), tmp_path).judge([compared(0), compared(1)]) == first
        assert len(server.calls) == 3


def add_many(folder: Path, first: int) -> None:
    judgments = Judgments(folder)
    for number in range(first, first + 50):
        judgments.add(f"{number:064d}", compared(number), JudgeReply(f"{number}" * 500))


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    workers = [multiprocessing.get_context("spawn").Process(target=add_many, args=(tmp_path, 100 * place)) for place in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    judgments = Judgments(tmp_path)
    judgments.look_again()
    assert len(judgments) == 150
    assert all(judgments.find(f"{n:064d}") == JudgeReply(f"{n}" * 500) for place in range(3) for n in range(100 * place, 100 * place + 50))


def test_a_hundred_thousand_judgments_are_found_in_no_time(tmp_path: Path) -> None:
    row = json.dumps(
        {"question": "q", "messages": [], "text": "x" * 1000, "log_probs": None, "usage": {}, "raw": {}}, separators=(",", ":")
    )
    with (tmp_path / "judgments.jsonl").open("w") as file:
        file.writelines(f'{{"key":"{number:064d}",{row[1:]}\n' for number in range(100_000))
    judgments, start = Judgments(tmp_path), time.monotonic()
    judgments.look_again()
    assert time.monotonic() - start < 2.0
    assert judgments.find(f"{99_999:064d}") == JudgeReply("x" * 1000)
    assert judgments.find(f"{100_000:064d}") is None


@dataclass
class Coin(Judge):
    """A plugin's judge, slow enough to be kept."""

    name = "coin"
    kept = True
    side: str = hyper("m")
    asked: int = 0

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        self.asked += len(requests)
        return [JudgeReply(self.side) for _ in requests]


def test_any_judge_can_be_kept_and_tells_how_far_it_is(tmp_path: Path) -> None:
    coin, told = Coin(), []
    judge = Kept(coin, judgments_of(coin, tmp_path), told.append)
    assert [reply.text for reply in judge.judge(REQUESTS)] == ["m"] * 4
    assert coin.asked == 3
    assert told[-1] == {"judgments": "4/4"}
    assert (judge.name, judge.options()) == ("coin", coin.options())


def test_what_is_under_way_when_the_work_is_ended_is_kept(tmp_path: Path) -> None:
    def end(_: object) -> None:
        raise KeyboardInterrupt

    many = [compared(number) for number in range(12)]
    with judge_server(Fault("hang", seconds=0.2)) as server:
        judge = endpoint(server, concurrency=4)
        with pytest.raises(KeyboardInterrupt):
            Kept(judge, judgments_of(judge, tmp_path), end).judge(many)
        assert 4 <= len(server.calls) < 12
        kept(judge, tmp_path).judge(many)
        assert len(server.calls) == len({call.messages for call in server.calls}) == 12


def test_a_judge_that_gives_all_at_once_can_be_ended_too(tmp_path: Path) -> None:
    def end(_: object) -> None:
        raise KeyboardInterrupt

    coin = Coin()
    with pytest.raises(KeyboardInterrupt):
        Kept(coin, judgments_of(coin, tmp_path), end).judge(REQUESTS)
    assert len(lines(tmp_path)) == 1
