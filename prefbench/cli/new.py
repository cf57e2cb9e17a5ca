"""``prefbench new``: a small distribution around a method that works, complete with tests, to be made one's own."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from prefbench import __version__
from prefbench.errors import PrefbenchError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LONGEST = 28
"""Characters of a name with which the longest line of what is written still has 88."""
IMPORTED = re.compile(r"^from \S+ import (.+)$", re.MULTILINE)


class NewKind(StrEnum):
    """What can be begun."""

    objective = "objective"
    scheduler = "scheduler"
    column = "column"


REQUIREMENTS = {NewKind.objective: "torch>=2.6", NewKind.scheduler: "numpy>=2.0", NewKind.column: "numpy>=2.0"}
"""What the method of each kind imports beside prefbench."""

FIRST_RUNS = {
    NewKind.objective: "prefbench run prefworld --only {name} --only dpo --seeds 3",
    NewKind.scheduler: "prefbench run prefworld --only dpo --scheduler {name} --scheduler random-subset --seeds 3",
    NewKind.column: "prefbench show {name}",
}
"""The first use of a method of each kind."""


@dataclass(frozen=True)
class Blueprint:
    """What is to be written: the kind and the name, and what follows from them."""

    kind: NewKind
    name: str

    @property
    def distribution(self) -> str:
        """``prefbench-my-loss``."""
        return f"prefbench-{self.name}"

    @property
    def module(self) -> str:
        """``my_loss``."""
        return self.name.replace("-", "_")

    @property
    def package(self) -> str:
        """``prefbench_my_loss``."""
        return f"prefbench_{self.module}"

    @property
    def class_name(self) -> str:
        """``MyLoss``."""
        return "".join(word.capitalize() for word in self.name.split("-"))

    @property
    def first_run(self) -> str:
        """The command that uses it for the first time."""
        return FIRST_RUNS[self.kind].format(name=self.name)

    def templates(self) -> dict[str, str]:
        """The template of each file, by its path in the distribution."""
        return {
            "pyproject.toml": "distribution/pyproject.toml",
            "README.md": f"{self.kind}/README.md",
            ".gitignore": "distribution/gitignore",
            "noxfile.py": "distribution/noxfile.py",
            f"{self.package}/__init__.py": "distribution/package.py",
            f"{self.package}/method.py": f"{self.kind}/method.py",
            f"tests/test_{self.module}.py": f"{self.kind}/test.py",
        }

    def contents(self) -> dict[str, str]:
        """The text of each file, by its path in the distribution."""
        names = {key: getattr(self, key) for key in ("kind", "name", "distribution", "module", "package", "class_name")}
        values = {**names, "version": __version__, "requirement": REQUIREMENTS[self.kind], "run": self.first_run}
        return {path: Template(_template(source)).substitute(values) for path, source in self.templates().items()}


def new(
    kind: Annotated[NewKind, typer.Argument(help="A loss per pair, a choice of the pairs to train on, or a number per pair.")],
    name: Annotated[str, typer.Argument(help="Its name in tracks and on boards, such as my-loss.")],
    folder: Annotated[Path | None, typer.Option(file_okay=False, help="The folder to write; prefbench-NAME unless given.")] = None,
) -> None:
    """Write a small distribution with a method that works, its tests and its page: change the formula and it is yours."""
    from prefbench.store.files import write_text

    blueprint = Blueprint(kind, name)
    target = folder or Path(blueprint.distribution)
    _refuse_name(blueprint)
    _refuse_taken(blueprint)
    _refuse_occupied(target)
    for path, text in blueprint.contents().items():
        write_text(target / path, text)
    print("\n".join(_told(blueprint, target)))


def _told(blueprint: Blueprint, target: Path) -> list[str]:
    """What is printed: every file, and the commands that come next."""
    written = [f"  {target / path}" for path in blueprint.templates()]
    commands = [f"python -m pip install -e {target}", f"prefbench check {blueprint.name}", blueprint.first_run]
    return ["wrote", *written, "next", *(f"  {command}" for command in commands)]


def _template(source: str) -> str:
    return (files("prefbench.cli") / "templates" / f"{source}.template").read_text(encoding="utf-8")


def _refuse_name(blueprint: Blueprint) -> None:
    """Raise PrefbenchError for a name that no folder, module or class of the distribution could have."""
    if not NAME.fullmatch(blueprint.name) or len(blueprint.name) > LONGEST:
        hint = f"at most {LONGEST} lower-case letters and digits, joined by single dashes, a letter first: my-loss"
        raise PrefbenchError(f"{blueprint.name!r} cannot be a name", hint)
    imported = {
        word for source in blueprint.templates().values() for line in IMPORTED.findall(_template(source)) for word in line.split(", ")
    }
    if keyword.iskeyword(blueprint.module) or keyword.iskeyword(blueprint.class_name) or blueprint.class_name in imported:
        reason = f"{blueprint.class_name} means something else in Python or prefbench"
        raise PrefbenchError(f"{blueprint.name!r} cannot be a name: {reason}", "add a word to it")


def _refuse_taken(blueprint: Blueprint) -> None:
    """Raise PrefbenchError where an installed plugin brings a component or is a distribution of that name."""
    from packaging.utils import canonicalize_name

    from prefbench.registry import load_registry

    for row in load_registry().rows:
        if f"{blueprint.kind} {blueprint.name}" in row.provides:
            raise PrefbenchError(f"{row.distribution} {row.version} has {blueprint.kind} {blueprint.name!r} already", "choose another name")
        if canonicalize_name(row.distribution) == blueprint.distribution:
            raise PrefbenchError(f"a distribution called {blueprint.distribution} is installed already", "choose another name")


def _refuse_occupied(target: Path) -> None:
    if target.exists() and any(target.iterdir()):
        raise PrefbenchError(f"{target} is not empty", "name another folder with --folder")
