"""A chat completion, as a server sent it, read as a judge's reply."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from prefbench.api import JudgeReply, JudgeRequest

IMPOSSIBLE = -9999.0
"""The log-prob that servers give a token that cannot be."""


def completion(text: str) -> Any:
    """The JSON of an answer. A log-prob of minus infinity, which is no JSON and which some servers write, is what others write for it.

    Raises ValueError for what is no JSON.
    """

    def constant(name: str) -> float:
        if name != "-Infinity":
            raise ValueError(f"{name} is no JSON")
        return IMPOSSIBLE

    return json.loads(text, parse_constant=constant)


def reply_of(raw: Mapping[str, Any], request: JudgeRequest) -> JudgeReply:
    """Text, log-probs of the choices that are among the top ones, and usage. Raises LookupError, TypeError or AttributeError for other JSON."""
    choice = raw["choices"][0]
    used = usage_of(raw)
    usage = {} if used is None else dict(zip(("prompt_tokens", "completion_tokens"), used, strict=True))
    return JudgeReply(text_of(choice["message"]), log_probs_of(choice, request.choices), usage, raw)


def text_of(message: Mapping[str, Any]) -> str:
    """What the model wrote; of a function that it called, the arguments, as alpaca-eval reads them."""
    called = message.get("function_call") or next((call["function"] for call in message.get("tool_calls") or ()), None)
    text = called["arguments"] if called else message.get("content")
    return text if isinstance(text, str) else ""


def log_probs_of(choice: Mapping[str, Any], choices: tuple[str, ...]) -> dict[str, float] | None:
    """Log-probs (nats) of the first token of the reply, of those choices that are among the top ones; None where none were given.

    A token is compared as it is, without stripping, as alpaca-eval's ``logprob_parser`` does.
    """
    content = (choice.get("logprobs") or {}).get("content") or [{}]
    top = content[0].get("top_logprobs")
    if not choices or not top:
        return None
    return {entry["token"]: float(entry["logprob"]) for entry in top if entry["token"] in choices}


def usage_of(raw: Mapping[str, Any]) -> tuple[int, int] | None:
    """Tokens of the messages and of the reply; None where the server does not say."""
    usage = raw.get("usage")
    tokens = [(usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
    return (tokens[0], tokens[1]) if isinstance(tokens[0], int) and isinstance(tokens[1], int) else None
