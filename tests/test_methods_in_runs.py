"""Columns, chains and schedulers of a track, from its file to the records: on a tiny local track."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from prefbench import cell
from prefbench.config import UNTRAINED, Selection
from prefbench.errors import PrefbenchError
from prefbench.orders import Site
from prefbench.planned import RunOptions, plan_run
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.store.sealed import read_sealed
from prefbench.train.device import Share
from prefbench.worklist import worklist
from prefbench.workshop import Workshop
from tests.bad_input.place import TRACK, good_folder
from tests.plugin_site import LOSS

TABLES = """
[columns.difficulty-twice]
column = "difficulty"
repeats = 2
epochs = 0.5

[schedulers.easy]
scheduler = "selective + random-subset"
[schedulers.easy.selective]
column = "difficulty-twice"
share = 0.6
[schedulers.easy.random-subset]
ratio = 0.25
"""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    good_folder(tmp_path)
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cell, "_workshops", {})
    (tmp_path / "track.toml").write_text(TRACK + TABLES)
    return RunOptions(str(tmp_path / "track.toml"), tmp_path / "chained", Selection(only=("dpo",), schedulers=("easy",)), in_process=True)


def on_schedulers(options: RunOptions, *names: str) -> RunOptions:
    return dataclasses.replace(options, selection=Selection(only=("dpo",), schedulers=names))


def changed(options: RunOptions, before: str, after: str) -> RunOptions:
    """With one thing changed in the track."""
    path = Path(options.track)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    return options


def silently(*_: object) -> None:
    pass


def test_a_chain_and_a_column_with_options_run_and_are_recorded(options: RunOptions) -> None:
    assert not run(options, silently).failed
    record = Folder(options.out).read_record("dpo.easy.s0")
    assert record["scheduler"]["name"] == "selective+random-subset"
    assert record["scheduler"]["options"]["selective"]["share"] == 0.6
    assert record["scheduler"]["origin"].keys() == {"selective", "random-subset"}
    assert record["include"]["train"]["columns"]["difficulty-twice"]["options"] == {"epochs": 0.5, "folds": 2, "repeats": 2}
    assert -1 <= record["result"]["training"]["columns"]["difficulty-twice"]["rank_correlation"] <= 1
    assert record["result"]["training"]["pairs_backward"] == 2  # one of four, twice
    page = (options.out / "README.md").read_text()
    assert " + random-subset(ratio=0.25) | prefbench " in page


def test_a_chain_on_the_command_line_takes_the_tracks_options(options: RunOptions) -> None:
    planned = plan_run(on_schedulers(options, "selective + half"))
    assert [found.id for found in planned.cells if found.trained] == ["dpo.selective+half.s0"]
    assert planned.cells[-1].include["train"]["scheduler"]["options"]["random-subset"] == {"ratio": 0.5}


def test_every_link_of_a_chain_of_one_plugin_twice_counts(options: RunOptions) -> None:
    """Two labels of the track may be the same plugin: a change of the first one's options must not pass for the same chain."""
    tables = (
        '[schedulers.large]\nscheduler = "margin-filter"\nshare = 0.9\n[schedulers.middle]\nscheduler = "margin-filter"\nkeep = "middle"\n'
    )
    twice = on_schedulers(changed(options, "[trivial]", f"{tables}[trivial]"), "large+middle")
    before = plan_run(twice).cells[-1]
    shares = {name: own["share"] for name, own in before.include["train"]["scheduler"]["options"].items()}
    assert shares == {"margin-filter 1": 0.9, "margin-filter 2": 0.5}
    assert plan_run(changed(twice, "share = 0.9", "share = 0.8")).cells[-1].keys["train"] != before.keys["train"]


def test_another_option_of_a_column_makes_the_cells_that_need_it_stale(options: RunOptions) -> None:
    run(options, silently)
    state = plan_run(changed(options, "repeats = 2", "repeats = 1")).states["dpo.easy.s0"]
    assert (state.status, state.reason) == ("stale", "train: columns.difficulty-twice.options.repeats: 2 -> 1")


def test_cells_wait_for_their_columns_and_those_for_what_their_training_reads(options: RunOptions) -> None:
    """Two workers must not compute one column twice, nor a column before what its policies are trained on."""
    changed(options, "[trivial]", '[methods.odpo]\ncolumn = "reference-margin"\n[trivial]')
    planned = plan_run(dataclasses.replace(options, selection=Selection(only=("dpo", "odpo"), schedulers=("easy", "uniform"), seeds=(3,))))
    site = Site(planned.track, (), options.out, options.out, planned.planner.dtype)
    found = worklist(planned.pending, planned.planner, site, Share(1, 1, 1))
    after = {task.id: set(task.after) - {"calibrate held_out", "compilation"} for task in found}
    of_dpo, of_odpo, gap = "column difficulty-twice of dpo s3", "column difficulty-twice of odpo s3", "column reference-margin s3"
    assert {name: needs for name, needs in after.items() if name.startswith("column")} == {
        of_dpo: {"data s3"},
        of_odpo: {"data s3", gap},
        gap: {"data s3"},
    }
    assert after["dpo.easy.s3"] == {"data s3", of_dpo}
    assert after["dpo.uniform.s3"] == {"data s3"}
    assert after["odpo.easy.s3"] == {"data s3", of_odpo, gap}


