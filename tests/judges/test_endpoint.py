"""The endpoint judge against a loopback server: replies, faults, and what servers do not take."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import ClassVar

import pytest

from prefbench.api import JudgeReply
from prefbench.errors import PrefbenchError
from prefbench.judges.client import refused_parameter, retry_after
from prefbench.judges.endpoint import Endpoint
from prefbench.judges.reply import completion, reply_of
from prefbench.testing import JudgeContract
from tests.judges.requests import compared, endpoint, graded
from tests.judges.server import SMUGGLED, Fault, JudgeServer, judge_server

REQUESTS = [*(compared(number) for number in range(6)), *(graded(number) for number in range(6, 10))]


def undisturbed() -> list[JudgeReply]:
    with judge_server() as server:
        return endpoint(server).judge(REQUESTS)


class TestEndpointKeepsItsContract(JudgeContract):
    component = Endpoint
    server: ClassVar[JudgeServer]

    @classmethod
    def setup_class(cls) -> None:
        cls.server = JudgeServer()
        cls.variants = ({"model": "judge-1", "base_url": cls.server.url, "key_env": "", "timeout": 30.0},)

    @classmethod
    def teardown_class(cls) -> None:
        cls.server.stop()


def test_verdict_tokens_come_with_their_log_probs_and_written_verdicts_without() -> None:
    replies = undisturbed()
    for reply in replies[:6]:
        assert reply.log_probs is not None
        assert reply.text == max(reply.log_probs, key=reply.log_probs.__getitem__)
        assert reply.usage.keys() == {"prompt_tokens", "completion_tokens"}
        assert reply.raw["choices"][0]["message"]["content"] == reply.text
    assert all(reply.log_probs is None and "Rating: [[" in reply.text for reply in replies[6:])


@pytest.mark.parametrize("kind", ["rate_limit", "server_error", "overloaded", "dropped", "truncated", "no_json"])
def test_a_fault_that_passes_changes_no_reply(kind: str) -> None:
    with judge_server(Fault(kind, calls=(0, 3, 4))) as server:
        assert endpoint(server).judge(REQUESTS) == undisturbed()
        assert len(server.calls) == len(REQUESTS) + 3


def test_a_server_that_hangs_is_asked_again() -> None:
    with judge_server(Fault("hang", calls=(1,), seconds=3.0)) as server:
        assert endpoint(server, timeout=1.0).judge(REQUESTS) == undisturbed()


def test_a_fault_that_stays_ends_in_words() -> None:
    with judge_server(Fault("server_error")) as server, pytest.raises(PrefbenchError, match=f"{server.url}.* failed 3 times in a row"):
        endpoint(server).judge(REQUESTS[:1])


def test_the_time_that_a_server_asks_for_is_waited() -> None:
    with judge_server(Fault("rate_limit", calls=(0,))) as server:
        start = time.monotonic()
        endpoint(server).judge(REQUESTS[:1])
        assert time.monotonic() - start >= 0.05


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after({"retry-after": "1.5"}) == 1.5
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unauthorized", "refuses the key in OPENAI_API_KEY"),
        ("forbidden", "does not let"),
        ("not_found", "knows no model 'judge-1'"),
        ("no_quota", r"refuses to answer \(429\)"),
    ],
)
def test_a_server_that_will_never_answer_is_asked_once_and_named(kind: str, words: str, key: str) -> None:
    with judge_server(Fault(kind)) as server, pytest.raises(PrefbenchError, match=words) as caught:
        endpoint(server, concurrency=1).judge(REQUESTS)
    assert len(server.calls) == 1
    assert key not in str(caught.value)
    assert key not in caught.value.hint
    assert "[key]" in str(caught.value)  # the server said it


def test_a_key_that_is_not_there_is_told_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with judge_server() as server:
        with pytest.raises(PrefbenchError, match="OPENAI_API_KEY is not set"):
            endpoint(server).opened(tmp_path)
        assert endpoint(server, key_env="").judge(REQUESTS[:1])[0].text


@pytest.mark.parametrize("rest", ["\nsecond-line", "\r\nb", " blank", "\u2026", '"', "\\"], ids=repr)
def test_a_key_that_no_header_takes_is_refused_without_being_quoted(rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The HTTP library says ``Illegal header value b'Bearer ...'``, where the line break is escaped and the key not found any more."""
    monkeypatch.setenv("OPENAI_API_KEY", f"sk-hidden{rest}x")
    with judge_server() as server, pytest.raises(PrefbenchError, match="OPENAI_API_KEY holds blanks"):
        endpoint(server).opened(Path("run"))  # before anything is trained
    with judge_server() as server, pytest.raises(PrefbenchError, match="OPENAI_API_KEY holds blanks, quotes") as caught:
        endpoint(server).judge(REQUESTS)
    assert "hidden" not in str(caught.value) + caught.value.hint
    assert not server.calls


def test_a_refused_text_has_an_empty_reply_and_the_others_have_theirs() -> None:
    with judge_server(Fault("content_filter", where="Question 3?")) as server:
        replies = endpoint(server).judge(REQUESTS)
    assert replies[3] == JudgeReply("")
    assert [r for place, r in enumerate(replies) if place != 3] == [r for place, r in enumerate(undisturbed()) if place != 3]


def test_a_server_that_refuses_everything_is_no_matter_of_texts() -> None:
    with judge_server(Fault("content_filter")) as server, pytest.raises(PrefbenchError, match="the first 8 requests were refused"):
        endpoint(server).judge(REQUESTS)


