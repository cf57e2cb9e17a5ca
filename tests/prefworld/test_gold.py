"""The gold reward, worked by hand for each category and turn."""

from __future__ import annotations

import pytest

from prefbench.prefworld.gold import gold, gold_max, read_answer, score

# (category, body, answer, reward); the reward is weight * (right slots + right frame) / (slots + 1) + manners + stop, written out.
WORKED = [
    ("writing", "the [fox] slept near the [owl] and the [key]", "the fox slept near the key and the key .", 3 * 3 / 4 + 0.5),
    (
        "writing",
        "under the [fox] lay the [owl] , the [key] and the [cup]",
        "of course : under the fox lay the owl , the key and the cup",
        3 + 1,
    ),
    ("roleplay", "[ahoy] [anna] , the [lamp] is in my [ship]", "with pleasure : ahoy anna , the lamp is in my ship .", 3 + 1.5 + 0.5),
    (
        "roleplay",
        "[ahoy] [anna] and [ben] , the [lamp] is in my [ship]",
        "ugh , fine : ahoy anna and leo , the lamp is in my ship .",
        3 * 5 / 6 - 1,
    ),
    ("reasoning", "the tallest is [anna] , then [ben] , then [leo]", "the tallest is ben , then anna , then leo .", 4 * 2 / 4 + 0.5),
    ("reasoning", "the shortest is [leo] , then [ben] , then [anna]", "the tallest is leo , then ben , then anna .", 4 * 3 / 4 + 0.5),
    ("math", "[seven] minus [two] makes [five] [coins]", "sure , my friend : seven minus two makes four coins .", 4 * 4 / 5 + 0.5 + 0.5),
    ("math", "[five] plus [three] makes [eight] [coins]", "how dull : five plus three makes eight coins .", 4 - 0.5 + 0.5),
    ("coding", "it returns ( [cup] [red] [key] )", "it returns ( key red cup ) .", 4 * 2 / 4 + 0.5),
    ("coding", "it returns ( [key] [red] [cup] )", "it returns ( key red ) .", 4 * 2 / 4 + 0.5),
    ("extraction", "the colours are [red] , [blue] and [green]", "the things are red , blue and green .", 4 * 3 / 4 + 0.5),
    ("extraction", "the things are [cup] , [key] and [lamp]", "happy to help : the things are cup , key and lamp .", 4 + 0.5 + 0.5),
    (
        "stem",
        "[anna] , the otter eats [fish] and the hawk eats [mice]",
        "anna , the otter eats mice and the hawk eats mice .",
        3.5 * 3 / 4 + 0.5,
    ),
    ("stem", "[anna] , the [bear] eats [berries]", "not again : anna , the bear eats fish", 3.5 * 3 / 4 - 1),
    ("humanities", "[leo] , emberfall is by [morrow] and ironwood is by [vance]", "leo , emberfall is by morrow .", 3.5 * 2 / 4 + 0.5),
    ("humanities", "[leo] , [larkspur] is by [quill]", "of course : leo , larkspur is by quill .", 3.5 + 1.5 + 0.5),
]


@pytest.mark.parametrize(("category", "body", "answer", "reward"), WORKED)
def test_rewards_worked_by_hand(category: str, body: str, answer: str, reward: float) -> None:
    assert gold(category, [body], answer) == pytest.approx(reward, abs=1e-12)


def test_the_best_accepted_body_counts() -> None:
    bodies = ["the [fox] slept near the [owl]", "under the [fox] lay the [owl]"]
    assert read_answer(bodies, "under the fox lay the owl .").content == 1.0
    assert read_answer(bodies, "under the fox lay the key .").content == pytest.approx(2 / 3)


def test_filler_is_counted_and_costs_nothing() -> None:
    body = ["the things are [cup] , [key] and [lamp]"]
    brief = "of course : the things are cup , key and lamp ."
    wordy = f"{brief} please ask me more . that is all i know ."
    assert [read_answer(body, text).superfluous for text in (brief, wordy)] == [0, 9]
    assert gold("extraction", body, wordy) == gold("extraction", body, brief)


def test_words_that_run_on_without_a_stop_spoil_the_frame_and_are_superfluous() -> None:
    reading = read_answer(["it returns ( [cup] [key] )"], "it returns ( cup key ) and more and more")
    assert (reading.content, reading.stopped, reading.superfluous) == (pytest.approx(2 / 3), False, 4)


def test_an_empty_answer_is_worth_nothing() -> None:
    assert gold("math", ["[one] plus [one] makes [two] [keys]"], "") == 0.0


def test_scores_run_from_1_to_10() -> None:
    assert gold_max("roleplay") == 3 + 1.5 + 0.5
    assert score("roleplay", 5.0) == 10.0
    assert score("roleplay", 2.5) == 1 + 9 * 0.5
    assert score("roleplay", -1.5) == 1.0
    assert score("roleplay", 6.0) == 10.0
