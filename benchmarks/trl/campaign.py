"""Mode ``campaign``: three objectives under two seeds, one ``prefbench run`` beside a TRL process for each training.

prefbench's side is the command as a user would give it, with an empty cache: reading the track, starting workers, measuring how many threads
pay, the reference column and saving six policies are in its time until all are trained; the accuracy on held-out pairs (a track has at least one
harness) and the board, which TRL's side has no counterpart of, come on top in that of the whole command. TRL's side saves nothing.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.trl.losses import agreement, worst_of
from benchmarks.trl.ours import OBJECTIVES
from benchmarks.trl.plan import Plan
from benchmarks.trl.rounds import Contender, surroundings, train
from benchmarks.trl.sides import Training, Workload
from benchmarks.trl.step import PREFBENCH, TRL
from benchmarks.trl.tables import Table, mebibytes
from benchmarks.trl.whole_run import TrainedCell, last_trained, run_order, run_track, trained_cells, versions
from benchmarks.trl.workload import SIZES, random_pairs

SEEDS = (0, 1)
PAIRS, HELD_OUT, ROUNDS = 128, 8, 2
HEADER = ("pairs", "who", "s until all are trained", "s in all", "largest process MiB", "losses differ by", "prefbench is faster", "in all")
TRACK = """
[track]
name = "campaign"
version = 1
seeds = {seeds}
[source]
name = "files"
model = "{model}"
pairs_file = "{pairs}"
held_out_file = "{held_out}"
[train]
steps = {steps}
pool = {batch}
learning_rate = {learning_rate}
warmup = 0
schedule = "constant"
dtype = "float32"
[[harness]]
name = "held_out"
divergence_prompts = 0
{methods}
[[grid]]
methods = {names}
schedulers = ["uniform"]
"""


@dataclass(frozen=True)
class Campaign:
    """Six trainings: seconds until the last one's end and of everything, the largest process, and the losses of each by objective and seed."""

    trained: float
    seconds: float
    peak_bytes: int
    losses: dict[tuple[str, int], list[float]]
    versions: dict[str, str]


def table(plan: Plan) -> Table:
    """The campaign for each size."""
    rows: list[list[str]] = []
    used: dict[str, str] = {}
    for size in plan.sizes or ("s", "xs"):
        plan.tell(f"{size}, mild lengths")
        found = alternate(plan, size)
        rows += [[f"{size}, mild", *cells] for cells in lines(found)]
        used |= found[PREFBENCH.name][0].versions | found[TRL.name][0].versions
    remarks = (
        f"{len(OBJECTIVES)} objectives ({', '.join(OBJECTIVES)}) under {len(SEEDS)} seeds, {PAIRS} pairs, {PAIRS // 8} steps each.",
        "prefbench: one `prefbench run` with an empty cache, held-out accuracy, saved policies and board included. TRL: a process per training.",
    )
    return Table("A campaign", HEADER, rows, used, remarks)


def alternate(plan: Plan, size: str) -> dict[str, list[Campaign]]:
    """prefbench and TRL in turn, TRL with either allocator."""
    workload = plan.workload(size, "mild", PAIRS)
    training = plan.training(workload, steps=PAIRS // 8)
    track = write_track(workload, training, SIZES[size].vocabulary)
    contenders = (PREFBENCH, TRL, TRL.tuned())
    found: dict[str, list[Campaign]] = {contender.name: [] for contender in contenders}
    for number in range(plan.rounds or ROUNDS):
        for contender in contenders:
            campaign = (
                theirs(contender, training)
                if contender.module == TRL.module
                else ours(contender, training, track, Path(training.scratch) / f"{contender.name} {number}")
            )
            found[contender.name].append(campaign)
            plan.tell(f"round {number + 1}: {contender.name}: {campaign.trained:.1f} s, {campaign.seconds:.1f} s in all")
    return found


def write_track(workload: Workload, training: Training, vocabulary: int) -> Path:
    """The campaign as a track, with held-out pairs of other words."""
    held_out = workload.folder / "held_out.jsonl"
    rows = random_pairs(vocabulary, "mild", HELD_OUT, seed=1)
    held_out.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    names = [objective.name for objective in OBJECTIVES.values()]
    text = TRACK.format(
        seeds=list(SEEDS),
        model=workload.model,
        pairs=workload.pairs,
        held_out=held_out,
        steps=training.steps,
        batch=training.batch,
        learning_rate=training.learning_rate,
        methods="\n".join(f"[methods.{name}]" for name in names),
        names=json.dumps(names),
    )
    track = workload.folder / "track.toml"
    track.write_text(text)
    return track


def ours(contender: Contender, training: Training, track: Path, folder: Path) -> Campaign:
    """``prefbench run`` of the track, which chooses by itself how it shares as many cores as TRL has threads."""
    environment = {name: value for name, value in surroundings(training).items() if name != "OMP_NUM_THREADS"}
    began = time.time()  # as files have it
    seconds = run_track(track, folder, training.threads, environment | dict(contender.environment))
    cells = trained_cells(folder / "run")
    return Campaign(last_trained(folder / "run") - began, seconds, max(cell.peak_bytes for cell in cells), by_objective(cells), versions())


def by_objective(cells: Sequence[TrainedCell]) -> dict[tuple[str, int], list[float]]:
    """Losses by TRL's name of the objective and by seed."""
    names = {objective.name: name for name, objective in OBJECTIVES.items()}
    return {(names[cell.objective], cell.seed): cell.losses for cell in cells}


def theirs(contender: Contender, training: Training) -> Campaign:
    """A process per objective and seed, one after the other, each with all threads."""
    workload = Workload(Path(training.folder))
    orders = {seed: tuple(run_order(workload, seed)) for seed in SEEDS}
    asked = [dataclasses.replace(training, objective=name, seed=seed, order=orders[seed]) for name in OBJECTIVES for seed in SEEDS]
    found = [train(contender, each) for each in asked]
    seconds = sum(outcome.seconds for outcome in found)
    return Campaign(
        trained=seconds,
        seconds=seconds,
        peak_bytes=max(outcome.trained.peak_bytes for outcome in found),
        losses={(each.objective, each.seed): outcome.trained.losses for each, outcome in zip(asked, found, strict=True)},
        versions=dict(found[0].trained.versions),
    )


def lines(found: dict[str, list[Campaign]]) -> list[list[str]]:
    """A line per contender; ratios are to prefbench."""
    trained, seconds = (
        {name: statistics.median(getattr(campaign, measure) for campaign in campaigns) for name, campaigns in found.items()}
        for measure in ("trained", "seconds")
    )
    rows = []
    for name, campaigns in found.items():
        peak = statistics.median(campaign.peak_bytes for campaign in campaigns)
        cells = [name, f"{trained[name]:.1f}", f"{seconds[name]:.1f}", mebibytes(peak)]
        if name == PREFBENCH.name:
            rows.append([*cells, "", "", ""])
            continue
        agreed = worst_of(
            agreement(ours.losses[each], theirs.losses[each])
            for ours, theirs in zip(found[PREFBENCH.name], campaigns, strict=True)
            for each in ours.losses
        )
        ratios = [agreed.ratio(measure[name], measure[PREFBENCH.name]) for measure in (trained, seconds)]
        rows.append([*cells, f"{agreed.difference:.1e}", *ratios])
    return rows
