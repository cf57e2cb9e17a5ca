"""Objectives that are wrong on purpose, each in one way, and the checks that find it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import logsigmoid

from prefbench.api import Objective, PairBatch, hyper
from prefbench.testing import ContractError, ObjectiveContract, Worked
from tests.testing.caught import caught

MEMORY = {"mean": 0.0}
"""Where ``KeptInTheModule`` keeps its state."""


@dataclass
class Sound(Objective):
    """DPO, from which the wrong ones depart."""

    name = "sound"
    beta: float = hyper(0.1, low=1e-6)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin)


@dataclass
class Running(Sound):
    """DPO with a running mean of the margin taken off, kept as it should be."""

    name = "running"
    mean: float = field(default=0.0, init=False)

    def update(self, batch: PairBatch) -> None:
        self.mean = 0.9 * self.mean + 0.1 * float(batch.margin.mean())

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.margin - self.mean))


@dataclass
class Reduced(Sound):
    """The mean instead of a loss per pair."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return super().per_pair(batch).mean()


@dataclass
class LogOfSigmoid(Sound):
    """log(sigmoid(z)) is -inf at z = -1000."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -torch.log(torch.sigmoid(self.beta * batch.margin))


@dataclass
class HiddenInfinity(Sound):
    """torch.where hides the infinite side, and the gradient finds it: 0 times infinity."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        z = self.beta * batch.margin
        return torch.where(z > -500.0, torch.log1p(torch.exp(-z)), -z)


@dataclass
class NoSpread(Sound):
    """Divides by the spread of the margins, which is 0 before the first step."""

    batch_coupled = True

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin / batch.margin.std(correction=0))


@dataclass
class Sorted(Sound):
    """Sorts the batch, undeclared."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.chosen_log_ratio.sort().values - batch.rejected_log_ratio.sort().values))


@dataclass
class WrongSign(Sound):
    """Trains towards the rejected answers."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(-self.beta * batch.margin)


@dataclass
class LikesBoth(Sound):
    """Adds the rejected reward where it is to be taken off."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.chosen_log_ratio + batch.rejected_log_ratio))


@dataclass
class Detached(Sound):
    """The margin is cut off the policy; what is left carries a gradient of zero."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin.detach()) + 0.0 * batch.policy_chosen


@dataclass
class CutOff(Sound):
    """Losses that carry no gradient at all."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return super().per_pair(batch).detach()


@dataclass
class Counted(Sound):
    """Whole numbers: whether a pair is ordered wrongly."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return (batch.margin < 0).long()


@dataclass
class GlobalDraws(Sound):
    """Smooths labels by draws from the generator that everybody draws from."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin) * (1.0 + 0.01 * torch.rand(len(batch.margin)))


@dataclass
class Seeds(Sound):
    """Gives the same at every call, but seeds the generator of everybody for that."""

    batch_coupled = True

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        torch.manual_seed(batch.seed)
        return -logsigmoid(self.beta * batch.margin) * torch.rand(len(batch.margin)).add(1.0)


@dataclass
class KeptInTheModule(Running):
    """Its state lives in a global of the module, which no checkpoint holds."""

    def update(self, batch: PairBatch) -> None:
        MEMORY["mean"] = 0.9 * MEMORY["mean"] + 0.1 * float(batch.margin.mean())
        self.mean += 1e-30

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.margin - MEMORY["mean"]))


@dataclass
class KeptInAClosure(Running):
    """Its state lives in a function that the checkpoint does not see."""

    def __post_init__(self) -> None:
        means = [0.0]

        def smooth(batch: PairBatch | None = None) -> float:
            if batch is not None:
                means.append(0.9 * means[-1] + 0.1 * float(batch.margin.mean()))
            return means[-1]

        object.__setattr__(self, "smooth", smooth)

    def state_dict(self) -> dict[str, Any]:
        return {}

    def update(self, batch: PairBatch) -> None:
        self.mean = vars(self)["smooth"](batch)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.margin - vars(self)["smooth"]()))


@dataclass
class LeftOut(Running):
    """state_dict() forgets the running mean."""

    def state_dict(self) -> dict[str, Any]:
        return {}


@dataclass
class NotRestored(Running):
    """load_state_dict() does nothing."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        pass


