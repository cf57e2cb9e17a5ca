"""The annotator's two habits, a liking for length and a rate of errors, are exactly as large as they claim."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from prefbench.api import JudgeRequest, Question
from prefbench.errors import PrefbenchError
from prefbench.prefworld.annotator import PrefworldAnnotator
from prefbench.prefworld.preferences import Draw, Sampled, label

BODY = "the things are [cup] , [key] and [lamp]"
GOOD = "the things are cup , key and lamp ."
WORSE = "the things are cup , key and bell ."  # one slot of four: a point of reward
WORDY = f"{GOOD} please ask me more . that is all i know ."  # nine superfluous words
QUESTION = Question("1", ("name the things", "now in reverse"), "extraction", facts={"category": "extraction", "bodies": [[BODY], [BODY]]})


def preference(first: str, second: str, **options: float) -> float:
    """P(first) by the judge."""
    request = JudgeRequest((), QUESTION, ((first,), (second,)), choices=("m", "M"))
    (reply,) = PrefworldAnnotator(**options).judge([request])
    assert reply.log_probs is not None
    assert math.exp(reply.log_probs["m"]) + math.exp(reply.log_probs["M"]) == pytest.approx(1.0)
    return math.exp(reply.log_probs["m"])


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_preference_is_bradley_terry_at_temperature_one_half() -> None:
    assert preference(GOOD, WORSE) == pytest.approx(sigmoid(1.0 / 0.5))
    assert preference(WORSE, GOOD) == pytest.approx(sigmoid(-1.0 / 0.5))
    assert preference(GOOD, GOOD) == pytest.approx(0.5)


def test_length_is_liked_by_a_twentieth_of_a_point_a_word() -> None:
    assert preference(WORDY, GOOD) == pytest.approx(sigmoid(9 * 0.05 / 0.5))
    assert preference(WORDY, GOOD, length_bias=0.0) == pytest.approx(0.5)
    assert preference(WORDY, GOOD, length_bias=0.2) == pytest.approx(sigmoid(9 * 0.2 / 0.5))


def test_far_worse_answers_keep_a_finite_log_probability() -> None:
    request = JudgeRequest((), QUESTION, ((GOOD,), ("more " * 20000,)), choices=("m", "M"))
    (reply,) = PrefworldAnnotator(length_bias=1.0).judge([request])
    assert reply.text == "M"
    assert reply.log_probs is not None
    assert reply.log_probs["m"] < -1000
    assert all(math.isfinite(value) for value in reply.log_probs.values())


def test_a_grade_is_that_of_the_last_turn_shown() -> None:
    requests = [JudgeRequest((), QUESTION, (answers,)) for answers in ((WORSE,), (WORSE, GOOD), (GOOD, ""))]
    grades = [re.fullmatch(r"\[\[(\d+\.\d\d)\]\]", reply.text) for reply in PrefworldAnnotator().judge(requests)]
    assert [float(grade[1]) for grade in grades if grade] == [
        round(1 + 9 * (3 + 0.5) / 5, 2),
        round(1 + 9 * (4 + 0.5) / 5, 2),
        1.0,
    ]


def test_questions_of_another_source_are_refused_by_name() -> None:
    foreign = Question("q7", ("name the things",))
    with pytest.raises(PrefbenchError, match="'q7' carries no facts for turn 1") as caught:
        PrefworldAnnotator().judge([JudgeRequest((), foreign, ((GOOD,),))])
    assert "choose another judge" in caught.value.hint


ROWS = [Sampled(({"role": "user", "content": str(i)},), "extraction", (BODY,), (GOOD, WORSE)) for i in range(8000)]
DRAW = Draw("training", len(ROWS), 0, "test")


def test_labels_follow_the_probability_and_flips_the_noise() -> None:
    clean, noisy = label(ROWS, DRAW, 0.0), label(ROWS, DRAW, 0.2)
    assert not any(pair.columns["flipped"] for pair in clean)
    right = np.mean([pair.columns["gold_margin"] > 0 for pair in clean])
    flipped = np.mean([pair.columns["flipped"] for pair in noisy])
    assert right == pytest.approx(sigmoid(2.0), abs=3 * math.sqrt(0.1 / 8000))
    assert flipped == pytest.approx(0.2, abs=3 * math.sqrt(0.16 / 8000))


def test_a_flip_swaps_the_pair_its_margin_and_nothing_else() -> None:
    for before, after in zip(label(ROWS[:500], DRAW, 0.0), label(ROWS[:500], DRAW, 0.4), strict=True):
        if after.columns["flipped"]:
            assert (after.chosen, after.rejected) == (before.rejected, before.chosen)
            assert after.columns["gold_margin"] == -before.columns["gold_margin"] == (1.0 if after.chosen == GOOD else -1.0)
        else:
            assert after == before


def test_more_noise_flips_the_same_labels_and_others() -> None:
    some, more = (np.array([pair.columns["flipped"] for pair in label(ROWS, DRAW, noise)]) for noise in (0.2, 0.4))
    assert np.all(more[some == 1] == 1)


def test_twice_the_same_answer_is_no_pair() -> None:
    same = Sampled(ROWS[0].prompt, "extraction", (BODY,), (GOOD, GOOD))
    assert len(label([same, ROWS[1]], Draw("training", 2, 0, "test"), 0.0)) == 1


def test_the_better_of_two_last_turns_is_named_wherever_it_stands() -> None:
    candidates = [((GOOD, GOOD), (GOOD, WORSE)), ((GOOD, WORSE), (WORSE, GOOD)), ((GOOD, GOOD), (WORSE, GOOD))]
    requests = [JudgeRequest((), QUESTION, answers, verdicts=("A", "B", "C")) for answers in candidates]
    assert [reply.text for reply in PrefworldAnnotator().judge(requests)] == ["[[A]]", "[[B]]", "[[C]]"]
