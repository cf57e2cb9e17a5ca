"""What every back end of answers shares: prompts in token ids, luck by name, batches that are kept when finished, and texts."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prefbench.api import Prompt, Sampling
from prefbench.data.tokens import encode_prompts
from prefbench.errors import PrefbenchError
from prefbench.evaluate.kept_answers import KeptAnswers, Progress
from prefbench.identity import digest
from prefbench.streams import stream, stream_seed
from prefbench.train.forward import refuse_unknown_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class Draws:
    """The luck of answers: for each id a stream of random numbers of its own, under a seed and a name."""

    seed: int
    stream: str

    def of(self, id_: str, count: int) -> np.ndarray:
        """The first ``count`` of an id's uniform numbers in [0, 1), one per new token."""
        return stream(self.seed, self.stream, id_).random(count)

    def seed_of(self, id_: str) -> int:
        """A 63-bit seed for an id, where something else than ``of`` draws."""
        return stream_seed(self.seed, self.stream, id_)


@dataclass(frozen=True)
class Requests:
    """What N answers are asked for: a prompt, an id and a way of sampling for each, in order, and the luck that they draw from."""

    prompts: Sequence[Prompt]
    ids: Sequence[str]
    sampling: Sequence[Sampling]
    source: Draws


@dataclass(frozen=True)
class Asked:
    """One answer to be drawn: its question's id, the token ids of its prompt, and how it is sampled."""

    id: str
    prompt: list[int]
    sampling: Sampling

    def digest(self, source: Draws) -> str:
        """A digest of all that decides the answer beside the model."""
        return digest([source.seed, source.stream, self.id, self.prompt, dataclasses.asdict(self.sampling)])


def ask(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, requests: Requests) -> list[Asked]:
    """The prompts in token ids. Raises PrefbenchError where the model does not know a token, or has no room for a prompt and its answer."""
    prompt_ids = encode_prompts(tokenizer, requests.prompts)
    refuse_unknown_tokens(model, prompt_ids)
    asked = [Asked(*row) for row in zip(requests.ids, prompt_ids, requests.sampling, strict=True)]
    refuse_too_long(model, asked, requests.source)
    return asked


def refuse_too_long(model: PreTrainedModel, asked: Sequence[Asked], source: Draws) -> None:
    """Raise PrefbenchError, with the question, where the model's positions do not hold a prompt and its answer."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for row in asked:
        needed = len(row.prompt) + row.sampling.max_new_tokens
        if positions is not None and needed > positions:
            raise PrefbenchError(
                f"{source.stream}: question {row.id} needs {needed} positions, {len(row.prompt)} for its prompt and "
                f"{row.sampling.max_new_tokens} for its answer, and the model has {positions}",
                "lower max_new_tokens of the harness, or leave the question out",
                exit_code=1,
            )


def answer_in_batches(
    asked: Sequence[Asked],
    batches: Sequence[Sequence[int]],
    draw: Callable[[Sequence[Asked]], list[list[int]]],
    source: Draws,
    progress: Progress,
) -> list[list[int]]:
    """The token ids of every answer, batch by batch; a batch that was finished before, by a run that was killed, is not drawn again.

    ``batches`` (row numbers) must not depend on what is finished: an answer may differ by rounding with the company that its row has.
    """
    answers: dict[int, list[int]] = {}
    for batch in batches:
        progress.report({"answers": len(answers)})
        found = _kept_or_drawn([asked[i] for i in batch], draw, source, progress.kept)
        answers.update(zip(batch, found, strict=True))
    return [answers[i] for i in range(len(asked))]


def _kept_or_drawn(
    rows: Sequence[Asked], draw: Callable[[Sequence[Asked]], list[list[int]]], source: Draws, kept: KeptAnswers | None
) -> list[list[int]]:
    if kept is None:
        return draw(rows)
    names = [row.digest(source) for row in rows]
    found = kept.find(names)
    if found is None:
        start = time.perf_counter()
        found = draw(rows)
        about = {"stream": source.stream, "seconds": (time.perf_counter() - start) / len(rows)}
        lines = zip(rows, names, found, strict=True)
        kept.add({**about, "id": row.id, "asked": name, "tokens": tokens} for row, name, tokens in lines)
    return found


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token ids that end an answer: those of the model's generation settings, and the tokenizer's, which ends the answers of training."""
    named = model.generation_config.eos_token_id if model.generation_config is not None else model.config.eos_token_id
    ends = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
    return sorted({end for end in ends if end is not None})


def texts_of(tokenizer: PreTrainedTokenizerBase, answers: Sequence[Sequence[int]], ends: Sequence[int]) -> list[str]:
    """Token ids as texts, without the token that ended them, special tokens, and space around them."""
    bare = [tokens[:-1] if tokens and tokens[-1] in ends else tokens for tokens in answers]
    texts: list[str] = tokenizer.batch_decode(bare, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return [text.strip() for text in texts]
