"""The tasks of a run, each with what it waits for: what cells share is made once, and before them."""

from __future__ import annotations

from collections.abc import Sequence

from prefbench.engine.tasks import Task
from prefbench.orders import Order, Site
from prefbench.plan import Cell, Planner
from prefbench.train.device import Share

COMPILATION = "compilation"
"""The task that finds out whether compiled layers pay."""


def worklist(cells: Sequence[Cell], planner: Planner, site: Site, share: Share, profile: bool = False) -> list[Task]:
    """The data of each seed, the columns and the calibration of each harness, once; then the cells, each after what it needs."""
    threads = share.threads
    calibrations = [Task(f"calibrate {named.key}", Order("calibrate", site, threads, harness=named.key)) for named in site.track.harnesses]
    trained = [cell for cell in cells if cell.trained]
    draws = list(dict.fromkeys((cell.seed, cell.row.condition) for cell in trained))
    # Seeds of the same pairs share a reference column: the first seed computes it with all the cores, and the others wait for that.
    shares = not {"prompts", "labels"} & set(site.track.seed_varies)
    first = {condition: (seed, condition) for seed, condition in reversed(draws)}
    alone = {draw: share.alone if shares and draw[0] == site.track.seeds[0] else threads for draw in draws}
    behind = {draw: (data_of(*first[draw[1]]),) if shares and draw != first[draw[1]] else () for draw in draws}
    # Conditions of a seed have its samples in common: the first has them drawn, and the others wait for that too.
    drawn = {seed: (seed, condition) for seed, condition in reversed(draws)}
    behind = {draw: behind[draw] or ((data_of(*drawn[draw[0]]),) if draw != drawn[draw[0]] else ()) for draw in draws}
    data = [Task(data_of(*draw), Order("data", site, alone[draw], seed=draw[0], condition=draw[1]), behind=behind[draw]) for draw in draws]
    columns = {task.id: task for cell in trained for task in column_tasks(cell, planner, site, threads)}
    selections = {task.id: task for cell in reversed(trained) for task in selection_tasks(cell, planner, site, threads)}
    compilations = [compilation_task(cell, site, threads) for cell in trained[:1]]
    # Calibration before the other seeds' data: the first cells can start while the rest is made.
    shared = [*data[:1], *calibrations, *compilations, *data[1:], *columns.values(), *selections.values()]
    harnesses = tuple(task.id for task in calibrations)
    needs = {cell.id: harnesses + (prepared_for(cell, planner) if cell.trained else ()) for cell in cells}
    trials = {cell.id: tried_for(cell, planner) if cell.trained else () for cell in cells}
    orders = {cell.id: Order("cell", site, threads, seed=cell.seed, cell=cell, profile=profile) for cell in cells}
    return shared + [Task(name, order, needs[name], trials[name]) for name, order in orders.items()]


def data_of(seed: int, condition: str = "") -> str:
    """The task that makes a seed's data under a condition."""
    return " ".join(part for part in ("data", condition, f"s{seed}") if part)


def column_of(cell: Cell, label: str, planner: Planner) -> str:
    """The task that computes a column for a cell: shared by the cells of a seed and condition; where it trains policies, by those of a method with
    the same settings."""
    row, chosen = cell.row, cell.row.chosen
    settings = f" at {chosen.learning_rate} and {chosen.beta}" if chosen else ""
    method = f" of {row.method}{settings}" if planner.uses_objective(label) else ""
    return f"column {label}{method}{row.condition and f' under {row.condition}'} s{cell.seed}"


def tried_for(cell: Cell, planner: Planner) -> tuple[str, ...]:
    """The trials that a trained cell waits for; of one that fails it gets the cautious choice."""
    return COMPILATION, *((selection_of(cell),) if planner.scheduler(cell.row).wants else ())


def prepared_for(cell: Cell, planner: Planner) -> tuple[str, ...]:
    """The tasks that make a cell's data and columns."""
    return data_of(cell.seed, cell.row.condition), *(column_of(cell, label, planner) for label in planner.columns(cell.row))


def compilation_task(cell: Cell, site: Site, threads: int) -> Task:
    """Whether compiled layers pay, tried with one cell's row for all, without its columns: they are none of the other cells' affair."""
    return Task(COMPILATION, Order("compilation", site, threads, seed=cell.seed, row=cell.row), (data_of(cell.seed, cell.row.condition),))


def selection_of(cell: Cell) -> str:
    """The task that finds out how a row's selection is best trained on."""
    return f"selection {cell.row.method}.{cell.row.scheduler}"


def selection_tasks(cell: Cell, planner: Planner, site: Site, threads: int) -> list[Task]:
    """One for a cell whose scheduler scores its pools; that of a row's first seed does for all."""
    if not planner.scheduler(cell.row).wants:
        return []
    order = Order("selection", site, threads, seed=cell.seed, row=cell.row)
    return [Task(selection_of(cell), order, prepared_for(cell, planner))]


def column_tasks(cell: Cell, planner: Planner, site: Site, threads: int) -> list[Task]:
    """A task per column of a cell; one that trains policies waits for the columns that their objective reads.

    None waits for one that trains policies itself: the objective reads it from the pairs, or its task says that it cannot be had.
    """
    read = [name for name in planner.objective(cell.row).needs if not planner.uses_objective(name)]
    return [
        Task(
            column_of(cell, label, planner),
            Order("column", site, threads, seed=cell.seed, row=cell.row, column=label),
            (data_of(cell.seed, cell.row.condition), *(column_of(cell, name, planner) for name in read if planner.uses_objective(label))),
        )
        for label in planner.columns(cell.row)
    ]
