"""What judging will cost at most, told before a run begins."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from prefbench.api import Harness, Judge, JudgeLoad, Source, Tariff
from prefbench.errors import PrefbenchError
from prefbench.judges.spending import Spent, spent_in

CHARACTERS_PER_TOKEN = 4
"""Of English prompts, for the estimate only; the budget itself counts the tokens that the server bills."""


@dataclass(frozen=True)
class Estimate:
    """What the pending cells may ask of a judge, beside what their run folder has spent on it already.

    It is an upper bound of the calls without retries: kept judgments, cached calibrations and short replies make it less.
    """

    judge: str
    tariff: Tariff
    cells: int
    expected: Spent
    spent: Spent

    def plus(self, other: Estimate) -> Estimate:
        """Of the cells of both, in one run folder."""
        return replace(self, cells=self.cells + other.cells, expected=self.expected.plus(other.expected))

    def in_words(self) -> str:
        """A line for people."""
        tokens = self.expected.prompt_tokens + self.expected.reply_tokens
        line = f"judge {self.judge}: at most {self.expected.calls:,} calls and about {tokens:,} tokens for {self.cells} cells"
        priced = self.tariff.prompt_price or self.tariff.reply_price
        return f"{line}, cost about {self._cost(self.expected):,.2f}" if priced else line

    def refusal(self) -> PrefbenchError | None:
        """The error where so much, with what is spent, exceeds the track's budget; None where it keeps within."""
        total = self.expected.plus(self.spent)
        limit = self.tariff.exceeded(total.calls, total.prompt_tokens, total.reply_tokens)
        if not limit:
            return None
        before = f", and {self.spent.calls:,} calls are spent (cost {self._cost(self.spent):,.2f})" if self.spent.calls else ""
        message = f"{self.in_words()}{before}: this may exceed {limit} = {getattr(self.tariff, limit):,g}"
        return PrefbenchError(message, f"--yes runs until the budget is used up; or raise {limit} under [judge] in the track")

    def _cost(self, spent: Spent) -> float:
        return self.tariff.cost(spent.prompt_tokens, spent.reply_tokens)


def estimate(judge: Judge, harnesses: Mapping[str, Harness], source: Source, cells: int, folder: Path) -> Estimate | None:
    """Of so many cells and of the calibrations, the source being prepared; None for a judge without a price and without a limit."""
    if judge.tariff is None:
        return None
    expected = Spent()
    for harness in harnesses.values():
        for load, times in ((harness.judge_load(source), cells), (harness.calibration_load(source), 1)):
            expected = expected.plus(_tokens(load, times, judge.tariff.reply_limit))
    return Estimate(judge.name, judge.tariff, cells, expected, spent_in(folder))


def _tokens(load: JudgeLoad, times: int, reply_limit: int) -> Spent:
    prompt = math.ceil(load.prompt_characters / CHARACTERS_PER_TOKEN)
    return Spent(times * load.requests, times * prompt, times * (load.reply_tokens + load.open_replies * reply_limit))
