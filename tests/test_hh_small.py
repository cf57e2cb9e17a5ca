"""The track hh-small: dialogues and scored lists read, split and shortened, its judge, and a miniature of its preparation to load models from."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PREFBENCH_SHARED") or ROOT.parent / "shared") / "data"
needs_data = pytest.mark.skipif(
    not (DATA / "hh_rlhf").is_dir(),
    reason="needs the HH data, which are not committed: set PREFBENCH_SHARED to the folder that holds data/",
)
FOLDERS = ("hh_rlhf", "dolly", "alpaca_subset", "tinystories", "alpaca_eval_multi", "alpaca_eval", "mt_bench", "llmbar")


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    """The track's own script, which is no part of the package."""
    folder = str(ROOT / "leaderboards" / "hh-small")
    sys.path.insert(0, folder)
    import prepare as module

    yield module
    sys.path.remove(folder)
    for name in ("prepare", "hh", "language_model", "scored", "judge"):
        sys.modules.pop(name, None)


def dialogue(*turns: str) -> str:
    return "".join(f"\n\n{role}: {text}" for role, text in zip(itertools.cycle(["Human", "Assistant"]), turns, strict=False))


# ---------------------------------------------------------------- dialogues


def test_a_dialogue_becomes_a_prompt_and_two_answers(prepare: ModuleType) -> None:
    pair = sys.modules["hh"].parse("helpful", dialogue("hi", "hello", "how?", "so"), dialogue("hi", "hello", "how?", "no"))
    assert [message["role"] for message in pair.prompt] == ["user", "assistant", "user"]
    assert (pair.prompt[-1]["content"], pair.chosen, pair.rejected) == ("how?", "so", "no")


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (("hi", "a", "x", "b"), ("hi", "a", "y", "b"), "differ before the last message"),
        (("hi", "a"), ("hi", "a"), "answers are equal"),
        (("hi", ""), ("hi", "a"), "empty message"),
        (("hi", "a", "x"), ("hi", "a", "y"), "do not alternate"),
    ],
)
def test_what_is_no_pair_says_why(prepare: ModuleType, chosen: tuple[str, ...], rejected: tuple[str, ...], reason: str) -> None:
    assert reason in sys.modules["hh"].parse("helpful", dialogue(*chosen), dialogue(*rejected))


def test_a_long_dialogue_loses_whole_early_turns_and_is_dropped_when_its_last_turn_is_too_long(prepare: ModuleType) -> None:
    hh = sys.modules["hh"]
    pair = hh.parse("helpful", dialogue("one", "two", "three", "four"), dialogue("one", "two", "three", "five"))

    def messages(candidate: object) -> int:
        return len(candidate.prompt) + 1  # type: ignore[attr-defined]

    assert hh.shorten(pair, messages, 4) == pair
    assert [message["content"] for message in hh.shorten(pair, messages, 3).prompt] == ["three"]
    assert hh.shorten(pair, messages, 1) is None
    kept, counts = hh.fit([pair], messages, 1)
    assert (kept, dict(counts)) == ([], {"dropped": 1})


def test_stages_of_one_dialogue_stay_on_one_side(prepare: ModuleType) -> None:
    hh = sys.modules["hh"]
    stages = [
        hh.parse("helpful", dialogue(f"start {i}", *middle, "a"), dialogue(f"start {i}", *middle, "b"))
        for i in range(100)
        for middle in ((), ("x", "y"))
    ]
    training, held_out = hh.split(stages, 0.2)
    assert len(training) + len(held_out) == 200
    assert not {pair.prompt[0]["content"] for pair in training} & {pair.prompt[0]["content"] for pair in held_out}


# ---------------------------------------------------------------- scored lists


def test_a_list_keeps_the_answers_that_fit_and_is_dropped_when_no_two_differ(prepare: ModuleType) -> None:
    scored = sys.modules["scored"]
    whole = scored.ScoredList("why?", ("so", "because", "it is as it has always been"), (0.0, 1.0, 2.0))
    even = scored.ScoredList("who?", ("you", "me"), (1.0, 1.0))
    kept, counts = scored.fit_lists([whole, even], lambda prompt, answer: len(prompt) + len(answer), 12)
    assert [(short.responses, short.scores) for short in kept] == [(("so", "because"), (0.0, 1.0))]
    assert counts == {"lists": 1, "lists dropped": 1, "answers too long": 1}


