"""Exact resume: a training run that is stopped after any step, and gone on with by new objects, ends as if it had never stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from prefbench.api import Objective, Scheduler
from prefbench.engine.tasks import TaskStoppedError
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.schedulers.chain import Chain
from prefbench.schedulers.online_batch import OnlineBatch
from prefbench.schedulers.selective import Selective
from prefbench.schedulers.uniform import Uniform
from prefbench.train.forward import make_scorer
from prefbench.train.job import TrainJob
from prefbench.train.loop import DivergedError, train
from prefbench.train.meter import Clocks
from prefbench.train.state import Checkpoint
from tests.models import tiny_llama
from tests.train.test_loop import make_job

STEPS = 6
MakeScheduler = Callable[[], Scheduler]


@dataclass
class Remembers(Objective):
    """Every loss depends on all steps before, and on a number of the objective's own stream; it says itself what its state is."""

    name = "remembers"
    batch_coupled = True
    mean: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64), init=False)
    noise: list[float] = field(default_factory=list, init=False)

    def per_pair(self, batch):
        return -torch.nn.functional.logsigmoid(0.1 * (batch.margin - self.mean)) * (1 + self.noise[-1])

    def update(self, batch):
        self.noise.append(torch.rand((), generator=batch.rng).item())
        self.mean = 0.5 * self.mean + 0.5 * batch.margin.mean()

    def state_dict(self):
        return {"mean": self.mean, "noise": self.noise}

    def load_state_dict(self, state):
        self.mean, self.noise = state["mean"], state["noise"]


@dataclass
class Learns(Scheduler):
    """An order of its own, and a weight per pair that what it observes moves; what is no option counts as its state."""

    name = "learns"
    wants = ("margin",)
    needs = ("gap",)
    ratio: float = 0.5
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0), init=False)

    def prepare(self, columns, size, rng):
        self.weights = np.ones(size)
        return rng.permutation(size)

    def select(self, pool, size, rng):
        return np.argsort(self.weights[pool.ids] * rng.random(len(pool)))[:size]

    def observe(self, previous, chosen, current):
        self.weights[previous.ids[chosen]] *= 1 + 0.1 * np.tanh(current.statistics["margin"].mean() - previous.statistics["margin"].mean())


