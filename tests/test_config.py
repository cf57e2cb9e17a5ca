"""Track files: what is read, and every mistake of a file at once, each with file, key and a suggestion."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from prefbench.config import Row, Selection, find_track, packaged_tracks, read_track, seeds_from
from prefbench.errors import PrefbenchError
from prefbench.registry import load_registry
from prefbench.report.rules import rules

GOOD = """
[track]
name = "small"
version = 3
seeds = [0, 1]
[source]
name = "prefworld"
[judge]
name = "prefworld-annotator"
[train]
steps = 10
learning_rate = 1
[[harness]]
name = "held_out"
[methods.strong-dpo]
objective = "dpo"
beta = 0.5
learning_rate = 1e-4
[[grid]]
methods = ["strong-dpo", "ipo"]
schedulers = ["uniform", "random-subset"]
[trivial]
rows = ["sft"]
"""


@pytest.fixture(scope="module")
def registry():
    return load_registry()


def write(folder: Path, text: str) -> Path:
    path = folder / "track.toml"
    path.write_text(text)
    return path


def test_a_track_is_read_with_its_defaults(tmp_path, registry):
    track = read_track(write(tmp_path, GOOD), registry)
    assert (track.name, track.version, track.seeds) == ("small", 3, (0, 1))
    assert (track.train.steps, track.train.learning_rate, track.train.pool) == (10, 1.0, 32)
    assert track.methods["strong-dpo"].learning_rate == 1e-4
    assert track.methods["ipo"].objective.name == "ipo"
    assert track.rows == (
        Row("sft", "-"), Row("strong-dpo", "uniform"), Row("strong-dpo", "random-subset"), Row("ipo", "uniform"), Row("ipo", "random-subset"),
    )  # fmt: skip


def test_selection_keeps_the_trivial_rows_and_may_add_a_method(tmp_path, registry):
    path = write(tmp_path, GOOD)
    track = read_track(path, registry, Selection(only=("ipo", "hinge"), seeds=(7,)))
    assert track.seeds == (7,)
    assert track.rows == (Row("sft", "-"), Row("ipo", "uniform"), Row("ipo", "random-subset"), Row("hinge", "uniform"))
    track = read_track(path, registry, Selection(schedulers=("loss-ranked",)))
    assert track.rows == (Row("sft", "-"), Row("strong-dpo", "loss-ranked"), Row("ipo", "loss-ranked"))


def test_all_mistakes_are_told_at_once(tmp_path, registry):
    text = GOOD.replace("steps = 10", 'steps = "ten"\nwarm_up = 3').replace("beta = 0.5", "betta = 0.5").replace('"ipo"]', '"ipoo"]')
    text = text.replace("version = 3", 'version = "three"') + "\n[jugde]\n"
    with pytest.raises(PrefbenchError) as caught:
        read_track(write(tmp_path, text), registry)
    message = str(caught.value)
    assert message.startswith("6 mistakes:")
    for part in (
        "track.version",
        "steps must be int, not 'ten'",
        "did you mean warmup?",
        "did you mean beta?",
        "did you mean ipo?",
        "jugde",
    ):
        assert part in message
    assert all(str(tmp_path / "track.toml") in line for line in message.splitlines()[1:])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("name = \"small\"", ""), "track.name: is missing"),
        (("[source]\nname = \"prefworld\"", ""), "[source] is missing"),
        (("name = \"prefworld\"", "name = \"prefwold\""), "did you mean prefworld?"),
        (("[[harness]]\nname = \"held_out\"", ""), "at least one [[harness]]"),
        (("beta = 0.5", "beta = -1"), "beta must be at least 1e-06"),
        (("beta = 0.5", "beta = true"), "beta must be float"),
        (("learning_rate = 1e-4", "learning_rate = \"fast\""), "learning_rate"),
        (("seeds = [0, 1]", "seeds = []"), "at least one seed"),
        (("seeds = [0, 1]", "seeds = [0.5]"), "track.seeds"),
        (("[trivial]", "[trivial"), "not a TOML file"),
    ],
)  # fmt: skip
def test_a_mistake_names_its_key(tmp_path, registry, change, told):
    with pytest.raises(PrefbenchError) as caught:
        read_track(write(tmp_path, GOOD.replace(*change, 1)), registry)
    assert told in str(caught.value)


def test_a_method_whose_distribution_is_not_installed_is_skipped_with_the_reason(tmp_path, registry):
    text = GOOD.replace("[[grid]]", '[methods.foreign]\ndistribution = "prefbench-foreign"\n[[grid]]').replace(
        '"ipo"]', '"ipo", "foreign"]'
    )
    track = read_track(write(tmp_path, text), registry)
    assert "pip install prefbench-foreign" in track.skipped["methods.foreign"]
    assert "foreign" not in {row.method for row in track.rows}


def test_packaged_tracks_are_found_by_name_and_are_valid(registry):
    for name, path in packaged_tracks().items():
        assert read_track(find_track(name), registry).name == path.stem
    with pytest.raises(PrefbenchError, match="no track named") as caught:
        find_track("prefwrld")
    assert "did you mean prefworld?" in caught.value.hint


def test_committed_boards_hold_the_packaged_track():
    """Prefworld's has more rows, which are tuned, and seeds than a first run on a laptop should wait for; but the same rules."""
    for name, path in packaged_tracks().items():
        board = Path(__file__).parents[1] / "leaderboards" / name / "track.toml"
        if name == "prefworld":
            assert rules(tomllib.loads(board.read_text())) == rules(tomllib.loads(path.read_text()))
        elif board.exists():
            assert board.read_text() == path.read_text()


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (0, 1, 2)), ("0,4,4", (0, 4)), ("7,", (7,)), (",", None), ("7,,", None), ("x", None), ("0", None), ("-1,2", None)],
)
def test_seeds(text, seeds):
    if seeds is None:
        with pytest.raises(PrefbenchError, match="--seeds"):
            seeds_from(text)
    else:
        assert seeds_from(text) == seeds
