"""Prefworld as a source: models made on the spot, pairs per seed, questions for both harnesses, and the true win rate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from prefbench.api import Pair, Question, Source, hyper
from prefbench.errors import PrefbenchError
from prefbench.prefworld.annotator import asked, log_preference
from prefbench.prefworld.checkpoints import Recipe, cached_models
from prefbench.prefworld.corpus import perfect_answer
from prefbench.prefworld.gold import gold
from prefbench.prefworld.preferences import Draw, label, made_lopsided, sampled_pairs
from prefbench.prefworld.splits import blocks, cycle, tasks
from prefbench.prefworld.world import WORLD_VERSION

WITH_REFERENCES = ("math", "reasoning", "coding")
"""Categories for which MT-Bench's judge is shown reference answers."""
FIRST_DIALOGUE = 81
"""MT-Bench counts its questions from here."""


@dataclass
class Prefworld(Source):
    """A small instruction world whose true reward is known."""

    name: ClassVar[str] = "prefworld"
    source: ClassVar[str] = "prefbench's own; labels by Bradley and Terry (1952)"

    world_seed: int = hyper(0, low=0, doc="another world: other models, prompts and questions")
    noise: float = hyper(0.0, low=0.0, high=0.5, doc="probability that a training label is flipped")
    lopsided: float = hyper(
        0.0, low=0.0, high=1.0, doc="share of the training pairs whose worse sample gives way to a bad answer, not the policy's"
    )
    pair_count: int = hyper(2500, low=1, doc="training pairs per seed")
    prompt_count: int = hyper(3000, low=1, doc="prompts that are sampled for them")
    question_count: int = hyper(805, low=1, doc="questions for alpaca_eval")
    validation_count: int = hyper(400, low=1, doc="prompts that settings are chosen by, and nothing else")
    dialogue_count: int = hyper(80, low=1, doc="two-turn questions for mt_bench")
    held_out_count: int = hyper(400, low=1, doc="held-out pairs")
    base_steps: int = hyper(700, low=1, doc="optimiser steps of base training")
    sft_steps: int = hyper(120, low=1, doc="optimiser steps of supervised fine-tuning")

    _models: Path | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def pair_columns(self) -> tuple[str, ...]:
        """The true margin of the pair, and whether its label was flipped."""
        return ("gold_margin", "flipped")

    def identity(self) -> Mapping[str, Any]:
        """The options and the version of the world."""
        return {"version": WORLD_VERSION, **self.options()}

    def prepare(self, cache: Path, report: Callable[[str], None]) -> None:
        """Train base and SFT models under ``cache/prefworld``, unless they are there."""
        self._models = cached_models(Recipe(self.world_seed, self.base_steps, self.sft_steps), cache / self.name, report)

    def models(self) -> Mapping[str, Path]:
        """``base``, and ``sft`` from which training starts."""
        if self._models is None:
            raise PrefbenchError("prefworld: its models are asked for before prepare", "call prepare(cache, report) first")
        return {"base": self._models / "base", "sft": self._models / "sft"}

    def pairs(self, seed: int) -> list[Pair]:
        """The training pairs of a seed: its own prompts, samples, labels, flips and order. Raises ``PrefbenchError`` if the prompts are too few."""
        draw = Draw("training", self.prompt_count, self.world_seed, f"seed {seed}")
        pairs = self._labelled(draw, self.noise, self.lopsided, self.pair_count)
        return [pairs[i] for i in draw.rng("order").permutation(len(pairs))]

    def held_out(self) -> list[Pair]:
        """Pairs on prompts of their own, the same for every seed, their labels never flipped."""
        return list(self._held_out)

    # Made once: a worker asks for these and for the questions with every cell.
    @cached_property
    def _held_out(self) -> list[Pair]:
        count = self.held_out_count * self.prompt_count // self.pair_count + 1
        return self._labelled(Draw("held_out", count, self.world_seed, "held out"), 0.0, 0.0, self.held_out_count)

    def _labelled(self, draw: Draw, noise: float, lopsided: float, count: int) -> list[Pair]:
        models = self.models()
        sampled = sampled_pairs(draw, models["sft"], models["sft"].parent / "pairs")
        pairs = label(made_lopsided(sampled, draw, lopsided), draw, noise)
        if len(pairs) < count:
            raise PrefbenchError(
                f"prefworld: {draw.count} prompts gave {len(pairs)} pairs of different answers, and {count} are asked for",
                "raise prompt_count, or lower pair_count",
            )
        return pairs[:count]

    def questions(self, harness: str) -> Sequence[Question]:
        """Single turns for ``alpaca_eval`` and ``validation``, two turns for ``mt_bench``; none for any other harness."""
        if harness == "alpaca_eval":
            return self._alpaca_eval
        if harness == "validation":
            return self._validation
        return self._mt_bench if harness == "mt_bench" else ()

    @cached_property
    def _alpaca_eval(self) -> list[Question]:
        return self._single_turns("questions", self.question_count, "alpaca_eval")

    @cached_property
    def _validation(self) -> list[Question]:
        return self._single_turns("validation", self.validation_count, "validation")

    def _single_turns(self, side: str, count: int, name: str) -> list[Question]:
        drawn = tasks(side, cycle(count), self.world_seed, "prefworld", name)
        return [Question(str(i), (task.text,), task.category, facts=task.facts(1)) for i, task in enumerate(drawn)]

    @cached_property
    def _mt_bench(self) -> list[Question]:
        drawn = tasks("dialogues", blocks(self.dialogue_count), self.world_seed, "prefworld", "mt_bench")
        return [
            Question(
                id=str(FIRST_DIALOGUE + i),
                turns=tuple(turn.text for turn in task.turns),
                category=task.category,
                references=tuple(perfect_answer(turn) for turn in task.turns) if task.category in WITH_REFERENCES else (),
                facts=task.facts(2),
            )
            for i, task in enumerate(drawn)
        ]

    def compare(self, question: Question, answer: str, baseline: str) -> Mapping[str, float]:
        """``gold_win_rate``: how surely an annotator of the same temperature without the liking for length prefers ``answer``."""
        category, bodies = asked(question, 0)
        rewards = [gold(category, bodies, text) for text in (answer, baseline)]
        return {"gold_win_rate": float(np.exp(log_preference(rewards)[0]))}
