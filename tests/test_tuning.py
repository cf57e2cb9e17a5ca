"""A run that tunes its rows: on a miniature world, from the track file to the board."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from prefbench import cell
from prefbench.config import Selection
from prefbench.errors import PrefbenchError
from prefbench.planned import Planned, RunOptions, due_trials, judge_estimate, plan_run
from prefbench.report.check import check
from prefbench.report.evidence import track_harnesses
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.tune.study import read_study

TRACK = """
[track]
name = "tuned"
version = 1
seeds = [0, 1]
[source]
name = "prefworld"
pair_count = 40
prompt_count = 60
question_count = 16
validation_count = 16
held_out_count = 16
base_steps = 12
sft_steps = 6
[judge]
name = "prefworld-annotator"
[train]
steps = 3
pool = 8
learning_rate = 1e-3
micro_batch_tokens = 640
[tune]
learning_rate = [1e-4, 1e-2]
beta = [0.03, 3.0]
trials = 3
seeds = [7]
[[harness]]
name = "alpaca_eval"
max_new_tokens = 8
[methods.simpo]
gamma = 0.3
[methods.ipo]
beta = 0.2
[conditions.clean]
[conditions.noisy]
source = { noise = 0.4 }
[conditions.noisy-clean-tuned]
source = { noise = 0.4 }
tuned_in = "clean"
[conditions.fixed]
learning_rate = 5e-4
[[grid]]
methods = ["simpo"]
conditions = ["clean", "noisy", "noisy-clean-tuned", "fixed"]
[[grid]]
methods = ["ipo"]
conditions = ["clean"]
[trivial]
rows = ["sft"]
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def options(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> RunOptions:
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))
    monkeypatch.setattr(cell, "_workshops", {})
    (tmp_path / "tuned.toml").write_text(TRACK)
    return RunOptions(str(tmp_path / "tuned.toml"), tmp_path / "run", in_process=True)


def silently(*_: object) -> None:
    pass


def plans_of(options: RunOptions) -> list[Planned]:
    """The plans that a run carries out, one after the other."""
    found: list[Planned] = []
    result = run(options, silently, found.append)
    assert not result.failed
    return found


def cells_run(planned: Planned) -> set[str]:
    return {cell.id for cell in planned.pending}


def test_rows_are_tuned_and_the_board_follows_from_their_studies(options: RunOptions) -> None:
    *trials, final = plans_of(options)
    folder = Folder(options.out)
    assert sum(len(planned.pending) for planned in trials) == 3 * 3  # three rows have trials: one takes its settings from another
    assert len(final.pending) == 2 * 6
    studies = {path.name.removesuffix(".jsonl.gz"): read_study(path) for path in (options.out / "tuning").iterdir()}
    assert sorted(studies) == ["simpo.uniform.clean", "simpo.uniform.fixed", "simpo.uniform.noisy"]
    for condition, study in (("clean", "clean"), ("noisy", "noisy"), ("noisy-clean-tuned", "clean"), ("fixed", "fixed")):
        method = folder.read_record(f"simpo.uniform.{condition}.s1")["method"]
        best = studies[f"simpo.uniform.{study}"].best
        assert best is not None
        assert (method["learning_rate"], method["options"]["beta"]) == (best.settings.learning_rate, best.settings.beta)
        assert method["options"]["gamma"] == 0.3
        assert method["tuning"]["study"] == f"simpo.uniform.{study}"
    assert folder.read_record("simpo.uniform.fixed.s0")["method"]["learning_rate"] == 5e-4
    assert folder.read_record("ipo.uniform.clean.s0")["method"]["tuning"] == "pre-tuned"
    assert not check(options.out, track_harnesses(folder, final.registry))
    page = (options.out / "README.md").read_text()
    assert "| noisy-clean-tuned | simpo | uniform | tuned under clean | simpo |" in page
    assert "Every row had 3 trials, each with the seeds 7, which are no test seeds" in page
    session = json.loads((options.out / "runs.jsonl").read_text())
    assert (session["cells"], session["trials"]) == (12, 9)
    assert "12 cells and 9 trials of the tuner" in page


