"""Columns that are wrong on purpose, each in one way, and the checks that find it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from prefbench.api import Column, ColumnContext, hyper
from tests.testing.caught import caught


@dataclass
class Sound(Column):
    """How much longer the chosen answer is, in tokens."""

    name = "sound"
    scale: float = hyper(1.0, low=0.0)

    def compute(self, context: ColumnContext) -> np.ndarray:
        gaps = [len(chosen) - len(rejected) for chosen, rejected in zip(context.chosen_ids, context.rejected_ids, strict=True)]
        return self.scale * np.array(gaps, dtype=np.float64)


@dataclass
class Trained(Column):
    """The loss under a policy that was trained on the other half of the pairs, and the accuracy for the record."""

    name = "trained"
    uses_objective = True

    def compute(self, context: ColumnContext) -> np.ndarray:
        rows = list(range(len(context.pairs)))
        values = np.empty(len(rows))
        for own, other in ((rows[::2], rows[1::2]), (rows[1::2], rows[::2])):
            policy = context.train(other, epochs=2, seed=0)
            values[own] = policy.losses(own)
            context.note(accuracy=float((policy.margins(own) > 0).mean()))
        return values


@dataclass
class Finetuned(Sound):
    """Takes a step on a fresh model of its own, as it may."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        model = context.fresh_model()
        for weights in model.parameters():
            weights.data.mul_(0.5)
        tokens = torch.tensor([list(context.prompt_ids[0])])
        return np.full(len(context.pairs), float(model(input_ids=tokens).logits.detach().mean()), dtype=np.float64)


@dataclass
class OneShort(Sound):
    """A number too few."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        return super().compute(context)[1:]


@dataclass
class Single(Sound):
    """float32."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        return super().compute(context).astype(np.float32)


@dataclass
class NotFinite(Sound):
    """The logarithm of a length that may be 0."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        return np.array([np.log(np.float64(max(0, len(ids) - 12))) if len(ids) > 12 else -np.inf for ids in context.chosen_ids])


@dataclass
class Unseeded(Sound):
    """Adds noise of no seed."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        return super().compute(context) + np.random.default_rng().normal(size=len(context.pairs))


@dataclass
class GlobalSeed(Sound):
    """Seeds the generator of everybody."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        torch.manual_seed(0)
        return super().compute(context) + torch.rand(len(context.pairs), dtype=torch.float64).numpy()


@dataclass
class ChangesPairs(Sound):
    """Writes into the pairs."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        for pair in context.pairs:
            pair.columns["mine"] = 1.0  # type: ignore[index]
        return super().compute(context)


@dataclass
class NotesTexts(Sound):
    """Notes what is no number."""

    def compute(self, context: ColumnContext) -> np.ndarray:
        context.note(verdict="fine")  # type: ignore[arg-type]
        return super().compute(context)


@pytest.mark.parametrize("sound", [Sound, Trained, Finetuned])
def test_a_sound_column_passes(sound: type[Column]) -> None:
    assert caught("column", sound) == {}


@pytest.mark.parametrize(
    ("wrong", "check", "said"),
    [
        (OneShort, "one finite number per pair", "compute gives shape (11,) of float64, where shape (12,) of float64 is due"),
        (Single, "one finite number per pair", "compute gives shape (12,) of float32"),
        (NotFinite, "one finite number per pair", "compute gives numbers that are not finite"),
        (Unseeded, "the same twice", "it gives other numbers at the second time"),
        (GlobalSeed, "global generators are left alone", "it moved the global generator of torch"),
        (ChangesPairs, "the inputs stay as they are", "it changes the pairs, their tokens or the model"),
        (NotesTexts, "notes are numbers", "its note ['verdict'] is no finite number"),
    ],
)
def test_one_mistake_fails_the_check_that_is_about_it(wrong: type[Column], check: str, said: str) -> None:
    problems = caught("column", wrong)
    assert set(problems) == {check}
    assert said in problems[check]
