"""The studies behind a board's tuned rows: what a page says of them, and whether they are what the rows' settings follow from."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefbench.config import Chosen
from prefbench.report.evidence import CellEvidence
from prefbench.report.problems import Problem, differs
from prefbench.store.files import lines_digest
from prefbench.store.folder import Folder
from prefbench.tune.study import Study

EDGE = 0.05
"""Share of a side of the space, on its log scale, that counts as its edge: the best setting may lie beyond."""


def study_rows(studies: Mapping[str, Study]) -> list[dict[str, str]]:
    """A row for each study: its trials, the setting that was chosen, and whether that lies at an edge of the space."""
    return [_study_row(name, study) for name, study in studies.items()]


def _study_row(name: str, study: Study) -> dict[str, str]:
    rates = sorted(trial.win_rate for trial in study.trials if trial.win_rate is not None)
    settings = study.best.settings if study.best else None
    return {
        "Row": name,
        "Trials": str(len(study.trials)),
        "Diverged": str(study.diverged),
        "Failed": str(study.failed),
        "Learning rate": f"{settings.learning_rate:g}" if settings else "",
        "Beta": f"{settings.beta:g}" if settings and settings.beta is not None else "",
        "Win rates of the trials: lowest, median, highest": ", ".join(f"{100 * rate:.1f}" for rate in _spread(rates)),
        "At the edge": ", ".join(_edges(settings, study.rules)) if settings else "",
    }


def _spread(rates: Sequence[float]) -> list[float]:
    return [rates[0], rates[len(rates) // 2], rates[-1]] if rates else []


def _edges(settings: Chosen, rules: Mapping[str, Any]) -> Iterator[str]:
    """``low beta`` where the chosen beta is one of the lowest that could be tried."""
    for name in ("learning_rate", "beta"):
        value, (low, high) = getattr(settings, name), rules[name]
        if value is not None and low <= value <= high:
            place = math.log(value / low) / math.log(high / low)
            if place < EDGE or place > 1 - EDGE:
                yield f"{'low' if place < EDGE else 'high'} {name.replace('_', ' ')}"


def sentence(studies: Mapping[str, Study]) -> str:
    """What all studies have in common."""
    study = next(iter(studies.values()))
    rules, prompts = study.rules, max((len(attempt.preferences) for trial in study.trials for attempt in trial.attempts), default=0)
    rate, beta = (f"{low:g} to {high:g}" for low, high in (rules["learning_rate"], rules["beta"]))
    return (
        f"Every row had {rules['trials']} trials, each with the seeds {', '.join(map(str, rules['seeds']))}, which are no test seeds: learning "
        f"rates from {rate} and betas from {beta}, half of the trials spread evenly on log scales, the others where Optuna's TPE expects most. "
        f"Chosen is the highest win rate by the track's judge over the starting model on {prompts} validation prompts, which no row of the board "
        "answers. A trial that diverges counts 0. The trials are in `tuning/`. What other tuning seeds would have chosen is in none of the intervals."
    )


# ---------------------------------------------------------------- the check


def study_problems(folder: Folder, cells: Mapping[str, CellEvidence], studies: Mapping[str, Study]) -> Iterator[Problem]:
    """Every tuned cell has the settings that its study chooses; studies have the same rules, all their trials, and no test seed."""
    digests = {name: lines_digest(folder.study_path(name)) for name in studies}
    needed = set()
    for name, cell in cells.items():
        stated = cell.record["method"].get("tuning")
        if isinstance(stated, Mapping):
            needed.add(stated["study"])
            yield from _cell_problems(f"records/{name}.json", cell.record, stated, studies.get(stated["study"]), digests)
    yield from (Problem(f"tuning/{name}.jsonl.gz", "row", "one of the board's", "none") for name in studies if name not in needed)
    test_seeds = {cell.seed for cell in cells.values()}
    first = next(iter(studies.values()), None)
    for name, study in studies.items():
        yield from _study_problems(f"tuning/{name}.jsonl.gz", study, first.rules if first else {}, test_seeds)


def _cell_problems(
    file: str, record: Mapping[str, Any], stated: Mapping[str, Any], study: Study | None, digests: Mapping[str, str]
) -> Iterator[Problem]:
    if study is None or study.best is None:
        yield Problem(file, "tuning", f"the study {stated['study']}", "none" if study is None else "one without a trial that ended")
        return
    settings = study.best.settings
    yield from differs(file, f"sha256 of tuning/{stated['study']}.jsonl.gz", stated["sha256"], digests[stated["study"]])
    yield from differs(file, "method.learning_rate", settings.learning_rate, record["method"]["learning_rate"])
    yield from differs(
        file, "method.options.beta", settings.beta, record["method"]["options"].get("beta") if settings.beta is not None else None
    )


def _study_problems(file: str, study: Study, rules: Mapping[str, Any], test_seeds: set[int]) -> Iterator[Problem]:
    yield from differs(file, "rules, as of the other rows", dict(rules), dict(study.rules))
    yield from differs(file, "trials", study.rules["trials"], len(study.trials))
    for trial in study.trials:
        seeds = [attempt.seed for attempt in trial.attempts]
        yield from differs(file, "seeds of a trial", list(study.rules["seeds"]), seeds)
    if shared := test_seeds.intersection(study.rules["seeds"]):
        yield Problem(file, "seeds", "none that the board is measured with", ", ".join(map(str, sorted(shared))))