def test_a_score_is_the_log_odds_of_winning_and_stays_finite(prepare: ModuleType) -> None:
    log_odds = sys.modules["scored"].log_odds
    assert log_odds(0.75) == pytest.approx(1.0986, abs=1e-4)  # log 3
    assert log_odds(0.0) == -log_odds(1.0) == pytest.approx(-13.8155, abs=1e-4)


# ---------------------------------------------------------------- the judge


def test_the_judge_learns_from_answers_that_are_far_enough_apart(prepare: ModuleType) -> None:
    judge, scored = sys.modules["judge"], sys.modules["scored"]
    one = scored.ScoredList("why?", ("bad", "good", "better"), (-3.0, 2.5, 3.0))
    pairs = judge.compared_answers([one], per_list=9, apart=1.0, seed=0)
    assert {(pair.better, pair.worse) for pair in pairs} == {("good", "bad"), ("better", "bad")}


def test_an_answer_beside_a_sample_is_as_long_in_words(prepare: ModuleType) -> None:
    judge, scored = sys.modules["judge"], sys.modules["scored"]
    lists = [scored.ScoredList("why?", ("that is a long story indeed",), (0.0,))] * 2
    pair, *others = judge.beside_samples(lists, ["zip zap zup", " "], seed=0)
    assert (pair.better, pair.worse) == ("that is a", "zip zap zup")
    assert not others  # an empty sample has nothing to be compared with


def test_trust_counts_both_orders(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = sys.modules["judge"]
    pairs = [judge.Compared("why?", "a longer text", "short"), judge.Compared("who?", "me", "somebody else")]
    # The first pair is judged right in both orders; in the second the answer that stands first wins twice.
    monkeypatch.setattr(judge, "judge_ids", lambda *_: [0])
    monkeypatch.setattr(judge, "leads", lambda *_: np.array([1.0, -1.0, 1.0, 1.0]))
    found = judge.trust(None, None, pairs)
    assert (found.right, found.flipped, found.longer, found.picks_longer) == (0.75, 0.5, 0.5, 0.75)
    assert found.right_together == 0.5  # the second pair's orders cancel out, and no lead is no verdict


def test_the_judge_sees_of_the_harnesses_prompts_what_it_has_learned_on(prepare: ModuleType) -> None:
    judge, language_model = sys.modules["judge"], sys.modules["language_model"]
    request, answers = "A question?\nWith two lines.", ("First answer.\n\nGoes on.", "Second answer.")
    tokenizer = language_model.train_tokenizer([request, *answers], 300, max_length=10**9)
    tokenizer.chat_template = judge.TEMPLATE
    learned = tokenizer.decode(judge.judge_ids(tokenizer, request, answers))
    assert learned == f"<|user|>{request}<|end|><|assistant|>{answers[0]}<|end|><|assistant|>{answers[1]}<|end|><|system|>"
    shown = [*own_prompt(request, answers), *mt_bench_prompts(request, answers)]
    assert len(shown) == 3
    for messages in shown:
        assert tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) == learned


def own_prompt(request: str, answers: tuple[str, str]) -> Iterator[list[dict[str, str]]]:
    """The messages in which AlpacaEval asks, in prefbench's words."""
    from prefbench import evaluate

    text = (Path(evaluate.__file__).parent / "prompts" / "alpaca_eval" / "prompt.txt").read_text(encoding="utf-8")
    _, system, user = (part.partition("\n")[2].partition("\n<|im_end|>")[0] for part in text.split("<|im_start|>"))
    filled = user.format(instruction=request, output_1=answers[0], output_2=answers[1])
    yield [{"role": "system", "content": system}, {"role": "user", "content": filled}]


def mt_bench_prompts(request: str, answers: tuple[str, str]) -> Iterator[list[dict[str, str]]]:
    """The messages in which MT-Bench asks, with the track's own prompts: about the first turn, with and without references."""
    for line in (ROOT / "leaderboards" / "hh-small" / "mt_bench_prompts.jsonl").read_text(encoding="utf-8").splitlines():
        prompt = json.loads(line)
        if not prompt["name"].endswith("multi-turn"):
            filled = prompt["prompt_template"].format(question=request, answer_a=answers[0], answer_b=answers[1])
            yield [{"role": "system", "content": prompt["system_prompt"]}, {"role": "user", "content": filled}]


