"""``prefbench check``: the contract of a component, one line per check."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows
from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from prefbench.api import Component
    from prefbench.registry import Kind, Registry

Row = dict[str, object]
Found = tuple["Kind", type["Component"]]


def check(
    name: Annotated[str | None, typer.Argument(help="An objective, a scheduler, a column or a judge by name.")] = None,
    plugin: PluginFiles = None,
    option: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="An option that is not its default (again for more).")
    ] = None,
    format: Annotated[Format, typer.Option(help="How the outcomes are printed.")] = Format.table,
) -> None:
    """Check that a component keeps the contract of its kind; without a name, everything in the plugin files. Exit code 1 when it does not."""
    from prefbench.registry import load_registry

    files = plugin or []
    registry = load_registry(files)
    options = dict(map(_key_and_value, option or ()))
    found = registry.named(name) if name is not None else _provided(registry, files)
    rows = [row for kind, component in found for row in _rows(kind, component, options)]
    print_rows(rows, format.value)
    if any(row["outcome"] == "FAILED" for row in rows):
        raise typer.Exit(1)


def _provided(registry: Registry, files: Sequence[Path]) -> list[Found]:
    """Everything that the plugin files bring."""
    if not files:
        raise PrefbenchError("there is nothing to check", "prefbench check NAME, or prefbench check --plugin FILE")
    paths = {str(path) for path in files}
    provided = [text for row in registry.rows if row.origin in paths for text in row.provides]
    return [found for text in provided for found in registry.named(text.split(" ", 1)[1]) if found[0] == text.split(" ", 1)[0]]


def _rows(kind: Kind, component: type[Component], options: Mapping[str, Any]) -> Iterator[Row]:
    """A row per check of a component. Raises PrefbenchError for options that it does not take, or lacks."""
    from prefbench.registry import build
    from prefbench.testing.running import CONTRACTS, contract_for, run_checks

    what = f"{kind} {component.name}"
    build(component, options)
    if kind not in CONTRACTS:
        yield {"component": what, "check": "", "outcome": "not checked", "problem": "harnesses and sources have no contract yet"}
        return
    for outcome in run_checks(contract_for(kind, component, options)):
        yield {"component": what, "check": outcome.check, "outcome": outcome.verdict, "problem": outcome.problem}


def _key_and_value(text: str) -> tuple[str, Any]:
    """``beta=0.5`` as a track file would have it; a value that is no TOML is a text."""
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise PrefbenchError(f"--option {text!r} sets nothing", "write --option KEY=VALUE, such as --option beta=0.5")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value
