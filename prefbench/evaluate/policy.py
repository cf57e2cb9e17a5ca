"""A model under evaluation: it answers questions, scores pairs, and tells how far it has moved from the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from prefbench.api import Message, Pair, Prompt, Question, Sampling
from prefbench.data.tokens import encode_answers, encode_prompts
from prefbench.evaluate import vllm_backend
from prefbench.evaluate.answers import generate
from prefbench.evaluate.asked import Draws, Requests
from prefbench.evaluate.kept_answers import UNTOLD, Progress
from prefbench.identity import digest
from prefbench.train.device import autocast
from prefbench.train.forward import Scorer, sum_by_sequence, summed_log_probs
from prefbench.train.layout import AS_ROWS, micro_batches

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelPolicy:
    """A policy and its reference with the tokenizer that they share; draws come from streams under ``seed``."""

    policy: Scorer
    reference: Scorer
    tokenizer: PreTrainedTokenizerBase
    seed: int
    micro_batch_tokens: int
    reference_sums: dict[str, np.ndarray] = field(default_factory=dict)
    """Summed log-probs under the reference, shape (2, N), by the pairs' digest; policies that share it score the same held-out pairs once."""
    progress: Progress = UNTOLD
    """Told now and then how many answers there are, and keeps them."""
    engine: vllm_backend.VllmEngine | None = None
    """What draws the answers where the track says vLLM; None is the policy itself."""

    def answer(self, questions: Sequence[Question], sampling: Sequence[Sampling], stream: str) -> list[tuple[str, ...]]:
        """Every question's answers, a text per turn; a later turn sees the earlier ones and their answers."""
        dialogues: list[list[Message]] = [[] for _ in questions]
        answers: list[tuple[str, ...]] = [() for _ in questions]
        for turn in range(max((len(question.turns) for question in questions), default=0)):
            rows = [row for row, question in enumerate(questions) if turn < len(question.turns)]
            for row in rows:
                dialogues[row].append({"role": "user", "content": questions[row].turns[turn]})
            prompts: list[Prompt] = [tuple(dialogues[row]) for row in rows]
            ids = [questions[row].id for row in rows]
            texts = self.sample(prompts, ids, [sampling[row] for row in rows], f"{stream}/{turn}")
            for row, text in zip(rows, texts, strict=True):
                dialogues[row].append({"role": "assistant", "content": text})
                answers[row] = (*answers[row], text)
        return answers

    def sample(self, prompts: Sequence[Prompt], ids: Sequence[str], sampling: Sequence[Sampling], stream: str) -> list[str]:
        """One answer per prompt, a conversation or plain text."""
        requests = Requests(prompts, ids, sampling, Draws(self.seed, stream))
        if self.engine is not None:
            return vllm_backend.generate(self.engine, self.tokenizer, requests, self.progress)
        with autocast(self.policy.dtype):
            return generate(self.policy.model, self.tokenizer, requests, self.progress)

    def release(self) -> None:
        """Give back the memory of the engine that draws answers, where there is one: scores need it, and so does whatever comes next."""
        if self.engine is not None:
            self.engine.release()

    def score(self, pairs: Sequence[Pair]) -> Mapping[str, np.ndarray]:
        """Summed log-probs (nats, float64, shape (N,)) of pairs under policy and reference, four arrays by name."""
        self.release()
        prompts = [pair.prompt for pair in pairs]
        prompt_ids = encode_prompts(self.tokenizer, prompts)
        sides = [
            encode_answers(self.tokenizer, prompts, prompt_ids, texts)
            for texts in zip(*((p.chosen, p.rejected) for p in pairs), strict=True)
        ]
        key = digest([prompt_ids, sides])
        if key not in self.reference_sums:
            self.reference_sums[key] = self._sums(self.reference, prompt_ids, sides)
        sums = {"policy": self._sums(self.policy, prompt_ids, sides), "reference": self.reference_sums[key]}
        return {f"{who}_{side}": found[number] for who, found in sums.items() for number, side in enumerate(("chosen", "rejected"))}

    def _sums(self, scorer: Scorer, prompt_ids: Sequence[Sequence[int]], sides: Sequence[Sequence[Sequence[int]]]) -> np.ndarray:
        return summed_log_probs(scorer, prompt_ids, sides, self.micro_batch_tokens)

    @torch.inference_mode()
    def divergence(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> np.ndarray:
        """KL(policy || reference) in nats, summed over each answer's tokens, each token's over the whole vocabulary; float64, shape (N,)."""
        self.release()
        prompt_ids = encode_prompts(self.tokenizer, prompts)
        answer_ids = encode_answers(self.tokenizer, prompts, prompt_ids, answers)
        divergence = np.empty(len(answers))
        alike = self.policy.layout.name == self.reference.layout.name
        layout = self.policy.layout if alike else AS_ROWS  # a baseline may be of another architecture
        for batch in micro_batches(layout, prompt_ids, [answer_ids], self.micro_batch_tokens, self.policy.model.device):
            policy, reference = self.policy.distributions(batch), self.reference.distributions(batch)
            sums = sum_by_sequence((policy.exp() * (policy - reference)).sum(-1), batch)
            divergence[batch.rows.cpu().numpy()] = sums.cpu().numpy()
        return divergence
