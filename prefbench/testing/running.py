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
    """A check that was run: its name in words, and what is wrong, empty when nothing is."""

    check: str
    problem: str = ""


def contract_for(kind: Kind, component: type[Component], *variants: Mapping[str, Any]) -> Contract[Any]:
    """The contract of a component of a kind that has one, with these options or with its defaults."""
    attributes = {"component": component, "variants": variants or ({},)}
    contract: Contract[Any] = type(f"Test{component.__name__}", (CONTRACTS[kind],), attributes)()
    return contract


def check_names(contract: Contract[Any]) -> list[str]:
    """The methods that are checks, those of the kind first, in the order in which they are written."""
    classes = [cls for cls in type(contract).__mro__ if issubclass(cls, Contract)]
    return list(dict.fromkeys(name for cls in classes for name in vars(cls) if name.startswith("test_")))


def run_checks(contract: Contract[Any]) -> Iterator[Outcome]:
    """Every check, whatever became of the one before."""
    for name in check_names(contract):
        yield Outcome(name.removeprefix("test_").replace("_", " "), _problem(contract, name))


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
