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
from prefbench.data.revisions import at_commits
from prefbench.data.rows import Table
from prefbench.errors import PrefbenchError
from prefbench.judges.estimate import estimate
from prefbench.plan import Planner
from prefbench.readiness.effort import trained_cells, trial_cells
from prefbench.readiness.findings import Finding, in_words, looked_at
from prefbench.readiness.places import known_commits, presence
from prefbench.readiness.training import Training, training_findings
from prefbench.registry import Registry
from prefbench.store.folder import Folder
from prefbench.tune.trials import trial_track


def track_findings(track: Track, registry: Registry, out: Path, ask_hub: bool = False) -> Iterator[Finding]:
    """A line for each thing that a run of the track needs. Nothing is loaded or written.

    The hub is asked only where told to; of models that are not here it is then asked for config.json, and of nothing for more.
    """
    cells = len(track.seeds) * len(track.rows)
    trials = f", after {trial_cells(track)} trials of the tuner" if track.to_tune else ""
    yield Finding("track", "ok", f"{track.name} version {track.version}: {cells} cells, {trained_cells(track)} of them trained{trials}")
    yield from _skipped(track.skipped)
    try:
        commits = known_commits(track, Folder(out), ask_hub)
    except PrefbenchError as error:
        yield Finding("commits", "wrong", in_words(error))
        return
    yield from (Finding(location, "ok", f"commit {commit}, {whose}") for location, (commit, whose) in commits.items())
    track = at_commits(track, {location: commit for location, (commit, _) in commits.items()})
    planner = Planner(track, registry, "float32")  # no key is made here, so that the dtype is of no account
    try:
        source, judge = planner.source(), _judge(planner)
    except PrefbenchError as error:
        yield Finding("options", "wrong", in_words(error))
        return
    places = [presence(option, location, ask_hub) for option, location in _locations(source, judge).items()]
    yield from places
    there = {place.check for place in places if place.state == "ok"}
    if isinstance(source, Files):
        yield from _pairs(source, there)
    yield from _answers(track)
    yield from _judging(planner, source, judge, {place.check for place in places} - there, out)
    if trained_cells(track) and isinstance(source, Files):  # a source that makes its models says itself what they are
        yield from training_findings(Training(track, source, judge, "model" in there, ask_hub), out)


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
    asked = sorted(option for option in absent if option.startswith(("alpaca_eval", "mt_bench", "validation")))
    if asked:
        yield Finding("judge calls", "unknown", f"known once the questions are here: {', '.join(asked)}")
        return
    yield _cost("judge calls", planner, source, judge, len(planner.track.seeds) * len(planner.track.rows), out)
    if planner.track.to_tune:
        tuner = Planner(trial_track(planner.track, planner.registry), planner.registry, planner.dtype)
        yield _cost("judge calls of the tuner", tuner, source, judge, trial_cells(planner.track), out)


def _cost(name: str, planner: Planner, source: Source, judge: Judge, cells: int, out: Path) -> Finding:
    """What judging so many cells costs at most, against the track's budget."""
    try:
        found = estimate(judge, planner.harnesses(), source, cells, out)
    except PrefbenchError as error:
        return Finding(name, "wrong", in_words(error))
    refusal = found.refusal() if found else None
    if refusal:
        return Finding(name, "wrong", in_words(refusal))
    return Finding(name, "ok", found.in_words() if found else "no limit is set")
