"""Annotators by name: what alpaca-eval itself would send, for every configuration that it ships, and how replies of every kind are read."""

from __future__ import annotations

import math
from typing import Any

import pytest

from prefbench.api import JudgeReply, Question
from prefbench.errors import PrefbenchError
from prefbench.evaluate.annotators import OWN, Annotator, annotator_names, load_annotator
from prefbench.evaluate.pairwise import Comparison, preferences, verdicts
from prefbench.evaluate.stand_ins import quiet_root, stand_ins

QUESTION = Question("q", ("Which is larger, 3 or 5?",))
POOLS = {
    "Self-taught-llama3.1-70B-dpo": "has no configs.yaml",
    "alpaca_farm": "is a pool of 13 annotators",
    "alpaca_farm_greedy_gpt4": "asks about 5 questions in one request",
}


@pytest.mark.parametrize("name", annotator_names())
def test_every_annotator_of_the_package_makes_a_request_or_is_refused_in_words(name: str) -> None:
    if name in POOLS:
        with pytest.raises(PrefbenchError, match=POOLS[name]):
            load_annotator(name)
        return
    annotator = load_annotator(name)
    request = annotator.request(QUESTION, "Five.", "Three.")
    shown = "\n".join(message["content"] for message in request.messages)
    assert all(shown.count(text) == 1 for text in (QUESTION.turns[0], "Five.", "Three."))
    assert shown.index("Five.") < shown.index("Three.")
    assert "{" + "output" not in shown
    assert "model_name" not in request.parameters
    assert name == OWN or annotator.reply_tokens == request.parameters["max_tokens"]


def test_an_unknown_annotator_is_told_which_name_is_near() -> None:
    with pytest.raises(PrefbenchError, match="no annotator 'weighted_alpaca_eval_gpt4_turb'") as caught:
        load_annotator("weighted_alpaca_eval_gpt4_turb")
    assert "weighted_alpaca_eval_gpt4_turbo" in caught.value.hint
    with pytest.raises(PrefbenchError, match="no annotator"):
        load_annotator("../models_configs/gpt4")


class Recorder:
    """Stands where the OpenAI client would be; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.chat = self.completions = self

    def create(self, **request: Any) -> Any:
        from openai.types.chat import ChatCompletion

        # Of a model that completes texts, what would be completed is the user's message; such requests come many at a time.
        texts = request.pop("prompt", [])
        dialogues = [[{"role": "user", "content": text}] for text in texts] or [request.pop("messages")]
        self.asked += [{**request, "messages": dialogue} for dialogue in dialogues]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "m"}, "text": "m"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        head = {"id": "1", "created": 0, "model": "m", "object": "chat.completion"}
        return ChatCompletion.model_validate({**head, "choices": [choice] * len(dialogues), "usage": usage})


def sent_by_the_library(name: str, rows: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What alpaca-eval's own annotator of a name puts to its OpenAI client about these rows."""
    with stand_ins():
        from alpaca_eval.annotators import PairwiseAnnotator
        from alpaca_eval.decoders import openai as decoder
    recorder = Recorder()
    monkeypatch.setattr(decoder.utils, "get_all_clients", lambda *args, **kwargs: [recorder])
    with quiet_root():
        annotator = PairwiseAnnotator(annotators_config=name, caching_path=None)
        baseline = [{"instruction": row["instruction"], "output": row["output_1"]} for row in rows]
        graded = [{"instruction": row["instruction"], "output": row["output_2"]} for row in rows]
        annotator.annotate_head2head(baseline, graded)
    return recorder.asked


def comparable(asked: list[dict[str, Any]]) -> list[tuple[str, str]]:
    dialogues = [[sorted(message.items()) for message in request.pop("messages")] for request in asked]
    return sorted((str(dialogue), str(sorted(request.items()))) for dialogue, request in zip(dialogues, asked, strict=True))


