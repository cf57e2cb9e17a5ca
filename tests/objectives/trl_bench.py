"""Random pairs as token ids, what an objective would see of them, and TRL's trainers built around the same two tiny models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PreTrainedModel

from prefbench.api import Objective, PairBatch
from tests.models import WORDS, random_tokens, tiny_llama, word_tokenizer

END = 1
"""The token that TRL puts after every answer."""

Loss = tuple[torch.Tensor, PreTrainedModel]
"""A mean loss, and the policy whose weights it depends on."""


@dataclass(frozen=True)
class Row:
    """One pair as token ids, its answers with their end token."""

    prompt: tuple[int, ...]
    chosen: tuple[int, ...]
    rejected: tuple[int, ...]


def random_rows(count: int = 8) -> list[Row]:
    """Pairs of very different lengths; the seed is one at which KTO's z0 is above 0."""
    pairs = random_tokens(count, seed=7)
    answers = ([(*answer, END) for answer in side] for side in (pairs.chosen_ids, pairs.rejected_ids))
    return [Row(*ids) for ids in zip(pairs.prompt_ids, *answers, strict=True)]


def same_length_rows() -> list[Row]:
    """Prompts of 4 tokens, chosen answers of 6, rejected answers as they come."""
    return [Row((5 + i, 20, 30, 8), (9, 10 + i, 11, 40, 12 - i, END), row.rejected) for i, row in enumerate(random_rows(4))]


def likely_rows() -> list[Row]:
    """A pair of answers that the policy itself would give: at each position its likeliest token."""
    model, tokens = tiny_llama(0), [7, 9, 11]
    for _ in range(4):
        tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    return [Row((7, 9, 11), (*tokens[3:], END), (*tokens[3:5], END))]


def worked_out(objective: Objective, rows: Sequence[Row]) -> Loss:
    """The objective's loss of these rows."""
    policy = tiny_llama(0)
    return objective.per_pair(pair_batch(policy, tiny_llama(1), rows)).mean(), policy


@torch.no_grad()
def seen_pairs(rows: Sequence[Row]) -> PairBatch:
    """The batch behind ``worked_out``, detached."""
    return pair_batch(tiny_llama(0), tiny_llama(1), rows)


def pair_batch(policy: PreTrainedModel, reference: PreTrainedModel, rows: Sequence[Row]) -> PairBatch:
    """What an objective would see of these rows, every answer run through the models by itself."""
    chosen = [_statistics(policy, row.prompt, row.chosen) for row in rows]
    rejected = [_statistics(policy, row.prompt, row.rejected) for row in rows]
    with torch.no_grad():
        reference_chosen = [_statistics(reference, row.prompt, row.chosen) for row in rows]
        reference_rejected = [_statistics(reference, row.prompt, row.rejected) for row in rows]
        mismatched = [_mismatched_log_ratio(policy, reference, row.prompt, rows[i - 1]) for i, row in enumerate(rows)]
    common = [_common(*pair) for pair in zip(chosen, rejected, strict=True)]
    fixed = [_common(*pair) for pair in zip(reference_chosen, reference_rejected, strict=True)]
    return PairBatch(
        policy_chosen=torch.stack([answer.log_prob for answer in chosen]),
        policy_rejected=torch.stack([answer.log_prob for answer in rejected]),
        reference_chosen=torch.stack([answer.log_prob for answer in reference_chosen]),
        reference_rejected=torch.stack([answer.log_prob for answer in reference_rejected]),
        chosen_tokens=torch.tensor([len(row.chosen) for row in rows], dtype=torch.float64),
        rejected_tokens=torch.tensor([len(row.rejected) for row in rows], dtype=torch.float64),
        prompt_tokens=torch.tensor([len(row.prompt) for row in rows], dtype=torch.float64),
        statistics={
            "chosen_common_log_prob": torch.stack([side[0] for side in common]),
            "rejected_common_log_prob": torch.stack([side[1] for side in common]),
            "prompt_log_prob": torch.stack([answer.prompt_log_prob for answer in chosen]),
            "chosen_collision": torch.stack([answer.collision for answer in chosen]),
            "rejected_collision": torch.stack([answer.collision for answer in rejected]),
            "mismatched_log_ratio": torch.stack(mismatched),
        },
        columns={"reference-common-margin": torch.stack([of_chosen - of_rejected for of_chosen, of_rejected in fixed])},
    )


@dataclass(frozen=True)
class _Statistics:
    """One answer under one model: the log-probs of its tokens, and sums over these and over its prompt's, float64."""

    tokens: torch.Tensor
    log_prob: torch.Tensor
    collision: torch.Tensor
    prompt_log_prob: torch.Tensor