def column_files(options: RunOptions) -> int:
    """How many values of ``difficulty`` the cache holds once the selected rows have their columns."""
    planned, cache = plan_run(options), options.out.parent / "cache"
    shop = Workshop(Site(planned.track, (), options.out, cache, planned.planner.dtype))
    for row in planned.track.rows:
        if row.scheduler != UNTRAINED:
            shop.columns(row, 0)
    return len(list((cache / "columns" / "difficulty").iterdir()))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("beta = 0.3", "beta = 0.4"),
        ("beta = 0.3", "beta = 0.3\nlearning_rate = 1e-3"),
        ("steps = 2", "steps = 2\nclip = 0.5"),
        ("repeats = 2", "repeats = 3"),
        ("held_out_share = 0.3", "held_out_share = 0.5"),
    ],
)
def test_what_decides_a_trained_column_makes_it_another(options: RunOptions, before: str, after: str) -> None:
    assert column_files(options) == 1
    assert column_files(changed(options, before, after)) == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("ratio = 0.25", "ratio = 0.75"),
        ("max_new_tokens = 3", "max_new_tokens = 4"),
        ("[methods.dpo]", '[methods.odpo]\ncolumn = "reference-margin"\n[methods.dpo]'),
    ],
)
def test_what_does_not_decide_it_leaves_it_as_it_is(options: RunOptions, before: str, after: str) -> None:
    assert column_files(options) == 1
    assert column_files(changed(options, before, after)) == 1


def test_a_column_trains_with_an_objective_that_reads_columns_itself(options: RunOptions) -> None:
    """Other values of what the objective reads are another training: under another name, of other pairs, or from a table of the track."""
    folder = options.out.parent
    score_pairs(folder, 1.5)
    table = '[methods.odpo]\ncolumn = "score"\n[columns.gap]\ncolumn = "reference-margin"\n[trivial]'
    scored = changed(changed(options, "[source]", '[source]\ncolumns = ["score"]'), "[trivial]", table)
    scored = dataclasses.replace(scored, selection=Selection(only=("odpo",), schedulers=("easy",)))
    assert column_files(scored) == 1
    assert column_files(changed(scored, 'column = "score"', 'column = "gap"')) == 2
    score_pairs(folder, 2.5)
    assert column_files(changed(scored, 'column = "gap"', 'column = "score"')) == 3
    assert column_files(changed(scored, "[columns.gap]", "[columns.score]")) == 4


def test_a_table_of_the_track_goes_before_a_number_of_the_pairs(options: RunOptions) -> None:
    score_pairs(options.out.parent, 1.5)
    changed(options, "[source]", '[source]\ncolumns = ["score"]')
    values = []
    for table in ("", '[columns.score]\ncolumn = "reference-margin"\n'):
        planned = plan_run(changed(options, "[trivial]", f"{table}[trivial]"))
        shop = Workshop(Site(planned.track, (), options.out, options.out.parent / "cache", planned.planner.dtype))
        values.append(shop.column(planned.track.rows[-1], 0, "score", silently).values)
    assert (values[0] == 1.5).all()
    assert not (values[1] == 1.5).any()


COLUMN_OF_SCORES = """
from dataclasses import dataclass

import numpy as np
from prefbench.api import Column, hookimpl


@dataclass
class Doubled(Column):
    name = "doubled"

    def compute(self, context):
        values = np.array([2 * pair.columns["score"] for pair in context.pairs])
        context.note(mean=values.mean())
        return values


@hookimpl
def prefbench_columns():
    return [Doubled]
"""


def score_pairs(folder: Path, score: float) -> None:
    """Give every pair of the local track a number."""
    pairs = folder / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({**json.loads(line), "score": score}) + "\n" for line in pairs.read_text().splitlines()))


def test_a_column_made_of_the_pairs_numbers_follows_them(options: RunOptions) -> None:
    """The texts alone do not decide it: the same pairs with other scores must not be given the values of before."""
    folder = options.out.parent
    (folder / "doubled.py").write_text(COLUMN_OF_SCORES)
    changed(
        changed(options, "[source]", '[source]\ncolumns = ["score"]'), "[trivial]", '[schedulers.curriculum]\ncolumn = "doubled"\n[trivial]'
    )
    means = []
    for score in (1.5, 2.5):
        score_pairs(folder, score)
        again = dataclasses.replace(
            on_schedulers(options, "curriculum"), plugin_files=(folder / "doubled.py",), out=folder / f"run-{score}"
        )
        assert not run(again, silently).failed
        means.append(Folder(again.out).read_record("dpo.curriculum.s0")["result"]["training"]["columns"]["doubled"]["mean"])
    assert means == [3.0, 5.0]


