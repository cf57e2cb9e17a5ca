"""The examples in the hooks' docstrings are plugin files that work."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from prefbench import hookspecs
from prefbench.api import Calibration, Component, JudgeRequest, PairBatch, Pool, Question
from prefbench.registry import Kind, build, load_registry
from prefbench.registry.rows import HOOKS
from tests.plugin_site import PluginSite


def example(hook: str) -> str:
    """The code of a hook's docstring."""
    return textwrap.dedent((getattr(hookspecs, hook).__doc__ or "").partition("Example::\n")[2])


@pytest.fixture
def component(request: pytest.FixtureRequest, site: PluginSite, tmp_path: Path) -> Component:
    """The one component of a hook's example, loaded as a plugin file and built with its defaults."""
    file = tmp_path / "example.py"
    file.write_text(example(request.param))
    registry = load_registry([file])
    ((kind, _, name),) = [text.partition(" ") for text in registry.rows[-1].provides]
    assert kind == HOOKS[request.param]
    return build(registry.get(kind, name), {})  # type: ignore[call-overload, no-any-return]


def test_every_kind_has_a_hook_and_every_hook_an_example() -> None:
    hooks = {name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("prefbench_")}
    assert hooks == set(HOOKS)
    assert set(HOOKS.values()) == set(Kind.__args__)  # type: ignore[attr-defined]
    assert all("@hookimpl\ndef " + hook in example(hook) for hook in hooks)


@pytest.mark.parametrize("component", ["prefbench_objectives"], indirect=True)
def test_objective(component: Component) -> None:
    ones = torch.ones(2, dtype=torch.float64)
    batch = PairBatch(-3 * ones, -8 * ones, -4 * ones, -4 * ones, ones, ones, ones)
    assert component.per_pair(batch).tolist() == pytest.approx([0.25, 0.25])  # type: ignore[attr-defined] # (1 - .1 * 5)^2


@pytest.mark.parametrize("component", ["prefbench_schedulers"], indirect=True)
def test_scheduler(component: Component) -> None:
    pool = Pool(np.arange(4), {}, {"margin": np.array([3.0, -0.5, 0.1, -9.0])}, 0.0)
    assert component.select(pool, 2, np.random.default_rng(0)).tolist() == [2, 1]  # type: ignore[attr-defined]


@pytest.mark.parametrize("component", ["prefbench_columns"], indirect=True)
def test_column(component: Component) -> None:
    context = SimpleNamespace(chosen_ids=[[1, 2, 3], [4]], rejected_ids=[[1], [2, 3]])
    assert component.compute(context).tolist() == [2.0, -1.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize("component", ["prefbench_judges"], indirect=True)
def test_judge(component: Component) -> None:
    request = JudgeRequest((), Question("q", ("?",)), (("long answer",), ("short",)), choices=("m", "M"))
    (reply,) = component.judge([request])  # type: ignore[attr-defined]
    assert (reply.text, reply.log_probs) == ("M", {"m": -100.0, "M": 0.0})


@pytest.mark.parametrize("component", ["prefbench_sources"], indirect=True)
def test_source(component: Component) -> None:
    train, held_out = component.pairs(0), component.held_out()  # type: ignore[attr-defined]
    assert (train[1].prompt, train[1].chosen, train[1].rejected) == ("1+1=", "2", "3")
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in held_out}


@pytest.mark.parametrize("component", ["prefbench_harnesses"], indirect=True)
def test_harness(component: Component) -> None:
    source = SimpleNamespace(questions=lambda harness: [Question("a", ("?",)), Question("b", ("?",))])
    policy = SimpleNamespace(answer=lambda questions, sampling, stream: [("x" * 100,), ("x" * 101,)])
    rows = component.collect(policy, source)  # type: ignore[attr-defined]
    items = component.judge(rows, None, source, Calibration())  # type: ignore[attr-defined]
    assert component.values(items) == {"brief": {"a": 1.0, "b": 0.0}}  # type: ignore[attr-defined]
