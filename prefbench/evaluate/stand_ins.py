"""Importing and calling alpaca-eval and FastChat without what they forgot to declare, and leaving the process as it was."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


@contextmanager
def replaced(owner: Any, **attributes: Any) -> Iterator[None]:
    """Within it, ``owner`` (a module) has these attributes; afterwards it has its own again. Each must exist already."""
    own = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in own.items():
            setattr(owner, name, value)


def _pkg_resources() -> ModuleType:
    """The two functions that alpaca-eval 0.6.6 takes from setuptools' ``pkg_resources``, which setuptools 82 dropped."""
    from packaging.version import parse

    module = ModuleType("pkg_resources")
    module.get_distribution = importlib.metadata.distribution  # type: ignore[attr-defined]
    module.parse_version = parse  # type: ignore[attr-defined]
    return module


def _anthropic() -> ModuleType:
    """An empty module: FastChat 0.2.36 imports ``anthropic`` at the top and uses it only when it calls that company's endpoint."""
    return ModuleType("anthropic")


_MAKERS: dict[str, Callable[[], ModuleType]] = {"pkg_resources": _pkg_resources, "anthropic": _anthropic}


@contextmanager
def _modules() -> Iterator[None]:
    """Put a stand-in in ``sys.modules`` for each module that is neither imported nor installed; take it out again at the end."""
    missing = [name for name in _MAKERS if name not in sys.modules and importlib.util.find_spec(name) is None]
    for name in missing:
        sys.modules[name] = _MAKERS[name]()
        # Without a spec, a library that asks whether the module is installed while it is being imported gets a ValueError.
        sys.modules[name].__spec__ = ModuleSpec(name, loader=None)
    try:
        yield
    finally:
        for name in missing:
            del sys.modules[name]


@contextmanager
def _log_level() -> Iterator[None]:
    """Give the root logger its level back: importing alpaca-eval sets it to INFO."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        root.setLevel(level)


@contextmanager
def stand_ins() -> Iterator[None]:
    """Within it ``import alpaca_eval`` and ``import fastchat.llm_judge.common`` work, and change nothing but ``sys.modules``.

    Modules that the two import and do not declare get a stand-in for the time of the import, unless they are installed; the ``.env`` file
    that alpaca-eval would load into the environment is left alone; the root logger keeps its level.
    """
    with ExitStack() as stack:
        stack.enter_context(_modules())
        stack.enter_context(_log_level())
        if importlib.util.find_spec("dotenv") is not None:
            import dotenv

            stack.enter_context(replaced(dotenv, load_dotenv=lambda *args, **kwargs: False))
        yield


def _reject(record: logging.LogRecord) -> bool:
    return False


@contextmanager
def quiet_root() -> Iterator[None]:
    """Within it, what is logged on the root logger itself is dropped, as alpaca-eval does; named loggers reach their handlers as ever.

    ``logging.info`` and its like also install a handler when there is none yet, for good: for the time of the call there is one.
    """
    root = logging.getLogger()
    handler = logging.lastResort if not root.handlers else None
    if handler is not None:
        root.addHandler(handler)
    root.addFilter(_reject)
    try:
        yield
    finally:
        root.removeFilter(_reject)
        if handler is not None:
            root.removeHandler(handler)
