"""What a contract finds wrong with a component."""

from __future__ import annotations

from typing import Any

from prefbench.api import Component
from prefbench.registry import Kind
from prefbench.testing.running import contract_for, run_checks


def caught(kind: Kind, component: type[Component], **options: Any) -> dict[str, str]:
    """The checks that fail, in words, with what each says."""
    return {outcome.check: outcome.problem for outcome in run_checks(contract_for(kind, component, options)) if outcome.verdict == "FAILED"}