# ---------------------------------------------------------------- the real files


@needs_data
def test_every_row_of_hh_is_a_pair_or_counted(prepare: ModuleType) -> None:
    pairs, dropped = sys.modules["hh"].read_preferences(DATA / "hh_rlhf")
    # The two files have 2,312 + 2,352 rows (their provenance says so).
    assert len(pairs) + sum(dropped.values()) == 4664
    assert len(pairs) > 4600
    training, held_out = sys.modules["hh"].split(pairs, prepare.HELD_OUT_SHARE)
    assert abs(len(held_out) / len(pairs) - prepare.HELD_OUT_SHARE) < 0.03
    assert not {json.dumps(pair.prompt) for pair in training} & {json.dumps(pair.prompt) for pair in held_out}


@needs_data
def test_no_question_is_a_prompt_that_something_trains_on(prepare: ModuleType) -> None:
    hh, scored = sys.modules["hh"], sys.modules["scored"]
    questions = {row["instruction"] for row in scored.alpaca_eval_rows(DATA, prepare.HELD_OUT_SHARE, fits=lambda turns: True)}
    training, held_out = hh.split(hh.read_preferences(DATA / "hh_rlhf")[0], prepare.HELD_OUT_SHARE)
    lists, unseen = scored.split_lists(scored.read_scored_lists(DATA), prepare.HELD_OUT_SHARE)
    assert len(questions) > 150
    assert not questions & {pair.prompt[0]["content"] for pair in training}
    assert not questions & {scored.prompt for scored in lists}
    # HH's and AlpacaEval's prompts do overlap: one hash has to decide for both.
    assert questions & {pair.prompt[0]["content"] for pair in held_out}
    assert questions == {scored.prompt for scored in unseen}


@pytest.fixture
def few_rows(tmp_path: Path) -> Path:
    """A data folder with the first lines of every file."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        for path in (DATA / name).glob("*l*"):
            if path.is_file():
                opened = gzip.open if path.suffix == ".gz" else open
                with opened(path, "rt", encoding="utf-8") as lines, opened(tmp_path / name / path.name, "wt", encoding="utf-8") as few:
                    few.writelines(itertools.islice(lines, 60))
    return tmp_path


@needs_data
def test_a_miniature_preparation_can_be_loaded_and_repeats_itself(prepare: ModuleType, few_rows: Path, tmp_path: Path) -> None:
    from prefbench.data.files import Files
    from prefbench.data.tokens import tokenise_pairs
    from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest

    sizes = prepare.Sizes(
        prepare.Shape(vocabulary=400, width=16, layers=1, heads=2),
        *[prepare.Budget(tokens=2000, learning_rate=1e-3, step_tokens=512)] * 3,
    )
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        prepare.prepare(few_rows, out, sizes, report=lambda _: None)
    assert weights_digest(outs[0] / "sft") == weights_digest(outs[1] / "sft") != weights_digest(outs[0] / "base")
    assert weights_digest(outs[0] / "judge") == weights_digest(outs[1] / "judge") != weights_digest(outs[0] / "sft")
    for name in ("pairs", "held_out", "scored", "scored_held_out", "alpaca_eval_questions", "mt_bench_questions", "mt_bench_references"):
        rows = (outs[0] / f"{name}.jsonl").read_bytes()
        assert rows
        assert rows == (outs[1] / f"{name}.jsonl").read_bytes()

    source = Files(model="sft", base="base", pairs_file="pairs.jsonl", held_out_file="held_out.jsonl").locate(outs[0])
    source.prepare(tmp_path / "cache", lambda _: None)  # refuses bad rows, and a prompt on both sides
    folder = source.models()["sft"]
    tokens = tokenise_pairs(load_tokenizer(folder), [*source.pairs(0), *source.held_out()], prepare.MAX_LENGTH)
    assert tokens.dropped == ()  # the core counts tokens as the preparation does
    assert len(tokens) > 0
    import torch

    model = load_model(folder, torch.device("cpu"))
    assert model(torch.tensor([tokens.prompt_ids[0]])).logits.shape[-1] == len(load_tokenizer(folder))