def by_openai() -> list[str]:
    with stand_ins():
        from alpaca_eval import constants, utils
    found = []
    for name in annotator_names():
        if name in (OWN, *POOLS):
            continue
        (settings,) = utils.load_configs(constants.EVALUATORS_CONFIG_DIR / name / "configs.yaml").values()
        if settings["fn_completions"] == "openai_completions":
            found.append(name)
    return found


@pytest.mark.parametrize("name", by_openai())
def test_the_requests_are_those_that_alpaca_eval_sends(world: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"instruction": f"What is {i} + {i}?\nShow\tit.", "output_1": f" {2 * i}\n", "output_2": f"It is **{2 * i + 1}**."}
        for i in range(6)
    ]
    expected = sent_by_the_library(name, rows, monkeypatch)
    for request in expected:
        request.pop("model")
    judge = world.scripted(lambda request: JudgeReply("m", {"m": 0.0}))
    asked = [Comparison(Question(str(i), (row["instruction"],)), row["output_1"], row["output_2"]) for i, row in enumerate(rows)]
    preferences(asked, judge, load_annotator(name))
    ours = [{"messages": [dict(message) for message in request.messages], **request.parameters} for request in judge.asked]
    assert len(ours) == len(rows)
    assert comparable(ours) == comparable(expected)


# ---------------------------------------------------------------- replies


def read(annotator: Annotator | str, reply: JudgeReply, world: Any) -> float | None:
    """The preference for the answer that is shown first."""
    judge = world.scripted(lambda request: reply)
    found = annotator if isinstance(annotator, Annotator) else load_annotator(annotator)
    (preference,) = preferences([Comparison(QUESTION, "Three.", "Five.")], judge, found)
    (request,) = judge.asked
    return preference if preference is None or request.answers[0] == ("Five.",) else 1.0 - preference


FIRST = "[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]"
CALLED = '{"ordered_models": [{"model": "M", "rank": 1}, {"model": "m", "rank": 2}]}'


@pytest.mark.parametrize(
    ("name", "text", "preference"),
    [
        ("alpaca_eval_gpt4", FIRST, 1.0),
        ("alpaca_eval_gpt4", FIRST.replace("1}", "2}", 1).replace("2}]", "1}]"), 0.0),
        ("alpaca_eval_gpt4", f"Here you are: {FIRST}", None),
        ("alpaca_eval_gpt4", FIRST.replace("'rank': 1", "'rank': 3"), None),
        ("alpaca_eval_gpt4", "(" * 5000, None),
        ("alpaca_eval_gpt4", "", None),
        ("alpaca_eval_gpt4_turbo_fn", CALLED, 0.0),
        ("alpaca_eval_gpt4_turbo_fn", CALLED[:-3], None),
        ("alpaca_eval_cot_gpt4_turbo_fn", CALLED.replace("{", '{"concise_explanation": "?", ', 1), 0.0),
        ("alpaca_eval_cot_gpt4_turbo_fn", "[" + CALLED + "]", 0.0),
        ("chatgpt", "Output (a)", 1.0),
        ("chatgpt", "Output (b)", 0.0),
        ("chatgpt", "Output (a)\nOutput (b)", None),
        ("chatgpt", "both", None),
        ("chatgpt_fn", '{"best_output": "Output (b)"}', 0.0),
        ("improved_lmsys_gpt4", "9 3\nbecause", 1.0),
        ("improved_lmsys_gpt4", "5 5\nbecause", 0.5),
        ("improved_lmsys_gpt4", "nine", None),
        ("lmsys_gpt4", "5 5", 0.5),
        ("claude", "Output (b)", 0.0),
        ("weighted_alpaca_eval_gpt4_turbo", " m\n", 1.0),
        ("weighted_alpaca_eval_gpt4_turbo", "m or M", None),
        ("gpt4_turbo_logprob", "B", 0.0),
        ("gpt4_turbo_logprob", "m", None),
    ],
)
def test_written_verdicts_are_read_by_the_annotators_own_parser(world: Any, name: str, text: str, preference: float | None) -> None:
    assert read(name, JudgeReply(text), world) == preference


