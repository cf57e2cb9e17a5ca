"""``prefbench plan``: every cell, its stages, its status, and why it would run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import Only, Out, PluginFiles, RetryFailed, Schedulers, Seeds, TrackName, Tune, run_options
from prefbench.cli.tables import Format, print_rows
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from prefbench.planned import Planned


def plan(
    track: TrackName = "prefworld",
    out: Out = None,
    only: Only = None,
    scheduler: Schedulers = None,
    seeds: Seeds = None,
    plugin: PluginFiles = None,
    tune: Tune = False,
    retry_failed: RetryFailed = False,
    format: Annotated[Format, typer.Option(help="How the cells are printed.")] = Format.table,
) -> None:
    """Show what `prefbench run` with the same options would do; nothing is run or written."""
    from prefbench.plan import STAGES
    from prefbench.planned import plan_run

    planned = plan_run(run_options(track, out, only, scheduler, seeds, plugin, retry_failed, tune))
    rows = [
        {
            "cell": cell.id,
            "status": planned.states[cell.id].status,
            "why": planned.states[cell.id].reason,
            **{stage: "finished" if stage in planned.states[cell.id].finished else "due" for stage in STAGES},
            "key": cell.keys["score"][:12],
        }
        for cell in planned.cells
    ]
    rows += [{"cell": f"{row.name}.*", "status": "planned", "why": "its settings are tuned first"} for row in planned.track.to_tune]
    skipped = [{"cell": skipped_cells(label), "status": "skipped", "why": reason} for label, reason in planned.track.skipped.items()]
    print_rows(
        [*rows, *skipped],
        format.value,
        title=f"{planned.track.name} version {planned.track.version}: {len(planned.pending)} of {len(planned.cells)} cells to run",
    )
    for location, commit in planned.commits.items():
        typer.echo(f"{location}: commit {commit}", err=True)
    if planned.trials and planned.track.to_tune:
        rules = planned.trials.rules
        each = f"{rules.trials} trials with each of {len(rules.seeds)} seeds"
        typer.echo(f"tuning: {len(planned.trials.planner.track.rows)} rows, {each}, on validation prompts", err=True)
    if told := judging(planned):
        typer.echo(told, err=True)


def judging(planned: Planned) -> str:
    """What judging the pending cells and the trials costs at most, in words; or why that cannot be told."""
    from prefbench.planned import due_trials, judge_estimate

    try:
        estimate = judge_estimate(due_trials(planned) if planned.track.to_tune else planned)
    except PrefbenchError as error:  # such as questions that cannot be fetched: the cells are what was asked for
        return f"what judging will cost is not known: {error}"
    if estimate is None:
        return ""
    refusal = estimate.refusal()
    return f"{refusal}\n{refusal.hint}" if refusal else estimate.in_words()


def skipped_cells(table: str) -> str:
    """The cells that a table of the track would have had: ``apo-hinge-zero.*`` of a method, ``*.sams`` of a scheduler."""
    kind, _, label = table.partition(".")
    return f"{label}.*" if kind == "methods" else f"*.{label}"
