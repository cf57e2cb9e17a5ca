"""One request to an OpenAI-compatible server: sent within the budget, tried again where that may help, its failures in words."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property
from queue import Empty, SimpleQueue
from time import time
from typing import TYPE_CHECKING, Any

from prefbench.api import JudgeReply, JudgeRequest
from prefbench.errors import PrefbenchError
from prefbench.judges.reply import completion, reply_of, usage_of
from prefbench.judges.spending import Ledger, Spent, worst_case
from prefbench.store.sealed import logger

if TYPE_CHECKING:
    import openai

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
"""Seconds before the first retry; they double with each further one up to the second number."""
PATIENCE = 600.0
"""The longest Retry-After, in seconds, that is waited for; a server that wants more is one to come back to."""
NOT_CONNECTED = ("ConnectError", "ConnectTimeout")
"""Failures before anything was sent, by name: which HTTP library the client's versions stand on differs."""
REFUSED_AT_FIRST = 8
"""When so many requests are refused before one is answered, it is no matter of their content."""

_SENDABLE = re.compile(r"[!#-&(-\[\]-~]+")
"""Printable ASCII without blanks, quotes and the backslash, which stand in other texts in another form."""
_UNSUPPORTED = re.compile(r"unsupported|not support|unknown|unrecogni[sz]ed|not permitted|not allowed|unexpected", re.IGNORECASE)
_OPTIONAL = ("max_tokens", "temperature", "top_p", "top_logprobs", "logprobs", "seed", "reasoning_effort")
"""What a server may refuse, and a request can go without; ``max_tokens`` goes under its newer name."""
_TOGETHER = {"logprobs": {"logprobs", "top_logprobs"}, "top_logprobs": {"logprobs", "top_logprobs"}}


class StoppedError(Exception):
    """The request was given up because another one failed for good."""


