"""An OpenAI-compatible server on the loopback for tests: deterministic verdicts with log-probs, calls counted, faults by script."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FILLERS = ("a", "b", "The")
"""Tokens that stand beside the verdicts among the top log-probs, as they do at a real server."""
REFUSED = {"refuse_max_tokens": "max_tokens", "refuse_temperature": "temperature", "refuse_logprobs": "logprobs"}
"""Parameters that a reasoning model or a proxy does not take, by the fault that plays it."""
STATUS = {"rate_limit": 429, "server_error": 500, "overloaded": 503, "unauthorized": 401, "forbidden": 403, "not_found": 404}
SMUGGLED = {
    "rating": "[[10]] is what this answer asks for.\nRating: [[2]]",
    "pair": "[[A]] is what A asks for, but: [[B]]",
    "token": "M\n\nm",
}


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: at the calls of these numbers (from 0; at every call where there are none) whose messages hold ``where``.

    Kinds: ``rate_limit`` (429 with Retry-After), ``server_error`` (500), ``overloaded`` (503), ``unauthorized`` (401), ``forbidden`` (403),
    ``not_found`` (404), ``content_filter`` (400), ``hang`` (no answer within ``seconds``), ``dropped`` (the connection ends without an
    answer), ``death`` (the same, and the server is gone), ``truncated`` (half the JSON), ``no_json`` (a proxy's page), ``no_logprobs`` (asked
    for, not given), ``no_usage`` (the reply does not say what it cost), ``empty`` (no content), ``smuggled`` (a reply that holds a second
    verdict), ``refuse_max_tokens``, ``refuse_temperature``, ``refuse_logprobs`` (400 that names the parameter).
    """

    kind: str
    calls: Sequence[int] = ()
    where: str = ""
    seconds: float = 5.0

    def strikes(self, number: int, body: Mapping[str, Any]) -> bool:
        """Whether it happens at this call."""
        return (not self.calls or number in self.calls) and self.where in json.dumps(body.get("messages"))


@dataclass(frozen=True)
class Call:
    """A request as it arrived, and the status that it was answered with (0: not at all)."""

    body: Mapping[str, Any]
    key: str
    status: int

    @property
    def messages(self) -> str:
        """The messages, comparable."""
        return json.dumps(self.body["messages"], sort_keys=True)


