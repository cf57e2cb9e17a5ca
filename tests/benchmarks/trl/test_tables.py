"""What is made of outcomes: medians, ratios to prefbench as installed, and tables that find their places in the README."""

from __future__ import annotations

import pytest

from benchmarks.trl import cuda, selective, start, step
from benchmarks.trl.__main__ import MODES, README
from benchmarks.trl.tables import Table, machine, markdown, replaced
from benchmarks.trl.workload import mean_words
from tests.benchmarks.trl.made_up import outcome


def paced(seconds: float, **changed):
    """An outcome whose steps took so long, but for the first ones and one that was disturbed."""
    ends, now = [], 10.0
    for number in range(8):
        now += {0: 9.0, 5: 50.0}.get(number, seconds)
        ends.append(now)
    return outcome(ends=ends, **changed)


def test_a_step_is_the_median_behind_the_warm_up():
    assert paced(0.25).step_seconds(warm_up=2) == pytest.approx(0.25)
    assert outcome().step_processor_seconds(warm_up=2) == pytest.approx(2.0)


def test_on_a_gpu_a_step_is_the_mean_between_the_two_ends_that_were_waited_for():
    """The other ends are those of the host, which runs ahead."""
    on_gpu = outcome(ends=[5.0, 9.0, 9.0, 9.1, 9.1, 9.2, 9.2, 12.0], device="a GPU")
    assert on_gpu.step_seconds(warm_up=2) == pytest.approx(0.5)


def test_the_first_step_is_counted_from_the_start_of_the_process():
    assert outcome(started=8.0).first_step == pytest.approx(2.0)


def test_ratios_are_of_medians_to_prefbench_without_compiled_layers():
    mib = 2**20
    found = {
        "prefbench": [paced(0.3, peak_bytes=100 * mib), paced(0.2, peak_bytes=120 * mib), paced(0.2, peak_bytes=100 * mib)],
        "prefbench, compiled layers": [paced(0.1)] * 3,
        "TRL": [paced(0.8, peak_bytes=400 * mib, processor_ends=[6.0 * step for step in range(8)])] * 3,
    }
    ours, compiled, theirs = step.lines(found, warm_up=2, batch=8)
    assert ours == ["prefbench", "0.200", "40.0", "2.00", "100", "", "", "", ""]
    assert compiled[1] == "0.100"
    assert theirs == ["TRL", "0.800", "10.0", "6.00", "400", "0.0e+00", "4.00x", "3.00x", "0.25x"]


def test_a_round_that_disagrees_leaves_no_ratio_of_any_kind():
    off = [loss * 1.001 for loss in outcome().trained.losses]
    found = {"prefbench": [outcome()] * 2, "TRL": [outcome(), outcome(losses=off)]}
    _, theirs = step.lines(found, warm_up=2, batch=8)
    assert theirs[-3:] == ["refused: losses differ by 1.0e-03", "", ""]
    assert Table("", (), [theirs]).refused
    assert not Table("", (), [["TRL", "4.00x"]]).refused


def test_the_share_of_the_first_step_is_ours_of_theirs():
    found = {start.PREFBENCH.name: [outcome(started=9.0)], start.CACHED.name: [outcome(started=6.0)]}
    assert [cells[-1] for cells in start.lines(found)] == ["", "0.25x"]


def test_of_the_matrix_rate_only_what_a_step_needs_is_counted(plan, workload):
    """By hand: six operations a parameter, of the layers for every token of a pair, of the head for those of its answers."""
    training = plan.training(workload, batch=4, warm_up=2)
    head, layers = cuda.parameters()
    prompts, answers = mean_words(workload)
    assert cuda.needed_flops(workload, training) == pytest.approx(4 * 6 * (layers * (prompts + answers) + head * answers))
    off = [loss * 1.01 for loss in outcome().trained.losses]
    found = {"prefbench": [outcome(device="a GPU")], "TRL, as installed": [outcome(device="a GPU", losses=off)]}
    ours, theirs = cuda.lines(found, training, flops=5e12, rate=1e13)
    assert ours == ["prefbench", "1.000", "4", "5", "50%", "100", "", ""]
    assert theirs[-2:] == ["1.0e-02", "1.00x"]


def test_the_whole_training_starts_at_its_first_pool():
    assert selective.measures([outcome(began=9.0)], warm_up=2) == (1.0, 8.0, 100 * 2**20)


def test_a_table_tells_how_it_was_made():
    table = Table("A step", ("who", "s"), [["prefbench", "0.2"]], {"torch": "2.13", "trl": "1.16"}, ("A remark.",))
    text = markdown(table, "python -m benchmarks.trl step", "a machine").splitlines()
    assert text[0] == "### A step"
    assert "`python -m benchmarks.trl step`" in text[2]
    assert "a machine; torch 2.13, trl 1.16." in text[2]
    assert text[4:7] == ["| who | s |", "|---|---:|", "| prefbench | 0.2 |"]
    assert text[-1] == "- A remark."
    assert "cores" in machine(4)
    assert "4 threads" in machine(4)


def test_a_table_takes_the_place_of_the_one_before_and_of_no_other():
    readme = "a\n<!-- step -->\nold\n<!-- end of step -->\nb\n<!-- start -->\nkept\n<!-- end of start -->\n"
    again = replaced(replaced(readme, "step", "new"), "step", "newer")
    assert again == readme.replace("old", "newer")
    with pytest.raises(ValueError, match="no place for cuda"):
        replaced(readme, "cuda", "new")


def test_the_readme_has_a_place_for_every_mode():
    readme = README.read_text()
    for mode in MODES:
        assert replaced(readme, mode, "a table") != readme
