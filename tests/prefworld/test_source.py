"""The source in miniature: reproducible, its seeds and sides apart, its models and questions what others expect."""

from __future__ import annotations

import math
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from prefbench.errors import PrefbenchError
from prefbench.prefworld.annotator import PrefworldAnnotator
from prefbench.prefworld.source import Prefworld
from prefbench.prefworld.world import CATEGORIES
from prefbench.registry.options import build
from tests.prefworld.conftest import MINIATURE


def first_turns(pairs: list) -> set[str]:
    return {pair.prompt[0]["content"] for pair in pairs}


def test_pairs_repeat_from_nothing_and_from_the_cache(prefworld: Prefworld, tmp_path: Path) -> None:
    fresh = Prefworld(**MINIATURE)
    fresh.prepare(tmp_path, lambda _: None)
    assert fresh.pairs(0) == prefworld.pairs(0) == prefworld.pairs(0)
    assert fresh.held_out() == prefworld.held_out()
    assert len(prefworld.pairs(0)) == 24
    assert len(prefworld.held_out()) == 8


def test_seeds_have_their_own_prompts_and_answers(prefworld: Prefworld) -> None:
    assert not first_turns(prefworld.pairs(0)) & first_turns(prefworld.pairs(1))
    assert not {pair.chosen for pair in prefworld.pairs(0)} & {pair.chosen for pair in prefworld.pairs(1)}


def test_no_prompt_is_on_two_sides(prefworld: Prefworld) -> None:
    sides = [
        first_turns(prefworld.pairs(0)) | first_turns(prefworld.pairs(1)),
        first_turns(prefworld.held_out()),
        {question.turns[0] for question in prefworld.questions("alpaca_eval")},
        {question.turns[0] for question in prefworld.questions("mt_bench")},
        {question.turns[0] for question in prefworld.questions("validation")},
    ]
    assert sum(map(len, sides)) == len(set.union(*sides))


def test_noise_flips_training_labels_of_the_same_samples_and_no_held_out_label(prefworld: Prefworld, cache: Path) -> None:
    noisy = Prefworld(**MINIATURE, noise=0.5)
    noisy.prepare(cache, lambda _: pytest.fail("noise is no reason to train the models again"))
    clean, flipped = prefworld.pairs(0), noisy.pairs(0)
    assert 0 < sum(pair.columns["flipped"] for pair in flipped) < 24
    assert [{pair.chosen, pair.rejected} for pair in flipped] == [{pair.chosen, pair.rejected} for pair in clean]
    assert noisy.held_out() == prefworld.held_out()


def test_lopsided_pairs_are_the_better_sample_and_a_bad_answer(prefworld: Prefworld, cache: Path) -> None:
    """As MADPO's lower tiers: larger true margins, of answers that the policy would not give; half of them are of the medium tier too."""
    tiers = [Prefworld(**MINIATURE, lopsided=share) for share in (0.5, 1.0)]
    for tier in tiers:
        tier.prepare(cache, lambda _: pytest.fail("other pairs are no reason to train the models again"))
    texts = [{pair.prompt[-1]["content"]: {pair.chosen, pair.rejected} for pair in source.pairs(0)} for source in (prefworld, *tiers)]
    high, medium, low = texts
    assert all(len(high[prompt] & low[prompt]) == 1 for prompt in high)
    assert all(medium[prompt] in (high[prompt], low[prompt]) for prompt in high)
    assert 0 < sum(medium[prompt] == low[prompt] for prompt in high) < 24
    gold = [sum(abs(pair.columns["gold_margin"]) for pair in source.pairs(0)) for source in (prefworld, tiers[1])]
    assert gold[1] > gold[0]
    assert tiers[1].held_out() == prefworld.held_out()


def test_another_world_has_other_models_and_prompts(prefworld: Prefworld, cache: Path) -> None:
    other = Prefworld(**MINIATURE, world_seed=1)
    other.prepare(cache, lambda _: None)
    assert other.models()["sft"] != prefworld.models()["sft"]
    assert other.questions("alpaca_eval") != prefworld.questions("alpaca_eval")
    assert other.identity() != prefworld.identity()


def test_models_load_in_plain_transformers_and_answer(prefworld: Prefworld) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for folder in prefworld.models().values():
        model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
        assert model.generation_config.eos_token_id == tokenizer.eos_token_id == tokenizer.convert_tokens_to_ids("<end>")
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": "now tell anna too"}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        answer = model.generate(**prompt, max_new_tokens=5)[0, prompt["input_ids"].shape[1] :]
        assert 1 <= len(answer) <= 5


def test_alpaca_eval_gets_single_turns_that_the_judge_can_read(prefworld: Prefworld) -> None:
    questions = prefworld.questions("alpaca_eval")
    assert len(questions) == len({question.id for question in questions}) == 16
    assert {len(question.turns) for question in questions} == {1}
    assert {question.category for question in questions} == set(CATEGORIES)


def test_mt_bench_gets_eighty_dialogues_with_its_own_ids_and_categories() -> None:
    questions = Prefworld().questions("mt_bench")
    assert [question.id for question in questions] == [str(i) for i in range(81, 161)]
    assert Counter(question.category for question in questions) == dict.fromkeys(CATEGORIES, 10)
    assert {question.category for question in questions if question.references} == {"math", "reasoning", "coding"}
    assert {len(question.turns) for question in questions} == {2}
    assert {len(question.references) for question in questions} == {0, 2}


def test_other_harnesses_get_no_questions(prefworld: Prefworld) -> None:
    assert prefworld.questions("held_out") == ()


def test_references_get_full_marks() -> None:
    from prefbench.api import JudgeRequest

    asked = [question for question in Prefworld().questions("mt_bench") if question.references]
    requests = [JudgeRequest((), question, (question.references[:turn],)) for question in asked for turn in (1, 2)]
    assert {reply.text for reply in PrefworldAnnotator().judge(requests)} == {"[[10.00]]"}


def test_the_gold_win_rate_is_the_judge_without_its_liking_for_length(prefworld: Prefworld) -> None:
    question = next(q for q in prefworld.questions("alpaca_eval") if q.category == "math")
    body = question.facts["bodies"][0][0].replace("[", "").replace("]", "")
    polite, wordy = f"of course : {body} .", f"{body} . please ask me more ."
    rate = prefworld.compare(question, polite, wordy)["gold_win_rate"]
    assert rate == pytest.approx(1 / (1 + math.exp(-0.5 / 0.5)))  # math weighs politeness with half a point
    assert prefworld.compare(question, wordy, polite)["gold_win_rate"] == pytest.approx(1 - rate)


def test_too_few_prompts_are_an_error_that_says_what_to_raise(prefworld: Prefworld, cache: Path) -> None:
    greedy = Prefworld(**{**MINIATURE, "prompt_count": 16, "pair_count": 17})
    greedy.prepare(cache, lambda _: None)
    with pytest.raises(PrefbenchError, match=r"16 prompts gave 16 pairs .* and 17 are asked for") as caught:
        greedy.pairs(0)
    assert "prompt_count" in caught.value.hint


def test_models_are_not_there_before_prepare() -> None:
    with pytest.raises(PrefbenchError, match="before prepare"):
        Prefworld().models()


def test_options_are_checked_like_any_plugin_s() -> None:
    with pytest.raises(PrefbenchError, match="noise"):
        build(Prefworld, {"noise": 0.6})


def test_listing_the_plugin_imports_no_torch() -> None:
    code = "import sys, prefbench.prefworld.plugin; print(sorted({'torch', 'transformers', 'tokenizers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
