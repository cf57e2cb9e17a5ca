"""Stands where vLLM is not installed: what prefbench calls of it, strict about names, over the same model in transformers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import torch
from transformers import AutoModelForCausalLM


@dataclass(frozen=True, kw_only=True)
class SamplingParams:
    """The fields that are used, with vLLM's defaults and limits."""

    temperature: float = 1.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    max_tokens: int = 16
    seed: int | None = None
    stop_token_ids: Sequence[int] = ()
    detokenize: bool = True

    def __post_init__(self) -> None:
        assert 0.0 < self.top_p <= 1.0
        assert self.repetition_penalty > 0.0
        assert self.temperature >= 0.0
        assert self.max_tokens >= 1
        assert self.seed is None or 0 <= self.seed < 2**63


@dataclass
class LLM:
    """An engine in this process; ``made`` lists all that there ever were."""

    model: str
    dtype: str = field(kw_only=True, default="auto")
    trust_remote_code: bool = field(kw_only=True, default=False)
    seed: int = field(kw_only=True, default=0)
    generation_config: str = field(kw_only=True, default="auto")
    enable_prefix_caching: bool = field(kw_only=True, default=True)
    gpu_memory_utilization: float = field(kw_only=True, default=0.9)

    made = []  # noqa: RUF012 - of the class

    def __post_init__(self) -> None:
        assert Path(self.model, "config.json").exists()
        assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
        self.made.append(self)
        self.asked: list[tuple[list[int], SamplingParams]] = []
        self.network = AutoModelForCausalLM.from_pretrained(self.model, dtype=getattr(torch, self.dtype)).eval()
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self.shutdown))
        self.running = True

    def shutdown(self) -> None:
        self.running = False
        del self.network

    def generate(self, prompts: Sequence[Mapping[str, list[int]]], sampling_params: Sequence[SamplingParams], *, use_tqdm: bool = True):
        assert len(prompts) == len(sampling_params)
        self.asked += [(prompt["prompt_token_ids"], parameters) for prompt, parameters in zip(prompts, sampling_params, strict=True)]
        rows = [self._one(prompt["prompt_token_ids"], parameters) for prompt, parameters in zip(prompts, sampling_params, strict=True)]
        return [SimpleNamespace(outputs=[SimpleNamespace(token_ids=tuple(row))]) for row in rows]

    @torch.no_grad()
    def _one(self, prompt: list[int], parameters: SamplingParams) -> list[int]:
        generator, new = torch.Generator().manual_seed(parameters.seed), list[int]()
        while len(new) < parameters.max_tokens and not (new and new[-1] in parameters.stop_token_ids):
            logits = self.network(input_ids=torch.tensor([prompt + new])).logits[0, -1]
            if parameters.temperature == 0:
                new.append(int(logits.argmax()))
            else:
                new.append(int(torch.multinomial((logits / parameters.temperature).softmax(-1), 1, generator=generator)))
        return new
