"""A small board folder with real harnesses: items drawn from a known world, records as a run writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from prefbench.api import Calibration, Fitted, Harness, Items, Judge, Policy, Source
from prefbench.evaluate.held_out import HeldOut
from prefbench.identity import digest, stage_key
from prefbench.report.metrics import score
from prefbench.store.files import write_text
from prefbench.store.folder import Folder

TRACK = """
[track]
name = "tiny"
version = 2
description = "Forty questions."
seed_varies = ["order", "sampling"]
seeds = [0, 1, 2]
tuning = "pre-tuned"

[source]
name = "nowhere"

[train]
steps = 10

[[harness]]
name = "duel"
"""


@dataclass(frozen=True)
class WeightedMean:
    """A ratio of sums: no mean over questions."""

    preference: np.ndarray
    weight: np.ndarray

    @property
    def value(self) -> float:
        return float(self.resample(np.ones((1, len(self.weight))))[0])

    def resample(self, counts: np.ndarray) -> np.ndarray:
        rates: np.ndarray = (counts @ (self.preference * self.weight)) / (counts @ self.weight)
        return rates


@dataclass
class Duel(Harness):
    """Win rates as means, and a length-controlled one that is fitted with weights from the calibration."""

    name: ClassVar[str] = "duel"

    def collect(self, policy: Policy, source: Source) -> list[dict[str, Any]]:
        raise AssertionError("a report never collects")

    def judge(self, rows: Items, judge: Judge, source: Source, calibration: Calibration) -> list[dict[str, Any]]:
        raise AssertionError("a report never judges")

    def values(self, items: Items) -> Mapping[str, Mapping[str, float]]:
        keys = {"win_rate": "preference", "gold_win_rate": "gold"}
        return {metric: {i["id"]: i[key] for i in items if i.get(key) is not None} for metric, key in keys.items()}

    def fitted(self, items: Items, calibration: Calibration) -> Mapping[str, Fitted]:
        if "weight" not in calibration.numbers:
            return {}
        weight = np.array([calibration.numbers["weight"][item["id"]] for item in items])
        return {"length_controlled_win_rate": WeightedMean(np.array([item["preference"] or 0.0 for item in items]), weight)}

    def counts(self, items: Items) -> Mapping[str, int]:
        null = sum(item["preference"] is None for item in items)
        return {"judged": len(items) - null, "null": null}


HARNESSES: dict[str, Harness] = {"duel": Duel()}


@dataclass(frozen=True)
class World:
    """What a synthetic board is made of: the strength of each row by (method, scheduler), seeds, questions."""

    rows: Mapping[tuple[str, str], float] = field(
        default_factory=lambda: {("sft", "-"): 0.5, ("dpo", "uniform"): 0.6, ("ipo", "uniform"): 0.7, ("dpo", "random"): 0.55}
    )
    seeds: int = 3
    questions: int = 40
    gold: bool = True
    nulls: tuple[str, ...] = ()
    """Ids of questions that get no verdict."""


def write_board(root: Path, world: World = World()) -> Folder:
    """Write a folder as a run leaves it, short of what is rendered."""
    folder = Folder(root)
    write_text(folder.track, TRACK)
    folder.write_artefact("duel", {"weight": {f"q{q}": 1.0 + q % 3 for q in range(world.questions)}})
    rng = np.random.default_rng(0)
    for (method, scheduler), strength in world.rows.items():
        for seed in range(world.seeds):
            write_cell(folder, (method, scheduler, seed), draw_items(rng, strength + rng.normal(0, 0.02), world))
    return folder


def draw_items(rng: np.random.Generator, strength: float, world: World) -> list[dict[str, Any]]:
    """One seed's items."""
    items = []
    for q in range(world.questions):
        judged, gold = np.clip(strength + rng.normal(0, 0.2, size=2), 0, 1)
        item = {"harness": "duel", "id": f"q{q}", "preference": None if f"q{q}" in world.nulls else round(float(judged), 4)}
        items.append({**item, "gold": round(float(gold), 4)} if world.gold else item)
    return items


