"""The workers of a run: one engine for all that it does, and how the cores are shared out among its workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import Any

import torch

from prefbench.cache import cache_folder
from prefbench.config import resolved
from prefbench.engine.local import InProcessEngine, ProcessEngine
from prefbench.engine.stop import StopRequest
from prefbench.engine.tasks import Engine, Event, OnEvent, Task, Watch
from prefbench.entry import ENTRY
from prefbench.errors import PrefbenchError
from prefbench.identity import digest
from prefbench.ledger import Ledger
from prefbench.orders import Order, Site
from prefbench.planned import Planned, RunOptions, judge_estimate
from prefbench.record import Circumstances
from prefbench.report.plot import canvas_and_figure
from prefbench.store.files import sweep
from prefbench.store.sealed import read_or_set_aside, read_sealed, write_sealed
from prefbench.train.device import Share, Workload, device, device_name, gpus, usable_cores
from prefbench.worklist import worklist

DAY = 86400.0
"""Seconds after which what stands half-written in the shared cache is nobody's any more."""


class Crew:
    """Does what is planned, one plan after the other; its workers stay from one to the next."""

    def __init__(self, options: RunOptions, request: StopRequest, on_event: OnEvent, on_estimate: Callable[[str], None]) -> None:
        self.options, self.request, self.on_event, self.on_estimate = options, request, on_event, on_estimate
        self.engine: Engine = InProcessEngine(ENTRY) if options.in_process else ProcessEngine(ENTRY, 1, gpus=gpus())
        self.ended: Counter[str] = Counter()
        """Cells that were run, as ``cells`` and as ``trials``."""
        Thread(target=_import_plotting).start()  # while this process waits for its workers
        sweep(cache_folder(), seconds=DAY)

    def run(self, planned: Planned, prepared: Callable[[], None] = lambda: None) -> dict[str, str]:
        """Run the pending cells; the errors of those that failed. ``prepared`` is called when the source's data are known to be usable."""
        options, engine = self.options, self.engine
        engine.watch = Watch(self.request, 60 * options.stall_minutes, log=planned.folder.log_path)
        site = Site(planned.track, options.plugin_files, planned.folder.root, cache_folder(), planned.planner.dtype, planned.paid_in)
        # Preparing may train a model. Two threads, where there are two: its bits are not to follow the machine's load.
        engine.run([Task("prepare", Order("prepare", site, min(2, usable_cores())))], _must_succeed(self.on_event))
        prepared()
        self.refuse_expensive(planned)
        share = choose(planned, site, options, engine, self.on_event)
        if isinstance(engine, ProcessEngine):
            engine.jobs = share.jobs
        around = Circumstances(planned.track, site.dtype, share.threads)
        ledger = Ledger(planned.folder, planned.pending, around, self.request, options.fail_fast)
        engine.run(
            worklist(planned.pending, planned.planner, site, share, options.profile), lambda event: ledger.hear(event, self.on_event)
        )
        self.ended["trials" if planned.after else "cells"] += ledger.ended
        if ledger.storage:
            raise ledger.storage
        return ledger.failed

    def refuse_expensive(self, planned: Planned) -> None:
        """Tell what judging costs. Raises PrefbenchError where it may exceed the track's budget and that was not agreed to."""
        found = judge_estimate(planned, lambda source: source.prepare(cache_folder(), lambda _: None))
        if found is None:
            return
        self.on_estimate(found.in_words())
        refusal = found.refusal()
        if refusal and not self.options.over_budget:
            raise refusal

    def close(self) -> None:
        """End the workers."""
        self.engine.close()


def _import_plotting() -> None:
    """For the board, which tells of whatever may be wrong with it."""
    with suppress(Exception):
        canvas_and_figure()


