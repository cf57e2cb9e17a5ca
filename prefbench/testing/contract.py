"""What every contract is made of: the component with the options that are checked, and errors that say what to do."""

from __future__ import annotations

import dataclasses
import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar, cast

from prefbench.api import Component, Stateful
from prefbench.errors import PrefbenchError
from prefbench.registry import build
from prefbench.registry.options import field_type, option_fields
from prefbench.testing.snapshots import generators, generators_put_back

C = TypeVar("C", bound=Component)


class ContractError(AssertionError):
    """A component breaks its contract. The first line names it and says what is wrong, the second what to do."""


class Contract(ABC, Generic[C]):
    """The checks that hold for every kind. A subclass names its ``component`` and, where it needs them, ``variants``: options to check it with.

    A check is a method whose name starts with ``test_``; it takes no arguments and raises ContractError. pytest collects a subclass whose name
    starts with ``Test``.
    """

    component: ClassVar[type[Component]]
    variants: ClassVar[Sequence[Mapping[str, Any]]] = ({},)

    def makers(self) -> Iterator[Callable[[], C]]:
        """For each variant, what makes a new instance of it."""
        for options in self.variants:
            yield partial(build, cast(type[C], self.component), options)

    @abstractmethod
    def exercise(self, component: C) -> None:
        """Use the component as prefbench does, for a short while. Raises ContractError for numbers that are not finite."""

    def test_every_option_is_part_of_the_identity(self) -> None:
        """Two settings that train differently must not share a cell: each is a field, ``options()`` has it, and it follows the field."""
        for make in self.makers():
            component = make()
            _refuse_settings_outside(component)
            _refuse_what_is_no_json(component)
            for name, changed in _changed(component):
                remedy = "leave options() as it is: it gives the value of every field"
                require(changed.options() != component.options(), component, f"options() stays the same when {name} changes", remedy)
            self._refuse_hidden_settings(component)

    def _refuse_hidden_settings(self, component: C) -> None:
        """A field that no user can set, and that keeps its default however the component is used, is a setting outside the identity."""
        hidden = [f for f in dataclasses.fields(component) if not f.init and isinstance(f.default, (int, float, str))]  # type: ignore[arg-type]
        if hidden:
            self.exercise(component)
        for field in hidden:
            wrong = f"the field {field.name} is a setting that options() does not have"
            remedy = "make it an option with hyper(...), or a constant of its module; init=False is for state"
            require(getattr(component, field.name) != field.default, component, wrong, remedy)

    def test_options_refuse_nonsense(self) -> None:
        """A text for a number, a number that is none or out of bounds is refused; at its bounds the component works."""
        for make in self.makers():
            component = make()
            for name, field in option_fields(self.component).items():
                kind = field_type(self.component, field)
                for value in _nonsense(kind, field.metadata):
                    remedy = "annotate the field with a type that is there at run time, such as float, int, bool or str"
                    require(self._attempt(component, name, value) is None, component, f"{name} = {value!r} is taken", remedy)
                for value in _bounds(kind, field.metadata):
                    if (at_bound := self._attempt(component, name, value)) is not None:
                        self.exercise(at_bound)

    def _attempt(self, component: C, name: str, value: object) -> C | None:
        """The component with another value of an option; None where it is refused."""
        try:
            return build(cast(type[C], self.component), component.options() | {name: value})
        except PrefbenchError:
            return None

    def test_global_generators_are_left_alone(self) -> None:
        """What torch, numpy and python draw for everybody stays as it is: another method's draws must not move with this one's."""
        for make in self.makers():
            component = make()
            with generators_left_alone(component):
                self.exercise(component)


def require(kept: bool, component: Component, wrong: str, remedy: str) -> None:
    """Raise ContractError, naming the component and its options, unless a condition is kept."""
    __tracebackhide__ = True  # pytest then shows the check, not this line
    if not kept:
        raise ContractError(f"{label(component)}: {wrong}\n{remedy}")


def label(component: Component) -> str:
    """``name[option=value]`` with the options that are not at their defaults."""
    defaults = {name: field.default for name, field in option_fields(type(component)).items()}
    changed = [f"{name}={value}" for name, value in component.options().items() if value != defaults.get(name)]
    return f"{component.name}[{', '.join(changed)}]" if changed else component.name


def require_diagnostics(component: Stateful, told: Sequence[Mapping[str, Any]]) -> None:
    """Raise ContractError unless what ``diagnostics`` told at some steps has the same names at each, and numbers."""
    same = all(set(numbers) == set(told[0]) for numbers in told)
    remedy = "give every name at every step, NaN where there is nothing to tell"
    require(same, component, "diagnostics() has other names at other steps", remedy)
    odd = [name for numbers in told for name, value in numbers.items() if not isinstance(value, (int, float))]
    require(not odd, component, f"diagnostics() gives no number for {odd[:1]}", "convert it with float(...)")


@contextmanager
def generators_left_alone(component: Component) -> Iterator[None]:
    """Raise ContractError when what runs within moves or seeds a generator that everybody draws from."""
    with generators_put_back():
        before = generators()
        yield
        after = generators()
    for name, state in after.items():
        remedy = "draw from the generator that is handed over (batch.rng, rng), or from one of your own with a seed of its own"
        require(state == before[name], component, f"it moved the global generator of {name}", remedy)


def _refuse_settings_outside(component: Component) -> None:
    """Whatever the class can be made with is in its options: an InitVar, or an argument of an ``__init__`` of its own, would not be."""
    for name in list(inspect.signature(type(component)).parameters):
        remedy = f"make it an annotated field, `{name}: float = hyper(...)`, and leave options() as it is"
        require(name in component.options(), component, f"options() lacks the setting {name}", remedy)


def _refuse_what_is_no_json(component: Component) -> None:
    try:
        json.dumps(component.options(), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ContractError(
            f"{label(component)}: options() is no JSON: {error}\noptions are numbers, texts, booleans and tuples of them"
        ) from None


def _changed(component: Component) -> Iterator[tuple[str, Component]]:
    """The component with one option changed at a time, where another value is at hand and accepted."""
    cls, options = type(component), component.options()
    for name, field in option_fields(cls).items():
        for value in _others(options.get(name), field.metadata):
            try:
                yield name, build(cls, {**options, name: value})
            except PrefbenchError:  # out of bounds, or at odds with another option
                continue


def _others(value: object, bounds: Mapping[str, Any]) -> list[object]:
    """Other values of an option, from what it may be."""
    if bounds.get("choices"):
        return [choice for choice in bounds["choices"] if choice != value]
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value - 1]
    return [value * 1.25 + 0.01, value * 0.75 - 0.01] if isinstance(value, float) else []


def _nonsense(kind: object, bounds: Mapping[str, Any]) -> list[object]:
    """Values that no option of this type and these bounds may have; a type that is not known is recognised by its taking anything."""
    beyond = [edge for edge in (bounds.get("low"), bounds.get("high")) if edge is not None]
    outside = [edge - 1 if edge == bounds.get("low") else edge + 1 for edge in beyond]
    if kind is float or beyond:
        return ["nonsense", float("nan"), float("inf"), *outside]
    if kind in (int, bool):
        return ["nonsense", 0.5]
    return [object()] if bounds.get("choices") or kind in (str, object, Any) else []


def _bounds(kind: object, bounds: Mapping[str, Any]) -> list[object]:
    """The ends of a number's range that are cheap to try: the most layers or steps that an option allows are not."""
    ends = ("low", "high") if kind is float else ("low",)
    return [bounds[end] for end in ends if bounds.get(end) is not None]
