"""Model cards: what the hub reads, what a person reads, and nothing of the machine that wrote them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from prefbench.config import LoraRules, Method, ModelRules, Named, Row, Scheduling, Track, TrainRules
from prefbench.plan import Planner
from prefbench.registry import load_registry
from prefbench.report.card import Trained, model_card

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TRACK = Track(
    path=Path("/home/someone/tracks/mini.toml"),
    name="mini",
    version=4,
    description="",
    seed_varies=("order",),
    seeds=(0,),
    tuning="",
    source=Named("prefworld", {"pair_count": 40}),
    judge=None,
    train=TrainRules(steps=7, pool=8),
    harnesses=(),
    methods={"strong": Method("strong", Named("dpo", {"beta": 0.5}), 3e-5)},
    schedulers={"half": Scheduling("half", (Named("random-subset", {"ratio": 0.5}),))},
    rows=(Row("strong", "half"),),
)
METRICS = {"win_rate": {"value": 0.5432, "n": 805}, "mt_bench": {"value": 6.25, "n": 80}, "odd|one": {"value": 1.0, "n": 3}}


def trained(track: Track = TRACK, model: str = "", **changes: object) -> Trained:
    """A finished training; ``model`` and further options are those that a source of files would have."""
    (cell,) = Planner(track, load_registry(), "bfloat16").cells()
    options = {"model": model} if model else {}
    named = dataclasses.replace(track, source=Named("files", {**options, **changes}) if options else track.source)
    return Trained(cell, named, "bfloat16", "abc123", {"pairs": 38, "pairs_dropped": 2}, METRICS)


def card_of(*arguments: object, **changes: object) -> ModelCard:
    return ModelCard(model_card(trained(*arguments, **changes)))


def test_a_card_states_method_pairs_seed_track_and_version():
    text = card_of().text
    for line in (
        "| Method | dpo (beta=0.5, label_smoothing=0.0) |",
        "| Learning rate | 3e-05 |",
        "| Scheduler | random-subset (ratio=0.5) |",
        "| Base model | the model of the source prefworld |",
        "| Base weights | sha256 abc123 |",
        "| Fine-tuning | all weights |",
        "| Weights | float32; computed in bfloat16, attention sdpa |",
        "| Pairs | 38 to train on, 2 dropped as longer than the track allows |",
        "| Steps | 7 of up to 8 pairs |",
        "| Seed | 0 |",
        "| Track | mini, version 4 |",
        "| pair_count | 40 |",
    ):
        assert line in text, line


def test_pairs_that_were_cut_are_counted_where_the_track_cuts():
    cut = dataclasses.replace(trained(), training={"pairs": 38, "pairs_dropped": 0, "prompts_cut": 3, "answers_cut": 5})
    counts = "38 to train on, 0 dropped as longer than the track allows, 3 with a cut prompt, 5 with a cut answer"
    assert f"| Pairs | {counts} |" in model_card(cut)


def test_scores_are_those_of_a_board_with_their_numbers_of_questions():
    text = card_of().text
    assert "| Judge win rate (%) | 54.3 | 805 |" in text
    assert "| MT-Bench | 6.25 | 80 |" in text
    assert r"| odd\|one | 1.00 | 3 |" in text
    unscored = model_card(dataclasses.replace(trained(), metrics={}))
    assert "Not scored yet." in unscored


def test_scores_come_with_what_was_asked_and_who_judged():
    harnesses = (Named("alpaca_eval", {"annotator": "weighted_alpaca_eval_gpt4_turbo"}),)
    text = card_of(dataclasses.replace(TRACK, harnesses=harnesses, judge=Named("prefworld-annotator", {"length_bias": 0.25}))).text
    assert "annotator=weighted_alpaca_eval_gpt4_turbo" in text
    assert "judged by prefworld-annotator (length_bias=0.25)." in text


def test_the_hub_reads_the_base_model_the_data_and_no_licence():
    pairs = f"hf://datasets/some/pairs@{COMMIT}/data/train.parquet"
    data = card_of(model=f"hf://some/model@{COMMIT}", pairs_file=pairs, held_out_file=pairs).data.to_dict()
    assert data == {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "base_model": "some/model",
        "base_model_relation": "finetune",
        "datasets": ["some/pairs"],
        "tags": ["prefbench", "preference-tuning", "dpo"],
    }


def test_the_base_models_commit_is_named():
    assert f"| Base model | hf://some/model@{COMMIT} |" in card_of(model=f"hf://some/model@{COMMIT}").text


@pytest.mark.parametrize("model", ["/home/someone/models/qwen", "../models/qwen"])
def test_a_model_of_this_machine_goes_by_its_folders_name(model):
    card = card_of(model=model, pairs_file="/home/someone/pairs.jsonl")
    assert "| Base model | qwen |" in card.text
    assert "base_model" not in card.data.to_dict()
    assert "someone" not in card.content
    assert "../" not in card.content


def test_adapters_are_stated_with_their_settings():
    track = dataclasses.replace(TRACK, lora=LoraRules(rank=8, alpha=16.0, targets=("q_proj",)), model=ModelRules(weights="bfloat16"))
    card = card_of(track)
    assert "| Fine-tuning | LoRA (rank=8, alpha=16.0, dropout=0.0, targets=('q_proj',)), merged into the weights |" in card.text
    assert "| Weights | bfloat16; computed in bfloat16, attention sdpa |" in card.text
    assert "lora" in card.data.tags