def choose(planned: Planned, site: Site, options: RunOptions, engine: Engine, on_event: OnEvent) -> Share:
    """How the cores are shared out: chosen by measuring once, stored with the run, and reused when it goes on."""
    cores = usable_cores()
    if device().type == "cuda":
        jobs = options.jobs or _cells_at_once(planned, site, options, engine, on_event)
        threads = max(1, cores // jobs)
        return Share(jobs, threads, threads)
    if options.in_process:
        return Share(1, 1, 1)
    stored = read_or_set_aside(planned.folder.choices, read_sealed) or {}
    if (stored.get("cores"), stored.get("most_jobs")) == (cores, options.jobs):
        return Share(stored["jobs"], stored["threads"], stored.get("alone", stored["threads"]))
    workload = Workload(cores, len(planned.pending), options.jobs or cores)
    measured = _measured(planned, site, engine, workload, on_event)
    if not measured:
        return Share(1, 1, 1)
    share = workload.choose(measured)
    seconds = {str(count): found for count, found in measured.items()}
    write_sealed(planned.folder.choices, {"cores": cores, "most_jobs": options.jobs, "seconds_by_threads": seconds, **vars(share)})
    return share


def _measured(planned: Planned, site: Site, engine: Engine, workload: Workload, on_event: OnEvent) -> dict[int, float]:
    """Seconds of a step by the thread counts that could pay; nothing is measured where one thread per core is best whatever comes out.

    Empty where the run was stopped meanwhile.
    """
    candidates = workload.candidates()
    if candidates == [1] or not any(cell.trained for cell in planned.pending):
        return {1: 0.0}
    # Kept per machine and track, so that a second run chooses alike: other threads may sum in another order.
    track, adapters = planned.track, planned.track.lora
    rules = {"train": resolved(track.train), "model": resolved(track.model), "lora": adapters and resolved(adapters), "dtype": site.dtype}
    machine = {"cores": usable_cores(), "torch": torch.__version__}
    key = digest({"source": dict(planned.planner.source().identity()), **rules, **machine})
    path = site.cache / "measured" / f"{key}.json"
    known = {int(threads): seconds for threads, seconds in (read_or_set_aside(path, read_sealed) or {}).items()}
    if not known.keys() >= set(candidates):
        found = _result(Order("measure", site, 1, seed=planned.track.seeds[0], candidates=tuple(candidates)), engine, on_event)
        if found is None:
            return {}
        known.update(found)
        write_sealed(path, {str(threads): seconds for threads, seconds in known.items()})
    return {threads: known[threads] for threads in candidates}


def _cells_at_once(planned: Planned, site: Site, options: RunOptions, engine: Engine, on_event: OnEvent) -> int:
    """Worker processes of all GPUs: for each as many as its memory holds cells, so that one trains while another's answers are judged."""
    trained = [cell for cell in planned.pending if cell.trained]
    if options.in_process or not trained:
        return 1
    stored = read_or_set_aside(planned.folder.choices, read_sealed) or {}
    if stored.get("gpu") != device_name():
        fit = _result(Order("room", site, usable_cores(), seed=planned.track.seeds[0]), engine, on_event)
        if fit is None:
            return 1
        stored = {"gpu": device_name(), "cells_at_once": fit}
        write_sealed(planned.folder.choices, stored)
    return min(len(gpus()) * int(stored["cells_at_once"]), len(trained))


def _result(order: Order, engine: Engine, on_event: OnEvent) -> Any:
    """What a worker answers to one order that every cell needs; None where the run was stopped meanwhile."""
    found: list[Any] = []

    def listen(event: Event) -> None:
        if event.kind == "done":
            found.append(event.data)
        on_event(event)

    engine.run([Task(order.kind, order)], _must_succeed(listen))
    return None if engine.watch.stop() else found[0]


def _must_succeed(on_event: OnEvent) -> OnEvent:
    """Passes events on; a failure of work that every cell needs ends the run."""

    def listen(event: Event) -> None:
        on_event(event)
        if event.kind == "failed":
            frames = "; ".join(event.data["frames"][-2:])
            hint = event.data.get("hint") or (frames and f"raised at {frames}")
            raise PrefbenchError(f"{event.task}: {event.data['message']}", hint, event.data.get("exit_code", 1))

    return listen
