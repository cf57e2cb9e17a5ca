"""What every kind of plugin is made of: a name, options, and for those that change while a policy trains, a state."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, ClassVar

import pluggy

hookimpl = pluggy.HookimplMarker("prefbench")
"""Marks a function of a plugin module as the implementation of the hook of the same name (see ``prefbench.hookspecs``)."""


def hyper(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: Iterable[Any] | None = None,
    doc: str = "",
    identity: bool = True,
) -> Any:
    """A dataclass field that is a hyper-parameter: its default, its closed bounds or its choices, and what it means in a few words.

    ``identity=False`` is for what changes how a result is had and not what it is, such as a server's address or a budget: changing it runs
    nothing again, and no record holds it.
    """
    bounds = {"low": low, "high": high, "choices": None if choices is None else tuple(choices), "doc": doc, "identity": identity}
    return field(default=default, metadata=bounds)


class Component:
    """A named thing with options: subclasses are dataclasses, and their fields feed the TOML, the table and the cell's identity."""

    name: ClassVar[str]
    """The name under which a track, the command line and the board know it."""
    source: ClassVar[str] = ""
    """Where the definition comes from: paper and equation, or a repository."""
    deviations: ClassVar[str] = ""
    """Where it departs from that source, and which choices are ours."""

    def options(self) -> dict[str, Any]:
        """The value of every field, by name."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]

    def identity_options(self) -> dict[str, Any]:
        """The options that decide what comes out; those declared with ``identity=False`` are left out."""
        aside = {f.name for f in dataclasses.fields(self) if not f.metadata.get("identity", True)}  # type: ignore[arg-type]
        return {name: value for name, value in self.options().items() if name not in aside}


class Stateful(Component):
    """A component that may change while a policy trains; a run that was killed goes on with its state."""

    def state_dict(self) -> dict[str, Any]:
        """What the checkpoint holds of it: every attribute that is no option.

        Mappings with text keys, lists, tuples, numbers, texts, numpy arrays and torch tensors; one that keeps anything else says here how.
        """
        options = self.options()
        return {name: value for name, value in vars(self).items() if name not in options}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` gave."""
        vars(self).update(state)

    def diagnostics(self) -> Mapping[str, float]:
        """Numbers about the step just taken, for the training log; the same names at every step, NaN where there is nothing to tell."""
        return {}
