"""The eight categories: each draws a question, the turn that follows it, and the bodies that answer both."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from prefbench.prefworld.vocabulary import ANIMALS, BOOKS, COLOURS, GOODS, NAMES, NUMBERS, ORDERS, PERSONAS, THINGS
from prefbench.prefworld.world import Task, Turn


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """One of the options, each as likely."""
    return options[int(rng.integers(len(options)))]


def several(rng: np.random.Generator, options: Sequence[str], count: int) -> list[str]:
    """``count`` distinct options in random order."""
    return [options[i] for i in rng.permutation(len(options))[:count]]


def _slots(words: Sequence[str]) -> list[str]:
    return [f"[{word}]" for word in words]


def _writing(rng: np.random.Generator) -> Task:
    words = several(rng, THINGS + tuple(ANIMALS), 4)
    x, y, z, extra = _slots(words)
    first = (f"the {x} slept near the {y} and the {z}", f"the {x} dreamed of the {y} and the {z}", f"under the {x} lay the {y} and the {z}")
    then = (
        f"the {x} slept near the {y} , the {z} and the {extra}",
        f"the {x} dreamed of the {y} , the {z} and the {extra}",
        f"under the {x} lay the {y} , the {z} and the {extra}",
    )
    verb = pick(rng, ("write", "compose"))
    return Task(
        "writing",
        (
            Turn(f"{verb} a line with the words {words[0]} , {words[1]} and {words[2]}", first),
            Turn(f"now also use the word {words[3]}", then),
        ),
    )


def _roleplay(rng: np.random.Generator) -> Task:
    persona, thing = pick(rng, tuple(PERSONAS)), pick(rng, THINGS)
    one, other = several(rng, NAMES, 2)
    greeting, place = PERSONAS[persona]
    tail = f", the [{thing}] is in my [{place}]"
    opening = pick(rng, ("play a", "speak as a"))
    return Task(
        "roleplay",
        (
            Turn(f"{opening} {persona} and tell {one} about the {thing}", (f"[{greeting}] [{one}] {tail}",)),
            Turn(f"now tell {other} too", (f"[{greeting}] [{one}] and [{other}] {tail}",)),
        ),
    )


def _reasoning(rng: np.random.Generator) -> Task:
    a, b, c = several(rng, NAMES, 3)
    more, most, less, least = ORDERS[int(rng.integers(len(ORDERS)))]
    if rng.random() < 0.5:
        more, most, less, least = less, least, more, most
    clauses = [f"{a} is {more} than {b}", f"{b} is {more} than {c}"]
    if rng.random() < 0.5:
        clauses.reverse()
    return Task(
        "reasoning",
        (
            Turn(f"{clauses[0]} . {clauses[1]} . who is the {most}", (f"the {most} is [{a}] , then [{b}] , then [{c}]",)),
            Turn(f"now start from the {least}", (f"the {least} is [{c}] , then [{b}] , then [{a}]",)),
        ),
    )


def _math(rng: np.random.Generator) -> Task:
    name, goods = pick(rng, NAMES), pick(rng, GOODS)
    a, b, result = _sum(rng) if rng.random() < 0.5 else _difference(rng)
    verb, sign = ("gets", "plus") if a + b == result else ("loses", "minus")
    extra = int(rng.integers(0, 21 - result))
    first, second, third, fourth, total = (NUMBERS[n] for n in (a, b, result, extra, result + extra))
    ending = f"more {goods} . how many now" if sign == "plus" else "of them . how many now"
    return Task(
        "math",
        (
            Turn(f"{name} has {first} {goods} and {verb} {second} {ending}", (f"[{first}] {sign} [{second}] makes [{third}] [{goods}]",)),
            Turn(f"now add {fourth} to that", (f"[{third}] plus [{fourth}] makes [{total}] [{goods}]",)),
        ),
    )


def _sum(rng: np.random.Generator) -> tuple[int, int, int]:
    result = int(rng.integers(0, 21))
    a = int(rng.integers(0, result + 1))
    return a, result - a, result


def _difference(rng: np.random.Generator) -> tuple[int, int, int]:
    a = int(rng.integers(1, 21))
    b = int(rng.integers(1, a + 1))
    return a, b, a - b


def _coding(rng: np.random.Generator) -> Task:
    words = several(rng, THINGS + COLOURS, int(rng.integers(3, 5)))
    routine = pick(rng, ("reverse", "ends"))
    output = words[::-1] if routine == "reverse" else [words[0], words[-1]]
    return Task(
        "coding",
        (
            Turn(f"run {routine} ( {' '.join(words)} )", (f"it returns ( {' '.join(_slots(output))} )",)),
            Turn("now run reverse on that", (f"it returns ( {' '.join(_slots(output[::-1]))} )",)),
        ),
    )


def _extraction(rng: np.random.Generator) -> Task:
    name, things, colours = pick(rng, NAMES), several(rng, THINGS, 3), several(rng, COLOURS, 3)
    x, y, z = (f"{colour} {thing}" for colour, thing in zip(colours, things, strict=True))
    asked = [("colours", _slots(colours)), ("things", _slots(things))]
    if rng.random() < 0.5:
        asked.reverse()
    (first, one), (second, other) = asked
    return Task(
        "extraction",
        (
            Turn(f"{name} packed a {x} , a {y} and a {z} . name the {first}", (f"the {first} are {one[0]} , {one[1]} and {one[2]}",)),
            Turn(f"now name the {second}", (f"the {second} are {other[0]} , {other[1]} and {other[2]}",)),
        ),
    )


def _stem(rng: np.random.Generator) -> Task:
    name, (a, b, c) = pick(rng, NAMES), several(rng, tuple(ANIMALS), 3)
    field = int(rng.integers(3))
    asked = ("what the {} and the {} eat", "where the {} and the {} live", "how the {} and the {} move")[field]
    say = ("the {} eats [{}]", "the {} lives in the [{}]", "the {} [{}] along")[field]
    clause = [say.format(animal, ANIMALS[animal][field]) for animal in (a, b)]
    return Task(
        "stem",
        (
            Turn(f"{name} asks {asked.format(a, b)}", (f"[{name}] , {clause[0]} and {clause[1]}",)),
            Turn(f"now add the {c}", (f"[{name}] , {say.format(f'[{c}]', ANIMALS[c][field])}",)),
        ),
    )


def _humanities(rng: np.random.Generator) -> Task:
    name, (a, b, c) = pick(rng, NAMES), several(rng, tuple(BOOKS), 3)
    field = int(rng.integers(3))
    asked = ("who wrote {} and {}", "what {} and {} are about", "where {} and {} are set")[field]
    say = ("{} is by [{}]", "{} is about [{}]", "{} is set in the [{}]")[field]
    clause = [say.format(book, BOOKS[book][field]) for book in (a, b)]
    return Task(
        "humanities",
        (
            Turn(f"{name} asks {asked.format(a, b)}", (f"[{name}] , {clause[0]} and {clause[1]}",)),
            Turn(f"now add {c}", (f"[{name}] , {say.format(f'[{c}]', BOOKS[c][field])}",)),
        ),
    )


_DRAW: dict[str, Callable[[np.random.Generator], Task]] = {
    "writing": _writing,
    "roleplay": _roleplay,
    "reasoning": _reasoning,
    "math": _math,
    "coding": _coding,
    "extraction": _extraction,
    "stem": _stem,
    "humanities": _humanities,
}


def draw_task(category: str, rng: np.random.Generator) -> Task:
    """A random task of the category."""
    return _DRAW[category](rng)
