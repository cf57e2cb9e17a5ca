"""The whole path on a miniature world: run, run again, change something, break something."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from prefbench.config import Selection
from prefbench.engine.tasks import Event
from prefbench.errors import PrefbenchError
from prefbench.planned import RunOptions, plan_run
from prefbench.report.check import check
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.train.device import usable_cores

TRACK = """
[track]
name = "mini"
version = 1
seed_varies = ["prompts", "labels", "order", "sampling"]
seeds = [0, 1]
[source]
name = "prefworld"
pair_count = 40
prompt_count = 60
question_count = 60
dialogue_count = 16
held_out_count = 24
base_steps = 12
sft_steps = 6
[judge]
name = "prefworld-annotator"
[train]
steps = 4
pool = 8
learning_rate = 1e-3
max_length = 80
micro_batch_tokens = 640
[[harness]]
name = "alpaca_eval"
max_new_tokens = 12
[[harness]]
name = "mt_bench"
max_new_tokens = 12
[[harness]]
name = "held_out"
max_new_tokens = 12
[methods.dpo]
beta = 0.3
[[grid]]
methods = ["dpo"]
schedulers = ["uniform", "loss-ranked"]
[trivial]
rows = ["base", "sft"]
"""

BROKEN = """
from dataclasses import dataclass
from prefbench.api import Objective

@dataclass
class Raises(Objective):
    name = "raises"
    def per_pair(self, batch):
        raise ZeroDivisionError("halfway through")

@dataclass
class Explodes(Objective):
    name = "explodes"
    def per_pair(self, batch):
        return batch.margin * (float("inf") if batch.progress > 0.4 else 1.0)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """One cache for the module: the miniature world is trained once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(cache, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(cache))


def options(folder: Path, text: str = TRACK, **changes: object) -> RunOptions:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mini.toml").write_text(text)
    return RunOptions(**{"track": str(folder / "mini.toml"), "out": folder / "run", "in_process": True, **changes})


def results(folder: Path) -> dict[str, dict]:
    return {cell: record["result"] for cell, record in Folder(folder / "run").records().items()}


def started(given: RunOptions) -> list[str]:
    events: list[Event] = []
    run(given, events.append)
    return [event.task for event in events if event.kind == "started"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache):
    """A finished run of the miniature track, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(cache))
        run(options(folder), lambda _: None)
    return folder


def test_every_cell_has_a_record_and_the_board_a_row_for_each_method_and_scheduler(finished):
    records = Folder(finished / "run").records()
    assert sorted(records) == sorted(f"{row}.s{seed}" for row in ("base.-", "sft.-", "dpo.uniform", "dpo.loss-ranked") for seed in (0, 1))
    assert {record["status"] for record in records.values()} == {"done"}
    for name in ("board.csv", "README.md", "forest.png", "track.toml"):
        assert (finished / "run" / name).stat().st_size > 0


def test_sft_is_its_own_reference(finished):
    metrics = results(finished)["sft.-.s0"]["metrics"]
    assert metrics["held_out_accuracy"]["value"] == 0.5
    assert metrics["margin"]["value"] == metrics["kl"]["value"] == 0.0


def test_costs_are_counted(finished):
    found = results(finished)
    full, half = found["dpo.uniform.s0"]["training"], found["dpo.loss-ranked.s0"]["training"]
    assert (full["steps"], full["pairs_forward"], full["pairs_backward"]) == (4, 32, 32)
    assert (half["pairs_forward"], half["pairs_backward"]) == (32 + 16, 16)
    clocks = Folder(finished / "run").records()["dpo.loss-ranked.s0"]["clocks"]
    assert {"train", "select", "answer", "judge", "score"} <= set(clocks)


def test_a_profiled_run_has_the_same_results_and_tells_the_parts_of_a_step(finished, tmp_path):
    run(options(tmp_path, selection=Selection(only=("dpo",), schedulers=("loss-ranked",), seeds=(0,)), profile=True), lambda _: None)
    (record,) = (record for record in Folder(tmp_path / "run").records().values() if record["method"]["label"] == "dpo")
    assert record["result"] == results(finished)["dpo.loss-ranked.s0"]
    assert {"data", "columns", "select", "forward", "backward", "optimiser", "answer", "judge"} <= set(record["clocks"])
    assert all(record["clocks"][part] > 0 for part in ("select", "forward", "backward", "optimiser"))


def test_a_record_says_what_was_chosen_for_its_training_and_why(finished):
    records = Folder(finished / "run").records()
    host = records["dpo.loss-ranked.s0"]["host"]
    assert (host["layout"], host["layout_reason"]) == ("shared", "")
    assert host["selection"] in ("kept", "two-pass")
    assert host["selection_reason"] == "measured"
    assert (host["compiled"], host["compiled_reason"]) == ("no", "the training is over before a compilation would pay")
    assert records["dpo.uniform.s0"]["host"]["selection_reason"] == "the scheduler scores nothing"
    assert "selection" not in records["sft.-.s0"]["host"]


