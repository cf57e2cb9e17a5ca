"""Preference pairs: prompts of a side, two samples of the SFT policy each, and the annotator's labels on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from prefbench.api import Message, Pair, Sampling, content_id
from prefbench.prefworld.annotator import log_preference, utility
from prefbench.prefworld.corpus import Quality, write_answer
from prefbench.prefworld.gold import gold
from prefbench.prefworld.splits import cycle, tasks
from prefbench.prefworld.world import WORLD_VERSION, Task, Turn
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.streams import stream, stream_seed

SAMPLING = Sampling(temperature=1.0, max_new_tokens=48)
FOLLOW_UPS = 0.25
"""Share of the prompts that ask for the second turn; their first answer is right and brief."""
_FIRST_ANSWER = Quality(wrong=0.0, polite=0.4, rude=0.15, filler=0.0, unstopped=0.0)
_BAD = Quality(wrong=0.8, polite=0.0, rude=0.7, filler=0.5, unstopped=0.3)


@dataclass(frozen=True)
class Sampled:
    """A prompt with the bodies that its last turn accepts, and answers to it (none before they are sampled)."""

    prompt: tuple[Message, ...]
    category: str
    bodies: tuple[str, ...]
    answers: tuple[str, ...] = ()

    def gold(self, answer: int) -> float:
        """The true reward of one of the answers."""
        return gold(self.category, self.bodies, self.answers[answer])

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Sampled:
        """What ``asdict`` made, read from JSON."""
        return cls(tuple(row["prompt"]), row["category"], tuple(row["bodies"]), tuple(row["answers"]))


@dataclass(frozen=True)
class Draw:
    """Which pairs: ``count`` prompts of a side under the world's seed, by name (``seed 0``, ``held out``)."""

    side: str
    count: int
    world_seed: int
    name: str

    def rng(self, purpose: str) -> np.random.Generator:
        """The stream for one purpose of this draw."""
        return stream(self.world_seed, "prefworld", "pairs", self.name, purpose)


def sampled_pairs(draw: Draw, model_folder: Path, cache: Path) -> list[Sampled]:
    """Prompts and answers, from the cache or sampled from the model; labels are no part of them, so that noise levels share one file."""
    from prefbench.train.checkpoint import weights_digest

    key = content_id(WORLD_VERSION, asdict(draw), asdict(SAMPLING), weights_digest(model_folder))
    path = cache / f"{key}.json.gz"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        known = read_or_set_aside(path, read_sealed)
        if known is None:
            write_sealed(path, {"rows": [asdict(row) for row in sample(prompts(draw), draw, model_folder)]})
            known = read_sealed(path)
    return [Sampled.from_row(row) for row in known["rows"]]


def prompts(draw: Draw) -> list[Sampled]:
    """The prompts of a draw, without answers."""
    rng = draw.rng("turns")
    return [_prompt(task, rng) for task in tasks(draw.side, cycle(draw.count), draw.world_seed, "prefworld", "pairs", draw.name, "tasks")]


def _prompt(task: Task, rng: np.random.Generator) -> Sampled:
    first, second = task.turns
    ask: Message = {"role": "user", "content": first.text}
    if rng.random() >= FOLLOW_UPS:
        return Sampled((ask,), task.category, first.bodies)
    reply: Message = {"role": "assistant", "content": write_answer(rng, first, _FIRST_ANSWER)}
    return Sampled((ask, reply, {"role": "user", "content": second.text}), task.category, second.bodies)


def sample(asked: Sequence[Sampled], draw: Draw, model_folder: Path) -> list[Sampled]:
    """Two answers of the model to each prompt."""
    import torch

    from prefbench.evaluate.answers import generate
    from prefbench.evaluate.asked import Draws, Requests
    from prefbench.train.checkpoint import load_model, load_tokenizer

    model, tokenizer = load_model(model_folder, torch.device("cpu")), load_tokenizer(model_folder)
    twice = [row.prompt for row in asked for _ in range(2)]
    ids = [f"{i // 2}.{i % 2}" for i in range(len(twice))]
    seed = stream_seed(draw.world_seed, "prefworld", "pairs", draw.name)
    texts = generate(model, tokenizer, Requests(twice, ids, [SAMPLING] * len(twice), Draws(seed, "samples")))
    return [replace(row, answers=(texts[2 * i], texts[2 * i + 1])) for i, row in enumerate(asked)]


def made_lopsided(rows: Sequence[Sampled], draw: Draw, share: float) -> list[Sampled]:
    """The rows, in a share of which the worse sample gives way to a bad answer: rude, mostly wrong, and nothing that the model would say.

    A larger share changes the same rows and more. As the lower tiers of quality in the experiments of MADPO (arXiv 2510.05342).
    """
    if share == 0.0:
        return list(rows)
    draws, rng = draw.rng("lopsided").random(len(rows)), draw.rng("bad answers")
    bad = [write_answer(rng, Turn("", row.bodies), _BAD) for row in rows]
    return [_beside(row, answer) if drawn < share else row for row, answer, drawn in zip(rows, bad, draws, strict=True)]


def _beside(row: Sampled, bad: str) -> Sampled:
    """The better sample, in its place, beside a bad answer."""
    return replace(row, answers=(row.answers[0], bad) if row.gold(0) >= row.gold(1) else (bad, row.answers[1]))


def label(rows: Sequence[Sampled], draw: Draw, noise: float) -> list[Pair]:
    """The annotator's choices, flipped with probability ``noise``; prompts whose two answers are the same text are left out.

    A higher noise flips the same labels and more: each row has one draw for its label and one for its flip.
    """
    choices, flips = draw.rng("labels").random(len(rows)), draw.rng("flips").random(len(rows))
    return [
        _pair(row, bool(choice >= _first_preferred(row)), bool(flip < noise))
        for row, choice, flip in zip(rows, choices, flips, strict=True)
        if row.answers[0] != row.answers[1]
    ]


def _first_preferred(row: Sampled) -> float:
    """The probability with which the annotator takes the first answer."""
    return float(np.exp(log_preference([utility(row.category, row.bodies, answer) for answer in row.answers])[0]))


def _pair(row: Sampled, preferred: int, flipped: bool) -> Pair:
    chosen = 1 - preferred if flipped else preferred
    margin = row.gold(chosen) - row.gold(1 - chosen)
    return Pair(row.prompt, row.answers[chosen], row.answers[1 - chosen], {"gold_margin": margin, "flipped": float(flipped)})
