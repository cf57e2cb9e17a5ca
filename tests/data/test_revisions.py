"""Branches and tags of a track: resolved by the hub, or by what its cache has; and a run that keeps to the commit that it began with."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from prefbench.cell import _workshops
from prefbench.cli.main import app
from prefbench.cli.score_track import lent
from prefbench.config import Track, find_track, read_track
from prefbench.data.locations import HubLocation
from prefbench.data.revisions import at_commits, commit_in_cache, commit_now, commits_of, frozen, keep_commits, moving
from prefbench.errors import PrefbenchError
from prefbench.evaluate.head_to_head import HeadToHead
from prefbench.planned import RunOptions, plan_run
from prefbench.readiness.track import track_findings
from prefbench.registry import load_registry
from prefbench.report.rules import refuse_other_rules
from prefbench.run import run
from prefbench.store.folder import Folder
from tests.bad_input.place import TRACK, good_folder
from tests.hub import FIRST, SECOND, LoopbackHub, loopback_hub

PAIRS = "hf://datasets/someone/pairs@main"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopbackHub]:
    """A hub with nothing, and an empty cache of it."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with loopback_hub(monkeypatch) as found:
        yield found


@pytest.fixture
def place(tmp_path: Path, hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A good folder whose track reads its pairs from a branch of the hub: 24 rows at its first commit, one fewer at its second."""
    folder = good_folder(tmp_path / "place")
    monkeypatch.setenv("PREFBENCH_CACHE", str(folder / "cache"))
    (folder / "track.toml").write_text(TRACK.replace('"pairs.jsonl"', f'"{PAIRS}/pairs.jsonl"'))
    rows = (folder / "pairs.jsonl").read_bytes().splitlines(keepends=True)
    for commit, kept in ((FIRST, rows), (SECOND, rows[1:])):
        hub.keeps("datasets/someone/pairs", commit, "pairs.jsonl", b"".join(kept))
    hub.has("datasets/someone/pairs", "main", FIRST)
    return folder


def track_of(folder: Path) -> Track:
    return read_track(folder / "track.toml", load_registry())


def in_cache(root: Path, repository: str, revision: str, commit: str) -> None:
    """A snapshot as a download by a branch's name leaves it."""
    (root / repository / "snapshots" / commit).mkdir(parents=True)
    (root / repository / "refs").mkdir()
    (root / repository / "refs" / revision).write_text(commit)


def go(folder: Path, out: str) -> RunOptions:
    _workshops.clear()
    return RunOptions(track=str(folder / "track.toml"), out=folder / out, in_process=True)


def pairs_of(options: RunOptions) -> str:
    """The pairs' location as a record of the run has it."""
    source = Folder(options.out).read_record("dpo.uniform.s0")["include"]["train"]["source"]
    return str(source["identity"]["contents"]["pairs_file"])


# ---------------------------------------------------------------- what is resolved


def test_what_names_no_commit_is_found_in_source_and_judge_each_repository_once(place: Path) -> None:
    options = f'held_out_split = "test"\nalpaca_eval_questions = "{PAIRS}/q.json"\nbase = "hf://someone/base@{FIRST}"\n'
    judge = '[judge]\nname = "local"\nmodel = "hf://someone/judge@v1"\n'
    text = (place / "track.toml").read_text().replace("held_out_share = 0.3\n", options)
    (place / "track.toml").write_text(text.replace("[train]", f"{judge}[train]"))
    assert set(moving(track_of(place))) == {PAIRS, "hf://someone/judge@v1"}
    pinned = at_commits(track_of(place), {PAIRS: FIRST, "hf://someone/judge@v1": SECOND})
    assert moving(pinned) == {}
    assert pinned.source.options["pairs_file"] == f"hf://datasets/someone/pairs@{FIRST}/pairs.jsonl"
    assert pinned.source.options["alpaca_eval_questions"] == f"hf://datasets/someone/pairs@{FIRST}/q.json"
    assert pinned.judge is not None
    assert pinned.judge.options["model"] == f"hf://someone/judge@{SECOND}"


def test_a_repository_is_asked_for_once_and_not_at_all_where_its_commit_is_known(place: Path, hub: LoopbackHub) -> None:
    track, folder = track_of(place), Folder(place / "one")
    assert commits_of(track, folder) == {PAIRS: FIRST}
    keep_commits(folder, {PAIRS: SECOND, "hf://someone/else@main": FIRST})
    assert commits_of(track, folder) == {PAIRS: SECOND}
    assert hub.asked.count("/api/datasets/someone/pairs/revision/main") == 1


def test_the_hubs_word_goes_before_the_caches_and_the_cache_serves_without_a_hub_and_is_told(
    hub: LoopbackHub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    branch = HubLocation.parse(PAIRS)
    with pytest.raises(PrefbenchError, match="the hub does not tell its commit") as caught:
        commit_now(branch)
    assert "40 hexadecimal digits" in caught.value.hint
    in_cache(tmp_path / "hub", "datasets--someone--pairs", "main", SECOND)
    assert commit_now(branch) == commit_in_cache(branch) == SECOND
    assert f"it is {SECOND} as last downloaded here" in caplog.text
    hub.has("datasets/someone/pairs", "main", FIRST)
    assert commit_now(branch) == FIRST


def test_a_hub_that_answers_without_a_commit_tells_none(hub: LoopbackHub) -> None:
    hub.tells("/api/datasets/someone/pairs/revision/main", {"id": "someone/pairs"})
    with pytest.raises(PrefbenchError, match="it answers without one"):
        commit_now(HubLocation.parse(PAIRS))


def test_a_frozen_text_names_the_commit_wherever_the_branch_stood_and_nothing_else(tmp_path: Path) -> None:
    tag = "hf://someone/judge@rel@1"  # as git allows it
    path = tmp_path / "track.toml"
    lines = f'a = "{PAIRS}"\nb = \'{PAIRS}/q.json\'\nd = """{PAIRS}\n"""\ne = "{tag}/x"'
    path.write_text(f'{lines}\nf = "hf://someone/pairs@main"\ng = "{PAIRS}-2"')
    pairs = f"hf://datasets/someone/pairs@{FIRST}"
    assert tomllib.loads(frozen(path, {PAIRS: FIRST, tag: SECOND})) == {
        "a": pairs,
        "b": f"{pairs}/q.json",
        "d": f"{pairs}\n",
        "e": f"hf://someone/judge@{SECOND}/x",
        "f": "hf://someone/pairs@main",
        "g": f"{PAIRS}-2",
    }


def test_a_location_that_no_text_search_finds_is_refused_rather_than_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "track.toml"
    path.write_text('[source]\npairs_file = "hf://datasets/someone/pairs\\u0040main"')
    with pytest.raises(PrefbenchError, match=f"{PAIRS} cannot be told from its surroundings"):
        frozen(path, {PAIRS: FIRST})


# ---------------------------------------------------------------- a run


def test_a_run_keeps_to_the_commit_that_it_began_with_and_records_it(place: Path, hub: LoopbackHub) -> None:
    options = go(place, "one")
    assert run(options, lambda _: None).failed == {}
    hub.has("datasets/someone/pairs", "main", SECOND)
    assert plan_run(options).pending == []  # the branch has moved, and this run has not
    pinned = f"hf://datasets/someone/pairs@{FIRST}/pairs.jsonl"
    assert tomllib.loads((options.out / "track.toml").read_text())["source"]["pairs_file"] == pinned
    assert pairs_of(options) == pinned
    (place / "frozen.toml").write_text((options.out / "track.toml").read_text())
    assert plan_run(dataclasses.replace(options, track=str(place / "frozen.toml"))).pending == []  # anybody can run these rules again


def test_a_run_that_begins_later_has_the_branchs_new_commit_and_does_not_compare(place: Path, hub: LoopbackHub) -> None:
    first, second = go(place, "one"), go(place, "two")
    run(first, lambda _: None)
    hub.has("datasets/someone/pairs", "main", SECOND)
    run(go(place, "two"), lambda _: None)
    assert [pairs_of(options) for options in (first, second)] == [f"hf://datasets/someone/pairs@{at}/pairs.jsonl" for at in (FIRST, SECOND)]
    with pytest.raises(PrefbenchError, match=r"follow different rules: source\.identity\.contents\.pairs_file: .*@0123.* -> .*@89ab"):
        refuse_other_rules([first.out, second.out])


def test_an_edit_of_the_track_and_back_has_the_commits_of_before(place: Path, hub: LoopbackHub) -> None:
    hub.has("datasets/someone/pairs", "v2", SECOND)
    run(go(place, "one"), lambda _: None)
    text = (place / "track.toml").read_text()
    (place / "track.toml").write_text(text.replace("@main", "@v2"))
    run(go(place, "one"), lambda _: None)
    assert pairs_of(go(place, "one")) == f"hf://datasets/someone/pairs@{SECOND}/pairs.jsonl"
    hub.has("datasets/someone/pairs", "main", SECOND)
    (place / "track.toml").write_text(text)
    assert plan_run(go(place, "one")).commits == {PAIRS: FIRST}


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{}"), Path.unlink], ids=["damaged", "deleted"])
def test_commits_that_are_not_known_any_more_are_not_asked_for_again(place: Path, spoil: Callable[[Path], object]) -> None:
    """Results would be made anew on other data, and nobody would hear of it."""
    options = go(place, "one")
    run(options, lambda _: None)
    spoil(options.out / "commits.json")
    with pytest.raises(PrefbenchError, match=r"damaged|is not known") as caught:
        plan_run(options)
    assert f"{options.out / 'track.toml'} names it" in caught.value.hint
    (place / "frozen.toml").write_text((options.out / "track.toml").read_text())
    assert plan_run(dataclasses.replace(options, track=str(place / "frozen.toml"))).pending == []


def test_of_data_that_could_not_be_used_no_commit_is_kept(place: Path, hub: LoopbackHub) -> None:
    hub.keeps("datasets/someone/pairs", FIRST, "pairs.jsonl", b"not JSON\n")
    with pytest.raises(PrefbenchError, match="bad row"):
        run(go(place, "one"), lambda _: None)
    hub.has("datasets/someone/pairs", "main", SECOND)  # where they are mended
    assert run(go(place, "one"), lambda _: None).failed == {}
    assert pairs_of(go(place, "one")) == f"hf://datasets/someone/pairs@{SECOND}/pairs.jsonl"


def test_scoring_for_a_track_keeps_and_tells_the_commit_of_its_judge(
    place: Path, hub: LoopbackHub, capsys: pytest.CaptureFixture[str]
) -> None:
    run(go(place, "one"), lambda _: None)
    hub.has("models/someone/judge", "v1", SECOND)
    judged = '[judge]\nname = "local"\nmodel = "hf://someone/judge@v1"\n[[harness]]\nname = "alpaca_eval"\n[train]'
    (place / "track.toml").write_text((place / "track.toml").read_text().replace("[train]", judged))
    shop, _ = lent(go(place, "one"), HeadToHead, "alpaca_eval")
    assert shop.track.judge is not None
    assert shop.track.judge.options["model"] == f"hf://someone/judge@{SECOND}"
    assert f"hf://someone/judge@v1: commit {SECOND}" in capsys.readouterr().err
    hub.has("models/someone/judge", "v1", FIRST)
    assert plan_run(go(place, "one")).commits["hf://someone/judge@v1"] == SECOND


def test_without_hub_and_cache_a_plan_says_what_to_write(place: Path, hub: LoopbackHub) -> None:
    hub.replies.clear()
    result = CliRunner().invoke(app, ["plan", str(place / "track.toml")])
    assert isinstance(result.exception, PrefbenchError)
    assert "the hub does not tell its commit" in str(result.exception)


def test_plan_and_doctor_say_which_commit_a_branch_is(place: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["plan", str(place / "track.toml"), "--out", str(place / "one")])
    assert f"{PAIRS}: commit {FIRST}" in result.stderr
    assert not (place / "one").exists()
    registry = load_registry()
    for ask_hub in (False, True):
        found = {finding.check: finding for finding in track_findings(track_of(place), registry, tmp_path, ask_hub)}
        assert (PAIRS in found) is ask_hub
        assert found["pairs_file"].state == "missing"  # nothing was fetched
        assert (f"pairs@{FIRST}/pairs.jsonl" in found["pairs_file"].finding) is ask_hub


@pytest.mark.parametrize("ask_hub", [False, True])
def test_doctor_looks_for_the_commit_that_the_run_folder_keeps(place: Path, hub: LoopbackHub, ask_hub: bool) -> None:
    run(go(place, "one"), lambda _: None)
    hub.has("datasets/someone/pairs", "main", SECOND)
    found = {finding.check: finding for finding in track_findings(track_of(place), load_registry(), place / "one", ask_hub)}
    assert found[PAIRS].finding == f"commit {FIRST}, which the run folder keeps"
    assert found["pairs_file"].state == "ok"


@pytest.mark.parametrize("name", ["summarize-tldr", "ultrafeedback-llama3-8b"])
def test_a_shipped_track_whose_pairs_have_no_known_commit_is_planned_with_the_hubs(name: str, hub: LoopbackHub) -> None:
    track = read_track(find_track(name), load_registry())
    (branch,) = moving(track).values()
    hub.has(f"{branch.kind}s/{branch.repo}", "main", SECOND)
    pinned = at_commits(track, commits_of(track, Folder(Path("nowhere"))))
    assert pinned.source.options["pairs_file"] == f"hf://datasets/{branch.repo}@{SECOND}"
