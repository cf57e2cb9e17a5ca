"""Real model folders through whole runs: LoRA and recomputed activations from a track file, and what is left for others to load."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import ModelCard

from prefbench.cell import _workshops
from prefbench.data.tokens import encode_answers, encode_prompts
from prefbench.orders import Site
from prefbench.planned import RunOptions, plan_run
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.workshop import Workshop
from tests.bad_input.place import TRACK, good_folder
from tests.train.test_checkpoint import log_probs_elsewhere, tensors_of

LORA = """
[lora]
rank = 4
dropout = 0.1
targets = ["q_proj", "v_proj", "down_proj"]
"""
SPARING = "gradient_checkpointing = true\ngradient_accumulation = true\n"
COARSE = """
[model]
weights = "bfloat16"
[schedulers.uniform]
scheduler = "selective"
column = "difficulty"
"""
TRACKS = {
    "full": ("", ""),
    "lora": (SPARING, LORA),
    "coarse": ('dtype = "bfloat16"\n', LORA + COARSE),
}
"""More settings under [train], and more tables. The last trains policies for a column, over weights in bfloat16."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A good folder, with three tracks in it, and a finished run of each."""
    folder = good_folder(tmp_path_factory.mktemp("place"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFBENCH_CACHE", str(folder / "cache"))
        for name, (settings, tables) in TRACKS.items():
            text = TRACK.replace("steps = 2\n", f"steps = 2\nlearning_rate = 1e-2\n{settings}") + tables
            (folder / f"{name}.toml").write_text(text)
            _workshops.clear()
            assert run(options(folder, name), lambda _: None).failed == {}
        yield folder


def options(folder: Path, name: str) -> RunOptions:
    return RunOptions(track=str(folder / f"{name}.toml"), out=folder / name, in_process=True)


def policy_of(folder: Path, name: str) -> Path:
    return Folder(folder / name).cell("dpo.uniform.s0") / "policy"


def test_plain_transformers_gives_the_log_ratios_that_the_run_measured(place):
    """With LoRA and without: the folders of policy and reference, read elsewhere, against what the held-out harness stored."""
    names, reference = ("full", "lora"), str(place / "sft")
    planned = plan_run(options(place, "full"))
    shop = Workshop(Site(planned.track, (), place / "full", place / "cache", "float32"))
    pairs = shop.source.held_out()
    prompts = encode_prompts(shop.tokenizer, [pair.prompt for pair in pairs])
    answers = encode_answers(shop.tokenizer, [pair.prompt for pair in pairs], prompts, [pair.chosen for pair in pairs])
    sequences = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    found = log_probs_elsewhere({str(folder): sequences for folder in (*(policy_of(place, name) for name in names), reference)})
    for name in names:
        rows = json_lines(policy_of(place, name).parent / "answers.held_out.jsonl.gz")
        for row, prompt, policy, sft in zip(rows, prompts, found[str(policy_of(place, name))], found[reference], strict=True):
            start = len(prompt) - 1
            assert row["chosen_log_ratio"] == pytest.approx(sum(policy[start:]) - sum(sft[start:]), abs=1e-5)
        assert np.std([row["chosen_log_ratio"] for row in rows]) > 1e-3  # it has moved


def json_lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_a_run_over_weights_in_bfloat16_measures_what_it_saved(place):
    """The untrained model is its own reference to the bit; the tuned one has moved, and is saved in its weights' dtype."""
    results = {cell: record["result"]["metrics"] for cell, record in Folder(place / "coarse").records().items()}
    assert results["sft.-.s0"]["kl"]["value"] == results["sft.-.s0"]["margin"]["value"] == 0.0
    assert results["dpo.uniform.s0"]["kl"]["value"] > 0.0
    assert {dtype for _, dtype in tensors_of(policy_of(place, "coarse")).values()} == {"BF16"}


def test_the_record_says_how_models_were_loaded_and_trained(place):
    record = json.loads((place / "lora" / "records" / "dpo.uniform.s0.json").read_text())
    assert (record["host"]["weights"], record["host"]["attention"]) == ("float32", "sdpa")
    assert record["include"]["train"]["loading"]["attention"] == "sdpa"
    assert record["include"]["train"]["lora"]["rank"] == 4
    assert record["packages"]["peft"] != "not installed"
    page = (place / "lora" / "README.md").read_text()
    assert "- lora: rank=4, dropout=0.1" in page


def test_the_policys_folder_has_a_card_with_its_scores_and_no_place_of_this_machine(place):
    card = ModelCard.load(policy_of(place, "lora") / "README.md")
    assert "lora" in card.data.tags
    assert "| Base model | sft |" in card.text
    assert "| Held-out accuracy (%) |" in card.text
    assert str(place) not in card.content


def test_a_card_that_is_gone_makes_nothing_stale(place):
    (policy_of(place, "full") / "README.md").unlink()
    assert {state.status for state in plan_run(options(place, "full")).states.values()} == {"done"}


def test_policies_that_a_column_trains_with_adapters_share_no_cached_value_with_those_without(place, monkeypatch):
    """Difficulty is a loss of policies: those of another rank are others, and the cache holds one file of values for each."""
    monkeypatch.setenv("PREFBENCH_CACHE", str(place / "cache"))
    cached = place / "cache" / "columns" / "difficulty"
    before = set(cached.iterdir())
    for rank, files in ((4, 0), (2, 1)):
        (place / "again.toml").write_text((place / "coarse.toml").read_text().replace("rank = 4", f"rank = {rank}"))
        _workshops.clear()
        run(RunOptions(track=str(place / "again.toml"), out=place / f"again-{rank}", in_process=True), lambda _: None)
        assert len(set(cached.iterdir()) - before) == files


def test_lora_makes_another_cell(place):
    """The adapters are part of what a cell depends on."""
    keys = {name: next(cell.keys["train"] for cell in plan_run(options(place, name)).cells if cell.trained) for name in ("full", "lora")}
    assert keys["full"] != keys["lora"]
