"""Options are checked against the fields of the class: all problems at once, each with the option's name."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from prefbench.api import Pool, Scheduler, hyper
from prefbench.errors import PrefbenchError
from prefbench.registry import build, option_problems


@dataclass
class Example(Scheduler):
    """A scheduler with an option of every type."""

    name = "example"
    folder: str
    ratio: float = hyper(0.5, low=0.0, high=1.0)
    rounds: int = hyper(3, low=1)
    order: str = hyper("high", choices=("high", "low"))
    shuffled: bool = False
    limit: float | None = None
    layers: tuple[int, ...] = hyper((0,), low=0)
    seen: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        if self.folder == "nowhere":
            raise ValueError("the folder nowhere is not there")

    def select(self, pool: Pool, size: int, rng: np.random.Generator) -> np.ndarray:
        return np.arange(size)


def test_built_as_given() -> None:
    """An integer for a float becomes one, so that 1 and 1.0 are the same cell; a TOML list becomes a tuple."""
    example = build(Example, {"folder": "here", "ratio": 1, "limit": 2, "layers": [1, 2], "shuffled": True})
    expected = {"folder": "here", "ratio": 1.0, "rounds": 3, "order": "high", "shuffled": True, "limit": 2.0, "layers": (1, 2)}
    assert example.options() == expected
    assert isinstance(example.ratio, float)
    assert isinstance(example.limit, float)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("ratoi", 0.5, "ratoi is no option of example: did you mean ratio?"),
        ("seen", [], "seen is no option of example"),
        ("folder", 3, "folder must be str, not 3"),
        ("ratio", "0.5", "ratio must be float, not '0.5'"),
        ("ratio", True, "ratio must be float, not True"),
        ("ratio", 1.5, "ratio must be at most 1, not 1.5"),
        ("ratio", float("nan"), "ratio must be finite, not nan"),
        ("limit", float("inf"), "limit must be finite, not inf"),
        ("limit", "none", "limit must be float or nothing, not 'none'"),
        ("rounds", 2.0, "rounds must be int, not 2.0"),
        ("rounds", False, "rounds must be int, not False"),
        ("rounds", 0, "rounds must be at least 1, not 0"),
        ("order", "up", "order must be one of high, low, not 'up'"),
        ("shuffled", 1, "shuffled must be bool, not 1"),
        ("layers", [1, 2.5], "layers must be list of int, not [1, 2.5]"),
        ("layers", [1, -2], "layers must be at least 0, not -2"),
    ],
)
def test_what_is_refused(key: str, value: object, said: str) -> None:
    ((named, message),) = option_problems(Example, {"folder": "here", key: value})
    assert named == key
    assert message.startswith(said)


def test_all_problems_at_once() -> None:
    """A run file is mended in one go."""
    problems = option_problems(Example, {"ratio": -1, "rounds": "many", "colour": "red"})
    assert [key for key, _ in problems] == ["colour", "folder", "ratio", "rounds"]
    with pytest.raises(PrefbenchError, match=r"example: .*folder must be given; ratio must be at least 0, not -1; rounds must be int"):
        build(Example, {"ratio": -1, "rounds": "many"})


def test_the_class_has_the_last_word() -> None:
    with pytest.raises(PrefbenchError, match="example: the folder nowhere is not there"):
        build(Example, {"folder": "nowhere"})
