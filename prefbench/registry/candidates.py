"""The plugins that are installed, as their metadata describe them: nothing of a plugin is imported here."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

import prefbench
from prefbench.registry.rows import BrokenPluginError, PluginRow, Status

GROUP = "prefbench"


@dataclass(frozen=True)
class Candidate:
    """A plugin before it is imported: an entry point of a distribution or, with neither, a file."""

    name: str
    origin: str
    distribution: str = ""
    version: str = ""
    entry_point: EntryPoint | None = None
    metadata: Distribution | None = None
    problem: str = ""

    @property
    def is_file(self) -> bool:
        """True for a single file that no distribution holds."""
        return not self.distribution

    @property
    def module(self) -> str:
        """The dotted name of an entry point's module."""
        return self.origin.partition(":")[0].partition("[")[0].strip()

    def row(self, status: Status, reason: str = "", where: str = "", provides: Sequence[str] = ()) -> PluginRow:
        """The plugin's row."""
        return PluginRow(self.name, self.distribution, self.version, self.origin, status, reason, where, tuple(provides))


def installed() -> list[Candidate]:
    """Every entry point of the group, prefbench's own first, so that no stranger takes a built-in's name; then by distribution and name."""
    found: dict[str, list[Candidate]] = {}
    for distribution in distributions():
        if f"[{GROUP}]" in _entry_points_text(distribution):
            # The first of two installations of one name is the one that Python imports.
            found.setdefault(canonicalize_name(_identity(distribution)[0]), _candidates(distribution))
    candidates = [candidate for group in found.values() for candidate in group]
    return sorted(candidates, key=lambda c: (not is_own(c), canonicalize_name(c.distribution), c.name))


def is_own(candidate: Candidate) -> bool:
    """True for the entry points of prefbench itself."""
    return canonicalize_name(candidate.distribution) == "prefbench"


def disabled(candidate: Candidate) -> bool:
    """True when PREFBENCH_DISABLE_PLUGINS names the entry point or its distribution, or says ``all``, which spares prefbench's own."""
    listed = {part.strip() for part in os.environ.get("PREFBENCH_DISABLE_PLUGINS", "").split(",") if part.strip()}
    if "all" in listed and not is_own(candidate):
        return True
    return candidate.name in listed or canonicalize_name(candidate.distribution) in {canonicalize_name(part) for part in listed}


def refuse_unfit(candidate: Candidate) -> None:
    """Raise ``BrokenPluginError`` for what the metadata alone tell: no valid module, or another version of prefbench wanted."""
    if candidate.problem:
        raise BrokenPluginError(candidate.problem, metadata_line(candidate, "entry_points.txt"))
    if not all(part.isidentifier() for part in candidate.module.split(".")):
        raise BrokenPluginError(
            f"entry point {candidate.origin!r} is no module or module:attribute", metadata_line(candidate, "entry_points.txt")
        )
    for text, requirement in _requirements(candidate):
        if not requirement.specifier.contains(prefbench.__version__, prereleases=True):
            reason = f"needs prefbench {requirement.specifier}, and this is {prefbench.__version__}"
            raise BrokenPluginError(reason, metadata_line(candidate, "METADATA", text))


def metadata_line(candidate: Candidate, file_name: str, text: str = "") -> str:
    """``file:line`` of the first line with ``text`` (or the plugin's name) in a file of the distribution's metadata; empty if not found."""
    files = (candidate.metadata.files if candidate.metadata else None) or []
    path = next((Path(str(file.locate())) for file in files if file.name == file_name and file.parent.name.endswith(".dist-info")), None)
    if path is None or not path.is_file():
        return ""
    wanted = (text or candidate.name).replace(" ", "")
    numbered = enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
    return f"{path}:{next((number for number, line in numbered if wanted in line.replace(' ', '')), 1)}"


def places(candidate: Candidate) -> list[Path]:
    """The file of the plugin, or the folders of its top-level package, found without importing either; empty where there is none."""
    if candidate.is_file:
        return [Path(candidate.origin)]
    try:
        spec = importlib.util.find_spec(candidate.module.partition(".")[0])
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    return folders or [Path(spec.origin or "")]


def stamp(candidate: Candidate) -> str:
    """A text that changes when a Python file of the plugin's top-level package is edited, added or taken away."""
    files = [file for place in places(candidate) for file in (place.rglob("*.py") if place.is_dir() else [place]) if file.is_file()]
    return f"{len(files)}-{max((file.stat().st_mtime_ns for file in files), default=0)}"


def _entry_points_text(distribution: Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, UnicodeDecodeError):
        return ""  # nobody's plugin that can be read, and no reason to lose the others


def _candidates(distribution: Distribution) -> list[Candidate]:
    """The distribution's plugins, parsed apart from every other distribution's: one malformed file costs one row."""
    name, version = _identity(distribution)
    try:
        entry_points = distribution.entry_points.select(group=GROUP)
        return [Candidate(e.name, e.value, name, version, e, distribution) for e in entry_points]
    except Exception:  # a malformed file fails in ways that differ by Python version
        return [Candidate(name, "entry_points.txt", name, version, None, distribution, "its entry_points.txt cannot be parsed")]


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Name and version, also of an installation whose metadata are damaged."""
    try:
        return str(distribution.metadata["Name"] or "unknown"), str(distribution.metadata["Version"] or "unknown")
    except Exception:  # missing metadata fail in ways that differ by Python version
        return "unknown", "unknown"


def _requirements(candidate: Candidate) -> Iterator[tuple[str, Requirement]]:
    """What the distribution requires of prefbench, outside its extras: as written and as parsed."""
    for text in (candidate.metadata.requires if candidate.metadata else None) or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue  # pip's business; only the line about prefbench is ours
        marker = requirement.marker
        if canonicalize_name(requirement.name) == "prefbench" and (marker is None or marker.evaluate({"extra": ""})):
            yield text, requirement
