"""The scheduler as prefbench drives it: choices, contexts, rewards, rehearsals, the log, and random draws that are its own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from prefbench_sams import Sams, prefbench_schedulers
from sams_pools import BLOCKS, WIDTH, N, play, pool


def encoder_weights(scheduler: Sams, part: str) -> list[torch.Tensor]:
    assert scheduler.learner is not None
    return [weight.detach().clone() for weight in getattr(scheduler.learner.networks.encoder, part).parameters()]


def changed(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    return not all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


@pytest.mark.parametrize("selection", ["greedy", "softmax"])
@pytest.mark.parametrize("ratio", [0.25, 0.5, 0.75, 1.0])
def test_any_ratio_gives_distinct_positions_in_range(ratio: float, selection: str) -> None:
    for _, chosen in play(Sams(ratio=ratio, selection=selection), range(4), np.random.default_rng(0)):
        assert len(chosen) == len(set(chosen.tolist())) == ratio * N
        assert set(chosen.tolist()) <= set(range(N))


def test_greedy_takes_the_best_scores() -> None:
    scheduler, offered = Sams(exploration=0.5), pool(99)
    play(scheduler, range(3), np.random.default_rng(0))
    assert scheduler.learner is not None
    found = scheduler.learner.score(scheduler.context(offered))
    scores = (found.exploitation + 0.5 * found.exploration).numpy()
    assert scheduler.select(offered, 5, np.random.default_rng(1)).tolist() == np.argsort(-scores)[:5].tolist()


def test_softmax_follows_the_scores() -> None:
    """Two arms, one taken: the first with probability sigmoid of the difference of the scores."""
    scheduler, offered, rng = Sams(selection="softmax"), pool(7, size=2), np.random.default_rng(0)
    play(scheduler, range(3), rng)
    assert scheduler.learner is not None
    scores = scheduler.learner.score(scheduler.context(offered)).exploitation
    firsts = np.mean([scheduler.select(offered, 1, rng)[0] == 0 for _ in range(1000)])
    assert firsts == pytest.approx(float(torch.sigmoid(scores[0] - scores[1])), abs=0.05)


def test_the_first_choice_is_random_and_the_rngs_alone() -> None:
    choices = [Sams().select(pool(0), 8, np.random.default_rng(seed)).tolist() for seed in (0, 0, 1)]
    assert choices[0] == choices[1] != choices[2]


def test_the_same_seed_plays_the_same_game() -> None:
    """Whatever the process seeded torch with."""
    games = []
    for seed, of_torch in ((0, 1), (0, 2), (1, 2)):
        torch.manual_seed(of_torch)
        scheduler = Sams()
        choices = [chosen.tolist() for _, chosen in play(scheduler, range(5), np.random.default_rng(seed))]
        games.append((choices, scheduler.diagnostics()))
    assert games[0] == games[1] != games[2]


def test_dropout_is_on_while_the_networks_learn_and_off_while_they_score() -> None:
    scheduler, other, offered = Sams(), Sams(), pool(9)
    for one in (scheduler, other):
        play(one, range(2), np.random.default_rng(0))
    assert scheduler.learner is not None
    assert other.learner is not None
    context = scheduler.context(offered)
    before = [one.score(context).exploitation for one in (scheduler.learner, scheduler.learner, other.learner)]
    assert torch.equal(before[0], before[1])
    assert torch.equal(before[0], before[2])
    (arms,) = scheduler.replay.batches
    assert scheduler.learner.fit(arms, 1, encoder_learns=False) != other.learner.fit(arms, 2, encoder_learns=False)


def test_global_generators_are_left_alone() -> None:
    """Initialisation, dropout and sampling all draw, from generators of their own."""
    torch.manual_seed(5)
    np.random.seed(5)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    play(Sams(selection="softmax", replay_megabytes=0.01), range(5), np.random.default_rng(0))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # type: ignore[index]


def test_padding_is_seen_only_by_the_option_that_says_so() -> None:
    assert Sams().wants == ("loss", "margin", "chosen_log_prob", "hidden_states")
    assert Sams(masked=False).wants == ("loss", "margin", "chosen_log_prob", "padded_hidden_states")
    assert len(play(Sams(masked=False), range(3), np.random.default_rng(0))) == 3


def test_the_context_is_the_mean_of_both_answers_or_both() -> None:
    offered = pool(0)
    states = offered.statistics["hidden_states"]
    mean, both = Sams().context(offered), Sams(sides="concat").context(offered)
    assert mean == pytest.approx(states.mean(axis=1))
    assert both.shape == (N, BLOCKS, 2 * WIDTH)
    assert np.array_equal(both[3, 1], np.concatenate([states[3, 0, 1], states[3, 1, 1]]))
    assert mean.dtype == both.dtype == np.float32
    assert len(play(Sams(sides="concat"), range(3), np.random.default_rng(0))) == 3


@pytest.mark.parametrize(("arms", "count"), [("selected", 4), ("all", N)])
def test_the_networks_learn_from_the_chosen_arms_or_from_all(arms: str, count: int) -> None:
    scheduler = Sams(arms=arms, ratio=0.25)
    (offered, chosen), _ = play(scheduler, range(2), np.random.default_rng(0))
    assert len(scheduler.replay.batches[0]) == count
    if arms == "selected":
        assert np.array_equal(scheduler.replay.batches[0].context.numpy(), scheduler.context(offered)[chosen])


@pytest.mark.parametrize("reward", ["paper", "repo-fixed", "repo-parity"])
def test_a_pool_that_got_better_is_a_good_choice_but_for_the_code(reward: str) -> None:
    """Losses fall and margins grow; the code's reward has the wrong sign."""
    scheduler = Sams(reward=reward)
    worse, better = pool(0, loss=np.full(N, 0.7), margin=np.zeros(N)), pool(1, loss=np.full(N, 0.6), margin=np.full(N, 1.0))
    scheduler.observe(worse, np.arange(8), better)
    told = scheduler.diagnostics()
    assert (told["reward_batch"] > 0) == (reward != "repo-parity")
    expected = -math.expm1(-0.1) if reward == "paper" else (1 / (1 + math.exp(-0.1)) - 0.5) / 0.5
    assert abs(told["reward_batch"]) == pytest.approx(expected, abs=1e-9)


