"""Plugin files made on the spot: a source text that imports what it needs, and a component in a few lines."""

from __future__ import annotations

import dataclasses

from tests.bad_input.place import RUN, Bad, Spoil, put

HEAD = "import numpy as np\nimport torch\nfrom dataclasses import dataclass\nfrom prefbench.api import *\n"


def plugin(*sources: str) -> Spoil:
    """A plugin file with these components; the fifth line is the first of theirs."""
    return put("mine.py", HEAD + "".join(sources))


def define(kind: str, name: str, *body: str) -> str:
    """The source of a component, a line of the class each."""
    return f'@dataclass\nclass My{kind}({kind}):\n    name = "{name}"\n' + "".join(f"    {line}\n" for line in body)


def with_options(bad: Bad, options: str) -> Bad:
    """The same input, given with these options of ``prefbench run`` unless it has some."""
    return dataclasses.replace(bad, command=f"{RUN} {options if bad.command == RUN else bad.command}")
