"""``prefbench show``: one method or other component, its definition, its options and where it comes from."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from prefbench.api import Component
from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows
from prefbench.registry import Kind, Registry, load_registry
from prefbench.registry.options import field_type, option_fields, type_words

Row = dict[str, object]


def show(
    name: Annotated[str, typer.Argument(help="An objective, a scheduler, a column, a harness, a judge or a source by name.")],
    plugin: PluginFiles = None,
    format: Annotated[Format, typer.Option(help="How the description is printed.")] = Format.table,
) -> None:
    """Describe a component: formula, options with defaults and bounds, what it needs, its source and where it departs from it."""
    registry = load_registry(plugin or ())
    rows = [row for kind, component in registry.named(name) for row in _description(registry, kind, component)]
    print_rows(rows, format.value)


def _description(registry: Registry, kind: Kind, component: type[Component]) -> list[Row]:
    """A row per fact: what it is about, and the fact; empty facts are left out."""
    origin = registry.origin(kind, component.name)
    facts: dict[str, object] = {
        kind: component.name,
        "definition": (inspect.getdoc(component) or "").replace("::\n", ":\n"),
        **dict(_options(component)),
        **dict(_declarations(component)),
        "source": component.source,
        "departs from it": component.deviations,
        "distribution": f"{origin.distribution} {origin.version}".strip() or "a single file",
        "defined in": inspect.getsourcefile(component) or "",
        "source sha256": origin.source_sha256,
    }
    return [{"about": about, "fact": fact} for about, fact in facts.items() if fact]


def _options(component: type[Component]) -> Iterator[tuple[str, str]]:
    for key, field in option_fields(component).items():
        words = [_default(field), type_words(field_type(component, field)), *_bounds(field)]
        doc = field.metadata.get("doc")
        yield f"option {key}", ", ".join(words) + (f": {doc}" if doc else "")


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"default {field.default!r}"
    return "must be given" if field.default_factory is dataclasses.MISSING else f"default {field.default_factory()!r}"


def _bounds(field: dataclasses.Field[Any]) -> Iterator[str]:
    low, high, choices = (field.metadata.get(key) for key in ("low", "high", "choices"))
    if low is not None:
        yield f"at least {low:g}"
    if high is not None:
        yield f"at most {high:g}"
    if choices is not None:
        yield "one of " + " | ".join(map(str, choices))


def _declarations(component: type[Component]) -> Iterator[tuple[str, object]]:
    """What the core has to know: columns and statistics it reads, and the two flags of objectives."""
    yield "needs the columns", ", ".join(getattr(component, "needs", ()))
    yield "wants the statistics", ", ".join(getattr(component, "wants", ()))
    yield "reference", "none is used" if getattr(component, "reference_free", False) else ""
    yield "batch-coupled", "the loss of a pair depends on its batch" if getattr(component, "batch_coupled", False) else ""
