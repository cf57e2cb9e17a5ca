"""Contracts run one check at a time, without pytest: what ``prefbench check`` prints."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import prefbench
from prefbench.api import Component
from prefbench.errors import PrefbenchError
from prefbench.registry import Kind
from prefbench.testing.column import ColumnContract
from prefbench.testing.contract import Contract, ContractError
from prefbench.testing.judge import JudgeContract
from prefbench.testing.objective import ObjectiveContract
from prefbench.testing.scheduler import SchedulerContract

CONTRACTS: Mapping[Kind, type[Contract[Any]]] = {
    "objective": ObjectiveContract,
    "scheduler": SchedulerContract,
    "column": ColumnContract,
    "judge": JudgeContract,
}
"""The contract of each kind that has one."""


@dataclass(frozen=True)
class Outcome:
    """A check, in words: ``ok``, ``FAILED`` or ``not checked``, and the problem where there is one."""

    check: str
    verdict: str
    problem: str = ""


def contract_for(kind: Kind, component: type[Component], *variants: Mapping[str, Any]) -> Contract[Any]:
    """The contract of a component of a kind that has one, with these options or with its defaults."""
    attributes = {"component": component, "variants": variants or ({},)}
    contract: Contract[Any] = type(f"Test{component.__name__}", (CONTRACTS[kind],), attributes)()
    return contract


def check_names(contract: Contract[Any]) -> list[str]:
    """The methods that are checks, those of the kind first, in the order in which they are written; without the one that has nothing to do."""
    classes = [cls for cls in type(contract).__mro__ if issubclass(cls, Contract)]
    idle = () if getattr(contract, "worked", ()) else ("test_worked_rows",)
    return list(dict.fromkeys(name for cls in classes for name in vars(cls) if name.startswith("test_") and name not in idle))


def run_checks(contract: Contract[Any]) -> Iterator[Outcome]:
    """Every check, whatever became of the one before; of a judge that has to have questions of its own, that it needs them."""
    if isinstance(contract, JudgeContract) and (refusal := _refusal(contract)):
        yield Outcome("", "not checked", f"{refusal}\nsubclass prefbench.testing.JudgeContract, and give it `questions` that it can judge")
        return
    for name in check_names(contract):
        problem = _problem(contract, name)
        yield Outcome(name.removeprefix("test_").replace("_", " "), "FAILED" if problem else "ok", problem)


def _refusal(contract: JudgeContract) -> str:
    """Why a judge does not take the contract's questions, in its own words: it knows only its source's, or lacks a key. Empty when it does."""
    try:
        for make in contract.makers():
            contract.exercise(make())
    except PrefbenchError as error:
        return str(error)
    except Exception:  # a mistake, which the checks will name
        return ""
    return ""


def _problem(contract: Contract[Any], name: str) -> str:
    try:
        getattr(contract, name)()
    except ContractError as error:
        return str(error)
    except PrefbenchError as error:
        return f"{error}\n{error.hint}"
    except Exception as error:  # whatever a stranger's code raises is the finding
        return f"{type(error).__name__}: {error}\n{_place(error)}"
    return ""


def _place(error: Exception) -> str:
    """The last line of somebody else's code that the error went through: not prefbench's, nor a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    home = str(Path(prefbench.__file__).parent / "testing")
    own = [frame for frame in frames if not frame.filename.startswith(home) and "site-packages" not in frame.filename]
    return f"raised at {own[-1].filename}:{own[-1].lineno}" if own else ""
