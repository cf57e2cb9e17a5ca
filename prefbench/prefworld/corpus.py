"""What the models learn from: noisy dialogues and chants for the base model, demonstrations of mixed quality for SFT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from prefbench.prefworld.categories import pick, several
from prefbench.prefworld.splits import training_tasks
from prefbench.prefworld.tokenizer import ASSISTANT, END, USER
from prefbench.prefworld.vocabulary import FILLERS, POLITE, POOLS, RUDE, STOP
from prefbench.prefworld.world import Task, Turn, parse_body
from prefbench.streams import stream


@dataclass(frozen=True)
class Quality:
    """How answers are written: probabilities of a wrong word in a slot, of a polite and of a rude opener, of any filler and of no full stop."""

    wrong: float
    polite: float
    rude: float
    filler: float
    unstopped: float


BASE = Quality(wrong=0.1, polite=0.3, rude=0.3, filler=0.5, unstopped=0.2)
DEMONSTRATION = Quality(wrong=0.15, polite=0.4, rude=0.15, filler=0.55, unstopped=0.15)
MOST_FILLERS = 2
TWO_TURNS = 0.4
"""Share of the dialogues that go on to the second turn."""
CHANTS = 0.4
"""Share of the base corpus that are chants: without them the model does not learn to copy."""

_POOL_OF = {word: pool for pool in POOLS for word in pool}


def write_answer(rng: np.random.Generator, turn: Turn, quality: Quality) -> str:
    """An answer to the turn: [opener] body [. filler]* [.]"""
    words, slots = parse_body(pick(rng, turn.bodies))
    body = [_other(rng, word) if slot and rng.random() < quality.wrong else word for word, slot in zip(words, slots, strict=True)]
    sentences = [" ".join([*_opener(rng, quality), *body])]
    if rng.random() < quality.filler:
        sentences += several(rng, FILLERS, int(rng.integers(1, MOST_FILLERS + 1)))
    text = f" {STOP} ".join(sentences)
    return text if rng.random() < quality.unstopped else f"{text} {STOP}"


def _opener(rng: np.random.Generator, quality: Quality) -> list[str]:
    draw = rng.random()
    if draw < quality.polite:
        return [pick(rng, POLITE)]
    return [pick(rng, RUDE)] if draw < quality.polite + quality.rude else []


def _other(rng: np.random.Generator, word: str) -> str:
    """A wrong word that could stand in the same place."""
    return pick(rng, [other for other in _POOL_OF[word] if other != word])


def perfect_answer(turn: Turn) -> str:
    """The same perfect answer every time: polite, right, stopped and no longer than need be."""
    words, _ = parse_body(turn.bodies[0])
    return f"{POLITE[0]} {' '.join(words)} {STOP}"


def transcript(turns: list[tuple[str, str]]) -> str:
    """Questions and answers in the words that the chat template would render."""
    return " ".join(f"{USER} {question} {ASSISTANT} {answer} {END}" for question, answer in turns)


def _dialogue(rng: np.random.Generator, task: Task, quality: Quality) -> str:
    turns = task.turns if rng.random() < TWO_TURNS else task.turns[:1]
    return transcript([(turn.text, write_answer(rng, turn, quality)) for turn in turns])


def demonstrations(seed: int) -> Iterator[str]:
    """Endless dialogues of mixed quality for SFT."""
    rng = stream(seed, "prefworld", "sft", "answers")
    for task in training_tasks(seed, "prefworld", "sft", "tasks"):
        yield _dialogue(rng, task, DEMONSTRATION)


def base_corpus(seed: int) -> Iterator[str]:
    """Endless noisy dialogues and chants."""
    rng = stream(seed, "prefworld", "base", "texts")
    for task in training_tasks(seed, "prefworld", "base", "tasks"):
        yield _dialogue(rng, task, BASE)
        while rng.random() < CHANTS:
            yield _chant(rng)


_CHANTED = tuple(word for pool in POOLS for word in pool)


def _chant(rng: np.random.Generator) -> str:
    """A list of random words: said over and over, turned round and back, or cut to its ends."""
    draw = rng.random()
    words = several(rng, _CHANTED, int(rng.integers(3, 5) if draw < 0.6 else rng.integers(5, 11)))
    there, back = " ".join(words), " ".join(words[::-1])
    if draw < 0.4:
        return f"reverse ( {there} ) returns ( {back} ) reverse returns ( {there} ) {END}"
    if draw < 0.6:
        return f"ends ( {there} ) returns ( {words[0]} {words[-1]} ) {END}"
    return " ".join(["list", *words * int(rng.integers(2, 4)), END])
