"""Columns of plugins: what they are given, in which order, what is kept, and what is refused."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from prefbench.api import Column
from prefbench.columns.compute import Context, column_values, pair_column
from prefbench.columns.plugin import ReferenceCommonMargin, ReferenceMargin
from prefbench.columns.reference import reference_column
from prefbench.columns.trained import Training
from prefbench.config import LoraRules, TrainRules
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.train.adapters import fresh_policy
from prefbench.train.forward import make_scorer
from prefbench.train.job import PairData
from tests.models import random_tokens, tiny_llama

RULES = TrainRules(steps=10, pool=4, warmup=2, micro_batch_tokens=256, learning_rate=1e-2)


def context_of(count: int, folder: Path, training: Training | None = None) -> Context:
    tokens, scorer = random_tokens(count), make_scorer(tiny_llama(), "float32")
    reference = reference_column(scorer, "w", tokens, 256, folder)
    return Context(PairData(tokens, *reference.sums()), reference, scorer, training)


@dataclass
class FirstToken(Column):
    """A number that tells pairs apart, and the order in which they came."""

    name = "first-token"

    def compute(self, context):
        context.note(pairs=len(context.pairs))
        return [ids[0] + position / 100 for position, ids in enumerate(context.prompt_ids)]


def test_values_are_computed_from_the_context_and_cached(tmp_path: Path) -> None:
    context = context_of(4, tmp_path)
    found = column_values(ReferenceMargin(), "key", context, tmp_path)
    chosen, rejected = context.reference_column.sums()
    assert found.values == pytest.approx(chosen - rejected)

    class Refuses(ReferenceMargin):
        def compute(self, context):
            raise AssertionError("it is cached")

    assert np.array_equal(column_values(Refuses(), "key", context, tmp_path).values, found.values)
    with pytest.raises(AssertionError):
        column_values(Refuses(), "another key", context, tmp_path)


def test_the_common_margin_ends_where_the_shorter_answer_does(tmp_path: Path) -> None:
    context = context_of(6, tmp_path)
    column = context.reference_column
    lengths = [(len(chosen), len(rejected)) for chosen, rejected in zip(column.chosen, column.rejected, strict=True)]
    assert len({chosen > rejected for chosen, rejected in lengths}) == 2, "either answer is to be the longer one"
    both = zip(column.chosen, column.rejected, strict=True)
    expected = [sum(float(c) - float(r) for c, r in zip(chosen, rejected, strict=False)) for chosen, rejected in both]
    assert column_values(ReferenceCommonMargin(), "key", context, tmp_path).values == pytest.approx(expected)


def test_the_order_of_the_pairs_is_none_of_a_columns_business(tmp_path: Path) -> None:
    """A seed that shuffles the pairs shares the column, each pair with its own value, whether it was computed or read."""
    context = context_of(6, tmp_path)
    order = [4, 0, 5, 2, 1, 3]
    shuffled = context.in_canonical_order(order)
    computed = column_values(FirstToken(), "key", context, tmp_path).values
    assert column_values(FirstToken(), "key", shuffled, tmp_path).values.tolist() == computed[order].tolist()
    assert column_values(FirstToken(), "other", shuffled, tmp_path).values.tolist() == computed[order].tolist()
    assert [int(value) for value in computed] == [ids[0] for ids in context.prompt_ids]


def test_what_a_column_notes_is_kept_with_its_cost(tmp_path: Path) -> None:
    first = column_values(FirstToken(), "key", context_of(5, tmp_path), tmp_path)
    again = column_values(FirstToken(), "key", context_of(5, tmp_path), tmp_path)
    assert first.facts == again.facts == {"pairs": 5.0}
    assert first.seconds == again.seconds


@pytest.mark.parametrize("values", [np.zeros(3), np.zeros((4, 1)), np.full(4, np.nan), ["high"] * 4])
def test_values_of_the_wrong_shape_or_that_are_no_numbers_are_refused(tmp_path: Path, values: object) -> None:
    class Wrong(ReferenceMargin):
        def compute(self, context):
            return values

    with pytest.raises(PrefbenchError, match="reference-margin"):
        column_values(Wrong(), "key", context_of(4, tmp_path), tmp_path)
    assert not list(tmp_path.rglob("*.json.gz"))


def test_a_column_that_comes_with_the_pairs_needs_every_pair() -> None:
    tokens = random_tokens(2)
    with_gap = [dataclasses.replace(pair, columns={"gap": float(i)}) for i, pair in enumerate(tokens.pairs)]
    assert pair_column(with_gap, "gap").tolist() == [0.0, 1.0]
    assert pair_column([with_gap[0], tokens.pairs[1]], "gap") is None
    with pytest.raises(PrefbenchError, match="1 numbers that are not finite"):
        pair_column([with_gap[0], dataclasses.replace(tokens.pairs[1], columns={"gap": float("nan")})], "gap")


# ---------------------------------------------------------------- policies trained for a column


def trained_context(folder: Path, **changes: object) -> Context:
    return context_of(12, folder, Training(lambda: Dpo(beta=0.5), 1e-2, dataclasses.replace(RULES, **changes)))


def test_a_policy_learns_the_pairs_that_it_is_given_and_leaves_the_reference_alone(tmp_path: Path) -> None:
    context = trained_context(tmp_path)
    before = [p.clone() for p in context.reference.model.parameters()]
    rows, others = [0, 3, 5, 7, 8, 11], [1, 2, 4, 6, 9, 10]
    policy = context.train(rows, 20, seed=0)
    losses = policy.losses([*rows, *others])
    assert losses.shape == (12,)
    assert losses[:6].max() < np.log(2)  # where it started
    assert losses[:6].mean() < losses[6:].mean()
    assert np.log1p(np.exp(-0.5 * policy.margins(rows))) == pytest.approx(losses[:6])
    assert all(torch.equal(p, q) for p, q in zip(before, context.reference.model.parameters(), strict=True))


def test_a_policy_is_trained_on_the_pairs_that_it_is_given_and_on_no_other(tmp_path: Path) -> None:
    """A cross-fitted column is worth nothing where the pairs that are scored were trained on."""
    context, rows = trained_context(tmp_path), [0, 3, 5, 7, 8, 11]
    among_all = context.train(rows, 3, seed=0).margins(rows)
    alone = context.in_canonical_order(rows).train(range(len(rows)), 3, seed=0).margins(range(len(rows)))
    assert np.array_equal(among_all, alone)


def test_a_policy_is_trained_at_the_learning_rate_of_the_row(tmp_path: Path) -> None:
    standing = context_of(12, tmp_path, Training(lambda: Dpo(beta=0.5), 0.0, RULES)).train(range(8), 3, seed=0)
    assert standing.margins(range(12)) == pytest.approx(np.zeros(12), abs=1e-4)
    assert np.abs(trained_context(tmp_path).train(range(8), 3, seed=0).margins(range(12))).max() > 0.1


def test_losses_are_those_of_the_end_of_the_training(tmp_path: Path) -> None:
    """An objective may change its loss on the way; what a column is told is the loss that training ended with."""

    @dataclass
    class Grows(Dpo):
        def per_pair(self, batch):
            return super().per_pair(batch) * 0 + batch.progress

    training = Training(Grows, 1e-2, RULES)
    assert context_of(12, tmp_path, training).train(range(8), 2, seed=0).losses([1, 9]).tolist() == [1.0, 1.0]


def test_the_same_seed_trains_the_same_policy(tmp_path: Path) -> None:
    context = trained_context(tmp_path)
    margins = [context.train(range(8), 2, seed=seed).margins(range(12)) for seed in (1, 1, 2)]
    assert np.array_equal(margins[0], margins[1])
    assert not np.array_equal(margins[0], margins[2])


def test_steps_follow_from_the_epochs_and_the_warm_up_keeps_its_share(tmp_path: Path) -> None:
    training = Training(Dpo, 1e-2, RULES)
    rules = training.rules_for(pairs=100, epochs=2.0)
    assert (rules.steps, rules.warmup, rules.pool) == (50, 10, 4)
    assert training.rules_for(pairs=3, epochs=1.0).steps == 1


def test_a_column_that_does_not_say_so_trains_nothing(tmp_path: Path) -> None:
    """Its key would not hold the objective, and cells with another would be given its values."""
    with pytest.raises(PrefbenchError, match="must say so"):
        context_of(4, tmp_path).train(range(4), 1.0, seed=0)


def test_a_training_that_diverges_names_the_column_as_its_purpose(tmp_path: Path) -> None:
    with pytest.raises(PrefbenchError, match="trained for a column diverged"):
        trained_context(tmp_path, loss_bound=1e-6).train(range(8), 1.0, seed=0)


def test_a_fresh_model_is_a_copy(tmp_path: Path) -> None:
    context = context_of(3, tmp_path)
    model = context.fresh_model()
    with torch.no_grad():
        next(model.parameters()).zero_()
    assert not torch.equal(next(model.parameters()), next(context.reference.model.parameters()))


def test_a_fresh_model_is_float32_and_trainable_whatever_the_track_does_to_its_policies(tmp_path: Path) -> None:
    """Weights in bfloat16, and policies that share them frozen, are no business of a column that trains a model of its own."""
    context = context_of(3, tmp_path)
    coarse = dataclasses.replace(context, reference=make_scorer(tiny_llama().bfloat16(), "bfloat16"))
    fresh_policy(coarse.reference, LoraRules(), seed=0)
    parameters = list(coarse.fresh_model().parameters())
    assert {parameter.dtype for parameter in parameters} == {torch.float32}
    assert all(parameter.requires_grad for parameter in parameters)
    assert {parameter.dtype for parameter in coarse.reference.model.parameters()} == {torch.bfloat16}


def test_a_columns_policies_have_the_adapters_of_the_track(tmp_path: Path) -> None:
    training = Training(lambda: Dpo(beta=0.5), 1e-2, RULES, LoraRules(rank=2, targets=("q_proj",)))
    context = context_of(12, tmp_path, training)
    before = [p.clone() for p in context.reference.model.parameters()]
    adapted, full = (one.train(range(8), 3, seed=0).margins(range(12)) for one in (context, trained_context(tmp_path)))
    assert np.abs(adapted).max() > 1e-3
    assert not np.allclose(adapted, full, atol=1e-2)
    assert all(torch.equal(p, q) for p, q in zip(before, context.reference.model.parameters(), strict=True))
