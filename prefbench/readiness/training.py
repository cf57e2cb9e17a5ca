"""How much memory, disk and time a track's trainings take on this machine, as lines of ``prefbench doctor``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from prefbench.api import Judge
from prefbench.config import Track
from prefbench.data.files import Files
from prefbench.data.locations import is_on_hub
from prefbench.judges.local import LocalModel
from prefbench.readiness.effort import SHARE, device_memory, disk_needed, free_disk, measured_rate, operations, trained_cells, trial_cells
from prefbench.readiness.findings import Finding
from prefbench.readiness.footprint import GIB, Shape, footprint, judge_bytes
from prefbench.readiness.places import model_here
from prefbench.train.device import compute_dtype

HOUR = 3600.0


@dataclass(frozen=True)
class Training:
    """What the memory, disk and time of a track's trainings depend on; ``whole``: the model's weights are here too."""

    track: Track
    source: Files
    judge: Judge | None
    whole: bool
    ask_hub: bool


def training_findings(training: Training, out: Path) -> Iterator[Finding]:
    """Lines for memory, disk and time, from the model's configuration, or as long as it is not here from that of its base."""
    track = training.track
    folder = next(filter(None, (model_here(location, training.ask_hub) for location in _models(training.source))), None)
    if folder is None:
        yield from (Finding(check, "unknown", _until(training)) for check in ("memory", "disk", "time"))
        return
    try:
        shape = Shape.read(folder, track.model, track.lora)
        dtype = compute_dtype(track.train.dtype, track.model.weights)
    except Exception as error:  # a configuration that transformers does not know, or that is none, or whose code is not here yet
        yield Finding("memory", "wrong" if training.whole else "unknown", f"{folder}: {error}")
        return
    yield _memory(training, shape, dtype)
    yield _disk(track, shape, out)
    yield _time(track, shape, dtype)


def _models(source: Files) -> list[str]:
    """The model that is trained, and the one that it was tuned from: their shapes are one."""
    return [location for location in (source.model, source.base) if location]


def _until(training: Training) -> str:
    until = "known once the model is here"
    if not any(map(is_on_hub, _models(training.source))):
        return until
    return f"{until}; " + ("the hub did not give its configuration" if training.ask_hub else "`--ask-hub` asks for its configuration alone")


def _memory(training: Training, shape: Shape, dtype: str) -> Finding:
    track = training.track
    judge, remark = _judge_memory(training)
    needed = dataclasses.replace(footprint(shape, track.train, track.model, dtype), judge=judge)
    device, room = device_memory()
    words = f"at most {needed.in_words()}{remark}; {device} has {room / GIB:.1f} GiB"
    if needed.total <= room:
        return Finding("memory", "ok", words)
    return Finding("memory", "wrong", f"{words}; {_smaller(track)}")


def _judge_memory(training: Training) -> tuple[int, str]:
    """Bytes of a judge on this machine, and a remark where they are not known."""
    if not isinstance(training.judge, LocalModel):
        return 0, ""
    folder = model_here(training.judge.model, training.ask_hub)
    if folder is None:
        return 0, ", without the judge's model, which is not here"
    try:
        return judge_bytes(folder, training.judge.weights), ""
    except Exception as error:  # as with the trained model's configuration
        return 0, f", without the judge's model: {error}"


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
    words = f"{needed / GIB:.1f} GiB for {_policies(trained_cells(track))} and a checkpoint; {free / GIB:.1f} GiB free at {out}"
    return Finding("disk", "ok" if needed <= free else "wrong", words)


def _policies(count: int) -> str:
    return "one policy" if count == 1 else f"{count} policies"


def _time(track: Track, shape: Shape, dtype: str) -> Finding:
    rate = SHARE * measured_rate(dtype)
    hours = operations(shape, track.train) / rate / HOUR
    whole = hours * (trained_cells(track) + trial_cells(track))
    words = (
        f"at most {hours:,.1f} h of training a cell, {whole:,.0f} h in all, at {rate / 1e12:.2f} TFLOP/s: "
        f"{SHARE:.0%}, assumed, of what matrix products reach here, measured; every pair at its longest; answers and judging not counted"
    )
    return Finding("time", "ok", words)
