"""How far ``prefbench doctor`` is off in memory: the estimate beside the measured peak of a training of two steps, on the CPU.

python -m benchmarks.memory            every way to train, a process each
python -m benchmarks.memory lora       one of them
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from prefbench.api import Pair
from prefbench.config import LoraRules, ModelRules, TrainRules
from prefbench.data.tokens import TokenPairs
from prefbench.objectives.dpo import Dpo
from prefbench.readiness.footprint import Shape, footprint
from prefbench.schedulers.uniform import Uniform
from prefbench.train.adapters import fresh_policy
from prefbench.train.forward import make_scorer
from prefbench.train.job import PairData, TrainJob
from prefbench.train.loop import train
from prefbench.train.meter import Clocks

WAYS = ("full", "full accumulation", "full checkpointing", "full checkpointing accumulation", "lora", "lora checkpointing")
PAIRS, PROMPT, ANSWER, VOCABULARY = 8, 32, 224, 8000
MIB = 2**20


def config(width: int, layers: int) -> LlamaConfig:
    """A Llama with heads of 64 and keys of a third of the width."""
    heads = max(1, width // 64)
    sizes = {"hidden_size": width, "intermediate_size": 8 * width // 3, "num_hidden_layers": layers, "num_attention_heads": heads}
    return LlamaConfig(**sizes, num_key_value_heads=max(1, heads // 3), vocab_size=VOCABULARY, tie_word_embeddings=False)


def pairs() -> PairData:
    """Pairs of random tokens, each as long as the track allows."""
    rng = np.random.default_rng(0)

    def texts(length: int) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(rng.integers(3, VOCABULARY, length).tolist()) for _ in range(PAIRS))

    tokens = TokenPairs((Pair("", "", ""),) * PAIRS, texts(PROMPT), texts(ANSWER), texts(ANSWER))
    return PairData(tokens, np.zeros(PAIRS), np.zeros(PAIRS))


def rehearse(shape: LlamaConfig, rules: TrainRules, lora: LoraRules | None) -> None:
    """Two steps of DPO."""
    reference = make_scorer(AutoModelForCausalLM.from_config(shape, dtype=torch.float32).eval(), "float32")
    job = TrainJob(fresh_policy(reference, lora, 0), pairs(), Dpo(), Uniform(), rules, 1e-4, 0, reference=reference)
    train(job, Clocks())


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


class Watch(threading.Thread):
    """The most that this process had in memory while it ran."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.on = resident(), True

    def run(self) -> None:
        """Look every few milliseconds."""
        while self.on:
            self.peak = max(self.peak, resident())
            time.sleep(0.003)


def measure(way: str) -> str:
    """A line of the table."""
    torch.set_num_threads(1)
    rules = TrainRules(
        steps=2, pool=PAIRS, warmup=0, max_length=PROMPT + ANSWER, micro_batch_tokens=1024,
        gradient_checkpointing="checkpointing" in way, gradient_accumulation="accumulation" in way,
    )  # fmt: skip
    lora, large = LoraRules() if "lora" in way else None, config(384, 8)
    with tempfile.TemporaryDirectory() as folder:
        large.save_pretrained(folder)
        estimate = footprint(Shape.read(Path(folder), ModelRules(), lora), rules, ModelRules(), "float32").total
    rehearse(config(64, 1), rules, lora)  # whatever is imported or allocated once
    watch, before = Watch(), resident()
    watch.start()
    rehearse(large, rules, lora)
    watch.on = False
    measured = watch.peak - before
    return f"{way:35} {measured / MIB:8.0f} MiB measured {estimate / MIB:8.0f} MiB estimated {estimate / measured:6.2f}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(" ".join(sys.argv[1:])))
    else:
        for each in WAYS:
            subprocess.run([sys.executable, "-m", "benchmarks.memory", *each.split()], check=True)
