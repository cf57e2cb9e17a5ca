"""Dialogues through the model's own chat template: templates that refuse a role, that want turns to alternate, or that there are none."""

from __future__ import annotations

import pytest

from prefbench.api import Question, Sampling
from prefbench.errors import PrefbenchError
from prefbench.evaluate import answers
from prefbench.evaluate.policy import ModelPolicy
from prefbench.train.forward import make_scorer
from tests.models import tiny_llama, word_tokenizer

NO_SYSTEM = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('system role not supported') }}{% endif %}"
    "<{{ 'assistant' if message['role'] == 'assistant' else 'user' }}> {{ message['content'] }} <eos> "
    "{% endfor %}{% if add_generation_prompt %}<assistant> {% endif %}"
)
ALTERNATING = (
    "{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
    "{% if message['role'] == 'user' %}<user> {{ message['content'] }} <assistant> {% else %}{{ message['content'] }} <eos> {% endif %}"
    "{% endfor %}"
)
QUESTIONS = [Question("1", ("w1 w2", "w3")), Question("2", ("w4",)), Question("3", ("w5", "w6"))]
SAMPLING = [Sampling(1.0, 5)] * 3


def policy_of(template: str | None) -> ModelPolicy:
    scorer, tokenizer = make_scorer(tiny_llama(), "float32"), word_tokenizer()
    tokenizer.chat_template = template
    return ModelPolicy(scorer, scorer, tokenizer, 0, 50)


@pytest.fixture
def prompts(monkeypatch) -> dict[str, list[int]]:
    """The last prompt of each question, in token ids, as the model sees it."""
    seen: dict[str, list[int]] = {}
    draw = answers._generate_batch

    def note(model, asked, source, ends):
        seen.update((row.id, row.prompt) for row in asked)
        return draw(model, asked, source, ends)

    monkeypatch.setattr(answers, "_generate_batch", note)
    return seen


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (NO_SYSTEM, "<user> w1 w2 <eos> <assistant> {answer} <eos> <user> w3 <eos> <assistant>"),
        (ALTERNATING, "<user> w1 w2 <assistant> {answer} <eos> <user> w3 <assistant>"),
    ],
    ids=["no system role", "alternating roles"],
)
def test_the_second_turn_holds_the_first_and_its_answer_as_the_template_writes_them(prompts, template, text):
    policy = policy_of(template)
    first, second, _ = policy.answer(QUESTIONS, SAMPLING, "x")
    assert (len(first), len(second)) == (2, 1)
    assert prompts["1"] == policy.tokenizer(" ".join(text.format(answer=first[0]).split()))["input_ids"]


@pytest.mark.parametrize(
    ("template", "roles", "reason"),
    [
        (NO_SYSTEM, ("system", "user"), "system role not supported"),
        (ALTERNATING, ("system", "user"), "roles must alternate"),
        (ALTERNATING, ("user", "user"), "roles must alternate"),
    ],
)
def test_a_conversation_that_the_template_refuses_is_named_by_its_roles(template, roles, reason):
    prompt = tuple({"role": role, "content": "w1"} for role in roles)
    with pytest.raises(PrefbenchError, match=rf"refuses a conversation \({', '.join(roles)}\): {reason}"):
        policy_of(template).sample([prompt], ["1"], SAMPLING[:1], "x")


def test_a_model_without_a_template_continues_plain_text_and_refuses_conversations(prompts):
    policy = policy_of(None)
    (text,) = policy.sample(["w1 w2"], ["1"], SAMPLING[:1], "x")
    assert prompts["1"] == [6, 7]
    assert text
    with pytest.raises(PrefbenchError, match="no chat template, and the prompts are conversations"):
        policy.answer(QUESTIONS, SAMPLING, "x")


def test_an_empty_answer_is_a_turn_like_any_other(prompts):
    policy = policy_of(ALTERNATING)
    policy.policy.model.generation_config.eos_token_id = list(range(50))  # whatever is drawn ends the answer
    ((first, _),) = policy.answer(QUESTIONS[:1], SAMPLING[:1], "x")
    assert first == ""
    assert prompts["1"] == policy.tokenizer("<user> w1 w2 <assistant> <eos> <user> w3 <assistant>")["input_ids"]