def test_a_record_says_why_tokens_are_padded(finished, tmp_path):
    folder = options(
        tmp_path, TRACK + '[model]\nattention = "eager"\n', selection=Selection(only=("dpo",), schedulers=("uniform",), seeds=(0,))
    )
    run(folder, lambda _: None)
    (host,) = (record["host"] for record in Folder(tmp_path / "run").records().values() if record["method"]["label"] == "dpo")
    assert (host["layout"], host["layout_reason"]) == ("padded", "attention is eager")


def test_a_second_run_runs_nothing_and_changes_nothing(finished):
    before = {path: path.read_bytes() for path in (finished / "run").rglob("*") if path.is_file()}
    assert started(options(finished)) == []
    assert {path: path.read_bytes() for path in (finished / "run").rglob("*") if path.is_file()} == before


def test_two_runs_with_the_same_seeds_have_identical_results_also_with_workers(finished, tmp_path):
    # As many workers as cores: one thread each, as in this process. Another number of threads may sum in another order.
    run(options(tmp_path, in_process=False, jobs=usable_cores()), lambda _: None)
    assert results(tmp_path) == results(finished)


def test_results_do_not_depend_on_the_cache(finished, tmp_path, monkeypatch):
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "other cache"))
    run(options(tmp_path), lambda _: None)
    assert results(tmp_path) == results(finished)


def test_a_missing_record_is_made_again_from_the_finished_stages(finished, tmp_path):
    given = options(tmp_path)
    run(given, lambda _: None)
    before = results(tmp_path)
    Folder(given.out).record_path("dpo.uniform.s1").unlink()
    events: list[Event] = []
    run(given, events.append)
    stages = [event.data["stage"] for event in events if event.kind == "progress" and "stage" in event.data]
    assert "dpo.uniform.s1" in {event.task for event in events}
    assert stages == []
    assert results(tmp_path) == before


def test_a_changed_rule_makes_its_cells_stale_with_the_reason_and_reruns_only_those(tmp_path):
    run(options(tmp_path), lambda _: None)
    changed = options(tmp_path, TRACK.replace("beta = 0.3", "beta = 0.4"))
    states = plan_run(changed).states
    assert states["dpo.uniform.s0"].status == "stale"
    assert states["dpo.uniform.s0"].reason == "train: objective.options.beta: 0.3 -> 0.4"
    assert states["sft.-.s0"].status == "done"
    again = started(changed)
    assert "dpo.uniform.s0" in again
    assert "sft.-.s0" not in again


def test_a_new_judge_retrains_and_answers_nothing(tmp_path):
    run(options(tmp_path), lambda _: None)
    judge = 'name = "prefworld-annotator"\nlength_bias = 0.2'
    changed = options(tmp_path, TRACK.replace('name = "prefworld-annotator"', judge))
    state = plan_run(changed).states["dpo.uniform.s0"]
    assert (state.status, state.finished) == ("stale", ("train", "answer"))
    events: list[Event] = []
    run(changed, events.append)
    assert {event.data["stage"] for event in events if event.kind == "progress" and "stage" in event.data} == {"judge", "score"}
    # The folder's artefacts are those of the new judge too: with the old ones no length-controlled rate could be recomputed.
    assert check(changed.out, plan_run(changed).planner.harnesses()) == []


def test_a_plugin_that_raises_or_diverges_costs_its_cells_and_no_other(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    text = TRACK.replace('methods = ["dpo"]', 'methods = ["raises", "explodes", "dpo"]').replace(', "loss-ranked"', "")
    result = run(options(tmp_path, text, plugin_files=(tmp_path / "broken.py",)), lambda _: None)
    records = Folder(tmp_path / "run").records()
    assert records["dpo.uniform.s0"]["status"] == "done"
    assert records["raises.uniform.s0"]["status"] == "failed"
    assert records["raises.uniform.s0"]["error"]["message"] == "halfway through"
    assert "broken.py" in records["raises.uniform.s0"]["error"]["frames"][-1]
    assert (records["explodes.uniform.s0"]["status"], records["explodes.uniform.s0"]["error"]["step"]) == ("diverged", 2)
    assert set(result.failed) == {"raises.uniform.s0", "raises.uniform.s1"}
    assert "explodes" in (tmp_path / "run" / "board.csv").read_text()


def test_a_folder_of_another_track_is_refused(finished):
    other = dataclasses.replace(options(finished, TRACK.replace("version = 1", "version = 2")))
    with pytest.raises(PrefbenchError, match="holds track mini version 1"):
        run(other, lambda _: None)
    options(finished)


def test_records_name_no_path_and_no_user(finished):
    for record in Folder(finished / "run").records().values():
        text = json.dumps(record)
        assert str(Path.home()) not in text
        assert str(finished) not in text
