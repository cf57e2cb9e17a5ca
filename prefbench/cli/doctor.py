"""``prefbench doctor``: what this machine has, and what is missing to run a track."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from prefbench.cli.tables import Format, print_rows


def doctor(
    track: Annotated[str | None, typer.Argument(help="A track to check as well.")] = None,
    format: Annotated[Format, typer.Option(help="How the findings are printed.")] = Format.table,
) -> None:
    """Check the installation: packages, device, harness libraries, plugins, cache, disk; exit code 1 when something is wrong."""
    checks: dict[str, Callable[[], str]] = {
        "python and packages": _packages,
        "device": _device,
        "alpaca-eval": _alpaca_eval,
        "fschat": _fastchat,
        "plugins": _plugins,
        "cache": _cache,
    }
    if track is not None:
        checks[f"track {track}"] = lambda: _track(track)
    rows = [_checked(name, check) for name, check in checks.items()]
    print_rows(rows, format.value)
    if any(row["state"] == "wrong" for row in rows):
        raise typer.Exit(1)


def _checked(name: str, check: Callable[[], str]) -> dict[str, Any]:
    try:
        return {"check": name, "state": "ok", "finding": check()}
    except Exception as error:  # whatever is wrong is the finding
        hint = getattr(error, "hint", "")
        return {"check": name, "state": "wrong", "finding": f"{error}" + (f" ({hint})" if hint else "")}


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


def _track(name: str) -> str:
    from prefbench.run import RunOptions, plan_run

    planned = plan_run(RunOptions(track=name, out=Path("runs") / "nowhere-yet"))
    return f"{len(planned.cells)} cells; skipped: {', '.join(planned.track.skipped) or 'none'}"