def test_a_binarised_annotator_takes_the_likelier_token(world: Any) -> None:
    reply = JudgeReply("m", {"m": math.log(0.6), "M": math.log(0.4)})
    assert read("alpaca_eval_clf_gpt4_turbo", reply, world) == 1.0
    assert read("weighted_alpaca_eval_gpt4_turbo", reply, world) == pytest.approx(0.6, abs=1e-12)


def test_a_verdict_behind_an_explanation_is_read_at_its_end(world: Any) -> None:
    def token(text: str, **log_probs: float) -> dict[str, Any]:
        return {"token": text, "top_logprobs": [{"token": name, "logprob": value} for name, value in log_probs.items()]}

    content = [token("m", m=0.0), token("is"), token("M", m=math.log(0.2), M=math.log(0.8))]
    raw = {"choices": [{"logprobs": {"content": content}}]}
    name = "weighted_alpaca_eval_cot_gpt4_turbo"
    assert load_annotator(name).request(QUESTION, "", "").choices == (), "a judge that scores tokens at once would explain nothing"
    assert read(name, JudgeReply("m is worse\nM", raw=raw), world) == pytest.approx(0.2, abs=1e-12)
    assert read(name, JudgeReply("m is worse\nM"), world) == 0.0
    assert read(name, JudgeReply("The best is m"), world) is None
    assert read(name, JudgeReply("m", raw={"choices": [{"logprobs": None}]}), world) == 1.0


# ---------------------------------------------------------------- orders


def test_an_annotator_that_does_not_shuffle_shows_the_baseline_first(world: Any) -> None:
    judge = world.scripted(lambda request: JudgeReply("9 1"))
    asked = [Comparison(question, "baseline", "answer") for question in world.plain_questions(20)]
    assert preferences(asked, judge, load_annotator("lmsys_gpt4")) == [0.0] * 20
    assert {request.answers[0] for request in judge.asked} == {("baseline",)}


@pytest.mark.parametrize("name", [OWN, "lmsys_gpt4"])
def test_both_orders_are_asked_for_and_a_judge_that_likes_the_first_flips_always(world: Any, name: str) -> None:
    judge = world.scripted(lambda request: JudgeReply("9 1", {"m": math.log(0.9), "M": math.log(0.1)}))
    asked = [Comparison(question, "baseline", "answer") for question in world.plain_questions(8)]
    found = verdicts(asked, judge, load_annotator(name), both_orders=True)
    assert [verdict.preference for verdict in found] == pytest.approx([0.5] * 8)
    assert all(verdict.flip for verdict in found)
    shown = sorted((request.question.id, request.answers[0][0]) for request in judge.asked)
    assert shown == sorted((question.question.id, text) for question in asked for text in ("baseline", "answer"))
    assert judge.calls == 1


def test_a_judge_of_merit_never_flips_and_a_missing_verdict_of_one_order_is_null(world: Any) -> None:
    def reply(request: Any) -> JudgeReply:
        if request.question.id == "q000" and request.answers[0] == ("worse",):
            return JudgeReply("?")
        return JudgeReply("", {"m": math.log(0.8), "M": math.log(0.2)} if request.answers[0] == ("better",) else {"m": -1.0, "M": -0.1})

    asked = [Comparison(question, "worse", "better") for question in world.plain_questions(3)]
    null, *others = verdicts(asked, world.scripted(reply), load_annotator(OWN), both_orders=True)
    assert null == (None, None)
    expected = (0.8 + math.exp(-0.1) / (math.exp(-0.1) + math.exp(-1.0))) / 2
    assert [verdict.preference for verdict in others] == pytest.approx([expected] * 2)
    assert [verdict.flip for verdict in others] == [False, False]