def forgetful(seed: int = 0) -> GPTNeoXForCausalLM:
    """A model whose dropout draws from torch's global stream."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    return GPTNeoXForCausalLM(GPTNeoXConfig(vocab_size=50, eos_token_id=1, hidden_dropout=0.3, attention_dropout=0.2, **sizes))


def job_in(folder: Path, model: torch.nn.Module) -> TrainJob:
    """A job as a new process would make it, with its checkpoint in ``folder``."""
    job = make_job(Remembers(), Learns(), steps=STEPS)
    return dataclasses.replace(job, scorer=make_scorer(model, "float32"), checkpoint=Checkpoint(folder / "checkpoint.safetensors", "key"))


def stopping_after(step: int):
    """A report that ends the run after so many steps; ``report({})`` is heard once a step."""
    heard = 0

    def report(_: object) -> None:
        nonlocal heard
        heard += 1
        if heard == step:
            raise TaskStoppedError

    return report


def ends_with(job: TrainJob, clocks: Clocks | None = None) -> dict[str, object]:
    """Train to the end; everything that the run leaves, down to the bits."""
    log = train(job, clocks or Clocks())
    return {
        "weights": [parameter.detach().numpy().tobytes() for parameter in job.scorer.model.parameters()],
        "rows": repr(log.rows),
        "counts": (log.pairs_forward, log.pairs_backward, log.tokens),
        "objective": repr(job.objective.state_dict()),
        "scheduler": job.scheduler.state_dict()["weights"].tobytes(),
    }


@pytest.mark.parametrize("make_model", [tiny_llama, forgetful], ids=["llama", "dropout"])
@pytest.mark.parametrize("stops", [(1,), (3,), (5,), (6,), (1, 1, 2)], ids=str)
def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, stops, make_model):
    whole = ends_with(job_in(tmp_path / "whole", make_model()))
    for after in stops:
        job = dataclasses.replace(job_in(tmp_path / "cut", make_model()), report=stopping_after(after))
        with pytest.raises(TaskStoppedError):
            train(job, Clocks())
    torch.manual_seed(12345)  # a new process has another global stream
    clocks, steps = Clocks(), list[object]()
    assert ends_with(dataclasses.replace(job_in(tmp_path / "cut", make_model()), report=steps.append), clocks) == whole
    assert len(steps) == STEPS - sum(stops)  # gone on with, not started over
    assert {"train", "select"} <= clocks.seconds.keys()


def online_batch() -> Scheduler:
    return OnlineBatch()


@dataclass
class NowAndThen(Uniform):
    """Draws a pool of its own at one step in two, by chance."""

    name = "now-and-then"

    def next_pool(self, size: int, rng: np.random.Generator) -> np.ndarray | None:
        return rng.permutation(24)[:size] if rng.random() < 0.5 else None


def drawn_from_the_easy() -> Scheduler:
    return Chain((Selective(column="gap", share=0.6), OnlineBatch()))


def easy_then_sams() -> Scheduler:
    sams = pytest.importorskip("prefbench_sams").Sams
    return Chain((Selective(column="gap", share=0.75, order="shuffled"), sams(ratio=0.75, rehearsals=2, updates=2)))


@pytest.mark.parametrize("make_scheduler", [online_batch, NowAndThen, drawn_from_the_easy, easy_then_sams])
@pytest.mark.parametrize("stops", [(1,), (2,), (5,), (1, 1, 2)], ids=str)
def test_schedulers_that_draw_learn_and_are_chained_go_on_exactly(
    tmp_path: Path, stops: tuple[int, ...], make_scheduler: MakeScheduler
) -> None:
    def new_process(folder: Path, **changes: object) -> TrainJob:
        return dataclasses.replace(job_in(folder, forgetful()), objective=Dpo(), scheduler=make_scheduler(), **changes)

    def left_by(job: TrainJob) -> tuple[list[bytes], str, int]:
        log = train(job, Clocks())
        return [parameter.detach().numpy().tobytes() for parameter in job.scorer.model.parameters()], repr(log.table()), log.pairs_forward

    whole = left_by(new_process(tmp_path / "whole"))
    for number, after in enumerate(stops):
        heard_before = 1 if number == 0 and make_scheduler().rehearsals else 0  # rehearsals report too
        with pytest.raises(TaskStoppedError):
            train(new_process(tmp_path / "cut", report=stopping_after(after + heard_before)), Clocks())
    torch.manual_seed(12345)
    assert left_by(new_process(tmp_path / "cut")) == whole


def test_a_checkpoint_that_is_due_is_written_without_being_asked_and_gone_on_from(tmp_path, monkeypatch):
    whole = ends_with(job_in(tmp_path / "whole", tiny_llama()))
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)
    job = job_in(tmp_path / "cut", tiny_llama())

    def killed(_: object) -> None:
        if job.checkpoint.path.exists() and killed_at.append(1) is None and len(killed_at) == 3:
            raise SystemExit

    killed_at: list[int] = []
    with pytest.raises(SystemExit):
        train(dataclasses.replace(job, report=killed), Clocks())
    steps: list[object] = []
    assert ends_with(dataclasses.replace(job_in(tmp_path / "cut", tiny_llama()), report=steps.append)) == whole
    assert len(steps) < STEPS


def test_a_checkpoint_of_another_key_or_a_damaged_one_means_starting_over(tmp_path):
    whole = ends_with(job_in(tmp_path / "whole", tiny_llama()))
    path = tmp_path / "cut" / "checkpoint.safetensors"
    for damage in (lambda data: data, lambda data: data[:-1] + bytes([data[-1] ^ 1]), lambda data: data[: len(data) // 2]):
        job = dataclasses.replace(job_in(tmp_path / "cut", tiny_llama()), report=stopping_after(3))
        with pytest.raises(TaskStoppedError):
            train(job, Clocks())
        damaged = damage(path.read_bytes())
        key = "another" if damaged == path.read_bytes() else "key"
        path.write_bytes(damaged)
        again = job_in(tmp_path / "cut", tiny_llama())
        assert ends_with(dataclasses.replace(again, checkpoint=Checkpoint(path, key))) == whole
        path.unlink(missing_ok=True)
    assert sorted(found.name for found in path.parent.iterdir()) == [f"{path.name}.damaged", f"{path.name}.damaged-2"]


def test_a_diverged_run_leaves_no_checkpoint_of_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "due", lambda self: False)

    @dataclass
    class Breaks(Dpo):
        def per_pair(self, batch):
            return super().per_pair(batch) * (float("nan") if batch.progress > 0.3 else 1.0)

    job = dataclasses.replace(job_in(tmp_path, tiny_llama()), objective=Breaks(), report=stopping_after(4))
    with pytest.raises(DivergedError) as caught:
        train(job, Clocks())
    assert caught.value.step == 2
    assert not job.checkpoint.path.exists()


def test_writing_takes_a_fiftieth_of_the_time(tmp_path):
    checkpoint = Checkpoint(tmp_path / "x", "key", _seconds=1.0)
    checkpoint._written -= 49
    assert not checkpoint.due()
    checkpoint._written -= 2
    assert checkpoint.due()


def test_the_first_writing_of_a_large_model_comes_later(tmp_path):
    small, large = (Checkpoint.of(tmp_path / "x", "key", torch.nn.Linear(width, width)) for width in (8, 2000))
    for checkpoint in (small, large):
        checkpoint._written -= 3
    assert small.due()
    assert not large.due()  # 16 MB of weights and 32 of moments take .24 s, a fiftieth of 12
    huge = Checkpoint.of(tmp_path / "x", "key", torch.nn.Linear(30_000, 30_000, device="meta"))
    huge._written -= 301  # which takes a minute: but nobody wants to lose an hour
    assert huge.due()


def test_a_checkpoint_of_another_kind_of_device_is_passed_over(tmp_path):
    """It holds the random streams of a CPU and of no GPU."""
    on_cpu, on_gpu = (Checkpoint.of(tmp_path / "x", "key", torch.nn.Linear(2, 2, device=name)) for name in ("cpu", "meta"))
    assert on_cpu.key != on_gpu.key


def test_a_state_that_no_file_can_hold_is_named(tmp_path):
    @dataclass
    class Opaque(Dpo):
        def state_dict(self):
            return {"queue": {1, 2}}

    job = dataclasses.replace(job_in(tmp_path, tiny_llama()), objective=Opaque(), report=stopping_after(1))
    with pytest.raises(PrefbenchError, match=r"objective\.queue: a checkpoint cannot hold a set"):
        train(job, Clocks())
