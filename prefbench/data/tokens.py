"""Texts to token ids: prompts through the model's chat template, answers up to and including the end-of-sequence token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError

from prefbench.api import Pair, Prompt
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TokenPairs:
    """Token ids of N pairs, in order.

    Of the pairs that were given, in their order, ``dropped`` are the numbers of those that were longer than the track allows, and
    ``prompts_cut`` and ``answers_cut`` of those that were made to fit.
    """

    pairs: tuple[Pair, ...]
    prompt_ids: tuple[tuple[int, ...], ...]
    chosen_ids: tuple[tuple[int, ...], ...]
    rejected_ids: tuple[tuple[int, ...], ...]
    dropped: tuple[int, ...] = ()
    prompts_cut: tuple[int, ...] = ()
    answers_cut: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: Sequence[int]) -> TokenPairs:
        """Some of the pairs, in the order of their row numbers as given."""
        parts = (self.pairs, self.prompt_ids, self.chosen_ids, self.rejected_ids)
        return TokenPairs(*(tuple(part[row] for row in rows) for part in parts))  # type: ignore[arg-type]  # four tuples of four types

    def longest(self, count: int) -> list[int]:
        """Row numbers of the pairs with most tokens, for what is tried before a training."""
        sizes = [len(p) + len(c) + len(r) for p, c, r in zip(self.prompt_ids, self.chosen_ids, self.rejected_ids, strict=True)]
        return sorted(sorted(range(len(sizes)), key=sizes.__getitem__)[-count:])

    def canonical_order(self) -> list[int]:
        """Row numbers in an order that the pairs' token ids alone decide."""
        return sorted(range(len(self)), key=lambda i: (self.prompt_ids[i], self.chosen_ids[i], self.rejected_ids[i]))


def render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: str | None = None) -> str:
    """The text that the model sees: a conversation through the chat template (ready for the answer, or with it), plain text as it stands."""
    if isinstance(prompt, str):
        return prompt + (answer or "")
    if tokenizer.chat_template is None:
        raise PrefbenchError(
            f"the tokenizer of {tokenizer.name_or_path!r} has no chat template, and the prompts are conversations",
            "give the model folder a chat_template.jinja, or prompts as plain text",
        )
    messages = [dict(message) for message in prompt]
    if answer is None:
        return _template(tokenizer, messages, add_generation_prompt=True)
    return _template(tokenizer, [*messages, {"role": "assistant", "content": answer}], add_generation_prompt=False)


def _template(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))
    except TemplateError as error:  # a template may refuse roles too, such as a system message
        roles = ", ".join(message["role"] for message in messages)
        raise PrefbenchError(
            f"the chat template of {tokenizer.name_or_path!r} refuses a conversation ({roles}): {error}",
            "mend the template, or the prompts",
        ) from None


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], special: bool) -> list[list[int]]:
    """Token ids of many texts in one call; ``special`` adds the tokenizer's own special tokens (plain text needs them, templates hold them)."""
    encoded: dict[str, Any] = tokenizer(list(texts), add_special_tokens=special)
    return [list(ids) for ids in encoded["input_ids"]]


