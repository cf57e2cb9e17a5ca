"""A track whose harnesses and judge are lent to outputs that were made elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import typer

from prefbench.errors import PrefbenchError

if TYPE_CHECKING:
    from prefbench.api import Harness
    from prefbench.planned import RunOptions
    from prefbench.workshop import Workshop

H = TypeVar("H", bound="Harness")


def lent(options: RunOptions, kind: type[H], name: str) -> tuple[Workshop, dict[str, H]]:
    """The track's workshop, and its harnesses of a kind by name or by name and label. Raises PrefbenchError where it has none.

    What the judge spends is counted in the run folder, so that the folder is made to say by its track file whose it is.
    A judge at a branch or tag is kept at the commit that it is now, which is told.
    """
    from prefbench.cache import cache_folder
    from prefbench.data.revisions import keep_commits
    from prefbench.orders import Site
    from prefbench.planned import plan_run
    from prefbench.run import keep_track
    from prefbench.workshop import Workshop

    planned = plan_run(options)
    shop = Workshop(Site(planned.track, options.plugin_files, planned.folder.root, cache_folder(), planned.planner.dtype))
    harnesses = {key: harness for key, harness in shop.harnesses.items() if isinstance(harness, kind)}
    if not harnesses:
        raise PrefbenchError(f"{options.track}: no harness {name}", f'add [[harness]] with name = "{name}" to the track')
    if not planned.folder.track.exists():
        keep_track(planned)
    keep_commits(planned.folder, planned.commits)
    for location, commit in planned.commits.items():
        typer.echo(f"{location}: commit {commit}, which {planned.folder.root} keeps", err=True)
    return shop, harnesses
