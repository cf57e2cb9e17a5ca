"""The split by a hash: stages of one dialogue on one side, and the same side as ever; flips keep nothing that gives them away."""

from __future__ import annotations

from prefbench.api import Pair, Prompt
from prefbench.data.splits import is_held_out, labelled, opening


def dialogue(*texts: str, system: str = "") -> Prompt:
    roles = ["user", "assistant"] * len(texts)
    turns = tuple({"role": role, "content": text} for role, text in zip(roles, texts, strict=False))
    return ({"role": "system", "content": system}, *turns) if system else turns


def test_the_opening_is_what_the_stages_of_a_dialogue_share() -> None:
    assert (
        opening(dialogue("hi")) == opening(dialogue("hi", "hello", "how?")) == opening(dialogue("hi", system="Be brief.")) == opening("hi")
    )


def test_stages_of_one_dialogue_are_on_one_side_and_the_share_is_kept() -> None:
    starts = [f"start {number}" for number in range(400)]
    sides = {start: [is_held_out(Pair(dialogue(start, *more), "a", "b"), 0.25) for more in ((), ("x", "y"))] for start in starts}
    assert all(first == later for first, later in sides.values())
    assert 70 < sum(first for first, _ in sides.values()) < 130


def test_the_side_is_pinned() -> None:
    first_bytes = [0xAF, 0xA4, 0x73, 0x20, 0x9A, 0xA5, 0x2C, 0xAC]  # printf '["p0"]' | sha256sum, and so on to p7
    assert [is_held_out(Pair(f"p{number}", "a", "b"), 0.5) for number in range(8)] == [byte < 0x80 for byte in first_bytes]


def test_a_flipped_pair_keeps_no_number_that_contradicts_its_label() -> None:
    pair = Pair("p", "good", "bad", {"score-gap": 2.0})
    assert labelled(pair, True) == Pair("p", "bad", "good", {"flipped": 1.0})
    assert labelled(pair, False) == Pair("p", "good", "bad", {"flipped": 0.0})
