"""Kills runs at random moments of every stage, runs the same command again, and compares the results with those of an undisturbed run.

    python benchmarks/kill_campaign.py --kills 30

Every attempt starts with an empty folder and an empty cache, so that base training, columns and calibration are among the victims too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

STAGES = ("base", "sft", "data", "calibrate", "train", "answer", "judge", "score", "record")
TRACK = """
[track]
name = "campaign"
version = 1
seeds = [0, 1]
[source]
name = "prefworld"
pair_count = 120
prompt_count = 200
question_count = 60
dialogue_count = 16
held_out_count = 24
base_steps = 60
sft_steps = 40
[judge]
name = "prefworld-annotator"
[train]
steps = 120
pool = 8
learning_rate = 1e-3
max_length = 80
micro_batch_tokens = 640
[[harness]]
name = "alpaca_eval"
max_new_tokens = 12
[[harness]]
name = "mt_bench"
max_new_tokens = 12
[[harness]]
name = "held_out"
max_new_tokens = 12
[methods.dpo]
beta = 0.3
[[grid]]
methods = ["dpo"]
schedulers = ["uniform", "loss-ranked"]
[trivial]
rows = ["sft"]
"""


@dataclass(frozen=True)
class Moment:
    """When a run is killed: in the so-manieth occurrence of a stage, so many seconds after its start."""

    stage: str
    occurrence: int
    delay: float


@dataclass(frozen=True)
class Attempt:
    """What came of a kill: whether it was in time, whether the results are the same, and the seconds of the second run."""

    moment: Moment
    whole_group: bool
    killed: bool
    identical: bool
    seconds: float


# ---------------------------------------------------------------- a run that tells its stages


def drive(track: Path, out: Path) -> None:
    """Run the track with worker processes, a line on standard output for each stage that begins."""
    from prefbench.engine.tasks import Event
    from prefbench.planned import RunOptions
    from prefbench.run import run

    def tell(event: Event) -> None:
        if stage := stage_of(event.kind, event.task, event.data):
            print(stage, flush=True)

    run(RunOptions(track=str(track), out=out, jobs=2), tell)


def stage_of(kind: str, task: str, data: Any) -> str:
    """The stage that an event begins, or none."""
    if kind == "started" and task == "prepare":
        return "base"
    if kind == "progress" and task == "prepare":
        return "sft" if str(data.get("message", "")).startswith(("base: step 60 ", "sft")) else ""
    if kind == "started" and task.split()[0] in ("data", "calibrate"):
        return task.split()[0]
    if kind == "progress" and "stage" in data:
        return str(data["stage"])
    return "record" if kind == "done" and "." in task else ""


def on_two_cores() -> None:
    """Two workers of one thread each, in every run: where more cores let a run choose by measuring, two runs could choose differently."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


@dataclass(frozen=True)
class Place:
    """A track with a folder and a cache for one run of it."""

    track: Path
    folder: Path

    def start(self) -> subprocess.Popen[str]:
        """The run that tells its stages, in a process group of its own."""
        command = [sys.executable, __file__, "--drive", str(self.track), str(self.folder / "run")]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True, "preexec_fn": on_two_cores}
        return subprocess.Popen(command, env=self._environment(), start_new_session=True, **pipes)

    def resume(self) -> None:
        """The command itself, to its end. Raises CalledProcessError with what it said where it fails."""
        code = "from prefbench.cli.main import main; main()"
        command = [sys.executable, "-c", code, "run", str(self.track), "--out", str(self.folder / "run"), "--jobs", "2"]
        subprocess.run(command, env=self._environment(), check=True, capture_output=True, text=True, preexec_fn=on_two_cores)

    def results(self) -> dict[str, Any]:
        """The ``result`` part of every record, by cell."""
        return {path.stem: json.loads(path.read_text())["result"] for path in sorted((self.folder / "run" / "records").glob("*.json"))}

    def _environment(self) -> dict[str, str]:
        package = str(Path(__file__).parents[1])
        return {**os.environ, "PREFBENCH_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONPATH": package}