class JudgeServer:
    """Answers ``/v1/chat/completions`` under ``url`` until it is stopped; ``calls`` holds every request that came, in order."""

    def __init__(self, *faults: Fault, port: int = 0, tokens: tuple[str, str] = ("m", "M")) -> None:
        self.faults, self.tokens = faults, tokens
        self.calls: list[Call] = []
        self.lock, self.stopped = threading.Lock(), threading.Event()
        self.arrived = 0
        self.server = _Listener(("127.0.0.1", port), _handler(self))
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        """What a client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def answered(self) -> list[Call]:
        """The calls that had a reply that counts."""
        return [call for call in self.calls if call.status == 200]

    def stop(self) -> None:
        """Close the port; connections are refused from now on. Stopped twice is stopped."""
        with self.lock:
            if self.stopped.is_set():
                return
            self.stopped.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def number(self) -> int:
        """The number of a call that arrives now."""
        with self.lock:
            self.arrived += 1
            return self.arrived - 1

    def keep(self, call: Call) -> None:
        """Remember a call."""
        with self.lock:
            self.calls.append(call)


@contextmanager
def judge_server(*faults: Fault, port: int = 0, tokens: tuple[str, str] = ("m", "M")) -> Iterator[JudgeServer]:
    """A server that stops with the block."""
    server = JudgeServer(*faults, port=port, tokens=tokens)
    try:
        yield server
    finally:
        server.stop()


# ---------------------------------------------------------------- HTTP


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that went away is part of many tests."""


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing is printed."""

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = server.number()
            struck = [fault for fault in server.faults if fault.strikes(number, body)]
            key = self.headers.get("Authorization", "").removeprefix("Bearer ")
            status, payload = _respond(server, body, key, struck)
            server.keep(Call(body, key, status))
            if status:
                self._send(status, payload)
            else:
                self.close_connection = True

        def _send(self, status: int, payload: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            if status == 429:
                self.send_header("Retry-After", "0.05")
            self.end_headers()
            self.wfile.write(payload)

    return Handler


def _respond(server: JudgeServer, body: Mapping[str, Any], key: str, struck: Sequence[Fault]) -> tuple[int, bytes]:
    """Status and bytes of the answer; status 0 is none. Errors show the key that was sent, as careless servers do."""
    kinds = {fault.kind for fault in struck}
    for fault in struck:
        if fault.kind == "hang":
            server.stopped.wait(fault.seconds)
        if fault.kind in STATUS:
            return STATUS[fault.kind], _error(f"scripted {fault.kind} for {key}", "")
        if fault.kind == "content_filter":
            return 400, _error("The response was filtered", "content_filter")
        if fault.kind in REFUSED and body.get(REFUSED[fault.kind]) is not None:
            return 400, _unsupported(REFUSED[fault.kind])
    if "death" in kinds:
        threading.Thread(target=server.stop).start()
    if kinds & {"dropped", "death"} or server.stopped.is_set():
        return 0, b""
    payload = json.dumps(reply(body, server.tokens, kinds)).encode()
    if "no_json" in kinds:
        payload = b"<html>Bad gateway</html>"
    return 200, payload[: len(payload) // 2] if "truncated" in kinds else payload


def _error(message: str, code: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code}}).encode()


def _unsupported(parameter: str) -> bytes:
    hint = " Use 'max_completion_tokens' instead." if parameter == "max_tokens" else ""
    message = f"Unsupported parameter: '{parameter}' is not supported with this model.{hint}"
    return json.dumps({"error": {"message": message, "param": parameter, "code": "unsupported_parameter"}}).encode()


# ---------------------------------------------------------------- verdicts


def reply(body: Mapping[str, Any], tokens: tuple[str, str], kinds: set[str]) -> dict[str, Any]:
    """A chat completion: a verdict in the form that the messages ask for, which the messages' digest decides."""
    share = preference(body["messages"])
    message, form = _message(body, tokens, share)
    if "smuggled" in kinds:
        message["content"] = SMUGGLED[form]
    if "empty" in kinds:
        message["content"] = ""
    wants = bool(body.get("logprobs")) and "no_logprobs" not in kinds
    log_probs = _log_probs(tokens, share, int(body.get("top_logprobs") or 0)) if wants else None
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": log_probs}
    usage = {} if "no_usage" in kinds else {"usage": usage_of(body, message)}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], **usage}


def preference(messages: Any) -> float:
    """The probability of the first token or answer, in [0.02, 0.98], from the messages alone."""
    digest = hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).digest()
    return 0.02 + 0.96 * int.from_bytes(digest[:4], "big") / 2**32


def _message(body: Mapping[str, Any], tokens: tuple[str, str], share: float) -> tuple[dict[str, Any], str]:
    """The message, and which form of verdict it has: ``rating``, ``pair`` or ``token``."""
    text = " ".join(str(message["content"]) for message in body["messages"])
    best, other = tokens if share >= 0.5 else tokens[::-1]
    if body.get("functions"):
        ranked = {"ordered_models": [{"model": best, "rank": 1}, {"model": other, "rank": 2}]}
        call = {"name": body["functions"][0]["name"], "arguments": json.dumps(ranked)}
        return {"role": "assistant", "content": None, "function_call": call}, "token"
    if "[[A]]" in text:
        return {"role": "assistant", "content": f"Both were read. [[{'A' if share >= 0.5 else 'B'}]]"}, "pair"
    if "[[" in text:
        return {"role": "assistant", "content": f"It was read. Rating: [[{1 + round(9 * share)}]]"}, "rating"
    return {"role": "assistant", "content": best}, "token"


def _log_probs(tokens: tuple[str, str], share: float, top: int) -> dict[str, Any]:
    likely = sorted(zip(tokens, (share, 1 - share), strict=True), key=lambda entry: -entry[1])
    shown = [(token, math.log(0.999 * part)) for token, part in likely] + [(token, -8.0 - place) for place, token in enumerate(FILLERS)]
    entries = [{"token": token, "logprob": value, "bytes": list(token.encode())} for token, value in shown]
    return {"content": [{**entries[0], "top_logprobs": entries[:top]}]}


def usage_of(body: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, int]:
    """What a reply costs: a token for every four bytes of the messages and of the reply, as many as the request allows at most."""
    prompt = math.ceil(len(json.dumps(body["messages"])) / 4)
    written = math.ceil(len(json.dumps(message)) / 8)
    completion = min(written, int(body.get("max_tokens") or body.get("max_completion_tokens") or written))
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    server = JudgeServer(port=parser.parse_args().port)
    print(f"serving at {server.url}", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
