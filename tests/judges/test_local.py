"""The local judge against log-probs that are computed token by token here."""

from __future__ import annotations

import dataclasses
import gc
import math
import weakref
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from prefbench.api import JudgeRequest, Question
from prefbench.errors import PrefbenchError
from prefbench.judges.local import LocalModel
from prefbench.testing import JudgeContract
from tests.judges.requests import RATINGS, compared, graded
from tests.models import tiny_llama

TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "|{{ message['role'] }}|{{ message['content'] }}{% endfor %}{% if add_generation_prompt %}|assistant|{% endif %}"
)
LABELS = ("A", "B", "C")


def byte_tokenizer(template: str | None) -> PreTrainedTokenizerFast:
    """A token per byte, so that every text has one spelling."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={"<eos>": 0} | {letter: i for i, letter in enumerate(alphabet, start=1)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    fast.chat_template = template
    return fast


def model_folder(folder: Path, template: str | None = TEMPLATE, seed: int = 0) -> Path:
    sizes = {"vocab_size": 257, "eos_token_id": 0, "pad_token_id": 0, "max_position_embeddings": 512}
    tiny_llama(seed, **sizes).save_pretrained(folder)
    byte_tokenizer(template).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("judge"))


class TestLocalModelKeepsItsContract(JudgeContract):
    component = LocalModel
    place: ClassVar[Path]

    @pytest.fixture(autouse=True)
    def give_model(self, folder: Path) -> None:
        type(self).variants = ({"model": str(folder), "max_new_tokens": 3},)


@torch.inference_mode()
def log_prob(folder: Path, prompt: str, text: str) -> float:
    """Of a text behind a prompt, a forward of the whole model per token."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), AutoTokenizer.from_pretrained(folder)
    ids, total = tokenizer(prompt)["input_ids"], 0.0
    for token in tokenizer(text)["input_ids"]:
        logits = model(torch.tensor([ids])).logits[0, -1]
        total += float(torch.log_softmax(logits, -1)[token])
        ids = [*ids, token]
    return total


def test_choices_have_the_log_probs_of_their_texts_behind_the_conversation(folder: Path) -> None:
    (reply,) = LocalModel(str(folder)).judge([compared(0)])
    prompt = f"|user|{compared(0).messages[0]['content']}|assistant|"
    assert reply.log_probs == pytest.approx({choice: log_prob(folder, prompt, choice) for choice in ("m", "M")}, abs=1e-5)
    assert reply.log_probs is not None
    assert reply.text == max(reply.log_probs, key=reply.log_probs.__getitem__)


def test_a_rating_is_the_expected_one_and_ten_is_not_one(folder: Path) -> None:
    (reply,) = LocalModel(str(folder)).judge([graded(0)])
    prompt = f"|user|{graded(0).messages[0]['content']}|assistant|Rating: [["
    weights = {rating: math.exp(log_prob(folder, prompt, f"{rating}]]")) for rating in RATINGS}
    expected = sum(int(rating) * weight for rating, weight in weights.items()) / sum(weights.values())
    assert reply.text == f"Rating: [[{expected:.2f}]]"
    assert set(reply.raw["log_probs"]) == set(RATINGS)


def test_a_label_is_the_most_likely_one(folder: Path) -> None:
    request = dataclasses.replace(graded(0), verdicts=LABELS)
    (reply,) = LocalModel(str(folder)).judge([request])
    prompt = f"|user|{graded(0).messages[0]['content']}|assistant|[["
    assert reply.text == f"[[{max(LABELS, key=lambda label: log_prob(folder, prompt, f'{label}]]'))}]]"


def test_a_request_without_verdicts_gets_the_greedy_answer(folder: Path) -> None:
    request = dataclasses.replace(graded(0), verdicts=())
    (reply,) = LocalModel(str(folder), max_new_tokens=4).judge([request])
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(f"|user|{graded(0).messages[0]['content']}|assistant|")["input_ids"]
    start = len(ids)
    while len(ids) < start + 4 and (len(ids) == start or ids[-1] != 0):
        ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    assert reply.text == tokenizer.decode(ids[start:], skip_special_tokens=True)


def test_a_system_message_that_the_template_refuses_goes_before_the_user(folder: Path) -> None:
    def request(*messages: tuple[str, str]) -> JudgeRequest:
        return JudgeRequest(tuple({"role": role, "content": text} for role, text in messages), Question("q", ("?",)), (), ("m", "M"))

    apart, merged = LocalModel(str(folder)).judge([request(("system", "Be fair."), ("user", "Q")), request(("user", "Be fair.\n\nQ"))])
    assert apart == merged


def test_a_model_without_a_chat_template_sees_the_texts(tmp_path: Path) -> None:
    plain = model_folder(tmp_path, template=None)
    (reply,) = LocalModel(str(plain)).judge([compared(0)])
    assert reply.log_probs is not None
    assert reply.log_probs["m"] == pytest.approx(log_prob(plain, compared(0).messages[0]["content"] + "\n\n", "m"), abs=1e-5)


def test_replies_come_one_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judge = LocalModel(str(folder))
    replies = judge.replies([compared(0), compared(1)])
    first = next(replies)
    monkeypatch.setattr(judge, "_reply", lambda _: pytest.fail("asked for more than was taken"))
    assert first == (0, LocalModel(str(folder)).judge([compared(0)])[0])


def test_a_model_that_was_let_go_is_loaded_again_and_says_the_same(folder: Path) -> None:
    judge = LocalModel(str(folder))
    model = weakref.ref(judge._scorer.model)
    before = judge.judge([compared(0)])
    judge.release()
    gc.collect()
    assert model() is None
    assert judge.judge([compared(0)]) == before


def test_weights_in_bfloat16_take_half_the_memory_and_are_another_judge(folder: Path) -> None:
    whole, half = LocalModel(str(folder)), LocalModel(str(folder), weights="bfloat16", dtype="bfloat16")
    assert half._scorer.model.dtype == torch.bfloat16
    assert half.identity_options() != whole.identity_options()
    assert half.judge([compared(0)])[0].log_probs == pytest.approx(whole.judge([compared(0)])[0].log_probs, abs=0.5)


def test_its_identity_is_the_content_of_the_folder_and_not_its_place(folder: Path, tmp_path: Path) -> None:
    same, other = model_folder(tmp_path / "same"), model_folder(tmp_path / "other", seed=1)
    identity = LocalModel("same").locate(tmp_path).identity_options()
    assert identity == LocalModel(str(folder)).identity_options()
    assert identity == LocalModel(str(same), micro_batch_tokens=1).identity_options()
    assert identity != LocalModel(str(other)).identity_options()
    assert str(tmp_path) not in str(identity)


def test_verdicts_that_were_scored_otherwise_are_another_judges(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = LocalModel(str(folder)).identity_options()
    monkeypatch.setattr("prefbench.judges.local.SCORING_VERSION", 2)
    assert LocalModel(str(folder)).identity_options() != before


def test_a_hub_location_is_its_own_identity() -> None:
    place = "hf://someone/judge@" + "0" * 40
    assert LocalModel(place).locate(Path("/elsewhere")).identity_options()["model"] == place


def test_a_model_has_to_be_named() -> None:
    with pytest.raises(PrefbenchError, match="model is empty"):
        LocalModel("")