@dataclass
class ChangedInPerPair(Running):
    """Moves its running mean in per_pair, which is called on pools as well."""

    def update(self, batch: PairBatch) -> None:
        pass

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        self.mean = 0.9 * self.mean + 0.1 * float(batch.margin.detach().mean())
        return super().per_pair(batch)


@dataclass
class UndeclaredColumn(Sound):
    """Reads a column that it does not need."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin) * torch.sigmoid(batch.columns["score-gap"])


@dataclass
class UndeclaredStatistic(Sound):
    """Reads a statistic that it does not want."""

    def update(self, batch: PairBatch) -> None:
        assert batch.statistics["chosen_kl"].isfinite().all()


@dataclass
class UnknownStatistic(Sound):
    """Wants what no batch has."""

    wants = ("chosen_entropy",)


@dataclass
class InPlace(Sound):
    """Subtracts the reference where it stands."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        gap = batch.reference_chosen.sub_(batch.reference_rejected)
        batch.reference_rejected.zero_()
        return -logsigmoid(self.beta * (batch.policy_chosen - batch.policy_rejected - gap))


@dataclass
class HiddenOption(Sound):
    """Its margin can be changed by nobody, and stands in no record."""

    offset: float = field(default=0.5, init=False)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * batch.margin - self.offset)


@dataclass
class Unrecorded(Sound):
    """Its options() leaves one out."""

    offset: float = hyper(0.5)

    def options(self) -> dict[str, Any]:
        return {"beta": self.beta}


@dataclass
class AlwaysTheSame(Sound):
    """Its options() gives the defaults, whatever was set."""

    def options(self) -> dict[str, Any]:
        return {"beta": 0.1}


@dataclass
class NoJson(Sound):
    """An option that no record can hold."""

    folder: Path = Path("here")


@dataclass
class Initial(Sound):
    """An option that no field holds."""

    offset: InitVar[float] = 0.5

    def __post_init__(self, offset: float) -> None:
        self.kept = offset


@dataclass
class AnyValue(Sound):
    """An option that takes whatever it is given."""

    offset: object = hyper(0.5)


@dataclass
class Unbounded(Sound):
    """Its bounds allow a beta at which it gives no number."""

    beta: float = hyper(0.1, low=0.0)

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return (batch.margin - 0.5 / torch.tensor(self.beta)) ** 2


@dataclass
class SaysReferenceFree(Sound):
    """Reads the reference, and says that it does not."""

    reference_free = True


@dataclass
class NeedsNoReference(Sound):
    """Reads no reference, and does not say so."""

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -logsigmoid(self.beta * (batch.policy_chosen - batch.policy_rejected))


@dataclass
class Chatty(Running):
    """Its diagnostics have a name for every value."""

    def diagnostics(self) -> Mapping[str, float]:
        return {f"mean {self.mean:.3f}": self.mean}


FINITE = "losses and gradients are finite on the domain"
PARTS = "parts of a batch lose what they lose in the whole"
IDENTITY = "every option is part of the identity"
NONSENSE = "options refuse nonsense"
PURE = "per pair is pure"
ORDER = "the order of pairs does not matter"
STATE = "the state survives a checkpoint"
DECLARED = "only what is declared is read"
GENERATORS = "global generators are left alone"
REFERENCE = "reference free means what it says"


@pytest.mark.parametrize("sound", [Sound, Running])
def test_a_sound_objective_passes(sound: type[Objective]) -> None:
    assert caught("objective", sound) == {}