def encode_prompts(tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Token ids of prompts, each ready for the first token of its answer."""
    texts = [render(tokenizer, prompt) for prompt in prompts]
    plain = bool(prompts) and isinstance(prompts[0], str)
    return encode(tokenizer, texts, special=plain)


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], prompt_ids: Sequence[Sequence[int]], answers: Sequence[str]
) -> list[tuple[int, ...]]:
    """Token ids of answers as they follow their prompts, cut after the end-of-sequence token, which is added where the template has none."""
    full_texts = [render(tokenizer, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
    plain = bool(prompts) and isinstance(prompts[0], str)
    full = encode(tokenizer, full_texts, special=plain)
    return [
        _close(tokenizer, _continuation(tokenizer, ids, head, answer)) for ids, head, answer in zip(full, prompt_ids, answers, strict=True)
    ]


def _continuation(tokenizer: PreTrainedTokenizerBase, full: list[int], head: Sequence[int], answer: str) -> list[int]:
    # A tokenizer may merge across the border of prompt and answer. Generation starts behind the prompt's own ids, so training must too.
    if full[: len(head)] == list(head):
        return full[len(head) :]
    return encode(tokenizer, [answer], special=False)[0]


def _close(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> tuple[int, ...]:
    end = tokenizer.eos_token_id
    if end in ids:
        return tuple(ids[: ids.index(end) + 1])
    return (*ids, end) if end is not None else tuple(ids)


def _refuse_other_than_pairs(pairs: Sequence[Pair]) -> None:
    if not isinstance(pairs, Sequence):
        raise PrefbenchError(f"the source gave {type(pairs).__name__} where a list of pairs is due", "see Source.pairs", exit_code=1)
    if not pairs:
        raise PrefbenchError("the source has no training pairs", "pairs(seed) returns at least one", exit_code=1)
    for number, pair in enumerate(pairs):
        if not isinstance(pair, Pair) or not all(isinstance(text, str) for text in (pair.chosen, pair.rejected)):
            raise PrefbenchError(
                f"the source's training pair {number} is {pair!r:.120}", "a Pair has a prompt and two answers that are texts", exit_code=1
            )


def _refuse_answers_without_tokens(*sides: Sequence[Sequence[int]]) -> None:
    """An empty text is an answer, which ends at once; where the tokenizer has no end of sequence, nothing of it is left to learn."""
    for side in sides:
        if not all(side):
            number = next(row for row, ids in enumerate(side) if not ids)
            hint = "give the tokenizer an end-of-sequence token, or leave out empty answers"
            raise PrefbenchError(f"an answer of the source's training pair {number} has no token", hint, exit_code=1)


@dataclass(frozen=True)
class _Tokens:
    """Token ids of one pair."""

    prompt: list[int]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]

    @property
    def longer(self) -> int:
        """Tokens of the longer answer."""
        return max(len(self.chosen), len(self.rejected))

    def cut(self, max_length: int, prompt_length: int) -> _Tokens:
        """The last ``prompt_length`` tokens of the prompt, and as many of each answer's first ones as fit behind them."""
        prompt = self.prompt[-prompt_length:]
        room = max_length - len(prompt)
        return _Tokens(prompt, self.chosen[:room], self.rejected[:room])


def tokenise_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Pair], max_length: int, prompt_length: int | None = None
) -> TokenPairs:
    """Token ids of the pairs whose prompt plus longer answer has at most ``max_length`` tokens; the others are dropped and counted.

    With a ``prompt_length`` the others are cut and counted: the prompt to its last so many tokens, then the answers to what fits behind it, an
    answer that is cut without its end of sequence. Two answers that are then the same leave nothing to prefer, and the pair is dropped.
    Raises PrefbenchError for a pair that is no pair of texts, as a source of somebody's own may give one.
    """
    _refuse_other_than_pairs(pairs)
    prompts = [pair.prompt for pair in pairs]
    prompt_ids = encode_prompts(tokenizer, prompts)
    chosen = encode_answers(tokenizer, prompts, prompt_ids, [pair.chosen for pair in pairs])
    rejected = encode_answers(tokenizer, prompts, prompt_ids, [pair.rejected for pair in pairs])
    _refuse_answers_without_tokens(chosen, rejected)
    whole = [_Tokens(*ids) for ids in zip(prompt_ids, chosen, rejected, strict=True)]
    fitting = {row: _fitted(tokens, max_length, prompt_length) for row, tokens in enumerate(whole)}
    kept = {row: tokens for row, tokens in fitting.items() if tokens}
    return TokenPairs(
        pairs=tuple(pairs[row] for row in kept),
        prompt_ids=tuple(tuple(tokens.prompt) for tokens in kept.values()),
        chosen_ids=tuple(tokens.chosen for tokens in kept.values()),
        rejected_ids=tuple(tokens.rejected for tokens in kept.values()),
        dropped=tuple(row for row in fitting if row not in kept),
        prompts_cut=tuple(row for row, tokens in kept.items() if len(tokens.prompt) < len(whole[row].prompt)),
        answers_cut=tuple(row for row, tokens in kept.items() if tokens.longer < whole[row].longer),
    )


def _fitted(tokens: _Tokens, max_length: int, prompt_length: int | None) -> _Tokens | None:
    """The tokens of a pair, cut where they must be and may be; None where the pair is to be dropped."""
    if len(tokens.prompt) + tokens.longer <= max_length:
        return tokens
    if prompt_length is None:
        return None
    short = tokens.cut(max_length, prompt_length)
    return short if short.chosen != short.rejected else None
