"""What papers claim, as a file beside a track has it: statements about the rows of a board."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prefbench.errors import PrefbenchError
from prefbench.report.keys import BASELINE, Key
from prefbench.store.folder import Folder

_NAME = r"[A-Za-z_][\w.@-]*?(?:\[[a-z]+\])?"
_TERM = re.compile(rf"(?P<metric>{_NAME})\[(?P<row>[^\[\]]+)\]")
_STATEMENT = re.compile(rf"(?P<terms>{_TERM.pattern.replace('?P<metric>', '').replace('?P<row>', '')}.*?)(?P<sign>[<>=])(?P<bound>[^<>=]+)")
_KEYS = {"paper", "place", "says", "statement", "published", "margin"}
_REQUIRED = _KEYS - {"published", "margin"}


@dataclass(frozen=True)
class Term:
    """A metric of a row, such as ``mt_bench[stem]`` of ``dpo + sams, noise-20``, with the sign that it enters with."""

    metric: str
    row: str
    sign: float

    def meant(self) -> list[Key]:
        """The rows that it may stand for: a method alone is trained on uniformly drawn pairs, or is a trivial row."""
        name, _, condition = (part.strip() for part in self.row.partition(","))
        method, _, scheduler = (part.strip() for part in name.partition(" + "))
        return [Key(method, scheduler, condition)] if scheduler else [Key(method, BASELINE[1], condition), Key(method, "-", condition)]


@dataclass(frozen=True)
class Statement:
    """A sum of terms, or a ratio of two, beside a number: above it, below it, or within a margin of it."""

    text: str
    terms: tuple[Term, ...]
    sign: str
    bound: float
    ratio: bool


@dataclass(frozen=True)
class Claim:
    """A paper's claim: where it stands, what it says in a line, and the statement about a board's rows that it comes to.

    ``published`` is the paper's own number for the left side of the statement, ``margin`` how far apart equals may be.
    """

    paper: str
    place: str
    says: str
    statement: Statement
    published: float | None = None
    margin: float | None = None


@dataclass(frozen=True)
class Claims:
    """The claims of a file, and the scale at which its track tests them."""

    scale: str = ""
    claims: tuple[Claim, ...] = ()


def read_claims(folder: Folder) -> Claims:
    """The claims of a folder; none where it has no file of them. Raises PrefbenchError naming every claim that is not one."""
    path = folder.claims
    if not path.exists():
        return Claims()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PrefbenchError(f"{path}: not a TOML file: {error}", "see docs/claims.md") from None
    problems = [] if tables.get("scale") else ["scale is missing: at what size the claims are tested"]
    found = []
    for number, table in enumerate(tables.get("claim", []), start=1):
        try:
            found.append(_claim(table))
        except ValueError as error:
            problems.append(f"claim {number}: {error}")
    if problems:
        raise PrefbenchError(f"{path}: " + "\n  ".join(problems), "see docs/claims.md")
    return Claims(tables["scale"], tuple(found))


def _claim(table: Mapping[str, Any]) -> Claim:
    wrong = [f"{key} is missing" for key in sorted(_REQUIRED - table.keys())] + [
        f"{key} is not known" for key in sorted(table.keys() - _KEYS)
    ]
    if wrong:
        raise ValueError(", ".join(wrong))
    statement, margin = parse(table["statement"]), table.get("margin")
    if (statement.sign == "=") != (margin is not None):
        raise ValueError("an equality, and nothing else, has a margin")
    return Claim(table["paper"], table["place"], table["says"], statement, table.get("published"), margin)


def parse(text: str) -> Statement:
    """``win_rate[a] - win_rate[b] > 0``. Raises ValueError for what is no statement."""
    found = _STATEMENT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no statement such as win_rate[ipo] - win_rate[dpo] > 0")
    left = found["terms"]
    matches = list(_TERM.finditer(left))
    operators = [part.strip() for part in _TERM.split(left)[:: _TERM.groups + 1]]
    first, *between = operators[:-1]
    ratio = between == ["/"]
    if first not in ("", "-") or operators[-1] or not (ratio or set(between) <= {"+", "-"}):
        raise ValueError(f"{left.strip()!r} is neither a sum of metrics of rows nor one over another")
    signs = [-1.0 if operator in ("-", "/") else 1.0 for operator in (first, *between)]
    terms = tuple(Term(match["metric"], match["row"].strip(), sign) for match, sign in zip(matches, signs, strict=True))
    try:
        bound = float(found["bound"])
    except ValueError:
        raise ValueError(f"{found['bound'].strip()!r} is no number") from None
    if ratio and bound <= 0:
        raise ValueError("a ratio is compared with a number above 0")
    return Statement(text.strip(), terms, found["sign"], bound, ratio)
