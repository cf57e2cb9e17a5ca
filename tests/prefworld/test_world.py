"""The world's questions: their answers are solved again from the text alone, and the sides never share a prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice

import pytest

from prefbench.errors import PrefbenchError
from prefbench.prefworld.categories import draw_task
from prefbench.prefworld.corpus import base_corpus, perfect_answer
from prefbench.prefworld.gold import gold, gold_max
from prefbench.prefworld.preferences import Draw, prompts
from prefbench.prefworld.splits import blocks, cycle, side_of, tasks, training_tasks
from prefbench.prefworld.vocabulary import ANIMALS, BOOKS, COLOURS, NUMBERS, PERSONAS, POLITE, THINGS
from prefbench.prefworld.world import CATEGORIES
from prefbench.streams import stream

# One solver per category: the words of both user turns in, the bodies of both answers out, from the text and the fact tables only.


def solve_writing(first: list[str], second: list[str]) -> tuple[str, str]:
    x, y, z, extra = first[-5], first[-3], first[-1], second[-1]
    return f"the {x} slept near the {y} and the {z}", f"the {x} slept near the {y} , the {z} and the {extra}"


def solve_roleplay(first: list[str], second: list[str]) -> tuple[str, str]:
    persona, name, thing = first[first.index("and") - 1], first[first.index("tell") + 1], first[-1]
    greeting, place = PERSONAS[persona]
    rest = f", the {thing} is in my {place}"
    return f"{greeting} {name} {rest}", f"{greeting} {name} and {second[2]} {rest}"


def solve_reasoning(first: list[str], second: list[str]) -> tuple[str, str]:
    above = {first[0]: first[4], first[6]: first[10]}
    top = next(name for name in above if name not in above.values())
    ranked = [top, above[top], above[above[top]]]
    return f"the {first[-1]} is {' , then '.join(ranked)}", f"the {second[-1]} is {' , then '.join(reversed(ranked))}"


def solve_math(first: list[str], second: list[str]) -> tuple[str, str]:
    a, b, extra = (NUMBERS.index(word) for word in (first[2], first[6], second[2]))
    sign, result = ("plus", a + b) if "gets" in first else ("minus", a - b)
    goods = first[3]
    return (
        f"{NUMBERS[a]} {sign} {NUMBERS[b]} makes {NUMBERS[result]} {goods}",
        f"{NUMBERS[result]} plus {NUMBERS[extra]} makes {NUMBERS[result + extra]} {goods}",
    )


def solve_coding(first: list[str], second: list[str]) -> tuple[str, str]:
    words = first[3:-1]
    output = list(reversed(words)) if first[1] == "reverse" else [words[0], words[-1]]
    return f"it returns ( {' '.join(output)} )", f"it returns ( {' '.join(reversed(output))} )"


def solve_extraction(first: list[str], second: list[str]) -> tuple[str, str]:
    scene = first[: first.index(".")]
    found = {"colours": [word for word in scene if word in COLOURS], "things": [word for word in scene if word in THINGS]}
    (a, b, c), (d, e, f) = found[first[-1]], found[second[-1]]
    return f"the {first[-1]} are {a} , {b} and {c}", f"the {second[-1]} are {d} , {e} and {f}"


def solve_stem(first: list[str], second: list[str]) -> tuple[str, str]:
    column = {"eat": 0, "live": 1, "move": 2}[first[-1]]
    form = ("the {} eats {}", "the {} lives in the {}", "the {} {} along")[column]
    a, b, c = (form.format(animal, ANIMALS[animal][column]) for animal in (first[4], first[7], second[-1]))
    return f"{first[0]} , {a} and {b}", f"{first[0]} , {c}"


def solve_humanities(first: list[str], second: list[str]) -> tuple[str, str]:
    column = {"wrote": 0, "about": 1, "set": 2}[next(word for word in first if word in ("wrote", "about", "set"))]
    form = ("{} is by {}", "{} is about {}", "{} is set in the {}")[column]
    a, b, c = (form.format(book, BOOKS[book][column]) for book in [word for word in first + second if word in BOOKS])
    return f"{first[0]} , {a} and {b}", f"{first[0]} , {c}"


SOLVERS: dict[str, Callable[[list[str], list[str]], tuple[str, str]]] = {
    "writing": solve_writing,
    "roleplay": solve_roleplay,
    "reasoning": solve_reasoning,
    "math": solve_math,
    "coding": solve_coding,
    "extraction": solve_extraction,
    "stem": solve_stem,
    "humanities": solve_humanities,
}


@pytest.mark.parametrize("category", CATEGORIES)
def test_answers_solved_from_the_text_get_the_full_reward(category: str) -> None:
    rng = stream(0, "test", category)
    for _ in range(200):
        task = draw_task(category, rng)
        solved = SOLVERS[category](*(turn.text.split() for turn in task.turns))
        for turn, body in zip(task.turns, solved, strict=True):
            assert gold(category, turn.bodies, f"{POLITE[1]} {body} .") == gold_max(category)
            assert gold(category, turn.bodies, perfect_answer(turn)) == gold_max(category)


def test_tasks_differ_and_keep_to_their_side() -> None:
    drawn = tasks("questions", cycle(805), 0, "test")
    assert len({task.text for task in drawn}) == 805
    assert {side_of(task.text) for task in drawn} == {"questions"}
    assert max(Counter(task.category for task in drawn).values()) == 101


def test_no_training_text_of_any_seed_meets_an_evaluation_prompt() -> None:
    kept_apart = {task.text for side in ("held_out", "questions", "dialogues") for task in tasks(side, cycle(800), 0, "prefworld", side)}
    offered = {row.prompt[0]["content"] for seed in range(3) for row in prompts(Draw("training", 3000, 0, f"seed {seed}"))}
    corpus = " ".join(islice(base_corpus(0), 3000)) + " "
    assert not kept_apart & offered
    assert not kept_apart & {task.text for task in islice(training_tasks(0, "prefworld", "sft", "tasks"), 3000)}
    assert not [text for text in kept_apart if f"<user> {text} <assistant>" in corpus]


def test_dialogues_come_in_blocks_of_ten_in_the_order_of_mt_bench() -> None:
    assert blocks(80) == tuple(category for category in CATEGORIES for _ in range(10))
    assert blocks(8) == CATEGORIES


def test_a_side_that_has_run_out_says_so_instead_of_looking_for_ever() -> None:
    with pytest.raises(PrefbenchError, match="no new humanities prompt on the side 'questions'"):
        tasks("questions", ("humanities",) * 1000, 0, "test")