def test_claims_beside_the_track_are_tested_on_the_runs_own_board(options: RunOptions, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "track.toml").write_text(TRACK.replace('methods = ["simpo"]', 'methods = ["ipo"]'))
    statement = 'paper = "A"\nplace = "B"\nsays = "C"\nstatement = "win_rate[ipo, clean] - win_rate[sft] > 0"\n'
    (own / "claims.toml").write_text(f'scale = "twelve steps"\n[[claim]]\n{statement}')
    assert not run(dataclasses.replace(options, track=str(own / "track.toml")), silently).failed
    assert "Tested on twelve steps." in (options.out / "README.md").read_text()
    assert (options.out / "claims.toml").read_text() == (own / "claims.toml").read_text()


def test_what_judging_costs_is_told_with_the_trials_and_with_the_rows_that_they_tune(options: RunOptions) -> None:
    """A budget that only the cells known by now would keep within is no budget."""
    text = TRACK.replace(
        'name = "prefworld-annotator"', 'name = "endpoint"\nmodel = "m"\nbase_url = "http://127.0.0.1:1/v1"\nmax_calls = 9999'
    )
    Path(options.track).write_text(text)
    planned = plan_run(options)
    known, whole = judge_estimate(dataclasses.replace(planned, later=0)), judge_estimate(due_trials(planned))
    assert known is not None
    assert whole is not None
    trials, cells, untuned, questions = 3 * 3, 2 * (4 + 1 + 1), 2 * 4, 16
    assert (known.cells, whole.cells) == (cells - untuned, trials + cells)
    assert whole.expected.calls - known.expected.calls >= (trials + untuned) * questions


def test_a_second_run_has_nothing_to_do(options: RunOptions) -> None:
    plans_of(options)
    (again,) = plans_of(options)
    assert not again.pending
    assert not again.track.to_tune


def test_a_condition_changes_the_pairs_and_nothing_that_is_asked(options: RunOptions) -> None:
    plans_of(options)
    clean, noisy = (Folder(options.out).read_record(f"simpo.uniform.{name}.s0") for name in ("clean", "noisy"))
    assert "flipped_share" in noisy["result"]["training"]
    assert noisy["result"]["training"]["flipped_share"] > 0.2 > clean["result"]["training"].get("flipped_share", 0.0)
    assert clean["include"]["train"]["source"]["identity"]["noise"] == 0.0
    assert noisy["include"]["train"]["source"]["identity"]["noise"] == 0.4
    assert clean["include"]["answer"]["questions"] == noisy["include"]["answer"]["questions"]


def test_trials_that_were_run_are_not_run_again(options: RunOptions) -> None:
    """Killed after the first round, a run goes on with the second."""
    seen: list[set[str]] = []

    def stop_after_the_first_round(planned: Planned) -> None:
        seen.append(cells_run(planned))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(options, silently, stop_after_the_first_round)
    again = plans_of(options)
    assert not seen[0] & cells_run(again[0])
    assert seen[1] == cells_run(again[0])


