"""What an imported plugin offers, and whether each of its classes can be used."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pluggy

from prefbench import hookspecs
from prefbench.api import PAIR_STATISTICS, POOL_STATISTICS, Component
from prefbench.registry.candidates import Candidate
from prefbench.registry.importing import guarded, line_of
from prefbench.registry.options import option_fields, option_problems
from prefbench.registry.rows import HOOKS, KINDS, BrokenPluginError, Kind, Origin, Registered
from prefbench.registry.suggest import did_you_mean

NAME = re.compile(r"[A-Za-z0-9]+([._-][A-Za-z0-9]+)*")
"""Names stand in file names, in TOML keys and in ``name[option=value]``."""


def offers(plugin: object, candidate: Candidate) -> list[Registered]:
    """Every component of the plugin, checked; ``BrokenPluginError`` at the first that cannot be used, with the names of all."""
    hooks = _hooks(plugin)
    found = [(kind, cls) for kind, caller in hooks for cls in _returned(kind, caller, candidate)]
    if not hooks:
        found = _defined_in(plugin) if candidate.is_file and isinstance(plugin, ModuleType) else []
        if not found:
            also = ", and it defines no component" if candidate.is_file else ""
            raise BrokenPluginError(f"nothing in it is marked @hookimpl{also}", line_of(plugin))
    provides = tuple(f"{kind} {cls.name}" for kind, cls in found if isinstance(getattr(cls, "name", None), str))
    try:
        for kind, cls in found:
            _refuse_unusable(kind, cls)
        return [Registered(kind, cls.name, cls, _origin(cls, candidate)) for kind, cls in found]
    except BrokenPluginError as broken:
        raise BrokenPluginError(broken.reason, broken.where, provides) from broken


def _hooks(plugin: object) -> list[tuple[Kind, pluggy.HookCaller]]:
    """The plugin's implementations of prefbench's hooks; ``BrokenPluginError`` for a hook that is misspelt, unmarked or takes arguments."""
    manager = pluggy.PluginManager("prefbench")
    manager.add_hookspecs(hookspecs)
    for attribute, function in _routines(plugin):
        marks = manager.parse_hookimpl_opts(plugin, attribute)
        _refuse_misspelt(attribute, marks.get("specname") or attribute if marks else None, function)
    try:
        manager.register(plugin)
    except pluggy.PluginValidationError as error:
        raise BrokenPluginError(str(error).replace("\n", "; "), line_of(plugin)) from error
    return [(HOOKS[caller.name], caller) for caller in manager.get_hookcallers(plugin) or ()]


def _routines(plugin: object) -> Iterator[tuple[str, Callable[..., object]]]:
    for attribute in dir(plugin):
        value = inspect.getattr_static(plugin, attribute, None)
        if inspect.isroutine(value):
            yield attribute, getattr(plugin, attribute)


def _refuse_misspelt(attribute: str, hook: str | None, function: Callable[..., object]) -> None:
    if hook is None and attribute.startswith("prefbench_"):
        raise BrokenPluginError(f"{attribute} is not marked @hookimpl, so it would never be called", line_of(function))
    if hook is not None and hook not in HOOKS:
        hint = did_you_mean(hook, HOOKS) or f"the hooks are {', '.join(HOOKS)}"
        raise BrokenPluginError(f"{hook} is no hook of prefbench: {hint}", line_of(function))
    if hook is not None and inspect.signature(function).parameters:
        raise BrokenPluginError(f"{attribute} takes arguments, and a hook takes none", line_of(function))


def _returned(kind: Kind, caller: pluggy.HookCaller, candidate: Candidate) -> list[type[Component]]:
    """The classes that a hook returns; ``BrokenPluginError`` unless it is a list of classes of the hook's kind."""
    (implementation,) = caller.get_hookimpls()
    base = KINDS[kind]
    result = guarded(candidate, implementation.function)
    odd = [result] if not isinstance(result, (list, tuple)) else [item for item in result if not _is_class(item, base)]
    if odd:
        hint = "; return the class, not an instance" if isinstance(odd[0], base) else ""
        reason = f"{caller.name} must return a list of {base.__name__} classes, and there is {odd[0]!r} instead{hint}"
        raise BrokenPluginError(reason, line_of(implementation.function))
    return list(result)  # type: ignore[call-overload,no-any-return]  # a list or a tuple, as checked


