"""Which prompts may be used for what: the text itself decides, so that no two sides ever share a prompt, whatever the seeds and sizes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from prefbench.errors import PrefbenchError
from prefbench.prefworld.categories import draw_task
from prefbench.prefworld.world import CATEGORIES, Task
from prefbench.streams import stream

SIDES = ("held_out", "questions", "dialogues")
"""A tenth of all prompts each, of which ``validation`` takes a half of the dialogues'; the remaining seven tenths are the side ``training``."""
_ATTEMPTS = 2000


def side_of(text: str) -> str:
    """The side to which a first turn belongs: ``training``, ``validation`` or one of ``SIDES``."""
    digest = hashlib.sha256(text.encode()).digest()
    bucket = int.from_bytes(digest[:4], "big") % 10
    side = SIDES[bucket] if bucket < len(SIDES) else "training"
    return "validation" if side == "dialogues" and digest[4] % 2 else side


def tasks(side: str, categories: tuple[str, ...], seed: int, *names: str) -> list[Task]:
    """One task of ``side`` for each entry of ``categories``, all with different first turns, drawn from the stream ``names``.

    Raises ``PrefbenchError`` when a category has no prompt left.
    """
    rng, seen = stream(seed, *names), set[str]()
    found: list[Task] = []
    for category in categories:
        for _ in range(_ATTEMPTS):
            task = draw_task(category, rng)
            if task.text not in seen and side_of(task.text) == side:
                break
        else:
            raise PrefbenchError(
                f"prefworld: no new {category} prompt on the side {side!r} after {len(found)} prompts", "ask for fewer prompts"
            )
        seen.add(task.text)
        found.append(task)
    return found


def cycle(count: int) -> tuple[str, ...]:
    """``count`` categories, each in turn."""
    return tuple(CATEGORIES[i % len(CATEGORIES)] for i in range(count))


def blocks(count: int) -> tuple[str, ...]:
    """``count`` categories in MT-Bench's order, equally many of each, one after the other."""
    return tuple(CATEGORIES[i * len(CATEGORIES) // count] for i in range(count))


def training_tasks(seed: int, *names: str) -> Iterator[Task]:
    """Endless tasks of the training side, one category after the other; prompts may return."""
    rng = stream(seed, *names)
    while True:
        for category in CATEGORIES:
            task = draw_task(category, rng)
            if side_of(task.text) == "training":
                yield task
