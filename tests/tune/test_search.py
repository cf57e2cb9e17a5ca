"""The settings that are tried: evenly spread at first, where it pays afterwards, and the same for everybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import pytest

from prefbench.config import Chosen, TuneRules
from prefbench.tune.search import propose, rounds

RULES = TuneRules(learning_rate=(1e-4, 1e-2), beta=(0.01, 10.0), trials=16)


def searched(value: Callable[[Chosen], float | None], rules: TuneRules = RULES) -> list[Chosen]:
    """All settings of a search in which each trial comes to what ``value`` says."""
    values: list[float | None] = []
    for numbers in rounds(rules.trials):
        settings = propose(rules, True, None, values)
        values += [value(settings[number]) for number in numbers]
    return settings


def hill(chosen: Chosen) -> float:
    """Best at a learning rate of 2e-3 and a beta of 3."""
    assert chosen.beta is not None
    return 0.8 - 0.1 * math.log10(chosen.learning_rate / 2e-3) ** 2 - 0.1 * math.log10(chosen.beta / 3) ** 2


def test_rounds_are_all_the_trials_once() -> None:
    assert rounds(16) == [range(8), range(8, 12), range(12, 16)]
    for trials in range(1, 20):
        assert [number for numbers in rounds(trials) for number in numbers] == list(range(trials))


def test_only_the_first_round_is_known_before_anything_is() -> None:
    assert len(propose(RULES, True, None, [])) == 8
    assert len(propose(RULES, True, None, [0.5] * 8)) == 12
    assert len(propose(RULES, True, None, [0.5] * 7)) == 8  # a round goes on when it is whole


def test_every_row_begins_with_the_same_settings_spread_over_the_space() -> None:
    start = propose(RULES, True, None, [])
    assert start == propose(RULES, True, None, [0.1 * number for number in range(8)])[:8]
    for low, high, values in ((1e-4, 1e-2, [c.learning_rate for c in start]), (0.01, 10.0, [c.beta or 0.0 for c in start])):
        places = sorted(math.log(value / low) / math.log(high / low) for value in values)
        assert all(number / 8 - 0.01 <= place <= (number + 1) / 8 + 0.01 for number, place in enumerate(places))  # one in each eighth


def test_later_trials_go_where_it_pays() -> None:
    settings = searched(hill)
    assert max(map(hill, settings[8:])) > max(map(hill, settings[:8]))
    assert sum(map(hill, settings[8:])) > sum(map(hill, settings[:8]))


def test_the_same_results_give_the_same_settings() -> None:
    assert searched(hill) == searched(hill)


def test_a_failed_trial_does_not_end_the_search() -> None:
    settings = searched(lambda chosen: None if chosen.learning_rate > 1e-3 else hill(chosen))
    assert len(settings) == 16


def test_a_fixed_rate_and_an_objective_without_beta() -> None:
    assert {chosen.learning_rate for chosen in propose(RULES, True, 3e-4, [])} == {3e-4}
    assert len({chosen.beta for chosen in propose(RULES, True, 3e-4, [])}) == 8
    assert {chosen.beta for chosen in propose(RULES, False, None, [])} == {None}
    assert len({chosen.learning_rate for chosen in propose(RULES, False, None, [])}) == 8


def test_settings_have_the_digits_that_a_board_prints() -> None:
    for chosen in searched(hill):
        assert chosen.learning_rate == float(f"{chosen.learning_rate:.3g}")
        assert chosen.beta == float(f"{chosen.beta:.3g}")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"learning_rate": (1e-3, 1e-4), "beta": (0.1, 1.0)}, "learning_rate is the lowest and the highest"),
        ({"learning_rate": (1e-4, 1e-3), "beta": (0.1,)}, "beta is the lowest and the highest"),
        ({"learning_rate": (1e-4, 1e-3), "beta": (0.1, 1.0), "seeds": (7, 7)}, "different numbers"),
    ],
)
def test_a_space_that_is_none(options: dict[str, Sequence[float]], wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        TuneRules(**options)  # type: ignore[arg-type]
