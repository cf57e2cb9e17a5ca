"""The budget: reserved before a call, settled after it, and kept by processes that race."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from prefbench.api import Tariff
from prefbench.errors import PrefbenchError
from prefbench.judges.spending import LEDGER, Ledger, Spent, spent_in, worst_case
from tests.judges.requests import compared, endpoint
from tests.judges.server import Fault, JudgeServer, judge_server, reply


def test_the_worst_case_counts_bytes_and_the_longest_reply() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "äöü" * 100}], "max_tokens": 50, "n": 2}
    worst = worst_case(body)
    assert worst.calls == 1
    assert worst.reply_tokens == 100
    assert worst.prompt_tokens >= 600
    assert worst_case({**body, "functions": [{"name": "f" * 500}]}).prompt_tokens >= worst.prompt_tokens + 500


def test_a_call_takes_what_it_used_and_not_what_it_reserved() -> None:
    ledger = Ledger(Tariff(max_total_tokens=1000))
    for _ in range(5):
        worst = Spent(1, 600, 300)
        ledger.reserve(worst)
        ledger.settle(worst, Spent(1, 10, 5))
    with pytest.raises(PrefbenchError, match=r"max_total_tokens = 1000 \(so far 5 calls, 75 tokens"):
        ledger.reserve(Spent(1, 800, 200))


def test_each_limit_is_kept() -> None:
    for tariff in (Tariff(max_calls=1), Tariff(max_total_tokens=150), Tariff(1e6, 2e6, max_cost=150.0)):
        ledger = Ledger(tariff)
        ledger.reserve(Spent(1, 60, 30))
        with pytest.raises(PrefbenchError, match="used up"):
            ledger.reserve(Spent(1, 60, 30))


def test_a_folder_remembers_what_was_spent(tmp_path: Path) -> None:
    path = tmp_path / LEDGER
    Ledger(Tariff(), path).reserve(Spent(1, 5, 6))
    assert spent_in(tmp_path) == Spent(1, 5, 6)
    with pytest.raises(PrefbenchError, match="max_calls = 1"):
        Ledger(Tariff(max_calls=1), path).reserve(Spent(1, 1, 1))


def test_a_failed_attempt_that_may_have_been_billed_stays_reserved_and_a_refused_one_does_not(tmp_path: Path) -> None:
    for kind, tokens in (("server_error", 2048), ("dropped", 2048), ("no_usage", 2048), ("rate_limit", 0), ("content_filter", 0)):
        with judge_server(Fault(kind)) as server:
            judge = endpoint(server, retries=0, max_calls=10).opened(tmp_path / kind)
            try:
                judge.judge([compared(0)])
            except PrefbenchError:
                assert kind not in ("no_usage", "content_filter")
        spent = spent_in(tmp_path / kind)
        assert (spent.calls, spent.reply_tokens) == (1, tokens)


def test_a_server_that_is_not_there_uses_up_no_budget(tmp_path: Path) -> None:
    with judge_server() as server:
        judge = endpoint(server, retries=3, max_calls=10).opened(tmp_path)
    with pytest.raises(PrefbenchError, match="4 times in a row"):
        judge.judge([compared(0)])
    assert spent_in(tmp_path) == Spent()


def test_retries_are_paid_for() -> None:
    with judge_server(Fault("server_error", calls=(0, 1))) as server:
        with pytest.raises(PrefbenchError, match="max_calls = 3"):
            endpoint(server, max_calls=3, concurrency=1).judge([compared(0), compared(1)])
        assert len(server.calls) == 3


def test_a_call_waits_for_those_under_way_before_it_gives_up() -> None:
    worst = worst_case({"model": "judge-1", "messages": compared(0).messages, "max_tokens": 8})
    most = worst.prompt_tokens + worst.reply_tokens
    with judge_server(Fault("hang", seconds=0.01)) as server:
        with pytest.raises(PrefbenchError, match="used up"):
            endpoint(server, max_total_tokens=1000, max_tokens=8, concurrency=8).judge([compared(number) for number in range(60)])
        assert 1000 - most < sum(billed(server)) <= 1000


def ask_until_the_budget_ends(url: str, folder: Path, first: int, limits: dict[str, float]) -> None:
    from prefbench.judges.endpoint import Endpoint

    judge = Endpoint(model="judge-1", base_url=url, key_env="", concurrency=4, max_tokens=8, **limits).opened(folder)
    with pytest.raises(PrefbenchError, match="used up"):
        judge.judge([compared(number) for number in range(first, first + 60)])


def billed(server: JudgeServer) -> tuple[int, int]:
    """The tokens of messages and replies that the server counted."""
    usages = [reply(call.body, server.tokens, set())["usage"] for call in server.answered]
    return sum(usage["prompt_tokens"] for usage in usages), sum(usage["completion_tokens"] for usage in usages)


@pytest.mark.parametrize("limits", [{"max_calls": 37}, {"max_total_tokens": 1500}, {"prompt_price": 1000.0, "max_cost": 1.0}])
def test_four_processes_that_race_never_exceed_it(limits: dict[str, float], tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with judge_server() as server:
        workers = [
            context.Process(target=ask_until_the_budget_ends, args=(server.url, tmp_path, 100 * place, limits)) for place in range(4)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * 4
        spent, (prompts, replies) = spent_in(tmp_path), billed(server)
    assert spent == Spent(len(server.calls), prompts, replies)
    assert spent.calls <= limits.get("max_calls", 1000)
    assert prompts + replies <= limits.get("max_total_tokens", 10**9)
    assert 1000.0 * prompts / 1e6 <= limits.get("max_cost", 1e9)
    assert spent.calls >= 5  # so many worst cases fit
