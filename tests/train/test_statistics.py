"""Numbers per sequence beyond log-probs, against the whole model's logits, one sequence at a time in double precision."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from prefbench.api import PAIR_STATISTICS, Objective, PairBatch
from prefbench.errors import PrefbenchError
from prefbench.train import head
from prefbench.train.forward import make_scorer
from prefbench.train.job import TrainJob
from prefbench.train.layout import AS_ROWS, PACKED, PADDED, SHARED, Layout
from prefbench.train.loop import accumulate_gradients
from prefbench.train.statistics import mean_hidden_states, sequence_names, sequence_values
from tests.models import random_tokens, tiny_llama, tiny_neox
from tests.train.test_forward import tiny_gemma2
from tests.train.test_loop import make_job, relative_difference

IDS = np.array([3, 17, 5, 0, 11])


@dataclass
class WantsEverything(Objective):
    """A loss in which every statistic counts with a weight of its own, and in which each carries gradient but the last."""

    name = "wants-everything"
    wants = PAIR_STATISTICS

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        weighted = [weight * batch.statistics[name] for weight, name in enumerate(PAIR_STATISTICS, start=1)]
        return torch.stack([batch.margin, *weighted]).sum(dim=0).tanh() + 0.01 * torch.stack(weighted).sum(dim=0)


def job_that_wants_everything(**changes: object) -> TrainJob:
    return dataclasses.replace(make_job(WantsEverything(), **changes), reference=make_scorer(tiny_llama(seed=7), "float32"))


def naive_numbers(
    policy: torch.nn.Module, reference: torch.nn.Module, prompt: tuple[int, ...], answer: tuple[int, ...]
) -> dict[str, torch.Tensor]:
    """Every number of one sequence, from the logits of all positions."""
    ids = torch.tensor([[*prompt, *answer]])
    own, other = (torch.log_softmax(model(input_ids=ids).logits[0, :-1], dim=-1) for model in (policy, reference))
    of_tokens = own.gather(1, ids[0, 1:, None])[:, 0]
    fixed = other.gather(1, ids[0, 1:, None])[:, 0]
    start = len(prompt) - 1
    return {
        "log_prob": of_tokens[start:].sum(),
        "tokens": of_tokens[start:],
        "reference": fixed[start:].sum(),
        "prompt_log_prob": of_tokens[:start].sum(),
        "collision": (own[start:].exp() ** 2).sum(dim=1).log().sum(),
        "kl": (other[start:].exp() * (other[start:] - own[start:])).sum(),
    }


def naive_batch(job: TrainJob) -> tuple[torch.nn.Module, PairBatch]:
    policy, reference, tokens = tiny_llama().double(), tiny_llama(seed=7).double(), job.data.tokens

    def numbers(head: int, answers: tuple[tuple[int, ...], ...], tail: int) -> dict[str, torch.Tensor]:
        return naive_numbers(policy, reference, tokens.prompt_ids[head], answers[tail])

    chosen = [numbers(i, tokens.chosen_ids, i) for i in IDS]
    rejected = [numbers(i, tokens.rejected_ids, i) for i in IDS]
    swapped = [
        [numbers(i, side, before) for side in (tokens.chosen_ids, tokens.rejected_ids)]
        for i, before in zip(IDS, np.roll(IDS, 1), strict=True)
    ]
    ratios = [sum(side["log_prob"] - side["reference"] for side in pair).detach() / 2 for pair in swapped]

    def column(rows: list[dict[str, torch.Tensor]], name: str) -> torch.Tensor:
        return torch.stack([row[name] for row in rows])

    common = [
        [side["tokens"][: min(len(c["tokens"]), len(r["tokens"]))].sum() for side in (c, r)] for c, r in zip(chosen, rejected, strict=True)
    ]
    statistics = {
        "chosen_common_log_prob": torch.stack([of_chosen for of_chosen, _ in common]),
        "rejected_common_log_prob": torch.stack([of_rejected for _, of_rejected in common]),
        "prompt_log_prob": column(chosen, "prompt_log_prob"),
        "chosen_collision": column(chosen, "collision"),
        "rejected_collision": column(rejected, "collision"),
        "chosen_kl": column(chosen, "kl"),
        "rejected_kl": column(rejected, "kl"),
        "mismatched_log_ratio": torch.stack(ratios),
    }
    sums = [torch.tensor(values[IDS]) for values in (job.data.reference_chosen, job.data.reference_rejected)]
    counts = [torch.ones(len(IDS), dtype=torch.float64)] * 3
    return policy, PairBatch(column(chosen, "log_prob"), column(rejected, "log_prob"), *sums, *counts, statistics=statistics)


@pytest.mark.parametrize("micro_batch_tokens", [1, 64, 10_000])
@pytest.mark.parametrize("logit_bytes", [head.LOGIT_BYTES, 1000], ids=["whole", "block by block"])
def test_values_and_gradient_equal_the_naive_ones(micro_batch_tokens: int, logit_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOGIT_BYTES", logit_bytes)
    job = job_that_wants_everything(micro_batch_tokens=micro_batch_tokens)
    policy, expected = naive_batch(job)
    batch, losses, _ = accumulate_gradients(job, IDS, 0)
    loss = losses.mean()
    for name in PAIR_STATISTICS:
        assert batch.statistics[name].detach().numpy() == pytest.approx(expected.statistics[name].detach().numpy(), rel=1e-4, abs=1e-5), (
            name
        )
    expected_loss = job.objective.per_pair(expected).mean()
    expected_loss.backward()
    assert loss.item() == pytest.approx(expected_loss.item(), rel=1e-5)
    gradient = [p.grad for p in job.scorer.model.parameters()]
    assert relative_difference(gradient, [p.grad for p in policy.parameters()]) < 1e-4


@pytest.mark.parametrize("layout", [PADDED, PACKED, SHARED])
@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_common_log_probs_end_where_the_shorter_answer_does_in_every_layout(layout: str, budget: int) -> None:
    tokens, scorer = random_tokens(9), dataclasses.replace(make_scorer(tiny_llama(), "float32"), layout=Layout(layout))
    sides = [tokens.chosen_ids, tokens.rejected_ids]
    shorter = [min(len(chosen), len(rejected)) for chosen, rejected in zip(*sides, strict=True)]
    assert len({len(chosen) > len(rejected) for chosen, rejected in zip(*sides, strict=True)}) == 2, "either answer is to be the longer one"
    model = scorer.model.double()
    expected = [
        naive_numbers(model, model, prompt, answer)["tokens"][:length].sum().item()
        for side in sides
        for prompt, answer, length in zip(tokens.prompt_ids, side, shorter, strict=True)
    ]
    found = np.full(18, np.nan)
    with torch.no_grad():
        for batch in scorer.micro_batches(tokens.prompt_ids, sides, budget):
            found[batch.rows] = sequence_values(scorer, None, ("log_prob", "common_log_prob"), batch)[:, 1]
    assert found == pytest.approx(expected, rel=1e-6)


def test_nothing_is_computed_that_nobody_wants() -> None:
    assert sequence_names(()) == ("log_prob",)
    assert sequence_names(("rejected_kl", "chosen_kl", "mismatched_log_ratio")) == ("log_prob", "kl")
    batch, _, _ = accumulate_gradients(make_job(dataclasses.make_dataclass("Plain", [], bases=(WantsNothing,))()), IDS, 0)
    assert batch.statistics == {}


class WantsNothing(Objective):
    name = "wants-nothing"

    def per_pair(self, batch: PairBatch) -> torch.Tensor:
        return -batch.margin


def test_one_pair_has_no_pair_before_it() -> None:
    with pytest.raises(PrefbenchError, match="mismatched answers"):
        accumulate_gradients(job_that_wants_everything(), IDS[:1], 0)


@pytest.mark.parametrize("make", [tiny_llama, tiny_neox, tiny_gemma2])
@pytest.mark.parametrize("budget", [1, 60, 10_000])
def test_hidden_states_are_means_over_tokens_and_know_no_padding(make, budget: int) -> None:
    model, tokens = make(), random_tokens(9)
    scorer, layers = make_scorer(model, "float32"), model.config.num_hidden_layers
    with torch.no_grad():
        expected = torch.stack([naive_means(model, p, a) for p, a in zip(tokens.prompt_ids, tokens.chosen_ids, strict=True)])
        found = torch.zeros(9, layers, model.config.hidden_size)
        for batch in scorer.micro_batches(tokens.prompt_ids, [tokens.chosen_ids], budget):
            found[batch.rows] = mean_hidden_states(scorer.run(batch, output_hidden_states=True), batch, padded=False)
    assert found.numpy() == pytest.approx(expected.numpy(), rel=1e-4, abs=1e-5)


def naive_means(model, prompt: tuple[int, ...], answer: tuple[int, ...]) -> torch.Tensor:
    output = model(input_ids=torch.tensor([[*prompt, *answer]]), output_hidden_states=True)
    return torch.stack([states[0].mean(dim=0) for states in output.hidden_states[1:]])


def test_padded_hidden_states_are_means_over_the_width_of_the_micro_batch() -> None:
    model, tokens = tiny_llama(), random_tokens(9)
    scorer = dataclasses.replace(make_scorer(model, "float32"), layout=AS_ROWS)
    (batch,) = scorer.micro_batches(tokens.prompt_ids, [tokens.chosen_ids], 10_000)
    with torch.no_grad():
        output = scorer.run(batch, output_hidden_states=True)
        padded = mean_hidden_states(output, batch, padded=True)
        assert padded[:, 0].numpy() == pytest.approx(output.hidden_states[1].mean(dim=1).numpy(), rel=1e-5, abs=1e-6)
        assert not torch.allclose(padded, mean_hidden_states(output, batch, padded=False))


def test_values_come_from_a_forward_that_was_run_before() -> None:
    """A pool that is scored for its hidden states too costs one forward, not two."""
    tokens, scorer = random_tokens(6), make_scorer(tiny_llama(), "float32")
    (batch,) = scorer.micro_batches(tokens.prompt_ids, [tokens.chosen_ids], 10_000)
    output = scorer.run(batch, output_hidden_states=True)
    calls = []
    handle = scorer.model.base_model.register_forward_hook(lambda *_: calls.append(1))
    values = sequence_values(scorer, None, ("log_prob",), batch, output)
    handle.remove()
    assert not calls
    assert torch.equal(values[:, 0], scorer.sequence_log_probs(batch))