class _RetryError(Exception):
    """An attempt failed, and another one may not; the server may have said in how many seconds."""

    def __init__(self, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.after = after


class _LearntError(Exception):
    """The server refused a parameter, and the next attempt goes without."""


@dataclass(frozen=True)
class Server:
    """Where the requests go: the address (empty for the client's default), the key and the variable that it came from."""

    url: str
    key: str = field(repr=False)
    key_env: str
    timeout: float
    retries: int

    def __post_init__(self) -> None:
        if self.key and not _SENDABLE.fullmatch(self.key):
            # Said without the key: the HTTP library would quote it, escaped and so not found.
            hint = "write the key alone into that variable: without quotes, and nothing behind it"
            raise PrefbenchError(f"the environment variable {self.key_env} holds blanks, quotes or other signs that no key has", hint)

    def scrubbed(self, text: str) -> str:
        """A text that came from outside, without the key."""
        return text.replace(self.key, "[key]") if self.key else text


class Client:
    """Asks a server, from any number of threads, and remembers which parameters it does not take."""

    def __init__(self, server: Server, ledger: Ledger) -> None:
        self.server, self.ledger = server, ledger
        self._lock = threading.Lock()
        self._refused_parameters: set[str] = set()
        self._answered, self._refused = 0, 0
        self._notes: SimpleQueue[str] = SimpleQueue()
        self._jitter = random.Random()  # its own: the global generator is other people's

    @cached_property
    def _openai(self) -> openai.OpenAI:
        from openai import OpenAI

        # One mechanism of retries: ours, because every attempt is paid for.
        return OpenAI(api_key=self.server.key or "none", base_url=self.server.url or None, timeout=self.server.timeout, max_retries=0)

    @property
    def address(self) -> str:
        """Where the requests really go."""
        return str(self._openai.base_url)

    def ask(self, body: Mapping[str, Any], request: JudgeRequest, stop: threading.Event) -> JudgeReply:
        """The reply; an empty one to a request that the server refuses for its content.

        Raises PrefbenchError where the server cannot be asked or the budget is used up, and sets ``stop`` then, at which the requests of other
        threads end with StoppedError.
        """
        try:
            return self._until_answered(body, request, stop)
        except PrefbenchError:
            stop.set()
            raise

    def tell(self) -> None:
        """Warn of what was noted meanwhile: from the thread that asked, because a worker's warnings go through the pipe of that thread."""
        with suppress(Empty):
            while True:
                logger.warning(self._notes.get_nowait())

    def _until_answered(self, body: Mapping[str, Any], request: JudgeRequest, stop: threading.Event) -> JudgeReply:
        failures = 0
        while not stop.is_set():
            try:
                return self._attempt(self._accepted(body), request, stop)
            except _LearntError:
                continue
            except _RetryError as failure:
                failures += 1
                if failures > self.server.retries:
                    raise self._unreachable(failure, failures) from None
                wait = min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT) * self._jitter.uniform(0.75, 1.0)
                stop.wait(wait if failure.after is None else failure.after)
        raise StoppedError

    def _accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request without what the server does not take."""
        sent = {name: value for name, value in body.items() if name not in self._refused_parameters}
        if "max_tokens" in body and "max_tokens" not in sent:
            sent["max_completion_tokens"] = body["max_tokens"]
        return sent

    def _attempt(self, body: dict[str, Any], request: JudgeRequest, stop: threading.Event) -> JudgeReply:
        worst = worst_case(body)
        with self.ledger.call(worst) as seconds:
            if stop.wait(seconds):
                self.ledger.settle(worst, Spent())
                raise StoppedError
            return self._send(body, request, worst)

    def _send(self, body: dict[str, Any], request: JudgeRequest, worst: Spent) -> JudgeReply:
        import openai

        rest = {name: value for name, value in body.items() if name not in ("model", "messages")}
        try:
            response = self._openai.chat.completions.with_raw_response.create(
                model=body["model"], messages=body["messages"], extra_body=rest
            )
            raw = completion(self.server.scrubbed(response.text))
            reply = reply_of(raw, request)
        except openai.APIStatusError as error:
            return self._refusal(error, body, worst)
        except openai.APIConnectionError as error:  # what was sent may have been answered, and billed: it stays reserved
            if type(error.__cause__).__name__ in NOT_CONNECTED:  # nothing was sent
                self.ledger.settle(worst, Spent())
            raise _RetryError(self.server.scrubbed(str(error.__cause__ or error))) from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise _RetryError("the server's answer is no chat completion") from None
        if (used := usage_of(raw)) is not None:
            self.ledger.settle(worst, Spent(1, *used))
        self._answered += 1
        return reply

    # ---------------------------------------------------------------- answers that are none

    def _refusal(self, error: openai.APIStatusError, body: Mapping[str, Any], worst: Spent) -> JudgeReply:
        """An empty reply where the server will not have this one request; anything else is raised."""
        status, detail = error.status_code, self.server.scrubbed(error.message)
        if status >= 500:  # it may have been billed: it stays reserved
            raise _RetryError(detail) from None
        self.ledger.settle(worst, Spent(1))
        if status in (408, 409, 425, 429) and error.code != "insufficient_quota":
            after = retry_after(error.response.headers)
            if after is None or after <= PATIENCE:
                raise _RetryError(detail, after) from None
        if status in (400, 413, 422):
            return self._refused_request(error, detail, body)
        raise self._in_words(status, detail, str(body["model"])) from None

    def _refused_request(self, error: openai.APIStatusError, detail: str, body: Mapping[str, Any]) -> JudgeReply:
        if (name := refused_parameter(error.param or "", detail, body)) is not None:
            with self._lock:
                if name not in self._refused_parameters:
                    self._notes.put(f"the judge's server takes no {name}: requests go without")
                self._refused_parameters |= _TOGETHER.get(name, {name})
            raise _LearntError from None
        self._refused += 1
        if self._refused >= REFUSED_AT_FIRST and not self._answered:
            hint = "the server's words say what it wants; correct [judge] in the track"
            raise PrefbenchError(f"{self.address}: the first {self._refused} requests were refused: {detail}", hint, exit_code=1) from None
        self._notes.put(f"the judge's server refused a request, which stays without a verdict: {detail}")
        return JudgeReply("")

    def _in_words(self, status: int, detail: str, model: str) -> PrefbenchError:
        """What an answer means after which no other request need be sent."""
        variable = f"the key in {self.server.key_env}" if self.server.key_env else "a request without a key (key_env is empty)"
        told = {
            401: (f"refuses {variable}", "put a valid key into that variable, or name another one with key_env under [judge]"),
            403: (f"does not let {variable} use {model}", "ask for access, or name another model or key_env under [judge]"),
            404: (
                f"knows no model {model!r}, or is no such server",
                "correct model or base_url under [judge]; the latter mostly ends in /v1",
            ),
        }
        what, hint = told.get(status, ("refuses to answer", "the server's words say why"))
        return PrefbenchError(f"{self.address} {what} ({status}): {detail}", hint, exit_code=1)

    def _unreachable(self, failure: _RetryError, failures: int) -> PrefbenchError:
        hint = "see that the server is there and base_url right, then run again with --retry-failed: the replies that are there are kept"
        return PrefbenchError(f"{self.address} failed {failures} times in a row: {failure}", hint, exit_code=1)


def refused_parameter(named: str, detail: str, body: Mapping[str, Any]) -> str | None:
    """Which of the parameters that were sent the server does not take; None where it minds something else, such as the text."""
    if not _UNSUPPORTED.search(detail):
        return None
    if named in _OPTIONAL and named in body:
        return named
    return next((name for name in _OPTIONAL if name in body and re.search(rf"\b{name}\b", detail)), None)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone for: a number or a date; None where it says nothing that can be read."""
    given = headers.get("retry-after", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(given).timestamp() - time())
    except (TypeError, ValueError):
        return None
