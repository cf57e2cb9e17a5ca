"""Threads and jobs are chosen from measured seconds, and never more of them than cores."""

from __future__ import annotations

import time

import pytest
import torch

from prefbench.errors import PrefbenchError
from prefbench.train.device import Share, Workload, compute_dtype, seconds_by_threads
from prefbench.train.meter import Clocks, peak_memory_bytes, reset_peak_memory


@pytest.mark.parametrize(
    ("measured", "workload", "expected"),
    [
        ({1: 1.0, 2: 0.9, 4: 0.8}, Workload(4, 20, 4), Share(4, 1, alone=4)),  # many small cells: one thread each
        ({1: 1.0, 2: 0.5, 4: 0.25}, Workload(4, 1, 4), Share(1, 4, alone=4)),  # one cell that scales: all threads
        ({1: 1.0, 2: 0.9, 4: 25.0}, Workload(4, 1, 4), Share(1, 2, alone=2)),  # threads that hurt are not used
        ({1: 1.0, 2: 0.55}, Workload(2, 8, 2), Share(2, 1, alone=2)),
        ({1: 1.0}, Workload(1, 8, 1), Share(1, 1, alone=1)),
        ({1: 1.0, 2: 0.6, 4: 0.4}, Workload(4, 3, 4), Share(3, 1, alone=4)),  # three cells: three workers, not four
        ({1: 1.0, 2: 0.6, 4: 0.4}, Workload(4, 20, 1), Share(1, 4, alone=4)),  # one worker asked for: it may use the cores
    ],
)
def test_choice(measured, workload, expected):
    assert workload.choose(measured) == expected
    assert expected.jobs * expected.threads <= workload.cores


@pytest.mark.parametrize(
    ("workload", "expected"),
    [
        (Workload(4, 24, 4), [1]),
        (Workload(4, 30, 4), [1]),  # 8 rounds of one thread, 15 of two: even at twice the speed little would be won
        (Workload(4, 1, 4), [1, 2, 4]),
        (Workload(4, 9, 4), [1, 2, 4]),
        (Workload(2, 24, 2), [1]),
        (Workload(2, 3, 2), [1, 2]),
        (Workload(1, 5, 1), [1]),
        (Workload(4, 24, 1), [1, 2, 4]),
        (Workload(6, 1, 6), [1, 3, 6]),  # 4 would leave two cores idle
        (Workload(96, 3, 96), [1, 3, 6, 12, 24, 32]),
    ],
)
def test_only_thread_counts_that_could_pay_are_measured(workload, expected):
    assert workload.candidates() == expected


def test_measuring_leaves_the_thread_count_as_it_was():
    before = torch.get_num_threads()
    assert set(seconds_by_threads(lambda: None, [1, 2])) == {1, 2}
    assert torch.get_num_threads() == before


def test_the_first_step_which_is_slow_on_fresh_memory_is_in_no_counts_seconds():
    calls: list[int] = []

    def step() -> None:
        calls.append(torch.get_num_threads())
        time.sleep(0.2 if len(calls) == 1 else 0.002)

    measured = seconds_by_threads(step, [1, 2])
    assert calls[0] == 2
    assert max(measured.values()) < 0.1


def test_a_rule_names_its_dtype_and_auto_is_float32_without_native_bfloat16():
    assert compute_dtype("bfloat16") == "bfloat16"
    assert compute_dtype("auto") == ("bfloat16" if torch.cuda.is_available() else "float32")


def test_clocks_that_nest_add_up():
    clocks = Clocks()
    with clocks.time("train"):
        time.sleep(0.02)
        with clocks.time("select"):
            time.sleep(0.05)
    assert clocks.seconds["select"] >= 0.05
    assert 0.02 <= clocks.seconds["train"] < 0.05


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the resident set, which is not what counts on a GPU")
def test_the_peak_is_of_the_time_since_the_reset():
    big = torch.ones(30_000_000)
    high = peak_memory_bytes()
    del big
    reset_peak_memory()
    assert peak_memory_bytes() < high - 50_000_000


@pytest.mark.parametrize(
    ("rule", "weights", "expected"),
    [(*["bfloat16"] * 3,), ("bfloat16", "float32", "bfloat16"), (*["float32"] * 3,)],
)
def test_the_tracks_dtype_is_taken(rule, weights, expected):
    assert compute_dtype(rule, weights) == expected


@pytest.mark.parametrize("rule", ["float32", "auto"])
def test_float32_over_weights_in_bfloat16_is_refused(rule, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(PrefbenchError, match=r"model\.weights is bfloat16") as caught:
        compute_dtype(rule, "bfloat16")
    assert 'dtype = "bfloat16" under [train]' in caught.value.hint
    assert ("on this machine" in str(caught.value)) == (rule == "auto")
