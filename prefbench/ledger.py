"""Hears the events of a run and keeps its books: a record for every cell that ends, however it ends."""

from __future__ import annotations

from prefbench.engine.stop import StopRequest
from prefbench.engine.tasks import Event, OnEvent
from prefbench.errors import StorageError
from prefbench.plan import FAILED, FINISHED, Cell, described
from prefbench.record import Circumstances, Outcome, record_of
from prefbench.store.folder import Folder


class Ledger:
    """Writes the records; this process alone does, so that a record in hand is finished whatever becomes of the workers.

    ``failed`` holds the error of every cell that failed, in a line, and ``ended`` counts the cells that were run. The first failure asks the run
    to stop if ``fail_fast``; a disk that is full, or a folder that cannot be written, asks so in any case, because no other cell would fare
    better.
    """

    def __init__(self, folder: Folder, cells: list[Cell], around: Circumstances, request: StopRequest, fail_fast: bool) -> None:
        self.folder, self.around, self.request, self.fail_fast = folder, around, request, fail_fast
        self.cells = {cell.id: cell for cell in cells}
        self.failed: dict[str, str] = {}
        self.ended = 0
        self.storage: StorageError | None = None

    def hear(self, event: Event, on_event: OnEvent) -> None:
        """Write down what an event means, then pass it on."""
        if event.kind == "failed" and event.data["type"] == StorageError.__name__:
            self.storage = self.storage or StorageError(event.data["message"], event.data.get("hint", ""), exit_code=1)
            self.request.ask(str(self.storage))
        elif event.kind in ("done", "failed", "stopped") and event.task in self.cells:
            self._write(self.cells[event.task], outcome_of(event))
        on_event(event)

    def _write(self, cell: Cell, outcome: Outcome) -> None:
        self.ended += outcome.reached_its_end
        if outcome.reached_its_end or not self._is_finished(cell):
            log = self.folder.log_path(cell.id)
            place = str(log.relative_to(self.folder.root)) if log.exists() else None
            self.folder.write_record(cell.id, record_of(cell, outcome, self.around, place))
        if outcome.status in FAILED:
            self.failed[cell.id] = described(outcome.error)
            if self.fail_fast:
                self.request.ask(f"{cell.id} failed, and --fail-fast is given")
        elif outcome.status in FINISHED:
            self.failed.pop(cell.id, None)

    def _is_finished(self, cell: Cell) -> bool:
        """Whether the folder holds a result, if under older rules: a cell that did not get anywhere must not cost it."""
        return self.folder.record_path(cell.id).exists() and self.folder.read_record(cell.id)["status"] in FINISHED


def outcome_of(event: Event) -> Outcome:
    """What the end of a cell's task says of the cell."""
    if event.kind == "failed":
        return Outcome.of_error(event.data)
    if event.kind == "stopped":
        return Outcome("interrupted")
    outcome: Outcome = event.data
    return outcome