def timeline(run: subprocess.Popen[str]) -> Iterator[tuple[float, str]]:
    """(seconds since the start, stage) of each line that the run says."""
    start = time.monotonic()
    assert run.stdout is not None
    for line in run.stdout:
        yield time.monotonic() - start, line.strip()


# ---------------------------------------------------------------- the campaign


def undisturbed(place: Place) -> list[tuple[float, str]]:
    """Run to the end; when each stage began, and the end."""
    run = place.start()
    begun = list(timeline(run))
    if run.wait() != 0:
        raise SystemExit("the undisturbed run failed")
    return begun


def draw(begun: Sequence[tuple[float, str]], stage: str, rng: random.Random) -> Moment:
    """A moment within a stage, by how long its occurrences took in the undisturbed run (until the next thing began)."""
    starts = [i for i, (_, name) in enumerate(begun) if name == stage]
    occurrence = rng.randrange(len(starts))
    here = starts[occurrence]
    length = begun[here + 1][0] - begun[here][0] if here + 1 < len(begun) else 0.05
    return Moment(stage, occurrence, rng.uniform(0, length))


def attempt(place: Place, moment: Moment, whole_group: bool, expected: dict[str, Any]) -> Attempt:
    """Start, kill at the moment, run the command again, compare."""
    run = place.start()
    killed = kill_at(run, moment, whole_group)
    start = time.monotonic()
    place.resume()
    seconds = time.monotonic() - start
    return Attempt(moment, whole_group, killed, place.results() == expected, seconds)


def kill_at(run: subprocess.Popen[str], moment: Moment, whole_group: bool) -> bool:
    """SIGKILL for the process alone, whose workers must then end by themselves, or for its whole group; False if the run was over before."""
    seen = -1
    for _, stage in timeline(run):
        seen += stage == moment.stage
        if seen == moment.occurrence:
            time.sleep(moment.delay)
            break
    killed = run.poll() is None
    if killed:
        os.killpg(run.pid, signal.SIGKILL) if whole_group else os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    return killed


def one_kill(track: Path, folder: Path, draw_moment: Callable[[], Moment], whole_group: bool, expected: dict[str, Any]) -> Attempt:
    """Attempts until one kill is in time: a faster run than the undisturbed one may be over before its moment comes."""
    for again in range(10):
        found = attempt(Place(track, folder / str(again)), draw_moment(), whole_group, expected)
        if found.killed:
            return found
    raise SystemExit(f"ten runs in {folder} were over before they could be killed")


def campaign(folder: Path, kills: int, seed: int = 0, stages: Sequence[str] = STAGES) -> Iterator[Attempt]:
    """So many kills, the stages in turn."""
    track = folder / "campaign.toml"
    track.write_text(TRACK)
    place = Place(track, folder / "undisturbed")
    begun = undisturbed(place)
    expected, rng = place.results(), random.Random(seed)
    for number in range(kills):
        stage = stages[number % len(stages)]
        yield one_kill(track, folder / f"attempt {number}", partial(draw, begun, stage, rng), number % 2 == 0, expected)


def cells(number: int, found: Attempt) -> list[str]:
    """The attempt's row of the table."""
    moment, victim = found.moment, "all processes" if found.whole_group else "parent"
    same = "yes" if found.identical else "NO"
    return [str(number), moment.stage, str(moment.occurrence + 1), f"{moment.delay:.2f}", victim, same, f"{found.seconds:.0f}"]


def main() -> None:
    """Print a table of the attempts; exit code 1 where a result differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        drive(*options.drive)
        return
    print(
        "| kill | stage | occurrence | seconds into it | killed | results identical | seconds of the second run |\n|---|---|---|---|---|---|---|"
    )
    same = []
    with tempfile.TemporaryDirectory() as folder:
        for number, found in enumerate(campaign(Path(folder), options.kills, options.seed), start=1):
            same.append(found.identical)
            print("| " + " | ".join(cells(number, found)) + " |", flush=True)
    print(f"\n{sum(same)} of {len(same)} killed runs ended with results identical to those of the undisturbed run.")
    sys.exit(not all(same))


if __name__ == "__main__":
    main()
