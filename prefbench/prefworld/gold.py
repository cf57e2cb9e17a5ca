"""The gold reward: exactly how good an answer is, and how many of its words are superfluous."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prefbench.prefworld.vocabulary import POLITE, RUDE, STOP
from prefbench.prefworld.world import parse_body

CONTENT_WEIGHT = {
    "writing": 3.0,
    "roleplay": 3.0,
    "reasoning": 4.0,
    "math": 4.0,
    "coding": 4.0,
    "extraction": 4.0,
    "stem": 3.5,
    "humanities": 3.5,
}
POLITENESS_WEIGHT = {
    "writing": 1.0,
    "roleplay": 1.5,
    "reasoning": 0.5,
    "math": 0.5,
    "coding": 0.5,
    "extraction": 0.5,
    "stem": 1.0,
    "humanities": 1.5,
}
STOP_WEIGHT = 0.5
_OPENERS = [(value, phrase.split()) for value, phrases in ((1, POLITE), (-1, RUDE)) for phrase in phrases]


@dataclass(frozen=True)
class Reading:
    """What an answer holds. ``content`` is the share of slots and frame that are right, in [0, 1]; ``manners`` 1 polite, -1 rude, else 0;
    ``stopped`` whether it ends with a full stop; ``superfluous`` counts words beyond opener and body, full stops aside."""

    content: float
    manners: int
    stopped: bool
    superfluous: int


def read_answer(bodies: Sequence[str], answer: str) -> Reading:
    """Read an answer against the bodies that its turn accepts (see ``world.Turn``); the best of them counts."""
    words = answer.split()
    manners, opener = _manners(words)
    rest = words[opener:]
    body = rest[: rest.index(STOP)] if STOP in rest else rest
    content, length = max((_match(body, accepted) for accepted in bodies), key=lambda match: match[0])
    superfluous = sum(word != STOP for word in rest) - min(len(body), length)
    return Reading(content, manners, words[-1:] == [STOP], superfluous)


def _manners(words: Sequence[str]) -> tuple[int, int]:
    """1, -1 or 0, and the length of the opener."""
    for value, opener in _OPENERS:
        if list(words[: len(opener)]) == opener:
            return value, len(opener)
    return 0, 0


def _match(body: Sequence[str], accepted: str) -> tuple[float, int]:
    """The share of right slots, the frame counting as one slot more, and the accepted body's length; words are compared place by place."""
    words, slots = parse_body(accepted)
    places = [i < len(body) and body[i] == word for i, word in enumerate(words)]
    frame = len(body) == len(words) and all(right for right, slot in zip(places, slots, strict=True) if not slot)
    right = sum(place for place, slot in zip(places, slots, strict=True) if slot)
    return (right + frame) / (sum(slots) + 1), len(words)


def gold(category: str, bodies: Sequence[str], answer: str) -> float:
    """The true reward: content, politeness and the full stop, weighted by category. Neutral to length; negative for a rude and empty answer."""
    return reward(category, read_answer(bodies, answer))


def reward(category: str, reading: Reading) -> float:
    """The true reward of an answer that has been read."""
    return CONTENT_WEIGHT[category] * reading.content + POLITENESS_WEIGHT[category] * reading.manners + STOP_WEIGHT * reading.stopped


def gold_max(category: str) -> float:
    """The reward of a perfect answer."""
    return CONTENT_WEIGHT[category] + POLITENESS_WEIGHT[category] + STOP_WEIGHT


def score(category: str, reward: float) -> float:
    """A reward on MT-Bench's scale of 1 to 10: nothing scores 1, a perfect answer 10."""
    return min(10.0, max(1.0, 1.0 + 9.0 * reward / gold_max(category)))
