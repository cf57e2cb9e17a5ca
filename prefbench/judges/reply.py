"""A chat completion, as a server sent it, read as a judge's reply."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prefbench.api import JudgeReply, JudgeRequest


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
    return (int(usage["prompt_tokens"]), int(usage["completion_tokens"])) if usage else None
