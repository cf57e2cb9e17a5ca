"""A judge whose replies are kept: what was answered once is read, and not asked again."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from prefbench.api import Judge, JudgeReply, JudgeRequest, Tariff
from prefbench.errors import PrefbenchError
from prefbench.identity import digest
from prefbench.judges.client import StoppedError
from prefbench.judges.judgments import Judgments

Report = Callable[[Mapping[str, Any]], None]


def judgments_of(judge: Judge, cache: Path) -> Judgments:
    """Where a judge's replies are kept: under the cache, so that no run folder buys what another one has."""
    identity = digest({"name": judge.name, "options": judge.identity_options()})
    return Judgments(cache / "judgments" / f"{judge.name}-{identity[:16]}")


class Kept(Judge):
    """Asks the judge behind it for what is not kept yet, each request once, and keeps every reply as soon as it is there, but empty ones.

    ``report`` is told how many judgments there are; it may end the work by raising, and what was under way is kept then.
    """

    kept = True

    def __init__(self, judge: Judge, judgments: Judgments, report: Report = lambda _: None) -> None:
        self.behind, self.judgments, self.report = judge, judgments, report
        self.name = judge.name  # type: ignore[misc]  # it stands for the judge behind it
        self._identity = {"name": judge.name, "options": judge.identity_options()}

    def options(self) -> dict[str, Any]:
        """Those of the judge behind it."""
        return self.behind.options()

    def identity_options(self) -> dict[str, Any]:
        """Those of the judge behind it."""
        return self.behind.identity_options()

    @property
    def tariff(self) -> Tariff | None:
        """That of the judge behind it."""
        return self.behind.tariff

    def release(self) -> None:
        """Likewise."""
        self.behind.release()

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request, in order, kept or new. Raises what the judge behind it raises; what came before is kept."""
        found = dict(self.replies(requests))
        return [found[place] for place in range(len(requests)) if place in found]

    def replies(self, requests: Sequence[JudgeRequest]) -> Iterator[tuple[int, JudgeReply]]:
        """The kept ones first, then the others as they come."""
        self.judgments.look_again()
        missing: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            key = self.key(request)
            if (reply := self.judgments.find(key)) is not None:
                yield place, reply
            else:
                missing.setdefault(key, []).append(place)
        if missing:
            yield from self._asked(requests, missing)

    def _asked(self, requests: Sequence[JudgeRequest], missing: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, JudgeReply]]:
        keys, there = list(missing), len(requests) - sum(map(len, missing.values()))
        asked = [requests[missing[key][0]] for key in keys]
        replies = self.behind.replies(asked)
        for position, reply in replies:
            self._keep(keys[position], asked[position], reply)
            there += len(missing[keys[position]])
            try:
                self.report({"judgments": f"{there}/{len(requests)}"})
            except BaseException:
                for late, reply in under_way(replies):
                    self._keep(keys[late], asked[late], reply)
                raise
            yield from ((place, reply) for place in missing[keys[position]])

    def _keep(self, key: str, request: JudgeRequest, reply: JudgeReply) -> None:
        if reply.text.strip() or reply.log_probs:
            self.judgments.add(key, request, reply)

    def key(self, request: JudgeRequest) -> str:
        """sha256 over the judge's name and identity and all that a request sends or asks for; 64 hexadecimal digits."""
        asked = {
            "messages": [dict(message) for message in request.messages],
            "choices": list(request.choices),
            "verdicts": list(request.verdicts),
            "parameters": dict(request.parameters),
        }
        return digest({"judge": self._identity, **asked})


def under_way(replies: Iterator[tuple[int, JudgeReply]]) -> Iterator[tuple[int, JudgeReply]]:
    """What a judge still gives when it is to send nothing more: of one that is no generator, or that knows nothing of it, nothing."""
    if isinstance(replies, Generator):
        with suppress(StoppedError, StopIteration, PrefbenchError):
            yield replies.throw(StoppedError())
            yield from replies
