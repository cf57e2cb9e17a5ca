"""Tables as Markdown, each with what it takes to make it again, and their places in the README of the benchmarks."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

MIB = 2**20


@dataclass(frozen=True)
class Table:
    """A mode's result: cells are texts, the first column names the row; remarks stand below."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    versions: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()

    @property
    def refused(self) -> bool:
        """Whether a ratio could not be told."""
        return any("refused" in cell for row in self.rows for cell in row)


def markdown(table: Table, command: str, machine: str) -> str:
    """The table under its title, with the command, the machine, the versions and the remarks."""
    return "\n".join(_lines(table, command, machine))


def _lines(table: Table, command: str, machine: str) -> Iterator[str]:
    yield f"### {table.title}\n"
    yield f"`{command}`, {date.today():%d %B %Y}: {machine}; {', '.join(f'{name} {found}' for name, found in table.versions.items())}.\n"
    yield f"| {' | '.join(table.header)} |"
    yield f"|{'|'.join(['---', *['---:'] * (len(table.header) - 1)])}|"
    for row in table.rows:
        yield f"| {' | '.join(row)} |"
    if table.remarks:
        yield ""
    for remark in table.remarks:
        yield f"- {remark}"


def machine(threads: int) -> str:
    """Processor, memory and threads, and how busy the machine is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else float("nan")
    load = f", load average {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    return f"{processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {threads} threads{load}"


def processor() -> str:
    """Its name, as Linux tells it, with what tells machines of one name apart: the widest vector units."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    found = dict(re.findall(r"^([\w ]+?)\s*: (.*)$", info.read_text(), re.MULTILINE))
    units = next((unit for unit in ("avx512f", "avx2") if unit in found.get("flags", "").split()), "")
    return f"{found.get('model name', platform.machine())}{f' with {unit_name(units)}' if units else ''}"


def unit_name(flag: str) -> str:
    """A processor flag as people write it."""
    return {"avx512f": "AVX-512", "avx2": "AVX2"}[flag]


def mebibytes(count: float) -> str:
    """Bytes in MiB."""
    return f"{count / MIB:.0f}"


def replaced(readme: str, mode: str, text: str) -> str:
    """The README with a mode's table in the place of the one that it has. Raises ValueError where it has no place for it."""
    opening, closing = f"<!-- {mode} -->", f"<!-- end of {mode} -->"
    if readme.count(opening) != 1 or readme.count(closing) != 1:
        raise ValueError(f"the README has no place for {mode}: {opening} and {closing} once each")
    before, rest = readme.split(opening)
    return f"{before}{opening}\n{text}\n{closing}{rest.split(closing)[1]}"
