"""Questions that a training prompt nearly repeats are found whatever their case and punctuation; common beginnings are not enough."""

from __future__ import annotations

import pytest

from prefbench.data.overlap import near_duplicates

QUESTION = "Explain in simple words to a child of five why the sky is blue at noon and red in the evening."


@pytest.mark.parametrize(
    "prompt",
    [
        QUESTION.upper().replace(".", " !"),
        f"You are a teacher. {QUESTION} Thank you.",
        QUESTION.replace("in the evening", "at dusk"),
    ],
    ids=["case-and-punctuation", "within-a-longer-prompt", "another-end"],
)
def test_a_prompt_that_nearly_repeats_a_question_is_found(prompt: str) -> None:
    assert near_duplicates(["other", prompt], {"sky": QUESTION, "sea": "Why is the sea salt?"}) == ["sky"]


@pytest.mark.parametrize(
    "prompt", ["", "sky", "Explain in simple words to a child of five how a car works, and what may be wrong when it does not start."]
)
def test_a_prompt_that_shares_less_than_half_is_not(prompt: str) -> None:
    assert near_duplicates([prompt], {"sky": QUESTION}) == []


def test_a_short_question_must_be_the_whole_prompt() -> None:
    questions = {"short": "Why is the sea salt?"}
    assert near_duplicates(["why is the sea salt"], questions) == ["short"]
    assert near_duplicates(["Why is the sea salt? Answer as a poet would, in some twenty words."], questions) == []


def test_of_a_conversation_only_the_user_counts() -> None:
    told = ({"role": "system", "content": QUESTION}, {"role": "user", "content": "hi"})
    asked = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}, {"role": "user", "content": QUESTION})
    assert near_duplicates([told], {"sky": QUESTION}) == []
    assert near_duplicates([asked], {"sky": QUESTION}) == ["sky"]
