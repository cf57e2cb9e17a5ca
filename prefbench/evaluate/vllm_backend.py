"""Answers drawn by vLLM from a model folder: the optional back end of a track's ``[answers]``."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prefbench.errors import PrefbenchError
from prefbench.evaluate.asked import Asked, Draws, Requests, answer_in_batches, ask, end_tokens, texts_of
from prefbench.evaluate.kept_answers import UNTOLD, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

QUESTIONS_AT_ONCE = 256
"""Handed to vLLM together, which batches them as it sees fit; what is finished is kept after each such group."""
MEMORY_SHARE = 0.9
"""Of the GPU's memory that is free: the policy and its reference stay where they are."""


def refuse_missing() -> None:
    """Raise PrefbenchError where vLLM is not installed."""
    if importlib.util.find_spec("vllm") is None:
        raise PrefbenchError("the track's answers.backend is vllm, which is not installed", "pip install 'prefbench[vllm]'")


@dataclass
class VllmEngine:
    """vLLM's engine over a model folder: made when the first answer is asked for, and again after it was released.

    ``model`` is the same model in transformers, for its settings; ``dtype`` is ``float32`` or ``bfloat16``.
    """

    folder: Path
    model: PreTrainedModel
    dtype: str
    trust_remote_code: bool
    seed: int
    _llm: Any = None

    def draw(self, asked: Sequence[Asked], source: Draws, ends: Sequence[int]) -> list[list[int]]:
        """The token ids of answers, drawn with a seed for each id."""
        from vllm import SamplingParams

        parameters = [
            SamplingParams(
                temperature=row.sampling.temperature,
                top_p=row.sampling.top_p,
                repetition_penalty=row.sampling.repetition_penalty,
                max_tokens=row.sampling.max_new_tokens,
                seed=source.seed_of(row.id),
                stop_token_ids=list(ends),
                detokenize=False,  # texts are made of token ids in one place, for every back end
            )
            for row in asked
        ]
        prompts = [{"prompt_token_ids": row.prompt} for row in asked]
        outputs = self._engine().generate(prompts, parameters, use_tqdm=False)
        return [list(output.outputs[0].token_ids) for output in outputs]

    def _engine(self) -> Any:
        if self._llm is None:
            # Within this process: a worker may have no children, and the order in which requests are batched repeats.
            os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
            from vllm import LLM

            self._llm = LLM(
                model=str(self.folder),
                dtype=self.dtype,
                trust_remote_code=self.trust_remote_code,
                seed=self.seed,
                generation_config="vllm",  # no settings but those that are named: the folder's may hold penalties
                enable_prefix_caching=False,  # an answer does not depend on what was asked before it
                **_memory(),
            )
        return self._llm

    def release(self) -> None:
        """Give the GPU's memory back; there is nothing to give before the first answer."""
        if self._llm is not None:
            from vllm.distributed import cleanup_dist_env_and_memory

            self._llm.llm_engine.engine_core.shutdown()
            self._llm = None
            cleanup_dist_env_and_memory()


def _memory() -> dict[str, float]:
    """vLLM takes a share of the whole memory, and fails where less is free."""
    if not torch.cuda.is_available():
        return {}
    torch.cuda.empty_cache()
    free, total = torch.cuda.mem_get_info()
    return {"gpu_memory_utilization": MEMORY_SHARE * free / total}


def generate(engine: VllmEngine, tokenizer: PreTrainedTokenizerBase, requests: Requests, progress: Progress = UNTOLD) -> list[str]:
    """One answer per prompt, as ``answers.generate`` gives them; an answer's seed depends on ``(seed, stream, id)`` alone.

    vLLM draws its own random numbers from the seed, so that policies with the same seed share no luck token by token.
    Raises PrefbenchError for a prompt that leaves no room for its answer.
    """
    asked, source = ask(engine.model, tokenizer, requests), requests.source
    ends = end_tokens(engine.model, tokenizer)
    groups = [range(start, min(start + QUESTIONS_AT_ONCE, len(asked))) for start in range(0, len(asked), QUESTIONS_AT_ONCE)]
    return texts_of(tokenizer, answer_in_batches(asked, groups, lambda rows: engine.draw(rows, source, ends), source, progress), ends)