def _statistics(model: PreTrainedModel, prompt: tuple[int, ...], answer: tuple[int, ...]) -> _Statistics:
    tokens = torch.tensor([prompt + answer])
    log_probs = torch.log_softmax(model(input_ids=tokens).logits[0, :-1].double(), dim=-1)
    own = log_probs.gather(1, tokens[0, 1:, None])[:, 0]
    collisions = torch.logsumexp(2 * log_probs, dim=-1)
    first = len(prompt) - 1
    return _Statistics(own[first:], own[first:].sum(), collisions[first:].sum(), own[:first].sum())


def _common(chosen: _Statistics, rejected: _Statistics) -> tuple[torch.Tensor, torch.Tensor]:
    """Both answers' log-probs over as many tokens as the shorter one has."""
    length = min(len(chosen.tokens), len(rejected.tokens))
    return chosen.tokens[:length].sum(), rejected.tokens[:length].sum()


def _mismatched_log_ratio(policy: PreTrainedModel, reference: PreTrainedModel, prompt: tuple[int, ...], other: Row) -> torch.Tensor:
    signed_models = ((1, policy), (-1, reference))
    return (
        sum(
            sign * _statistics(model, prompt, answer).log_prob for sign, model in signed_models for answer in (other.chosen, other.rejected)
        )
        / 2
    )


@dataclass(frozen=True)
class Bench:
    """TRL's trainers of the same policy and the same reference; they write under ``folder``."""

    folder: Path

    def dpo_trainer(self, rows: Sequence[Row], loss_type: str, **options: Any) -> Any:
        """A DPOTrainer of this loss type that has these rows as its data."""
        from trl import DPOConfig, DPOTrainer

        models = {"model": tiny_llama(0), "ref_model": tiny_llama(1)}
        config = DPOConfig(loss_type=[loss_type], **self._settings(**options))
        return DPOTrainer(**models, args=config, train_dataset=as_text(rows), processing_class=word_tokenizer())

    def dpo(self, rows: Sequence[Row], loss_type: str, **options: Any) -> Loss:
        """The DPOTrainer's loss of the rows as one batch."""
        trainer = self.dpo_trainer(rows, loss_type, **options)
        return trainer.compute_loss(trainer.model, whole_batch(trainer)), trainer.model

    def cpo(self, rows: Sequence[Row], **options: Any) -> Loss:
        """The CPOTrainer's loss of the rows as one batch."""
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        return self._without_reference(CPOTrainer, CPOConfig(**self._settings(max_length=128, **options)), rows)

    def orpo(self, rows: Sequence[Row], **options: Any) -> Loss:
        """The ORPOTrainer's loss of the rows as one batch."""
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        return self._without_reference(ORPOTrainer, ORPOConfig(**self._settings(max_length=128, **options)), rows)

    def kto(self, rows: Sequence[Row], **options: Any) -> Loss:
        """The KTOTrainer's loss of every chosen and rejected answer; the mismatched answer is that of the pair before, on the same side."""
        from trl import KTOConfig, KTOTrainer

        sides = [(row, rows[i - 1], side) for side in ("chosen", "rejected") for i, row in enumerate(rows)]
        text = [
            {"prompt": _words(row.prompt), "completion": _words(getattr(row, side)), "label": side == "chosen"} for row, _, side in sides
        ]
        models = {"model": tiny_llama(0), "ref_model": tiny_llama(1)}
        config = KTOConfig(**self._settings(**options))
        trainer = KTOTrainer(**models, args=config, train_dataset=Dataset.from_list(text), processing_class=word_tokenizer())
        ids = [(row.prompt, getattr(row, side), getattr(other, side), side == "chosen") for row, other, side in sides]
        names = ("prompt_ids", "completion_ids", "KL_completion_ids", "label")
        batch = trainer.data_collator([dict(zip(names, example, strict=True)) for example in ids])
        return trainer.compute_loss(trainer.model, batch), trainer.model

    def _without_reference(self, trainer_class: Any, config: Any, rows: Sequence[Row]) -> Loss:
        trainer = trainer_class(tiny_llama(0), config, train_dataset=as_text(rows), processing_class=word_tokenizer())
        loss, _ = trainer.get_batch_loss_metrics(trainer.model, whole_batch(trainer))
        return loss, trainer.model

    def _settings(self, **options: Any) -> dict[str, Any]:
        return {"output_dir": str(self.folder), "report_to": "none", "use_cpu": True, "bf16": False, "max_length": None, **options}


def whole_batch(trainer: Any) -> dict[str, torch.Tensor]:
    """All of a trainer's data as its own collator puts it together."""
    return trainer.data_collator([trainer.train_dataset[i] for i in range(len(trainer.train_dataset))])


def as_text(rows: Sequence[Row]) -> Dataset:
    """The rows as TRL wants them."""
    texts = [{name: _words(ids) for name, ids in vars(row).items()} for row in rows]
    return Dataset.from_list([{**text, "chosen": " " + text["chosen"], "rejected": " " + text["rejected"]} for text in texts])


def _words(ids: tuple[int, ...]) -> str:
    return " ".join(WORDS[i] for i in ids)
