"""``prefbench show``: one method or other component, its definition, its options and where it comes from; or a line about each."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from prefbench.api import Component, Objective
from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows
from prefbench.errors import PrefbenchError
from prefbench.registry import Kind, Registry, build, load_registry
from prefbench.registry.options import field_type, option_fields, type_words
from prefbench.registry.rows import HOOKS

Row = dict[str, object]
WHOLE = (Format.json, Format.csv)
"""The formats for programs: one list, with everything in it."""
SHOWN = {Format.table: ("name", "definition", "source"), Format.md: ("name", "definition", "options", "source", "distribution")}
"""What the others say of each component among all: as much as a terminal has room for, or a page."""


def show(
    name: Annotated[
        str | None, typer.Argument(help="An objective, a scheduler, a column, a harness, a judge or a source; all of them unless given.")
    ] = None,
    plugin: PluginFiles = None,
    track: Annotated[str | None, typer.Option(help="Print the file of a packaged track instead, to begin one of your own with.")] = None,
    format: Annotated[Format, typer.Option(help="How the description is printed.")] = Format.table,
) -> None:
    """Describe a component: formula, options with defaults and bounds, what it needs, its source and where it departs from it."""
    if track is not None:
        from prefbench.config import find_track

        print(find_track(track).read_text(encoding="utf-8"), end="")
        return
    registry = load_registry(plugin or ())
    if name is None:
        _print_all(registry, format)
        return
    rows = [row for kind, component in registry.named(name) for row in _description(registry, kind, component)]
    print_rows(rows if format in WHOLE else [{key: row[key] for key in ("about", "fact")} for row in rows], format.value)


# ---------------------------------------------------------------- all of them


def _print_all(registry: Registry, format: Format) -> None:
    """For people a table per kind, for programs one list."""
    rows = {hook.removeprefix("prefbench_"): [_line(registry, kind, name) for name in registry.names(kind)] for hook, kind in HOOKS.items()}
    if format in WHOLE:
        print_rows([row for kind_rows in rows.values() for row in kind_rows], format.value)
        return
    for number, (title, kind_rows) in enumerate(rows.items()):
        if number:
            print()
        print_rows([{key: row[key] for key in SHOWN[format]} for row in kind_rows], format.value, title=title)


def _line(registry: Registry, kind: Kind, name: str) -> Row:
    """The row of one component among all."""
    component = registry.get(kind, name)
    summary, *others = _paragraphs(component)
    formula = next((paragraph for paragraph in others if paragraph.startswith(" ")), "")
    options = [f"{key} = {_value(field)}" if _has_default(field) else key for key, field in option_fields(component).items()]
    return {
        "kind": kind,
        "name": name,
        "definition": f"{summary}\n{inspect.cleandoc(formula)}".strip(),
        "options": options,
        "source": component.source,
        "distribution": registry.origin(kind, name).distribution,
    }


# ---------------------------------------------------------------- one of them


def _description(registry: Registry, kind: Kind, component: type[Component]) -> list[Row]:
    """A row per fact: what it is about, and the fact; empty facts are left out. An option's row has its default and its bounds as well."""
    origin = registry.origin(kind, component.name)
    options: list[Row] = [{"about": f"option {key}", **_option(component, field)} for key, field in option_fields(component).items()]
    declarations: list[Row] = [{"about": about, "fact": fact} for about, fact in _declarations(component)]
    facts: list[Row] = [
        {"about": kind, "fact": component.name},
        {"about": "definition", "fact": "\n\n".join(_paragraphs(component))},
        *options,
        *declarations,
        {"about": "source", "fact": component.source},
        {"about": "departs from it", "fact": component.deviations},
        {"about": "distribution", "fact": f"{origin.distribution} {origin.version}".strip() or "a single file"},
        {"about": "defined in", "fact": inspect.getsourcefile(component) or ""},
        {"about": "source sha256", "fact": origin.source_sha256},
    ]
    return [row for row in facts if row["fact"]]


def _paragraphs(component: type[Component]) -> list[str]:
    """The docstring's paragraphs without markup: prose on one line each, so that it wraps where the screen does; formulas as they stand."""
    paragraphs = (inspect.getdoc(component) or "").replace("::\n", ":\n").replace("``", "").split("\n\n")
    return [text if text.startswith((" ", "-")) else " ".join(text.split()) for text in paragraphs]


def _option(component: type[Component], field: dataclasses.Field[Any]) -> Row:
    bounds = {key: field.metadata.get(key) for key in ("low", "high", "choices")}
    kind, doc = type_words(field_type(component, field)), field.metadata.get("doc", "")
    words = [f"default {_value(field)}" if _has_default(field) else "must be given", kind, *_bounds(**bounds)]
    default = _default(field) if _has_default(field) else None
    return {"fact": ", ".join(words) + (f": {doc}" if doc else ""), "default": default, "type": kind, **bounds, "doc": doc}


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return _default(field) is not dataclasses.MISSING


def _default(field: dataclasses.Field[Any]) -> object:
    """The default; ``MISSING`` where the option must be given."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _value(field: dataclasses.Field[Any]) -> str:
    """The default as Python would write it."""
    return repr(_default(field))


def _bounds(low: float | None, high: float | None, choices: tuple[object, ...] | None) -> Iterator[str]:
    if low is not None:
        yield f"at least {low:g}"
    if high is not None:
        yield f"at most {high:g}"
    if choices is not None:
        yield "one of " + " | ".join(map(str, choices))


# ---------------------------------------------------------------- what the core has to know


FLAGS = {
    "reference_free": ("reference", "none is used"),
    "batch_coupled": ("batch-coupled", "the loss of a pair depends on its batch"),
    "reshuffled": ("epochs", "the rows that it keeps are shuffled anew every epoch"),
    "uses_objective": ("trains", "with the objective of the row that it is computed for"),
    "asks_judge": ("judge", "it asks the track's"),
}
"""What is said of a component of which an attribute is true."""
NOT_MONOTONE = "no: at policy = reference its mean may rise with the chosen or fall with the rejected log-prob"


def _declarations(component: type[Component]) -> Iterator[tuple[str, str]]:
    """What it reads, with its default options, and where it is not as others of its kind."""
    example = _example(component)
    yield "needs the columns", _names(example, "needs")
    yield "wants the statistics", _names(example, "wants")
    for attribute, (about, fact) in FLAGS.items():
        yield about, fact if _declared(example, attribute, False) else ""
    yield "monotone", "" if _declared(example, "monotone", True) else NOT_MONOTONE
    domain = _declared(example, "domain", Objective.domain)
    yield "domain", "" if domain == Objective.domain else f"finite for log-ratios of up to {domain:g} nats"
    rehearsals = _declared(example, "rehearsals", 0)
    yield "rehearsals", f"it is offered {rehearsals} pools before the first step" if rehearsals else ""


def _example(component: type[Component]) -> Component | type[Component]:
    """The component with its default options; the class itself where options must be given."""
    try:
        return build(component, {})
    except PrefbenchError:
        return component


def _declared(example: Component | type[Component], attribute: str, usual: Any) -> Any:
    """The value of an attribute; the usual one where there is none, or where it hangs on options that must be given."""
    value = getattr(example, attribute, usual)
    return usual if isinstance(value, property) else value


def _names(example: Component | type[Component], attribute: str) -> str:
    names = getattr(example, attribute, ())
    return "depends on its options" if isinstance(names, property) else ", ".join(names)