def reads_difficulty(options: RunOptions) -> RunOptions:
    """A method whose objective reads the column that would train policies with it."""
    changed(options, "[trivial]", '[methods.odpo]\ncolumn = "difficulty"\n[trivial]')
    return dataclasses.replace(options, selection=Selection(only=("odpo",)))


def test_a_column_that_would_train_with_the_method_that_reads_it_is_told_and_not_waited_for(options: RunOptions) -> None:
    result = run(reads_difficulty(options), silently)
    assert "'difficulty' trains policies with the objective 'odpo', which reads it" in result.failed["odpo.uniform.s0"]


def test_such_a_column_may_come_with_the_pairs(options: RunOptions) -> None:
    pairs = options.out.parent / "pairs.jsonl"
    pairs.write_text("".join(json.dumps({**json.loads(line), "difficulty": 1.5}) + "\n" for line in pairs.read_text().splitlines()))
    changed(options, "[source]", '[source]\ncolumns = ["difficulty"]')
    assert not run(reads_difficulty(options), silently).failed
    assert Folder(options.out).read_record("odpo.uniform.s0")["status"] == "done"


def test_a_second_scheduler_finds_the_column_made_and_is_charged_for_it(options: RunOptions) -> None:
    """A method's seconds hold all that it needs, whoever computed it; computing it once is the run's own saving."""
    run(options, silently)
    files = list((options.out.parent / "cache" / "columns" / "difficulty").iterdir())
    assert len(files) == 1
    selective = on_schedulers(
        changed(options, 'column = "difficulty-twice"\nshare = 0.6', 'column = "difficulty-twice"\nshare = 0.7'), "easy"
    )
    run(dataclasses.replace(selective, out=options.out.parent / "second"), silently)
    assert list((options.out.parent / "cache" / "columns" / "difficulty").iterdir()) == files
    cost = read_sealed(files[0])["seconds"]
    assert cost > 0
    assert all(
        Folder(folder).read_record("dpo.easy.s0")["clocks"]["columns"] >= cost for folder in (options.out, options.out.parent / "second")
    )


@pytest.mark.parametrize("scheduler", ["online-batch", "rho-loss", "curriculum", "margin-filter", "selective", "loss-ranked"])
def test_every_built_in_scheduler_runs(options: RunOptions, scheduler: str) -> None:
    assert not run(on_schedulers(options, scheduler), silently).failed
    assert Folder(options.out).read_record(f"dpo.{scheduler}.s0")["status"] == "done"


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("ratio = 0.25", "ratio = 2.0", "ratio must be at most 1"),
        ("selective + random-subset", "selectve + random-subset", "did you mean selective"),
        ("[schedulers.easy.selective]", "[schedulers.easy.curriculum]", "schedulers.easy.curriculum: selective + random-subset is a chain"),
        ("selective + random-subset", "random-subset + random-subset", "the chain has random-subset twice"),
        ("selective + random-subset", "loss-ranked + random-subset", "picks at each step"),
        ('column = "difficulty"', 'column = "dificulty"', "did you mean difficulty"),
        ("repeats = 2", "repeats = 0", "repeats must be at least 1"),
    ],
)
def test_what_is_wrong_with_a_chain_or_a_column_is_told_before_anything_starts(
    options: RunOptions, before: str, after: str, message: str
) -> None:
    text = changed(options, before, after)
    if "loss-ranked" in after:
        changed(options, '[schedulers.easy.selective]\ncolumn = "difficulty-twice"\nshare = 0.6', "")
    with pytest.raises(PrefbenchError) as caught:
        plan_run(text)
    assert message in f"{caught.value} {caught.value.hint}"


def test_a_scheduler_whose_distribution_is_not_there_is_skipped(options: RunOptions) -> None:
    chains = '[[grid]]\nmethods = ["dpo"]\nschedulers = ["stranger", "selective + stranger"]\n'
    table = f'[schedulers.stranger]\ndistribution = "prefbench-stranger"\nratio = 0.5\n{chains}'
    with_stranger = changed(options, "[trivial]", f"{table}[trivial]")
    planned = plan_run(dataclasses.replace(with_stranger, selection=Selection()))
    assert list(planned.track.skipped) == ["schedulers.stranger"]
    assert not any("stranger" in found.id for found in planned.cells)


def test_an_edited_method_is_stale_because_its_source_changed(options: RunOptions, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(LOSS)
    mine = dataclasses.replace(options, plugin_files=(file,), selection=Selection(only=("my-loss",)))
    assert not run(mine, silently).failed
    file.write_text(LOSS + "\n")
    state = plan_run(mine).states["my-loss.uniform.s0"]
    assert (state.status, state.reason) == ("stale", "train: objective.origin.source_sha256: the source changed")