@pytest.mark.parametrize(
    ("wrong", "checks", "said"),
    [
        (LogOfSigmoid, {FINITE}, "a loss is inf at log-ratios of -10000 (chosen) and +10000 nats (rejected)"),
        (
            HiddenInfinity,
            {FINITE},
            "the gradient by policy_chosen is not finite at log-ratios of -10000 (chosen) and +10000 nats (rejected)",
        ),
        (UnknownStatistic, {DECLARED}, "it wants the statistic 'chosen_entropy', and there is none\nthere are prompt_log_prob,"),
        (Sorted, {PARTS, ORDER}, "the loss of a pair depends on the other pairs of its batch"),
        (WrongSign, {"the mean loss favours the chosen answers"}, "at policy = reference its mean rises with the chosen log-probs"),
        (
            LikesBoth,
            {"the mean loss favours the chosen answers"},
            "at policy = reference its mean falls with the rejected log-probs (slope -0.05)",
        ),
        (Detached, {"the gradient reaches the policy"}, "no gradient reaches the policy's log-probs"),
        (Seeds, {GENERATORS}, "it moved the global generator of torch"),
        (KeptInTheModule, {STATE}, "a run that goes on from a checkpoint loses otherwise"),
        (KeptInAClosure, {STATE}, "a run that goes on from a checkpoint loses otherwise"),
        (LeftOut, {STATE}, "a run that goes on from a checkpoint loses otherwise"),
        (NotRestored, {STATE}, "a run that goes on from a checkpoint loses otherwise"),
        (UndeclaredColumn, {DECLARED}, "it reads 'score-gap', which it does not declare\nadd 'score-gap' to its `needs`"),
        (UndeclaredStatistic, {DECLARED}, "it reads 'chosen_kl', which it does not declare\nadd 'chosen_kl' to its `wants`"),
        (HiddenOption, {IDENTITY}, "the field offset is a setting that options() does not have"),
        (Unrecorded, {IDENTITY}, "options() lacks the setting offset"),
        (AlwaysTheSame, {IDENTITY}, "options() stays the same when beta changes"),
        (NoJson, {IDENTITY}, "options() is no JSON"),
        (Initial, {IDENTITY}, "options() lacks the setting offset"),
        (AnyValue, {NONSENSE}, "is taken"),
        (Unbounded, {NONSENSE}, "sound[beta=0.0]: a loss is inf near home"),
        (SaysReferenceFree, {REFERENCE}, "it says reference_free, and reads the reference's log-probs"),
        (NeedsNoReference, {REFERENCE}, "the reference's log-probs make no difference to it"),
        (Chatty, {"diagnostics keep their names"}, "diagnostics() has other names at other steps"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_one_mistake_fails_the_checks_that_are_about_it(wrong: type[Objective], checks: set[str], said: str) -> None:
    problems = caught("objective", wrong)
    assert set(problems) == checks
    assert all(problem.startswith(wrong.name) for problem in problems.values())
    assert any(said in problem for problem in problems.values())


@pytest.mark.parametrize(
    ("wrong", "check", "said"),
    [
        (Reduced, "one loss per pair with a gradient", "per_pair gives () for 12 pairs, where shape (12,) is due"),
        (CutOff, "one loss per pair with a gradient", "its losses carry no gradient: the policy would not be trained"),
        (Counted, "one loss per pair with a gradient", "its losses are torch.int64, where floating-point numbers are due"),
        (NoSpread, FINITE, "a loss is nan before the first step, where policy = reference"),
        (GlobalDraws, GENERATORS, "it moved the global generator of torch"),
        (GlobalDraws, PURE, "per_pair gives other losses for the same batch"),
        (ChangedInPerPair, PURE, "per_pair changes the objective\nchange moving averages and queues in update(batch)"),
        (InPlace, "the inputs stay as they are", "it changes the batch that it is handed"),
    ],
)
def test_a_mistake_that_shows_in_several_ways_is_named_by_its_own_check(wrong: type[Objective], check: str, said: str) -> None:
    assert said in caught("objective", wrong)[check]


def test_declarations_lift_the_checks_that_they_are_about() -> None:
    """A sorted batch is no mistake once it is declared, nor is a wrong sign, nor a domain that ends early."""

    @dataclass
    class DeclaredSort(Sorted):
        batch_coupled = True

    @dataclass
    class DeclaredSign(WrongSign):
        monotone = False

    @dataclass
    class DeclaredDomain(LogOfSigmoid):
        domain = 300.0

    assert [caught("objective", cls) for cls in (DeclaredSort, DeclaredSign, DeclaredDomain)] == [{}, {}, {}]


def test_an_option_may_turn_the_reference_off() -> None:
    """What is declared holds for the class: it is enough that some variant reads the reference."""

    @dataclass
    class Anchored(NeedsNoReference):
        anchor: float = hyper(0.0, low=0.0)

        def per_pair(self, batch: PairBatch) -> torch.Tensor:
            return super().per_pair(batch) - self.anchor * batch.margin

    class TestAnchored(ObjectiveContract):
        component = Anchored
        variants = ({}, {"anchor": 0.1})

    TestAnchored().test_reference_free_means_what_it_says()
    assert set(caught("objective", Anchored)) == {REFERENCE}


def test_what_it_declares_is_there_to_read() -> None:
    @dataclass
    class Declared(UndeclaredColumn):
        needs = ("score-gap",)

    @dataclass
    class DeclaredByAnOption(Sound):
        column: str = hyper("score-gap")

        @property
        def needs(self) -> tuple[str, ...]:
            return (self.column,)

        def per_pair(self, batch: PairBatch) -> torch.Tensor:
            return super().per_pair(batch) * torch.sigmoid(batch.columns[self.column])

    assert caught("objective", Declared) == {}
    assert caught("objective", DeclaredByAnOption, column="my-gap") == {}


def test_worked_rows_are_compared_within_a_millionth() -> None:
    """log(1 + exp(-0.15)) = 0.620957 and its like, from a pocket calculator."""
    right = [0.620957, 0.765595, 0.683197, 0.455492]

    class TestRight(ObjectiveContract):
        component = Sound
        worked = (Worked({"beta": 0.1}, right),)

    class TestWrong(ObjectiveContract):
        component = Sound
        worked = (Worked({"beta": 0.1}, [*right[:3], 0.455494]),)

    TestRight().test_worked_rows()
    with pytest.raises(ContractError, match=r"its losses are \[0.620957, .*0.455492\], and \[0.620957, .*0.455494\] were worked out"):
        TestWrong().test_worked_rows()


def test_worked_rows_bring_columns_and_statistics() -> None:
    @dataclass
    class Weighted(Sound):
        needs = ("weight",)
        wants = ("chosen_kl",)

        def per_pair(self, batch: PairBatch) -> torch.Tensor:
            return batch.columns["weight"] * batch.policy_chosen + batch.statistics["chosen_kl"]

    class TestWeighted(ObjectiveContract):
        component = Weighted
        worked = (Worked({}, [-12.0, -40.0, -28.0, -119.0], columns={"weight": [1, 2, 3, 4]}, statistics={"chosen_kl": [0, 0, 0.5, 1]}),)

    TestWeighted().test_worked_rows()
    TestWeighted.worked = (
        Worked({}, [-12.0, -40.0, -28.0, -119.0], columns={"weight": [1, 2, 3, 5]}, statistics={"chosen_kl": [0, 0, 0.5, 1]}),
    )
    with pytest.raises(ContractError, match=r"its losses are \[.*-149"):
        TestWeighted().test_worked_rows()


def test_the_message_names_the_options_that_were_set() -> None:
    assert caught("objective", WrongSign, beta=0.5)["the mean loss favours the chosen answers"].startswith("sound[beta=0.5]: at policy")
