"""What judging costs at most, for harnesses that say how long a reply may be and for those that leave it to the judge."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from prefbench.api import JudgeLoad, Tariff
from prefbench.data.files import Files
from prefbench.evaluate.held_out import HeldOut
from prefbench.judges.endpoint import Endpoint
from prefbench.judges.estimate import estimate

SOURCE = Files(model="sft", pairs_file="pairs.jsonl")
NOTHING = JudgeLoad()


@dataclass
class Counted(HeldOut):
    """Asks what it is told to."""

    load: JudgeLoad = NOTHING

    def judge_load(self, source: Files) -> JudgeLoad:
        return self.load

    def calibration_load(self, source: Files) -> JudgeLoad:
        return JudgeLoad(1, 40, 3)


def expected(load: JudgeLoad, folder: Path) -> tuple[int, int, int]:
    judge = Endpoint("judge", max_calls=5, max_tokens=64)
    found = estimate(judge, {"counted": Counted(load=load)}, SOURCE, 2, folder)
    assert found is not None
    return found.expected.calls, found.expected.prompt_tokens, found.expected.reply_tokens


def test_cells_are_counted_each_and_the_calibration_once(tmp_path: Path) -> None:
    assert expected(JudgeLoad(6, 81, 30), tmp_path) == (2 * 6 + 1, 2 * 21 + 10, 2 * 30 + 3)


def test_a_reply_whose_length_is_left_to_the_judge_is_as_long_as_the_judge_lets_it_be(tmp_path: Path) -> None:
    assert expected(JudgeLoad(6, 80, open_replies=6), tmp_path)[2] == 2 * 6 * 64 + 3


def test_a_judge_without_prices_and_limits_has_no_estimate(tmp_path: Path) -> None:
    assert Endpoint("judge").tariff is None
    assert estimate(Endpoint("judge"), {"counted": Counted()}, SOURCE, 2, tmp_path) is None
    assert Endpoint("judge", max_calls=1, max_tokens=7).tariff == Tariff(max_calls=1, reply_limit=7)


@pytest.mark.parametrize(("limit", "refused"), [(13, False), (12, True)])
def test_more_calls_than_the_budget_has_are_refused(limit: int, refused: bool, tmp_path: Path) -> None:
    found = estimate(Endpoint("judge", max_calls=limit), {"counted": Counted(load=JudgeLoad(6, 80, 30))}, SOURCE, 2, tmp_path)
    assert found is not None
    assert (found.refusal() is not None) is refused
