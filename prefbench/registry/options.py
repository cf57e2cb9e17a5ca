"""Options of components: checked against the fields of the class, all problems at once, then built."""

from __future__ import annotations

import dataclasses
import math
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from prefbench.api import Component
from prefbench.errors import PrefbenchError
from prefbench.registry.suggest import did_you_mean

C = TypeVar("C", bound=Component)
NUMBERS = (int, float)


def build(cls: type[C], options: Mapping[str, object]) -> C:
    """An instance with these options; integers given for float fields become floats, lists for tuples become tuples.

    Raises:
        PrefbenchError: an option is unknown, missing, of the wrong type, out of bounds or no choice, or the class itself refuses it.
    """
    problems = option_problems(cls, options)
    if problems:
        raise PrefbenchError(
            f"{cls.name}: {'; '.join(message for _, message in problems)}", f"`prefbench show {cls.name}` lists its options"
        )
    declared = option_fields(cls)
    values = {key: _converted(value, field_type(cls, declared[key])) for key, value in options.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise PrefbenchError(f"{cls.name}: {error}", f"`prefbench show {cls.name}` lists its options") from error


def option_problems(cls: type[Component], options: Mapping[str, object]) -> list[tuple[str, str]]:
    """Everything that is wrong with the options: pairs of the option's name and a sentence that names it; empty when all is well."""
    declared = option_fields(cls)
    unknown = [(key, _unknown(cls, key, declared)) for key in options if key not in declared]
    missing = [(key, f"{key} must be given") for key, field in declared.items() if key not in options and _is_required(field)]
    checked = [
        (key, _value_problem(value, field_type(cls, declared[key]), declared[key].metadata))
        for key, value in options.items()
        if key in declared
    ]
    return unknown + missing + [(key, f"{key} {problem}") for key, problem in checked if problem]


def option_fields(cls: type[Component]) -> dict[str, dataclasses.Field[Any]]:
    """The fields that are options, by name."""
    return {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]


def field_type(cls: type[Component], field: dataclasses.Field[Any]) -> object:
    """The type of a field, also where its module postpones annotations; ``object`` if the annotation's names are not there at run time."""
    if not isinstance(field.type, str):
        return field.type
    owner = next(base for base in cls.__mro__ if field.name in vars(base).get("__annotations__", {}))
    try:
        return eval(field.type, dict(vars(sys.modules[owner.__module__])), dict(vars(owner)))
    except NameError:
        return object


def type_words(kind: object) -> str:
    """How a person would call a type: ``float or nothing``, ``list of str``."""
    alternatives = _alternatives(kind)
    if len(alternatives) > 1:
        return " or ".join(type_words(alternative) for alternative in alternatives)
    if kind in (None, types.NoneType):
        return "nothing"
    item = _item_type(kind)
    return f"list of {type_words(item)}" if item is not None else getattr(kind, "__name__", str(kind))


def _unknown(cls: type[Component], key: str, declared: Mapping[str, object]) -> str:
    hint = did_you_mean(key, declared) or (f"its options are {', '.join(declared)}" if declared else "it has no options")
    return f"{key} is no option of {cls.name}: {hint}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _alternatives(kind: object) -> tuple[object, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _item_type(kind: object) -> Any:
    """T of ``tuple[T, ...]`` and ``list[T]``, otherwise None."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple and arguments[1:] == (...,):
        return arguments[0]
    return arguments[0] if typing.get_origin(kind) is list and arguments else None


def _value_problem(value: object, kind: object, bounds: Mapping[str, Any]) -> str:
    if not any(_fits(value, alternative) for alternative in _alternatives(kind)):
        return f"must be {type_words(kind)}, not {value!r}"
    items = value if isinstance(value, (list, tuple)) else (value,)
    return next((problem for item in items if (problem := _bounds_problem(item, bounds))), "")


def _fits(value: object, kind: object) -> bool:
    """Whether a value is of a type that an option can have; a type that TOML does not know is left to the class itself."""
    if kind in (None, types.NoneType):
        return value is None
    if kind in NUMBERS:
        return isinstance(value, NUMBERS if kind is float else int) and not isinstance(value, bool)
    if kind in (bool, str):
        return isinstance(value, kind)
    item = _item_type(kind)
    return item is None or (isinstance(value, (list, tuple)) and all(_fits(entry, item) for entry in value))


def _bounds_problem(value: object, bounds: Mapping[str, Any]) -> str:
    choices, low, high = bounds.get("choices"), bounds.get("low"), bounds.get("high")
    if choices is not None and value not in choices:
        return f"must be one of {', '.join(map(str, choices))}, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, NUMBERS):
        return ""
    if not math.isfinite(value):
        return f"must be finite, not {value!r}"
    if low is not None and value < low:
        return f"must be at least {low:g}, not {value!r}"
    return f"must be at most {high:g}, not {value!r}" if high is not None and value > high else ""


def _converted(value: object, kind: object) -> object:
    alternatives = _alternatives(kind)
    if isinstance(value, int) and not isinstance(value, bool) and float in alternatives and int not in alternatives:
        return float(value)
    item = next((found for alternative in alternatives if (found := _item_type(alternative)) is not None), None)
    if isinstance(value, (list, tuple)) and item is not None:
        return tuple(_converted(entry, item) for entry in value)
    return value
