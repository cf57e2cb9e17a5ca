"""Mode ``start``: seconds from the start of a process to the end of its first optimiser step."""

from __future__ import annotations

import statistics

from benchmarks.trl.losses import of_trainings
from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import THEIRS, WORKER, Contender, Rounds, alternate
from benchmarks.trl.tables import Table

PREFBENCH = Contender("prefbench, reference cached", WORKER)
CACHED = Contender("TRL, reference cached", THEIRS, {"precompute_ref_log_probs": True})
LIVE = Contender("TRL, reference of the first batch in the step", THEIRS)

STEPS, PAIRS, ROUNDS = 8, 64, 3
HEADER = ("pairs", "who", "s to the end of the first step", "tokens through the reference before it", "losses differ by", "prefbench takes")


def table(plan: Plan) -> Table:
    """One training repeated, so that both sides find the reference log-probs that an earlier one computed."""
    rows: list[list[str]] = []
    versions: dict[str, str] = {}
    for size in plan.sizes or ("xs",):
        training = plan.training(plan.workload(size, "mild", PAIRS), steps=STEPS)
        found = alternate((PREFBENCH, CACHED, LIVE), training, 1 + (plan.rounds or ROUNDS), plan.tell)
        rows += [[f"{size}, mild", *cells] for cells in lines({name: outcomes[1:] for name, outcomes in found.items()})]
        versions |= {name: version for outcomes in found.values() for name, version in outcomes[0].trained.versions.items()}
    remarks = (
        "A round before the ones that count fills the caches: no reference pass on either side. TRL finds its cache again only because the "
        "repeated training is the same in every setting (see the next table).",
        "prefbench imports all that a worker of `prefbench run` does, and as it does, with the collection of garbage off.",
        "Both load the model from safetensors and tokenise text.",
    )
    return Table("The first step", HEADER, rows, versions, remarks)


def lines(found: Rounds) -> list[list[str]]:
    """A line per contender; shares are prefbench's seconds of the line's."""
    seconds = {name: statistics.median(outcome.first_step for outcome in outcomes) for name, outcomes in found.items()}
    rows = []
    for name, outcomes in found.items():
        scored = max(outcome.trained.reference_tokens for outcome in outcomes)
        cells = [name, f"{seconds[name]:.2f}", str(scored)]
        if name == PREFBENCH.name:
            rows.append([*cells, "", ""])
            continue
        agreed = of_trainings((a.trained, b.trained) for a, b in zip(found[PREFBENCH.name], outcomes, strict=True))
        rows.append([*cells, f"{agreed.difference:.1e}", agreed.ratio(seconds[PREFBENCH.name], seconds[name])])
    return rows
