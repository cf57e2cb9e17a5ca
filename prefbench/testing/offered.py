"""Numbers by name as a component gets them, on the watch for names that it did not declare."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from prefbench.api import Component
from prefbench.testing.contract import ContractError, label

T = TypeVar("T")


class Offered(dict[str, T]):
    """A mapping of the declared names. What happens to any other is up to ``missing``: one check refuses it, the others draw it too."""

    def __init__(self, names: Iterable[str], draw: Callable[[str], T], missing: Callable[[str], T] | None = None) -> None:
        super().__init__({name: draw(name) for name in names})
        self._missing = missing or draw

    def __missing__(self, name: str) -> T:
        return self._missing(name)

    def mapped(self, change: Callable[[T], T]) -> Offered[T]:
        """Every value changed, those of undeclared names too."""
        return Offered(self, lambda name: change(self[name]))


def refusal(component: Component, declaration: str) -> Callable[[str], Any]:
    """What to call with a name that a component reads and does not declare; ``declaration`` is where the name belongs."""

    def refuse(name: str) -> NoReturn:
        remedy = f"add {name!r} to its `{declaration}`: the core gives a component what it declares, and nothing else"
        raise ContractError(f"{label(component)}: it reads {name!r}, which it does not declare\n{remedy}")

    return refuse
