"""What is missing on this machine to run a track, line by line."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from prefbench.api import Judge, Source
from prefbench.config import Track
from prefbench.data.files import LOCATIONS, PAIRS, Files
from prefbench.data.formats import AUTO
from prefbench.data.preference_files import detect
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError
from prefbench.judges.estimate import estimate
from prefbench.plan import Planner
from prefbench.readiness.effort import SHARE, device_memory, disk_needed, free_disk, measured_rate, operations, trained_cells
from prefbench.readiness.findings import Finding, looked_at
from prefbench.readiness.footprint import GIB, Shape, footprint
from prefbench.readiness.places import cached_model, presence
from prefbench.registry import Registry
from prefbench.train.device import compute_dtype

UNKNOWN = "unknown until the model is here"
HOUR = 3600.0


def track_findings(track: Track, registry: Registry, out: Path, ask_hub: bool = False) -> Iterator[Finding]:
    """A line for each thing that a run of the track needs. Nothing is fetched, loaded or written; the hub is asked only where told to."""
    cells = len(track.seeds) * len(track.rows)
    yield Finding("track", "ok", f"{track.name} version {track.version}: {cells} cells, {trained_cells(track)} of them trained")
    yield from _skipped(track.skipped)
    planner = Planner(track, registry, "float32")  # no key is made here, so that the dtype is of no account
    try:
        source, judge = planner.source(), _judge(planner)
    except PrefbenchError as error:
        yield Finding("options", "wrong", f"{error} ({error.hint})")
        return
    places = [presence(option, location, ask_hub) for option, location in _locations(source, judge).items()]
    yield from places
    there = {place.check for place in places if place.state == "ok"}
    if isinstance(source, Files):
        yield from _pairs(source, there)
    yield from _answers(track)
    yield from _judging(planner, source, judge, {place.check for place in places} - there, out)
    yield from _training(track, source, out)


def _skipped(skipped: Mapping[str, str]) -> Iterator[Finding]:
    for table, reason in skipped.items():
        yield Finding(table, "missing", f"{reason}; its rows are skipped")


def _judge(planner: Planner) -> Judge | None:
    named = planner.track.judge
    return cast(Judge, planner.component("judge", named)).locate(planner.track.path.parent) if named else None


def _locations(source: Source, judge: Judge | None) -> dict[str, str]:
    """The files, folders and repositories that a track names, by the option that names them."""
    found = {option: getattr(source, option) for option in LOCATIONS} if isinstance(source, Files) else {}
    if judge is not None and judge.name == "local":
        found["judge.model"] = judge.options()["model"]
    return {option: location for option, location in found.items() if location}


def _pairs(source: Files, there: set[str]) -> Iterator[Finding]:
    """The shape of the pairs where they are here; a data set of the hub is read when it is run."""
    for table, option in zip(source.tables, PAIRS, strict=False):
        if option in there and not table.is_data_set:
            yield looked_at(f"format of {option}", partial(_format, source.pairs_format, table))


def _format(named: str, table: Table) -> str:
    return detect(table).name if named == AUTO else named


def _answers(track: Track) -> Iterator[Finding]:
    if track.answers.backend == "vllm":
        there = find_spec("vllm") is not None
        yield Finding("vllm", "ok", "installed") if there else Finding("vllm", "missing", "python -m pip install 'prefbench[vllm]'")


# ---------------------------------------------------------------- the judge


def _judging(planner: Planner, source: Source, judge: Judge | None, absent: set[str], out: Path) -> Iterator[Finding]:
    if judge is None:
        return
    if variable := judge.options().get("key_env", ""):
        there = bool(os.environ.get(variable, "").strip())
        yield Finding("key", "ok", f"{variable} is set") if there else Finding("key", "missing", f"export {variable}=...")
    if judge.tariff is None:
        return
    asked = sorted(option for option in absent if option.startswith(("alpaca_eval", "mt_bench")))
    if asked:
        yield Finding("judge calls", "ok", f"unknown until the questions are here: {', '.join(asked)}")
        return
    yield _cost(planner, source, judge, out)


def _cost(planner: Planner, source: Source, judge: Judge, out: Path) -> Finding:
    """What judging every cell costs at most, against the track's budget."""
    try:
        found = estimate(judge, planner.harnesses(), source, len(planner.track.seeds) * len(planner.track.rows), out)
    except PrefbenchError as error:
        return Finding("judge calls", "wrong", f"{error} ({error.hint})")
    refusal = found.refusal() if found else None
    if refusal:
        return Finding("judge calls", "wrong", f"{refusal} ({refusal.hint})")
    return Finding("judge calls", "ok", found.in_words() if found else "no limit is set")


# ---------------------------------------------------------------- training


def _training(track: Track, source: Source, out: Path) -> Iterator[Finding]:
    if not trained_cells(track) or not isinstance(source, Files):
        return  # a source that makes its models says itself what they are
    folder = cached_model(source.model)
    if folder is None:
        yield from (Finding(check, "ok", UNKNOWN) for check in ("memory", "disk", "time"))
        return
    try:
        shape = Shape.read(folder, track.model, track.lora)
        dtype = compute_dtype(track.train.dtype, track.model.weights)
    except Exception as error:  # a configuration that transformers does not know, or that is none
        yield Finding("model", "wrong", f"{folder}: {error}")
        return
    yield _memory(track, shape, dtype)
    yield _disk(track, shape, out)
    yield _time(track, shape, dtype)


def _memory(track: Track, shape: Shape, dtype: str) -> Finding:
    needed = footprint(shape, track.train, track.model, dtype)
    device, room = device_memory()
    words = f"at most {needed.in_words()}; {device} has {room / GIB:.1f} GiB"
    if needed.total <= room:
        return Finding("memory", "ok", words)
    return Finding("memory", "wrong", f"{words}; {_smaller(track)}")


def _smaller(track: Track) -> str:
    """What would make a training smaller that the track does not do yet."""
    ways = {
        "gradient_accumulation = true": track.train.gradient_accumulation,
        "gradient_checkpointing = true": track.train.gradient_checkpointing,
        "[lora] (another track)": track.lora is not None,
    }
    left = [way for way, taken in ways.items() if not taken]
    return f"smaller: {', '.join([*left, 'a lower micro_batch_tokens'])}"


def _disk(track: Track, shape: Shape, out: Path) -> Finding:
    needed, free = disk_needed(shape, track), free_disk(out)
    words = f"{needed / GIB:.1f} GiB for {trained_cells(track)} policies and a checkpoint; {free / GIB:.1f} GiB free at {out}"
    return Finding("disk", "ok" if needed <= free else "wrong", words)


def _time(track: Track, shape: Shape, dtype: str) -> Finding:
    rate = SHARE * measured_rate(dtype)
    hours = operations(shape, track.train) / rate / HOUR
    words = (
        f"at most {hours:,.1f} h of training a cell, {hours * trained_cells(track):,.0f} h in all, at {rate / 1e12:.2f} TFLOP/s: "
        f"{SHARE:.0%}, assumed, of what matrix products reach here, measured; every pair at its longest; answers and judging not counted"
    )
    return Finding("time", "ok", words)
