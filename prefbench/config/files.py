"""Where track files are, and their TOML."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from prefbench.errors import PrefbenchError
from prefbench.registry import did_you_mean


def packaged_folder() -> Path:
    """Where the tracks shipped with the package are."""
    return Path(str(resources.files("prefbench"))).absolute() / "tracks"


def packaged_tracks() -> dict[str, Path]:
    """The tracks shipped with the package, by name."""
    return {path.stem: path for path in sorted(packaged_folder().glob("*.toml"))}


def find_track(name: str) -> Path:
    """The file of a track: a path, or the name of a packaged track. Raises PrefbenchError with the nearest name."""
    path, tracks = Path(name), packaged_tracks()
    if path.is_file():
        return path
    if name in tracks:
        return tracks[name]
    raise PrefbenchError(
        f"no track named {name!r}, and no such file", did_you_mean(name, tracks) or f"packaged tracks: {', '.join(tracks)}"
    )


def name_and_version(path: Path) -> tuple[str, int]:
    """Of a track file that was valid when it was written; its plugins need not be there any more."""
    head = read_toml(path).get("track", {})
    return head.get("name", "without a name"), head.get("version", 1)


def read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        hint = "see docs/tracks.md for a complete example; the file is UTF-8 without a byte order mark"
        raise PrefbenchError(f"{path}: not a TOML file: {error}", hint) from None
