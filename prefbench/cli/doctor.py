"""``prefbench doctor``: what this machine has, and what is missing to run a track."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prefbench.cli.options import PluginFiles
from prefbench.cli.tables import Format, print_rows

if TYPE_CHECKING:
    from prefbench.readiness.findings import Finding


def doctor(
    track: Annotated[str | None, typer.Argument(help="A track to check as well.")] = None,
    out: Annotated[Path, typer.Option(help="The run folder whose disk is looked at.")] = Path("runs"),
    plugin: PluginFiles = None,
    ask_hub: Annotated[
        bool, typer.Option("--ask-hub", help="Ask the Hugging Face hub about what is not here; of a model, config.json is fetched.")
    ] = False,
    format: Annotated[Format, typer.Option(help="How the findings are printed.")] = Format.table,
) -> None:
    """Check the installation, and what a track needs of it: files, keys, memory, disk, time; exit code 1 when something is wrong or missing."""
    checks: dict[str, Callable[[], str]] = {
        "python and packages": _packages,
        "device": _device,
        "alpaca-eval": _alpaca_eval,
        "fschat": _fastchat,
        "plugins": _plugins,
        "cache": _cache,
    }
    from prefbench.readiness.findings import FAILING, looked_at

    found = [looked_at(name, check) for name, check in checks.items()]
    if track is not None:
        found += _track(track, plugin or (), out, ask_hub)
    print_rows([dataclasses.asdict(finding) for finding in found], format.value)
    if any(finding.state in FAILING for finding in found):
        raise typer.Exit(1)


def _packages() -> str:
    from prefbench.store.provenance import packages

    return ", ".join(f"{name} {version}" for name, version in packages().items())


def _device() -> str:
    import torch

    from prefbench.train.device import compute_dtype, device, usable_cores

    name = torch.cuda.get_device_name() if device().type == "cuda" else "cpu"
    return f"{name}, compute in {compute_dtype('auto')}, {usable_cores()} usable cores"


def _alpaca_eval() -> str:
    from prefbench.evaluate.stand_ins import stand_ins

    with stand_ins():
        import alpaca_eval.metrics.glm_winrate  # noqa: F401 - that it imports is what is checked
    return "imports"


def _fastchat() -> str:
    from prefbench.evaluate.stand_ins import stand_ins

    with stand_ins():
        import fastchat.llm_judge.common  # noqa: F401 - that it imports is what is checked
    return "imports"


def _plugins() -> str:
    from prefbench.errors import PrefbenchError
    from prefbench.registry import load_registry

    rows = load_registry().rows
    broken = [f"{row.name}: {row.reason}" for row in rows if row.status == "broken"]
    if broken:
        raise PrefbenchError("; ".join(broken), "see `prefbench plugins --check`")
    return ", ".join(row.name for row in rows)


def _cache() -> str:
    from prefbench.cache import cache_folder
    from prefbench.store.files import write_bytes

    folder = cache_folder()
    write_bytes(folder / "written-by-doctor", b"")
    (folder / "written-by-doctor").unlink()
    return f"{folder}, {shutil.disk_usage(folder).free / 2**30:.1f} GiB free"


def _track(name: str, plugins: Sequence[Path], out: Path, ask_hub: bool) -> list[Finding]:
    from prefbench.config import find_track, read_track
    from prefbench.errors import PrefbenchError
    from prefbench.readiness.findings import Finding, in_words
    from prefbench.readiness.track import track_findings
    from prefbench.registry import load_registry

    registry = load_registry(plugins)
    try:
        track = read_track(find_track(name), registry)
    except PrefbenchError as error:
        return [Finding("track", "wrong", in_words(error))]
    return list(track_findings(track, registry, out, ask_hub))
