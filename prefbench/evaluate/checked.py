"""What a harness and a judge give, checked where it comes in: a stranger's mistake is named, and not found as a strange number on a board."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from prefbench.api import Judge, JudgeReply, JudgeRequest
from prefbench.errors import PrefbenchError, shortened


def checked_replies(judge: Judge, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
    """Ask the judge. Raises PrefbenchError unless it gives one reply with a text per request."""
    replies: Any = judge.judge(requests)
    if not isinstance(replies, list | tuple):
        raise _broken(f"judge {judge.name!r} gave {type(replies).__name__} where a list of replies is due", "judge")
    if len(replies) != len(requests):
        raise _broken(f"judge {judge.name!r} gave {len(replies)} replies to {len(requests)} requests", "judge")
    for reply in replies:
        if not isinstance(reply, JudgeReply) or not isinstance(reply.text, str):
            raise _broken(f"judge {judge.name!r} gave {shortened(reply)} where a JudgeReply with a text is due", "judge")
    return list(replies)


def checked_rows(harness: str, rows: Any) -> list[dict[str, Any]]:
    """The rows of a harness. Raises PrefbenchError unless each has an id of its own, and is JSON with finite numbers."""
    if not isinstance(rows, list | tuple):
        raise _broken(f"harness {harness} gave {type(rows).__name__} where a list of rows is due", "collect")
    seen: set[str] = set()
    for row in rows:
        if not isinstance(row, Mapping) or row.get("id") is None:
            raise _broken(f"harness {harness} gave a row without an id: {shortened(row)}", "collect")
        id_ = str(row["id"])
        if id_ in seen:
            raise _broken(f"harness {harness} gave the id {id_!r} twice", "collect")
        seen.add(id_)
        _refuse_other_than_json(harness, id_, row)
    return list(rows)


def checked_items(harness: str, items: Any) -> list[dict[str, Any]]:
    """The judged items of a harness, each with its name: items of all harnesses share a file. Raises PrefbenchError as ``checked_rows`` does."""
    return [{**row, "harness": harness} for row in checked_rows(harness, items)]


def checked_metrics(scores: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What a cell's record stores. Raises PrefbenchError for a metric that is no finite number."""
    for name, metric in scores["metrics"].items():
        if not math.isfinite(metric["value"]):
            raise _broken(f"the metric {name!r} is {metric['value']}, and has to be finite", "values")
    return scores


def _refuse_other_than_json(harness: str, id_: str, row: Mapping[str, Any]) -> None:
    try:
        json.dumps(row, allow_nan=False)
    except ValueError:
        raise _broken(f"harness {harness} gave a number that is not finite for {id_!r}", "collect") from None
    except TypeError as error:
        raise _broken(f"harness {harness} gave a row that is no JSON for {id_!r}: {error}", "collect") from None


HINTS = {
    "judge": "judge(requests) returns one reply per request, in order",
    "collect": "collect and judge return a JSON-able row per question, each with its own id; null where a number is not known",
    "values": "values(items) leaves out a question without a number",
}


def _broken(message: str, hint: str) -> PrefbenchError:
    return PrefbenchError(message, HINTS[hint], exit_code=1)
