"""The judge ``endpoint``: a model behind any OpenAI-compatible server."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from prefbench.api import Judge, JudgeReply, JudgeRequest, Tariff, hyper
from prefbench.errors import PrefbenchError
from prefbench.judges.client import Client, Server, StoppedError
from prefbench.judges.spending import LEDGER, Ledger

PRICES_AND_LIMITS = ("prompt_price", "reply_price", "max_calls", "max_total_tokens", "max_cost")


@dataclass
class Endpoint(Judge):
    """Chat completions of a server, many at a time, within a budget. The key comes from an environment variable and is written nowhere.

    What a request brings in ``parameters`` goes before these options. A server that takes no ``temperature``, ``logprobs`` or other optional
    parameter is asked without, and one that wants ``max_completion_tokens`` instead of ``max_tokens`` gets it.
    """

    name: ClassVar[str] = "endpoint"
    source: ClassVar[str] = "the chat completions of OpenAI's interface"
    kept: ClassVar[bool] = True

    model: str = hyper(dataclasses.MISSING, doc="the model as the server calls it")
    base_url: str = hyper("", identity=False, doc="the server's address, mostly ending in /v1; empty is the client's default")
    key_env: str = hyper("OPENAI_API_KEY", identity=False, doc="environment variable that holds the key; empty for a server without keys")
    temperature: float = hyper(0.0, low=0.0, high=2.0, doc="of the judge's replies; 0 is greedy")
    max_tokens: int = hyper(2048, low=1, doc="tokens of a reply, at most")
    top_logprobs: int = hyper(5, low=0, high=20, doc="log-probs asked for where a verdict is a token; 0 asks for none")
    seed: int | None = hyper(None, doc="sent with every request where given; some servers then repeat themselves")
    reasoning_effort: str = hyper("", doc="sent to reasoning models where given")
    concurrency: int = hyper(8, low=1, identity=False, doc="requests under way at once, of each worker process")
    requests_per_minute: int = hyper(0, low=0, identity=False, doc="of all worker processes together; 0 is no limit")
    timeout: float = hyper(120.0, low=1.0, high=3600.0, identity=False, doc="seconds without a byte after which an attempt has failed")
    retries: int = hyper(6, low=0, identity=False, doc="attempts after the first that fails in a way that may pass")
    prompt_price: float = hyper(0.0, low=0.0, identity=False, doc="price of a million tokens of messages")
    reply_price: float = hyper(0.0, low=0.0, identity=False, doc="price of a million tokens of replies")
    max_calls: int = hyper(0, low=0, identity=False, doc="calls of a run folder, at most, failed ones included; 0 is no limit")
    max_total_tokens: int = hyper(0, low=0, identity=False, doc="tokens of a run folder, at most; 0 is no limit")
    max_cost: float = hyper(0.0, low=0.0, identity=False, doc="cost of a run folder, at most, in the currency of the prices; 0 is no limit")

    def __post_init__(self) -> None:
        if not self.model:
            raise PrefbenchError("endpoint: model is empty", "write the model's name as the server calls it")
        if self.max_cost and not (self.prompt_price or self.reply_price):
            raise PrefbenchError("endpoint: max_cost is given and no price", "give prompt_price and reply_price, per million tokens")
        self._folder: Path | None = None

    @property
    def tariff(self) -> Tariff | None:
        """Its prices and limits; None where it has neither."""
        found = {name: getattr(self, name) for name in PRICES_AND_LIMITS}
        return Tariff(**found, reply_limit=self.max_tokens) if any(found.values()) else None

    def opened(self, folder: Path) -> Endpoint:
        """A copy that counts what it spends in the run folder. Raises PrefbenchError where the variable that holds the key is not set, or holds
        what no key can be."""
        self._server()
        found = dataclasses.replace(self)
        found._folder = folder
        return found

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request, in order. Raises PrefbenchError where the server cannot be asked or the budget is used up."""
        found = dict(self.replies(requests))
        return [found[place] for place in range(len(requests))]

    def replies(self, requests: Sequence[JudgeRequest]) -> Iterator[tuple[int, JudgeReply]]:
        """The replies as they come. After an error nothing more is sent; what was under way is still given, and the error raised last.

        Whoever throws StoppedError into the generator gets what is under way, too, and nothing more is sent.
        """
        client, stop, errors = self._client, threading.Event(), []
        with ThreadPoolExecutor(self.concurrency) as pool:
            places = {pool.submit(client.ask, self._body(request), request, stop): place for place, request in enumerate(requests)}
            try:
                for future in as_completed(places):
                    client.tell()
                    if future.cancelled():
                        continue
                    if (error := future.exception()) is None:
                        with _giving_up(stop, places):
                            yield places[future], future.result()
                    elif not isinstance(error, StoppedError):
                        errors.append(error)
                        _give_up(stop, places)
            finally:
                _give_up(stop, places)
        if errors:
            raise errors[0]

    @cached_property
    def _client(self) -> Client:
        path = self._folder / LEDGER if self._folder else None
        return Client(self._server(), Ledger(self.tariff or Tariff(), path, self.requests_per_minute))

    def _server(self) -> Server:
        return Server(self.base_url, self._key(), self.key_env, self.timeout, self.retries)

    def _key(self) -> str:
        if not self.key_env:
            return ""
        key = os.environ.get(self.key_env, "").strip()
        if not key:
            hint = f"export {self.key_env}=..., or name the variable that holds the key with key_env under [judge]"
            raise PrefbenchError(f"endpoint: the environment variable {self.key_env} is not set, and the server's key is due there", hint)
        return key

    def _body(self, request: JudgeRequest) -> dict[str, Any]:
        """What is sent: the model and the messages, the request's parameters, and where they say nothing these options."""
        own: dict[str, Any] = {"temperature": self.temperature, "seed": self.seed, "reasoning_effort": self.reasoning_effort or None}
        if "max_completion_tokens" not in request.parameters:
            own["max_tokens"] = self.max_tokens
        if request.choices and self.top_logprobs:
            own |= {"logprobs": True, "top_logprobs": self.top_logprobs}
        given = {name: value for name, value in {**own, **request.parameters}.items() if value is not None}
        return {**given, "model": self.model, "messages": [dict(message) for message in request.messages]}


@contextmanager
def _giving_up(stop: threading.Event, places: dict[Future[JudgeReply], int]) -> Iterator[None]:
    """Where StoppedError comes from within, give up and go on."""
    try:
        yield
    except StoppedError:
        _give_up(stop, places)


def _give_up(stop: threading.Event, places: dict[Future[JudgeReply], int]) -> None:
    """Send nothing more; what waits for its turn is cancelled, what waits for a retry ends."""
    stop.set()
    for future in places:
        future.cancel()
