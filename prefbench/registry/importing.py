"""Imports one plugin, an entry point or a file, and says in which of its lines an import failed."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from prefbench.registry.candidates import Candidate, metadata_line, places
from prefbench.registry.rows import BrokenPluginError


def import_plugin(candidate: Candidate) -> object:
    """The plugin's module, or the object that its entry point names; ``BrokenPluginError`` with the reason and the line where it fails."""
    entry_point = candidate.entry_point
    if entry_point is None:
        return guarded(candidate, lambda: _import_file(Path(candidate.origin)))
    return guarded(candidate, entry_point.load)


def guarded(candidate: Candidate, action: Callable[[], object]) -> object:
    """Run a plugin's code: what it prints goes to stderr, and what it raises, an exit included, becomes ``BrokenPluginError``."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            return action()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}".replace("\n", " ").removesuffix(": ")
            raise BrokenPluginError(reason, _line_raised(error, candidate) or metadata_line(candidate, "entry_points.txt")) from error


def line_of(thing: object) -> str:
    """``file:line`` where a class or a function is defined, or the file of a module; empty where there is no source."""
    try:
        file = inspect.getsourcefile(thing)  # type: ignore[arg-type]
        line = inspect.getsourcelines(thing)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    return f"{file}:{max(line, 1)}"


def _import_file(path: Path) -> ModuleType:
    """Run a file as a module of its own. The bytes that are read are the bytes that run: a stale bytecode file cannot step in."""
    source = path.read_bytes()
    digest = hashlib.sha256(str(path.resolve()).encode() + b"\0" + source).hexdigest()[:12]
    name = f"prefbench_file_{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        raise ImportError("a plugin file ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up while it runs
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _line_raised(error: BaseException, candidate: Candidate) -> str:
    """The deepest line of the plugin's own files that the error passed through, or the line of a syntax error."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _belongs(frame.filename, candidate)]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else ""


def _belongs(filename: str, candidate: Candidate) -> bool:
    return filename != __file__ and any(Path(filename).is_relative_to(place) for place in places(candidate))
