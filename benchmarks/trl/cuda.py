"""Mode ``cuda``: the shape of Qwen2.5-0.5B in bfloat16 on a GPU, as pairs a second and as a share of the device's measured matrix rate."""

from __future__ import annotations

import time

import torch

from benchmarks.trl.losses import of_trainings
from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import THEIRS, Contender, Rounds, alternate
from benchmarks.trl.sides import Training, Workload
from benchmarks.trl.step import PREFBENCH, median_peak, median_step
from benchmarks.trl.tables import Table, mebibytes
from benchmarks.trl.workload import SIZES, mean_words

SIZE, STEPS, BATCH, ROUNDS = "qwen2.5-0.5b", 24, 32, 3
WARM_UP = 8
TOLERANCE = 0.02
"""Relative, of losses in bfloat16, whose numbers have eight bits."""
DEFAULT = Contender("TRL, as installed", THEIRS, {"gradient_checkpointing": True})
BEST = Contender("TRL, precompute, compile", THEIRS, {"precompute_ref_log_probs": True, "torch_compile": True})
HEADER = ("who", "s a step", "pairs/s", "TFLOP/s", "of the matrix rate", "peak MiB", "losses differ by", "prefbench is faster")


def table(plan: Plan) -> Table:
    """prefbench and TRL in turn; nothing where there is no GPU."""
    title = "Qwen2.5-0.5B's shape in bfloat16 on a GPU"
    if not torch.cuda.is_available():
        return Table(title, HEADER, [], {"torch": torch.__version__}, ("Skipped: torch finds no GPU here.",))
    steps, rate = plan.steps or STEPS, matrix_rate()
    workload = plan.workload(SIZE, "mild", BATCH * steps)
    training = plan.training(workload, steps=steps, batch=BATCH, warm_up=WARM_UP, dtype="bfloat16", learning_rate=1e-5)
    found = alternate((PREFBENCH, DEFAULT, BEST), training, plan.rounds or ROUNDS, plan.tell)
    versions = {name: version for outcomes in found.values() for name, version in outcomes[0].trained.versions.items()}
    remarks = (
        f"{found[PREFBENCH.name][0].trained.device}; a product of two matrices of 8192 x 8192 in bfloat16 runs at {rate / 1e12:.0f} TFLOP/s.",
        "TFLOP/s counts what the step needs, the same for all lines: 6 a parameter for each token with the prompt once, and 6 a parameter of the "
        "head for each token of an answer. Attention, and whatever is computed twice, is not counted.",
    )
    return Table(title, HEADER, lines(found, training, needed_flops(workload, training), rate), versions, remarks)


def matrix_rate(width: int = 8192, repeats: int = 50) -> float:
    """FLOP/s of square matrix products in bfloat16, measured here."""
    left, right = (torch.randn(width, width, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(5):
        left @ right
    torch.cuda.synchronize()
    started = time.monotonic()
    for _ in range(repeats):
        left @ right
    torch.cuda.synchronize()
    return repeats * 2 * width**3 / (time.monotonic() - started)


def needed_flops(workload: Workload, training: Training) -> float:
    """Of a step, on average: forward and backward of the layers over each pair's tokens, the prompt once, and of the head over its answers'."""
    head, layers = parameters()
    prompts, answers = mean_words(workload)
    return 6 * training.batch * (layers * (prompts + answers) + head * answers)


def parameters() -> tuple[int, int]:
    """Of the head, and of all layers between it and the input embedding."""
    config = SIZES[SIZE].config()
    width, inner = config.hidden_size, config.intermediate_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    layer = 2 * width * width + 2 * width * keys + 3 * width * inner
    return config.vocab_size * width, config.num_hidden_layers * layer


def lines(found: Rounds, training: Training, flops: float, rate: float) -> list[list[str]]:
    """A line per contender."""
    ours, rows = found[PREFBENCH.name], []
    for name, outcomes in found.items():
        step = median_step(outcomes, training.warm_up)
        achieved = flops / step
        cells = [name, f"{step:.3f}", f"{training.batch / step:.0f}", f"{achieved / 1e12:.0f}", f"{achieved / rate:.0%}"]
        agreed = of_trainings(((a.trained, b.trained) for a, b in zip(ours, outcomes, strict=True)), TOLERANCE)
        compared = (
            ["", ""] if name == PREFBENCH.name else [f"{agreed.difference:.1e}", agreed.ratio(step, median_step(ours, training.warm_up))]
        )
        rows.append([*cells, mebibytes(median_peak(outcomes)), *compared])
    return rows
