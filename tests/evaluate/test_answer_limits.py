"""Where an answer ends, where a prompt is too long, and what becomes of a batch that is too large for the GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from prefbench.api import Sampling
from prefbench.errors import PrefbenchError
from prefbench.evaluate import answers
from prefbench.evaluate.answers import generate, in_halves
from prefbench.evaluate.asked import Asked, Draws, Requests, end_tokens, texts_of
from tests.models import tiny_llama, word_tokenizer

SOURCE = Draws(3, "bench/0")


def prompt(words: int) -> tuple[dict[str, str], ...]:
    return ({"role": "user", "content": "w1 " * words},)


# ---------------------------------------------------------------- ends


@pytest.mark.parametrize(("named", "ends"), [(None, [1]), (7, [1, 7]), ([9, 7], [1, 7, 9]), ([1], [1])])
def test_an_answer_ends_at_the_models_tokens_and_at_the_tokenizers(named, ends):
    model = tiny_llama()
    model.generation_config.eos_token_id = named
    assert end_tokens(model, word_tokenizer()) == ends


def test_a_model_and_a_tokenizer_without_an_end_go_on_to_the_limit():
    model, tokenizer = tiny_llama(), word_tokenizer()
    model.generation_config.eos_token_id = tokenizer.eos_token = None
    assert end_tokens(model, tokenizer) == []
    (text,) = generate(model, tokenizer, Requests([prompt(3)], ["a"], [Sampling(max_new_tokens=40)], SOURCE))
    assert len(text.split()) > 30


def test_the_token_that_ends_an_answer_is_not_in_its_text_even_where_it_is_not_special():
    model, tokenizer = tiny_llama(), word_tokenizer()
    model.generation_config.eos_token_id = list(range(5, 50))  # every word ends the answer
    asked = [str(i) for i in range(20)]
    texts = generate(model, tokenizer, Requests([prompt(2)] * 20, asked, [Sampling(max_new_tokens=6)] * 20, SOURCE))
    assert set(texts) <= {"", "<user>", "<assistant>", "<user> <user>"}  # words of this tokenizer too


def test_special_tokens_and_space_are_no_part_of_a_text():
    assert texts_of(word_tokenizer(), [[0, 5, 6, 1], [1], [], [5, 1, 0]], [1]) == ["w0 w1", "", "", "w0"]


# ---------------------------------------------------------------- length


def test_a_prompt_that_leaves_no_room_for_its_answer_is_refused_with_its_question():
    model, tokenizer = tiny_llama(max_position_embeddings=20), word_tokenizer()
    fits = [prompt(n) for n in (3, 8)]
    generate(model, tokenizer, Requests(fits, ["a", "b"], [Sampling(max_new_tokens=10)] * 2, SOURCE))
    with pytest.raises(PrefbenchError, match=r"bench/0: question b needs 21 positions, 10 for its prompt and 11 for its answer") as refused:
        generate(model, tokenizer, Requests(fits, ["a", "b"], [Sampling(max_new_tokens=n) for n in (10, 11)], SOURCE))
    assert "max_new_tokens" in refused.value.hint


# ---------------------------------------------------------------- memory


class SmallGpu:
    """Draws a row's id as its only token, and has memory for so many rows at a time."""

    def __init__(self, rows: int) -> None:
        self.rows, self.tried = rows, list[int]()

    def __call__(self, rows: list[Asked]) -> list[list[int]]:
        self.tried.append(len(rows))
        if len(rows) > self.rows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [[int(row.id)] for row in rows]


ROWS = [Asked(str(i), [1], Sampling()) for i in range(7)]


def test_a_batch_is_halved_until_it_fits_and_its_answers_keep_their_order():
    gpu = SmallGpu(2)
    assert in_halves(gpu, ROWS) == [[i] for i in range(7)]
    assert gpu.tried == [7, 3, 1, 2, 4, 2, 2]


def test_a_row_that_is_too_large_alone_is_out_of_memory():
    with pytest.raises(torch.OutOfMemoryError):
        in_halves(SmallGpu(0), ROWS)


def test_answers_of_a_halved_batch_are_those_of_the_whole_one(monkeypatch):
    model, tokenizer = tiny_llama(), word_tokenizer()
    asked = Requests([prompt(n) for n in range(1, 9)], list("abcdefgh"), [Sampling(max_new_tokens=12)] * 8, SOURCE)
    whole = generate(model, tokenizer, asked)
    draw = answers._generate_batch

    def small(model, rows, source, ends):
        if len(rows) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return draw(model, rows, source, ends)

    monkeypatch.setattr(answers, "_generate_batch", small)
    assert generate(model, tokenizer, asked) == whole


def test_on_a_gpu_half_of_what_is_free_is_filled_with_a_power_of_two_of_rows(monkeypatch):
    settings = tiny_llama().config
    model = SimpleNamespace(device=torch.device("cuda"), config=settings, dtype=torch.float32)
    rows = [Asked(str(i), [5] * 6, Sampling(max_new_tokens=4)) for i in range(30)]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (20 * 10 * 256, 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 9 * 10 * 256)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 5 * 10 * 256)
    assert [len(batch) for batch in answers._batches(model, rows)] == [8, 8, 8, 6]  # (20 + 9 - 5) / 2 = 12 rows fit


def test_batches_fill_the_budget_and_no_more(monkeypatch):
    model = tiny_llama()  # 2 (keys, values) * 2 layers * 16 numbers * 4 bytes = 256 bytes a token
    rows = [Asked(str(i), [5] * length, Sampling(max_new_tokens=4)) for i, length in enumerate((6, 1, 3, 2, 5))]
    monkeypatch.setattr(answers, "CPU_CACHE_BYTES", 2 * (6 + 4) * 256)
    assert answers._batches(model, rows) == [[1, 3], [2, 4], [0]]
