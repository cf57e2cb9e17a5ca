"""What a track makes of plugins that are broken, not installed, or named wrongly on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from prefbench.config import Selection, Track, read_track
from prefbench.errors import PrefbenchError
from prefbench.registry import check_plugins, load_registry
from tests.plugin_site import PLUGIN, PluginSite
from tests.test_config import GOOD, write

BROKEN = "raise RuntimeError('on purpose')\n"


@pytest.fixture
def everything(site: PluginSite) -> PluginSite:
    """A place for plugins beside all the others: a track needs a source and a harness too."""
    site.set("PREFBENCH_DISABLE_PLUGINS", "")
    return site


def read(folder: Path, text: str, **selection: tuple[str, ...]) -> Track:
    return read_track(write(folder, text), load_registry(), Selection(**selection))


def with_method(table: str, name: str = "stranger") -> str:
    return GOOD.replace("[[grid]]", f"[methods.{name}]\n{table}\n[[grid]]").replace('"ipo"]', f'"ipo", "{name}"]')


def refusal(folder: Path, text: str, **selection: tuple[str, ...]) -> PrefbenchError:
    with pytest.raises(PrefbenchError) as caught:
        read(folder, text, **selection)
    return caught.value


def test_a_broken_plugin_behind_a_table_stops_the_rows_that_use_it_and_no_other(tmp_path: Path, everything: PluginSite) -> None:
    everything.install("stranger", BROKEN)
    text = with_method('distribution = "stranger"')
    assert [row.method for row in read(tmp_path, text, only=("ipo",)).rows] == ["sft", "ipo", "ipo"]
    for refused in (refusal(tmp_path, text), refusal(tmp_path, text, only=("stranger",))):
        assert "methods.stranger needs the plugin stranger, which is broken: RuntimeError: on purpose" in str(refused)
        assert refused.exit_code == 3


def test_so_it_is_with_one_that_worked_before(tmp_path: Path, everything: PluginSite) -> None:
    """The name is known from the last check, and no distribution need be given."""
    everything.install("stranger", PLUGIN)
    check_plugins()
    sys.modules.pop("stranger")  # another process would read the file anew
    everything.install("stranger", BROKEN + PLUGIN)
    text = with_method('objective = "my-loss"')
    assert read(tmp_path, text, only=("ipo",)).rows
    assert refusal(tmp_path, text).exit_code == 3


def test_a_broken_scheduler_spoils_the_chains_that_it_is_a_link_of(tmp_path: Path, everything: PluginSite) -> None:
    everything.install("stranger", BROKEN)
    text = GOOD.replace("[[grid]]", '[schedulers.odd]\ndistribution = "stranger"\nscheduler = "odd"\n[[grid]]')
    assert read(tmp_path, text).rows
    assert refusal(tmp_path, text, schedulers=("curriculum + odd",)).exit_code == 3


def test_a_method_that_is_not_installed_is_no_other_of_a_name_that_is_near(tmp_path: Path, everything: PluginSite) -> None:
    text = with_method('distribution = "prefbench-hinges"', name="apo-hinge")
    refused = refusal(tmp_path, text, only=("apo-hinge",))
    assert str(refused).startswith("--only: apo-hinge: prefbench-hinges is not installed")


@pytest.mark.parametrize("name", ["", "+", "curriculum+", "curriculum ++ uniform"])
def test_an_empty_name_is_one_that_a_shell_made_of_nothing(tmp_path: Path, everything: PluginSite, name: str) -> None:
    refused = refusal(tmp_path, GOOD, schedulers=(name,))
    assert "--scheduler: an empty name" in str(refused)
    assert "an empty name" in str(refusal(tmp_path, GOOD, only=("",)))


def test_what_is_wrong_with_a_chain_is_told_with_all_else(tmp_path: Path, everything: PluginSite) -> None:
    chain = '[schedulers.chain]\nscheduler = "loss-ranked + uniform"\n[[grid]]'
    refused = str(refusal(tmp_path, GOOD.replace("[[grid]]", chain).replace("steps = 10", "steps = 0")))
    assert "2 mistakes" in refused
    assert "schedulers.chain: scheduler 'loss-ranked' picks at each step" in refused
    assert "train: steps must be at least 1" in refused