def test_smoothing_mixes_in_the_mean_of_earlier_rewards() -> None:
    """r_B of 1 - e^-1 and then of 0: half of the first is left, and then half of the mean of the first and that half."""
    scheduler = Sams(smoothing=0.5)
    pools = [pool(number, loss=np.full(N, loss)) for number, loss in enumerate([1.0, 0.0, 0.0, 0.0])]
    given = []
    for previous, current in pairwise(pools):
        scheduler.observe(previous, np.arange(8), current)
        given.append(scheduler.diagnostics()["reward_batch"])
    first = -math.expm1(-1)
    assert given == pytest.approx([first, first / 2, 3 * first / 8])


def test_without_exploration_there_is_no_exploration_network() -> None:
    scheduler = Sams(exploration=0.0)
    play(scheduler, range(4), np.random.default_rng(0))
    assert scheduler.learner is not None
    assert scheduler.learner.networks.exploration is None
    assert math.isnan(scheduler.diagnostics()["exploration_loss"])
    assert scheduler.diagnostics()["exploitation_loss"] >= 0


def test_the_exploration_network_learns_what_the_other_missed() -> None:
    scheduler = Sams()
    scheduler.observe(pool(0), np.arange(8), pool(1))
    (arms,) = scheduler.replay.batches
    fresh = Sams().new_learner(WIDTH)  # the same seed, before it learnt
    before = fresh.score(arms.context.numpy()).exploitation
    assert torch.allclose(arms.missed, arms.reward - before, atol=1e-6)
    assert not torch.allclose(arms.missed, arms.reward, atol=1e-3)


def test_rehearsals_teach_the_encoder_which_then_stays_fixed() -> None:
    """Three rehearsed pools: the third is observed when the first pool of training is offered. The connector goes on learning."""
    scheduler, rng = Sams(rehearsals=3), np.random.default_rng(0)
    steps = play(scheduler, range(3), rng)
    untaught = encoder_weights(scheduler, "layers")
    steps = play(scheduler, range(3, 4), rng, steps[-1])
    taught, connector = encoder_weights(scheduler, "layers"), encoder_weights(scheduler, "connector")
    assert changed(untaught, taught)
    play(scheduler, range(4, 7), rng, steps[-1])
    assert not changed(taught, encoder_weights(scheduler, "layers"))
    assert changed(connector, encoder_weights(scheduler, "connector"))