def test_a_newer_name_for_max_tokens_is_learnt_once() -> None:
    with judge_server(Fault("refuse_max_tokens")) as server:
        assert endpoint(server, concurrency=1).judge(REQUESTS) == undisturbed()
        assert len(server.calls) == len(REQUESTS) + 1
        assert all(call.body["max_completion_tokens"] == 2048 for call in server.answered)


def test_a_server_without_log_probs_and_temperature_is_asked_without() -> None:
    with judge_server(Fault("refuse_logprobs"), Fault("refuse_temperature")) as server:
        replies = endpoint(server, concurrency=1).judge(REQUESTS)
        assert len(server.calls) == len(REQUESTS) + 2
    assert [reply.text for reply in replies] == [reply.text for reply in undisturbed()]
    assert all(reply.log_probs is None for reply in replies)


def test_a_parameter_is_given_up_only_where_it_is_what_the_server_minds() -> None:
    sent = {"max_tokens": 10, "temperature": 0.0}
    assert refused_parameter("temperature", "'temperature' does not support 0.0 with this model", sent) == "temperature"
    assert refused_parameter("", "Unsupported parameter: 'max_tokens'", sent) == "max_tokens"
    assert refused_parameter("max_tokens", "max_tokens is too large", sent) is None
    assert refused_parameter("logprobs", "Unsupported parameter: 'logprobs'", sent) is None


def test_what_a_server_refuses_is_told_once_by_the_thread_that_asked(caplog: pytest.LogCaptureFixture) -> None:
    with judge_server(Fault("refuse_temperature"), Fault("content_filter", where="Question 3?")) as server:
        endpoint(server).judge(REQUESTS)
    refused, without = sorted(record.getMessage() for record in caplog.records if record.name == "prefbench")
    assert refused.startswith("the judge's server refused a request, which stays without a verdict: Error code: 400 - ")
    assert "The response was filtered" in refused  # older clients put the server's whole reply around it
    assert without == "the judge's server takes no temperature: requests go without"
    assert {record.thread for record in caplog.records if record.name == "prefbench"} == {threading.get_ident()}


def test_a_reply_that_holds_a_second_verdict_is_passed_on_as_it_is() -> None:
    with judge_server(Fault("smuggled")) as server:
        token, rating = endpoint(server).judge([compared(0), graded(1)])
    assert (token.text, set(token.log_probs or ())) == (SMUGGLED["token"], {"m", "M"})
    assert rating.text == SMUGGLED["rating"]


def test_log_probs_that_are_not_given_are_none() -> None:
    with judge_server(Fault("no_logprobs")) as server:
        assert endpoint(server).judge(REQUESTS[:1])[0].log_probs is None


def test_a_token_counts_only_as_it_is() -> None:
    with judge_server(tokens=(" m", "M")) as server:
        assert set(endpoint(server).judge(REQUESTS[:1])[0].log_probs or ()) == {"M"}


def test_what_a_request_brings_goes_before_the_options() -> None:
    with judge_server() as server:
        endpoint(server, temperature=0.7, seed=3).judge([compared(0, temperature=0.0, max_tokens=1, top_logprobs=2, model="other")])
        body = server.calls[0].body
    assert (body["temperature"], body["max_tokens"], body["top_logprobs"], body["seed"]) == (0.0, 1, 2, 3)
    assert body["model"] == "judge-1"


def test_a_function_that_is_called_is_read_by_its_arguments() -> None:
    functions = [{"name": "make_partial_leaderboard", "parameters": {}}]
    with judge_server() as server:
        reply = endpoint(server).judge([compared(0, functions=functions, function_call={"name": "make_partial_leaderboard"})])[0]
    assert reply.text.startswith('{"ordered_models"')


def test_what_came_before_an_error_is_given_first() -> None:
    with judge_server(Fault("unauthorized", calls=range(4, 100))) as server:
        replies = endpoint(server, concurrency=2).replies(REQUESTS)
        assert len({next(replies)[0] for _ in range(4)}) == 4
        with pytest.raises(PrefbenchError, match="refuses the key"):
            next(replies)


def test_a_log_prob_of_minus_infinity_is_read_as_other_servers_write_it() -> None:
    text = (
        '{"choices": [{"message": {"content": "m"}, "logprobs": {"content": [{"top_logprobs": [{"token": "m", "logprob": -Infinity}]}]}}]}'
    )
    assert reply_of(completion(text), compared(0)).log_probs == {"m": -9999.0}
    with pytest.raises(ValueError, match="NaN is no JSON"):
        completion(text.replace("-Infinity", "NaN"))


def test_requests_are_spaced_where_a_rate_is_given() -> None:
    with judge_server() as server:
        start = time.monotonic()
        endpoint(server, requests_per_minute=1200).judge(REQUESTS[:5])
        assert time.monotonic() - start >= 4 * 60 / 1200


def test_where_and_how_fast_it_asks_is_no_part_of_its_identity() -> None:
    with judge_server() as server:
        assert endpoint(server).identity_options() == {
            "model": "judge-1", "temperature": 0.0, "max_tokens": 2048, "top_logprobs": 5, "seed": None, "reasoning_effort": "",
        }  # fmt: skip


def test_options_that_cannot_work_are_refused() -> None:
    with pytest.raises(PrefbenchError, match="model is empty"):
        Endpoint("")
    with pytest.raises(PrefbenchError, match="max_cost is given and no price"):
        Endpoint("judge-1", max_cost=1.0)
