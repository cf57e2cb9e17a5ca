"""What is shown while a run goes on."""

from __future__ import annotations

from rich.text import Text

from prefbench.cli.progress import Progress
from prefbench.cli.run import cells_by_message
from prefbench.engine.tasks import NEEDS_FAILED, Event
from prefbench.record import Outcome

CELL = "dpo.uniform.s0"


def shown(progress: Progress) -> str:
    return "\n".join(part.plain for part in progress._render().renderables if isinstance(part, Text))


def test_a_training_cell_shows_step_loss_and_speed():
    progress = Progress()
    progress.event(Event("started", CELL))
    progress.event(Event("progress", CELL, {"stage": "train"}))
    progress.event(Event("progress", CELL, {"step": 20, "steps": 78, "loss": 0.61234, "pairs": 640}))
    assert shown(progress).startswith(f"{CELL}  train  step 20/78  loss 0.6123  ")
    assert shown(progress).endswith("pairs/s")


def test_the_next_stage_shows_no_steps_of_the_last():
    progress = Progress()
    progress.event(Event("started", CELL))
    progress.event(Event("progress", CELL, {"step": 78, "steps": 78, "loss": 0.6, "pairs": 640}))
    progress.event(Event("progress", CELL, {"stage": "answer"}))
    assert shown(progress) == f"{CELL}  answer"


def test_a_finished_cell_advances_the_bar_and_an_error_stays_as_a_line(capsys):
    progress = Progress()
    progress.cells = {CELL, "ipo.uniform.s0"}
    progress.bar.update(progress.total, total=2)
    for cell, result in ((CELL, Outcome("done")), ("ipo.uniform.s0", Outcome("failed", error={"type": "ValueError", "message": "no"}))):
        progress.event(Event("started", cell))
        progress.event(Event("done", cell, result))
    assert progress.bar.tasks[0].completed == 2
    assert shown(progress) == ""
    assert "ipo.uniform.s0: ValueError: no" in capsys.readouterr().err


def test_what_every_cell_needed_is_told_once(capsys):
    progress = Progress()
    progress.event(Event("failed", "calibrate alpaca_eval", {"type": "PrefbenchError", "message": "no reference", "frames": []}))
    for cell in (CELL, "ipo.uniform.s0"):
        needed = {"type": NEEDS_FAILED, "message": "needs calibrate alpaca_eval, which failed: no reference", "frames": []}
        progress.event(Event("failed", cell, needed))
    said = capsys.readouterr().err
    assert said.count("no reference") == 1
    assert "ipo.uniform.s0: not run, because what it needs failed" in said
    assert cells_by_message({CELL: "no reference", "ipo.uniform.s0": "no reference", "x": "other"}) == {
        "no reference": [CELL, "ipo.uniform.s0"],
        "other": ["x"],
    }
