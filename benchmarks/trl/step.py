"""Mode ``step``: seconds and memory of an optimiser step, prefbench beside TRL in three configurations."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence

from benchmarks.trl.losses import of_trainings
from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import OURS, THEIRS, Contender, Outcome, Rounds, alternate
from benchmarks.trl.tables import Table, mebibytes

PREFBENCH = Contender("prefbench", OURS)
PREFBENCH_COMPILED = Contender("prefbench, compiled layers", OURS, {"compiled": True})
TRL = Contender("TRL", THEIRS)
PRECOMPUTE = Contender("TRL, precompute", THEIRS, {"precompute_ref_log_probs": True})
COMPILE = Contender("TRL, precompute, compile", THEIRS, {"precompute_ref_log_probs": True, "torch_compile": True})
AGAINST = {
    "live": TRL,
    "live-tuned": TRL.tuned(),
    "precompute": PRECOMPUTE,
    "precompute-tuned": PRECOMPUTE.tuned(),
    "best": COMPILE.tuned(),
}
"""TRL's configurations, by the names that --against takes."""

WORK = (("xs", "mild"), ("s", "mild"), ("m", "mild"), ("s", "wide"))
STEPS, ROUNDS = {"xs": 12, "s": 10, "m": 8}, 2
"""Eight steps at least, because so many losses are compared."""
LEARNING_RATE = {"xs": 1e-3, "s": 1e-3, "m": 3e-4}
"""So that losses move by some percent: in larger steps the rounding of TRL's float32 sums, up to 7e-6 of m's loss, would near the tolerance."""

HEADER = (
    "pairs",
    "who",
    "s a step",
    "pairs/s",
    "processor s",
    "peak MiB",
    "losses differ by",
    "prefbench is faster",
    "in processor s",
    "prefbench's memory",
)


def table(plan: Plan) -> Table:
    """Every size, pairs of mild and of wide lengths, every contender."""
    rows: list[list[str]] = []
    versions: dict[str, str] = {}
    for size, lengths in WORK:
        if size not in (plan.sizes or (size,)) or lengths not in (plan.lengths or (lengths,)):
            continue
        plan.tell(f"{size}, {lengths} lengths")
        steps = plan.steps or STEPS[size]
        training = plan.training(plan.workload(size, lengths, 8 * steps), steps=steps, learning_rate=LEARNING_RATE[size])
        found = alternate(contenders(plan.against), training, plan.rounds or ROUNDS, plan.tell)
        rows += [[f"{size}, {lengths}", *cells] for cells in lines(found, training.warm_up, training.batch)]
        versions |= {name: version for outcomes in found.values() for name, version in outcomes[0].trained.versions.items()}
    remarks = (
        "AdamW, constant learning rate of 1e-3 (m: 3e-4), batches of 8 pairs, float32 without gradient checkpointing on both sides.",
        "Medians of rounds in turn, each a process of its own; a step is the median of those behind the warm-up.",
        "Processor s: of all threads together, a step; it tells more than the wall clock where the machine was busy with other things.",
        "prefbench is faster: how many times than that line, itself without compiled layers. Its memory: as a share of that line's.",
        "prefbench keeps freed memory as its workers do, whatever the environment says; TRL does where its line says tuned allocator.",
    )
    return Table("A step", HEADER, rows, versions, remarks)


def contenders(against: Sequence[str] | None) -> list[Contender]:
    """prefbench, plain and with compiled layers, and TRL's configurations: all, or those that are named."""
    return [PREFBENCH, PREFBENCH_COMPILED, *(AGAINST[name] for name in against or AGAINST)]


def lines(found: Rounds, warm_up: int, batch: int) -> Iterator[list[str]]:
    """A line per contender, prefbench's first; ratios are those of the others to it."""
    ours = found[PREFBENCH.name]
    for name, outcomes in found.items():
        step, processor, peak = median_step(outcomes, warm_up), median_processor(outcomes, warm_up), median_peak(outcomes)
        cells = [name, f"{step:.3f}", f"{batch / step:.1f}", f"{processor:.2f}", mebibytes(peak)]
        if name.startswith(PREFBENCH.name):
            yield [*cells, "", "", "", ""]
            continue
        agreed = of_trainings((a.trained, b.trained) for a, b in zip(ours, outcomes, strict=True))
        faster = agreed.ratio(step, median_step(ours, warm_up))
        more = [f"{processor / median_processor(ours, warm_up):.2f}x", f"{median_peak(ours) / peak:.2f}x"]
        yield [*cells, f"{agreed.difference:.1e}", faster, *(["", ""] if agreed.refusal else more)]


def median_step(outcomes: Sequence[Outcome], warm_up: int) -> float:
    """Over rounds, of seconds a step."""
    return statistics.median(outcome.step_seconds(warm_up) for outcome in outcomes)


def median_processor(outcomes: Sequence[Outcome], warm_up: int) -> float:
    """Over rounds, of processor seconds a step."""
    return statistics.median(outcome.step_processor_seconds(warm_up) for outcome in outcomes)


def median_peak(outcomes: Sequence[Outcome]) -> float:
    """Over rounds, of the whole process's peak memory, bytes."""
    return statistics.median(outcome.trained.peak_bytes for outcome in outcomes)
