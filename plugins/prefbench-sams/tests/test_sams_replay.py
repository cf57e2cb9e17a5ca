"""The memory of SamS: bounded in bytes, a random batch gives way, and it comes back from a file as it was."""

from __future__ import annotations

import numpy as np
import torch
from prefbench_sams.replay import Arms, Replay
from sams_pools import through_a_file


def batch(number: int, size: int = 4) -> Arms:
    """Four arms of 4 * (2 * 3 + 5 + 1 + 1) * 4 = 208 bytes that carry their number."""
    full = torch.full
    return Arms(full((size, 2, 3), float(number)), full((size, 5), 0.0), full((size,), float(number)), full((size,), 0.0))


def numbers(replay: Replay) -> list[int]:
    return sorted(int(kept.reward[0]) for kept in replay.batches)


def test_it_never_holds_more_than_its_bytes_and_replaces_at_random() -> None:
    replay, rng = Replay(limit=1000), np.random.default_rng(0)
    for number in range(100):
        replay.add(batch(number), rng)
        assert replay.nbytes == sum(kept.nbytes for kept in replay.batches) <= 1000
        assert number in numbers(replay)
    assert len(replay.batches) == 4
    assert numbers(replay) != [96, 97, 98, 99]


def test_what_is_larger_than_the_limit_is_not_kept() -> None:
    replay, rng = Replay(limit=1000), np.random.default_rng(0)
    replay.add(batch(0), rng)
    replay.add(batch(1, size=20), rng)
    assert numbers(replay) == [0]


def test_a_larger_batch_makes_room_for_itself() -> None:
    replay, rng = Replay(limit=1000), np.random.default_rng(0)
    for number in range(4):
        replay.add(batch(number), rng)
    replay.add(batch(9, size=8), rng)
    assert len(replay.batches) == 3
    assert 9 in numbers(replay)


def test_a_sample_holds_no_batch_twice_and_is_all_when_there_are_few() -> None:
    replay, rng = Replay(limit=10**6), np.random.default_rng(0)
    assert replay.sample(3, rng) == []
    for number in range(10):
        replay.add(batch(number), rng)
    assert len({int(drawn.reward[0]) for drawn in replay.sample(6, rng)}) == 6
    assert len(replay.sample(32, rng)) == 10


def test_it_comes_back_from_a_file_as_it_was_and_without_shared_memory() -> None:
    replay, restored, rng = Replay(limit=10**6), Replay(limit=10**6), np.random.default_rng(0)
    for number in range(3):
        replay.add(batch(number, size=number + 1), rng)
    restored.load_state_dict(through_a_file(replay.state_dict()))
    assert restored.nbytes == replay.nbytes
    for kept, back in zip(replay.batches, restored.batches, strict=True):
        assert all(torch.equal(value, back.tensors()[name]) for name, value in kept.tensors().items())
        assert back.context.untyped_storage().nbytes() == back.context.nbytes


def test_an_empty_one_comes_back_empty() -> None:
    restored = Replay(limit=10)
    restored.load_state_dict(through_a_file(Replay(limit=10).state_dict()))
    assert restored.batches == []