def write_unjudged(root: Path) -> Folder:
    """A folder whose cells were compared on held-out pairs alone: sft, which is right half the time, and dpo, which is right more often."""
    folder = Folder(root)
    write_text(folder.track, TRACK)
    for seed in range(3):
        for cell, right in ((("sft", "-", seed), [0.5] * 50), (("dpo", "uniform", seed), [1.0] * 30 + [0.0] * 20)):
            known = {"harness": "held_out", "gold_correct": None, "margin": 0.1, "chosen_log_ratio": 0.0, "kl": None}
            items = [{**known, "id": f"p{i}", "correct": value} for i, value in enumerate(right)]
            write_cell(folder, cell, items, {"held_out": HeldOut()})
    return folder


def write_cell(
    folder: Folder, cell: tuple[str, str, int], items: list[dict[str, Any]], harnesses: Mapping[str, Harness] = HARNESSES
) -> None:
    """Items and record of a cell that is done."""
    numbers = folder.artefacts()
    calibrations = {name: Calibration(numbers=own) for name, own in numbers.items()}
    training = {"steps": 10, "pairs_forward": 320, "pairs_backward": 160} if cell[1] != "-" else {}
    result = {
        **score(harnesses, items, calibrations),
        "items_sha256": folder.write_items(name_of(cell), items),
        "calibration_sha256": digest(numbers),
        "training": training,
    }
    folder.write_record(name_of(cell), record(cell, "done", result))


def write_diverged(folder: Folder, cell: tuple[str, str, int]) -> None:
    """The record of a cell that ended without a result."""
    error = {"type": "Diverged", "message": "mean loss 12000.0 at step 7 is beyond 10000", "step": 7, "frames": []}
    folder.write_record(name_of(cell), {**record(cell, "diverged", {}), "error": error})


def name_of(cell: tuple[str, str, int]) -> str:
    """The cell's id."""
    return "{}.{}.s{}".format(*cell)


def record(cell: tuple[str, str, int], status: str, result: dict[str, Any]) -> dict[str, Any]:
    """A record as a run writes it."""
    method, scheduler, seed = cell
    trained = scheduler != "-"
    origin = {"distribution": "prefbench", "version": "0.1.0", "source_sha256": "00"}
    objective: dict[str, Any] = (
        {"name": method, "options": {"beta": 0.3}, "origin": origin} if trained else {"name": None, "options": {}, "origin": None}
    )
    chosen = {"name": scheduler, "options": {}, "origin": origin}
    train = {"objective": objective, "scheduler": chosen, "train": {"learning_rate": 1e-4}, "seed": seed} if trained else {"model": method}
    include = {"train": train}
    keys = {"train": stage_key("train", train)}
    for before, stage in (("train", "answer"), ("answer", "judge"), ("judge", "score")):
        include[stage] = {before: keys[before]}
        keys[stage] = stage_key(stage, include[stage])
    return {
        "cell": name_of(cell),
        "mode": "reproduced",
        "track": {"name": "tiny", "version": 2, "seed_varies": ["order", "sampling"], "tuning": "pre-tuned"},
        "method": {
            "label": method,
            "objective": objective["name"],
            "options": objective["options"],
            "learning_rate": 1e-4 if trained else None,
            "origin": objective["origin"],
        },
        "scheduler": {"label": scheduler, **(chosen if trained else {})},
        "seed": seed,
        "status": status,
        "keys": keys,
        "include": include,
        "result": result,
        "clocks": {"train": 2.0 + seed, "answer": 1.0},
        "peak_memory_bytes": 2**30,
        "error": None,
    }


def without_gold(world: World) -> World:
    """The same world, whose source does not know the truth."""
    return replace(world, gold=False)
