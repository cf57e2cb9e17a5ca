"""``prefbench score alpaca-eval``: win rates of judgments made elsewhere, or of outputs that a track's judge is asked about."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import Out, PluginFiles, run_options
from prefbench.cli.score_track import lent
from prefbench.cli.tables import Format, print_rows
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from prefbench.planned import RunOptions
    from prefbench.report.alpaca_eval_scores import Row, SetFiles

Files = Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="Annotations of alpaca-eval; with --track, model outputs.")]


def alpaca_eval(
    files: Files,
    gamed: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="alpaca-eval's df_gamed.csv: length control is then fitted.")
    ] = None,
    difficulty: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="alpaca-eval's instruction_difficulty.csv; else the difficulties of --gamed."),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The reference outputs, in whose order the tables' rows are.")
    ] = None,
    annotator: Annotated[str, typer.Option(help="Read raw completions as this annotator's; the one that a file names unless given.")] = "",
    track: Annotated[str | None, typer.Option(help="Judge model outputs as this track says: its questions, references and judge.")] = None,
    out: Out = None,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the scores are printed.")] = Format.table,
) -> None:
    """Score annotations of alpaca-eval, or with --track model outputs: win rates, length-controlled ones, and their intervals."""
    if track is None:
        rows = _annotated(files, annotator, _set_files(gamed, difficulty, references))
    elif any((gamed, difficulty, references, annotator)):
        raise PrefbenchError("--track brings its own tables, references and annotator", "leave the other options out, or the track")
    else:
        rows = _judged(files, run_options(track, out, plugin=plugin))
    print_rows(list(rows), format.value)


def _set_files(gamed: Path | None, difficulty: Path | None, references: Path | None) -> SetFiles:
    from prefbench.evaluate.alpaca_eval_files import read_outputs, read_tables
    from prefbench.report.alpaca_eval_scores import SetFiles

    if difficulty is not None and gamed is None:
        raise PrefbenchError("--difficulty is given without --gamed, and length control needs both", "give alpaca-eval's df_gamed.csv too")
    tables = None if gamed is None else read_tables(gamed, difficulty)
    order = None if references is None else read_outputs(references).instructions or None
    return SetFiles(tables, order)


def _annotated(files: list[Path], annotator: str, known: SetFiles) -> Iterator[Row]:
    """A row per model of each file."""
    from prefbench.evaluate.alpaca_eval_annotations import read_annotations
    from prefbench.report.alpaca_eval_scores import score_annotations

    for path in files:
        for judged in read_annotations(path, annotator):
            yield {"file": path.name, **score_annotations(judged, known)}


def _judged(files: list[Path], options: RunOptions) -> Iterator[Row]:
    """A row per file and AlpacaEval harness of the track; what its judge has answered before is not asked again."""
    from prefbench.evaluate.head_to_head import HeadToHead
    from prefbench.report.alpaca_eval_scores import score_outputs

    shop, harnesses = lent(options, HeadToHead, "alpaca_eval")
    source = shop.planner.source()
    source.prepare(shop.site.cache, lambda _: None)
    for path in files:
        for key, harness in harnesses.items():
            published = source.files(harness.name).get("references")
            calibration = None if published else shop.calibration(key)  # made with the model that training starts from
            yield {"file": path.name, "harness": key, **score_outputs(path, harness, shop.judge, source, calibration)}