def _is_class(thing: object, base: type[Component]) -> bool:
    return isinstance(thing, type) and issubclass(thing, base)


def _defined_in(module: ModuleType) -> list[tuple[Kind, type[Component]]]:
    """The components that a file without hooks defines: private classes, and abstract ones that others there complete, are left out."""
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    unfinished = {base for cls in own for base in cls.__mro__[1:] if inspect.isabstract(base)}
    public = [cls for cls in own if cls not in unfinished and not cls.__name__.startswith("_")]
    return [(kind, cls) for cls in public for kind, base in KINDS.items() if issubclass(cls, base)]


def _refuse_unusable(kind: Kind, cls: type[Component]) -> None:
    problem = _class_problem(kind, cls)
    if problem:
        raise BrokenPluginError(f"{cls.__name__} {problem}", line_of(cls))


def _class_problem(kind: Kind, cls: type[Component]) -> str:
    """Why a class cannot be used; empty if it can."""
    name = getattr(cls, "name", None)
    if not isinstance(name, str):
        return f'has no name: write name = "my-{kind}" in the class'
    if not NAME.fullmatch(name):
        return f"has the name {name!r}: letters and digits, joined by single dots, dashes or underscores"
    if "__dataclass_fields__" not in vars(cls):
        return "is no dataclass: put @dataclass above it, so that its options are known"
    if inspect.isabstract(cls):
        return f"does not define {', '.join(sorted(getattr(cls, '__abstractmethods__', ())))}"
    defaults = {key: field.default for key, field in option_fields(cls).items() if field.default is not dataclasses.MISSING}
    bad = [problem for key, problem in option_problems(cls, defaults) if key in defaults]
    return f"has a default that it would refuse: {bad[0]}" if bad else _declaration_problem(kind, cls)


def _declaration_problem(kind: Kind, cls: type[Component]) -> str:
    """What is wrong with the names that a class says it reads; empty if nothing is. What a property gives depends on options, and is read later."""
    declared = {attribute: getattr(cls, attribute, ()) for attribute in ("needs", "wants")}
    for attribute, names in declared.items():
        if isinstance(names, property):
            declared[attribute] = ()
        elif not isinstance(names, (tuple, list)) or not all(isinstance(name, str) for name in names):
            return f"has {attribute} = {names!r}: write a tuple of names"
    statistics = PAIR_STATISTICS if kind == "objective" else POOL_STATISTICS
    unknown = [name for name in declared["wants"] if name not in statistics]
    hint = did_you_mean(unknown[0], statistics) or f"there are {', '.join(statistics)}" if unknown else ""
    return f"wants the statistic {unknown[0]!r}, and there is none: {hint}" if unknown else ""


def _origin(cls: type[Component], candidate: Candidate) -> Origin:
    return Origin(candidate.distribution, candidate.version, _source_sha256(cls))


def _source_sha256(cls: type[Component]) -> str:
    """sha256 of the source that defines the class and the classes that it builds on, prefbench's api and Python's own apart.

    Of prefbench itself and of a single file, the files of those classes; of a stranger's package all its modules, because a method may work
    with any of them, and an edited one must not hide behind an old result.
    """
    settled = ("prefbench.api.", "abc.", "builtins.", "typing.")
    modules = dict.fromkeys(base.__module__ for base in cls.__mro__ if not f"{base.__module__}.".startswith(settled))
    digest = hashlib.sha256()
    for file in dict.fromkeys(file for module in modules for file in _source_files(module)):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _source_files(module: str) -> list[Path]:
    """The file of a module; of a module of a package other than prefbench, every file of the package, in the order of their names."""
    top = sys.modules.get(module.partition(".")[0])
    file = getattr(sys.modules.get(module), "__file__", None)
    if top is not None and top.__name__ != "prefbench" and getattr(top, "__file__", None) and hasattr(top, "__path__"):
        return sorted(Path(str(top.__file__)).parent.rglob("*.py"))
    return [Path(file)] if file else []