def test_without_rehearsals_the_encoder_learns_as_it_goes() -> None:
    scheduler, rng = Sams(), np.random.default_rng(0)
    steps = play(scheduler, range(2), rng)
    before = encoder_weights(scheduler, "layers")
    play(scheduler, range(2, 4), rng, steps[-1])
    assert changed(before, encoder_weights(scheduler, "layers"))


def test_the_codes_targets_pull_every_prediction_to_all() -> None:
    """From its second update on, two arms with rewards of .50 and .73 are predicted alike."""
    spread = {}
    for targets in ("own", "repo-parity"):
        scheduler = Sams(targets=targets, updates=150, learning_rate=2e-3, gamma=0.0, delta=1.0)
        two = pool(0, size=2, margin=np.array([-5.0, 5.0]))
        scheduler.observe(two, np.arange(2), pool(1, size=2))
        assert scheduler.learner is not None
        low, high = scheduler.learner.score(scheduler.context(two)).exploitation.tolist()
        spread[targets] = high - low
    assert spread["own"] > 0.1
    assert abs(spread["repo-parity"]) < 0.05


def test_a_round_ends_early_where_the_loss_is_small_enough() -> None:
    """A bound that any loss is under: one update, as with ``updates=1``."""
    first = play_and_score(Sams(updates=1))
    assert torch.equal(play_and_score(Sams(updates=5, stop_below=1e9)), first)
    assert not torch.equal(play_and_score(Sams(updates=5)), first)


def test_optimisers_that_are_made_anew_remember_nothing() -> None:
    kept, anew = Sams(), Sams(optimiser="re-created")
    for scheduler in (kept, anew):
        play(scheduler, range(4), np.random.default_rng(0))
    assert steps_taken(kept) == {3}
    assert steps_taken(anew) == {1}


def play_and_score(scheduler: Sams) -> torch.Tensor:
    play(scheduler, range(3), np.random.default_rng(0))
    assert scheduler.learner is not None
    return scheduler.learner.score(scheduler.context(pool(9))).exploitation


def steps_taken(scheduler: Sams) -> set[int]:
    moments = scheduler.state_dict()["learner"]["moments"]["exploitation"]
    return {int(found["step"]) for found in moments.values()}


def test_the_memory_is_bounded_and_can_be_switched_off() -> None:
    """A batch of 8 arms has 8 * (2 * 8 + 128 + 2) * 4 = 4672 bytes."""
    small, none = Sams(replay_megabytes=0.01), Sams(replay_megabytes=0.0)
    for scheduler in (small, none):
        play(scheduler, range(6), np.random.default_rng(0))
    assert small.diagnostics()["replay_batches"] == 2
    assert small.diagnostics()["replay_megabytes"] == pytest.approx(2 * 4672 / 1e6)
    assert none.diagnostics()["replay_batches"] == 0


def test_the_log_has_the_same_names_at_every_step() -> None:
    scheduler = Sams()
    before = scheduler.diagnostics()
    assert math.isnan(before["reward"])
    assert before["replay_batches"] == 0
    play(scheduler, range(3), np.random.default_rng(0))
    after = scheduler.diagnostics()
    assert set(after) == set(before)
    assert all(math.isfinite(value) for value in after.values())
    assert 0.384 < after["reward"] < 0.7311


def test_nothing_that_is_kept_has_a_graph() -> None:
    scheduler = Sams()
    play(scheduler, range(3), np.random.default_rng(0))
    kept = [tensor for arms in scheduler.replay.batches for tensor in arms.tensors().values()]
    assert not any(tensor.requires_grad for tensor in kept)


def test_the_hook_offers_it() -> None:
    assert prefbench_schedulers() == [Sams]


@pytest.mark.parametrize(("updates", "alike"), [(1, True), (2, False)])
def test_the_codes_targets_are_right_at_the_first_update_of_a_round(updates: int, alike: bool) -> None:
    told = []
    for targets in ("own", "repo-parity"):
        scheduler = Sams(targets=targets, updates=updates)
        play(scheduler, range(4), np.random.default_rng(0))
        told.append(scheduler.diagnostics())
    assert (told[0] == told[1]) == alike
