"""``prefbench score mt-bench``: averages and win rates from FastChat's own files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import Out, PluginFiles, run_options
from prefbench.cli.score_track import lent
from prefbench.cli.tables import Format, print_rows

if TYPE_CHECKING:
    from prefbench.evaluate.mt_bench.judgments import Judged
    from prefbench.planned import RunOptions

Files = Annotated[
    list[Path], typer.Argument(exists=True, dir_okay=False, help="FastChat's model_judgment files, or with --track its model_answer files.")
]


def mt_bench(
    files: Files,
    questions: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="The question file, for categories of another set than MT-Bench's own.")
    ] = None,
    baseline: Annotated[str | None, typer.Option(help="Of pairwise judgments, only those that compare with this model.")] = None,
    track: Annotated[str | None, typer.Option(help="Have answers judged as this track has them judged: its questions, its judge.")] = None,
    out: Out = None,
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the scores are printed; json and csv have every number.")] = Format.table,
) -> None:
    """Score judgments of MT-Bench by model: averages or win rates, turns, categories, intervals, and what has no verdict."""
    from prefbench.evaluate.mt_bench.judgments import ANSWERS, kind_of
    from prefbench.report.mt_bench_scores import score_rows

    answers = kind_of(files) == ANSWERS
    _refuse_what_is_not_used(answers, track, questions, baseline)
    if track is not None:
        by_harness = _judged(files, run_options(track, out, plugin=plugin))
        rows = [{"harness": key, **row} for key, found in by_harness.items() for row in score_rows(found)]
        print_rows(rows, format.value, title="MT-Bench")
        return
    read = _read(files, questions, baseline or "")
    print_rows(score_rows(read), format.value, title="MT-Bench")
    repeated = sum(judged.repeated for judged in read)
    if repeated:
        print(f"repeated rows: {repeated}; the last of each model, judge, question and turn counts", file=sys.stderr)


def _refuse_what_is_not_used(answers: bool, track: str | None, questions: Path | None, baseline: str | None) -> None:
    from prefbench.errors import PrefbenchError

    if answers and track is None:
        raise PrefbenchError("the files hold answers, which nobody has judged yet", "name a track, whose judge is asked, with --track")
    if track is not None and not answers:
        raise PrefbenchError("the files hold judgments, and a track judges answers", "leave --track out, or give model_answer files")
    if answers and (questions or baseline):
        raise PrefbenchError("--questions and --baseline are for judgments", "a track has its own questions, and its own baseline")


def _read(files: Sequence[Path], questions: Path | None, baseline: str) -> list[Judged]:
    from prefbench.data.question_files import mt_bench_questions
    from prefbench.evaluate.mt_bench.judgments import read_judgments
    from prefbench.report.mt_bench_scores import published_category

    if questions is None:
        return read_judgments(files, published_category, baseline)
    categories = {question.id: question.category for question in mt_bench_questions(questions, None)}
    return read_judgments(files, lambda id_: categories.get(id_, ""), baseline)


def _judged(files: Sequence[Path], options: RunOptions) -> dict[str, list[Judged]]:
    """The answers by harness of the track, judged by its judge, whose replies are kept, and whose budget is counted, where a run of it does."""
    from prefbench.api import Calibration
    from prefbench.evaluate.mt_bench import MtBench
    from prefbench.evaluate.mt_bench.judgments import judged_answers

    shop, harnesses = lent(options, MtBench, MtBench.name)
    source = shop.planner.source()  # not the prepared one: what is asked needs no model, unless it gives the baseline
    found = {}
    for key, harness in harnesses.items():
        calibration = shop.calibration(key) if harness.draws_baseline(source) else Calibration()
        found[key] = judged_answers(files, harness, shop.judge, source, calibration)
    return found