def test_a_damaged_study_is_concluded_again_from_its_trials(options: RunOptions) -> None:
    plans_of(options)
    path = options.out / "tuning" / "simpo.uniform.clean.jsonl.gz"
    before = path.read_bytes()
    path.write_bytes(before[: len(before) // 2])
    assert sum(len(planned.pending) for planned in plans_of(options)) == 0
    assert read_study(path).best is not None


def test_a_changed_judge_tunes_again(options: RunOptions) -> None:
    plans_of(options)
    path = Path(options.track)
    path.write_text(path.read_text().replace('name = "prefworld-annotator"', 'name = "prefworld-annotator"\nlength_bias = 0.5'))
    assert len(plan_run(options).track.to_tune) == 4


def test_only_policies_of_rows_are_kept(options: RunOptions) -> None:
    plans_of(options)
    assert list((options.out / "trials" / "cells").iterdir()) == []
    assert len(list((options.out / "trials" / "records").iterdir())) == 9
    assert (options.out / "cells" / "simpo.uniform.clean.s0" / "policy" / "model.safetensors").exists()


def test_a_new_method_gets_the_same_tuner_with_one_flag(options: RunOptions) -> None:
    """Under the conditions of the track's other rows; without the flag it has its defaults, and says so."""
    asked = dataclasses.replace(options, selection=Selection(only=("hinge",), tune=True))
    assert [row.name for row in plan_run(asked).track.to_tune] == [
        f"hinge.uniform.{name}" for name in ("clean", "noisy", "noisy-clean-tuned", "fixed")
    ]
    plain = plan_run(dataclasses.replace(options, selection=Selection(only=("hinge",))))
    assert plain.track.to_tune == ()
    assert len(plain.cells) == 2 * 5


def test_the_flag_tunes_what_the_track_has_values_for(options: RunOptions) -> None:
    asked = dataclasses.replace(options, selection=Selection(only=("ipo",), tune=True))
    assert [row.name for row in plan_run(asked).track.to_tune] == ["ipo.uniform.clean"]


def test_a_row_whose_trials_all_fail_is_told_and_costs_no_other(options: RunOptions, tmp_path: Path) -> None:
    plugin = tmp_path / "broken_loss.py"
    plugin.write_text(
        "from dataclasses import dataclass\n"
        "from prefbench.api import Objective, hookimpl, hyper\n\n\n"
        "@dataclass\n"
        "class Broken(Objective):\n"
        '    """None."""\n\n'
        '    name = "broken-loss"\n'
        '    source = "a test"\n'
        "    beta: float = hyper(0.1, low=0.0)\n\n"
        "    def per_pair(self, batch):\n"
        '        raise RuntimeError("no loss today")\n\n\n'
        "@hookimpl\n"
        "def prefbench_objectives():\n"
        "    return [Broken]\n"
    )
    path = Path(options.track)
    path.write_text(path.read_text().replace('methods = ["ipo"]', 'methods = ["ipo", "broken-loss"]'))
    result = run(dataclasses.replace(options, plugin_files=(plugin,)), silently)
    assert list(result.failed) == ["broken-loss.uniform.clean"]
    assert "no trial came to an end" in result.failed["broken-loss.uniform.clean"]
    assert Folder(options.out).read_record("simpo.uniform.clean.s0")["status"] == "done"


WRONG = [
    ("seeds = [7]", "seeds = [7, 1]", "tune.seeds: seed 1 is a test seed too"),
    ("learning_rate = [1e-4, 1e-2]", "learning_rate = [1e-2]", "learning_rate is the lowest and the highest value"),
    ('tuned_in = "clean"', 'tuned_in = "claen"', "there is no condition 'claen'; did you mean clean"),
    ('tuned_in = "clean"', 'tuned_in = "clean"\nlearning_rate = 1e-3', "has a learning_rate, and takes it from another condition"),
    ("source = { noise = 0.4 }\ntuned_in", "source = { nois = 0.4 }\ntuned_in", "nois is no option of prefworld"),
    ("[conditions.clean]", "[conditions.clean]\ntuned_in = 'noisy-clean-tuned'", "takes its settings from another condition itself"),
    ('conditions = ["clean"]', 'conditions = ["clear"]', "there is no condition 'clear'"),
    ('name = "alpaca_eval"\nmax_new_tokens = 8', 'name = "held_out"', "there is no [[harness]] alpaca_eval"),
]


@pytest.mark.parametrize(("before", "after", "message"), WRONG)
def test_a_track_that_cannot_be_tuned_says_why(options: RunOptions, before: str, after: str, message: str) -> None:
    path = Path(options.track)
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(PrefbenchError) as caught:
        plan_run(options)
    assert message in str(caught.value)


def test_test_seeds_of_the_command_line_are_no_seeds_of_tuning(options: RunOptions) -> None:
    with pytest.raises(PrefbenchError, match="seed 7 is a test seed too"):
        plan_run(dataclasses.replace(options, selection=Selection(seeds=(7, 8))))


def test_a_track_without_a_tuner_refuses_the_flag(options: RunOptions) -> None:
    path = Path(options.track)
    start, _, rest = path.read_text().partition("[tune]")
    path.write_text(start + rest[rest.index("[[harness]]") :])
    with pytest.raises(PrefbenchError, match="has no table"):
        plan_run(dataclasses.replace(options, selection=Selection(tune=True)))


def test_a_condition_with_other_models_is_refused(options: RunOptions) -> None:
    path = Path(options.track)
    path.write_text(path.read_text().replace("source = { noise = 0.4 }", "source = { noise = 0.4, world_seed = 3 }"))
    with pytest.raises(PrefbenchError, match="has other models than the track"):
        run(options, silently)
