"""The shipped tracks: their settings against the papers' numbers, written down here apart from the files; their locations; their judges."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment

from prefbench.api import Question
from prefbench.config import UNTRAINED, Selection, Track, find_track, packaged_tracks, read_track
from prefbench.data.files import LOCATIONS
from prefbench.data.locations import HubLocation, is_on_hub, is_on_web, is_remote
from prefbench.data.web_files import WebFile
from prefbench.evaluate.annotators import load_annotator
from prefbench.identity import file_digest
from prefbench.plan import Planner
from prefbench.registry import Registry, build, load_registry

SHIPPED = (
    "ultrafeedback-qwen2.5-0.5b", "summarize-tldr", "imdb-gemma-270m-high", "imdb-gemma-270m-medium", "imdb-gemma-270m-low",
    "hh-pythia-2.8b", "hh-pythia-2.8b-noisy", "ultrafeedback-llama3-8b",
)  # fmt: skip
IMDB = tuple(name for name in SHIPPED if name.startswith("imdb"))
HH = ("hh-pythia-2.8b", "hh-pythia-2.8b-noisy")
PAPERS = {"prefbench-margin", "prefbench-madpo", "prefbench-sams"}
FOREIGN = {"ams", "apo-hinge-zero", "apo-hinge-softplus", "madpo", "sams", "sams-75"}
"""What the papers' distributions bring."""
COMMITS = {
    "Qwen/Qwen2.5-0.5B-Instruct": "7ae557604adf67be50417f59c2c2f167def9a775",
    "trl-lib/ultrafeedback_binarized": "47124cb5778f5d50de1c7676a412828f3ea7c555",
    "tatsu-lab/alpaca_eval": "2edc6fad8be6b14ea7230aabfd08188da6b8b814",
    "lmsys/mt-bench": "a4b674ca573c24143824ac7f60d9173e7081e37d",
    "EleutherAI/pythia-2.8b": "2a259cdd96a4beb1cdf467512e3904197345f6a9",
    "Anthropic/hh-rlhf": "09be8c5bbc57cb3887f3a9732ad6aa7ec602a1fa",
    "meta-llama/Meta-Llama-3-8B-Instruct": "8afb486c1db24fe5011ec46dfbe5b5dccdb575c2",
    "google/gemma-3-270m": "9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1",
}
"""The repositories of the hub that the tracks name, at commits that public code pins."""
AT_A_BRANCH = {
    "summarize-tldr": {"hf://datasets/trl-lib/tldr-preference@main"},
    "ultrafeedback-llama3-8b": {"hf://datasets/princeton-nlp/llama3-ultrafeedback@main"},
}
"""What a run resolves when it begins: no public source tells a commit."""


@dataclass(frozen=True)
class Told:
    """A number of a paper, where it stands there, and where in a track's tables it has to be found."""

    track: str
    place: str
    key: str
    value: Any


def told(tracks: str | tuple[str, ...], place: str, **values: Any) -> list[Told]:
    """``train__steps=3`` is the key train.steps; of every one of the tracks."""
    names = (tracks,) if isinstance(tracks, str) else tracks
    return [Told(name, place, key.replace("__", "."), value) for name in names for key, value in values.items()]


REAL = Path(os.environ.get("PREFBENCH_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "mt_bench"
QWEN, LLAMA, TLDR = "ultrafeedback-qwen2.5-0.5b", "ultrafeedback-llama3-8b", "summarize-tldr"
MADPO = "sirano1004/Margin-Apative-Direct-Preference-Optimization, notebooks"
NUMBERS = [
    *told(QWEN, "2508.08466 section 5: three epochs of batches of 8, 62,135 pairs", train__steps=3 * -(-62135 // 8), train__pool=8),
    *told(QWEN, "2508.08466 section 4: 1,024 tokens", train__max_length=1024),
    *told(QWEN, "its repository, train_dpo.py", train__gradient_checkpointing=True),
    *told(QWEN, "TRL 0.16, DPOConfig, which its script leaves alone", train__learning_rate=1e-6, train__warmup=0, train__schedule="linear"),
    *told(QWEN, "transformers' TrainingArguments", train__clip=1.0, train__weight_decay=0.0),
    *told(QWEN, "2508.08466 sections 4.2 and 7.2", methods__dpo__beta=0.1, methods__hinge__beta=0.1, methods__hinge__target=1.0),
    *told(QWEN, "2508.08466 sections 4.2 and 7.2", methods__aot__beta=0.1, methods__exo__beta=0.1, **{"methods__apo-zero__beta": 0.1}),
    *told(QWEN, "2508.08466 Eq. 11", **{"methods__apo-hinge-zero__beta": 0.1, "methods__apo-hinge-zero__margin": 1.0}),
    *told(QWEN, "its create_figure.ipynb, cell 2", **{"methods__apo-hinge-softplus__beta": 0.3}),
    *told(QWEN, "its generate_alpaca_output_with_token.py", harness__alpaca_eval_1__temperature=0.7, harness__alpaca_eval_1__top_p=0.9),
    *told(QWEN, "its generate_alpaca_output_with_token.py", harness__alpaca_eval_1__max_new_tokens=1024),
    *told(QWEN, "its generate_alpaca_output_with_token.py", harness__alpaca_eval_1__repetition_penalty=1.1),
    *told(QWEN, "2508.08466 figure 1", harness__alpaca_eval_1__annotator="alpaca_eval_gpt4_turbo_fn"),
    *told(IMDB, f"{MADPO}: two epochs of 10,000 pairs in batches of 32", train__steps=2 * 10_000 // 32, train__pool=32),
    *told(IMDB, MADPO, train__learning_rate=1e-5, train__schedule="cosine", train__clip=1.0, train__weight_decay=0.01),
    *told(IMDB, f"{MADPO}: 3 % warm-up", train__warmup=round(0.03 * 625)),
    *told(
        (*IMDB, TLDR), MADPO, lora__rank=16, lora__alpha=32.0, lora__dropout=0.05, lora__targets=["q_proj", "k_proj", "v_proj", "o_proj"]
    ),
    *told((*IMDB, TLDR), MADPO, methods__dpo__beta=0.1, methods__ipo__beta=0.1, methods__ipo__length_normalised=False),
    *told(
        (*IMDB, TLDR), MADPO, **{f"methods__beta-dpo__{key}": value for key, value in {"beta": 0.1, "alpha": 0.6, "dropped": 0.2}.items()}
    ),
    *told((*IMDB, TLDR), MADPO, methods__madpo__beta=0.1, methods__madpo__steepness=1.0, methods__madpo__tau=6.907),
    *told((*IMDB, TLDR), "2510.05342 v1, sensitivity figure", methods__madpo__c_max=4.0, methods__madpo__c_min=0.25),
    *told(
        IMDB, f"{MADPO}: the reward model", **{f"columns__reward-margin__{k}": v for k, v in {"learning_rate": 1e-5, "epochs": 12}.items()}
    ),
    *told(HH, "2506.17252 section 5.2 and table 5", methods__dpo__beta=0.1, train__pool=64, schedulers__sams__ratio=32 / 64),
    *told("hh-pythia-2.8b", "2506.17252 section 5.2", methods__kto__beta=0.1),
    *told(HH, "hzx122/SamS, config/config.yaml; 160,800 pairs by table 5", train__steps=2 * 160_800 // 64, train__learning_rate=5e-7),
    *told(HH, "hzx122/SamS, config/config.yaml", train__warmup=150, train__clip=10.0),
    *told("hh-pythia-2.8b-noisy", "2506.17252 section 5.3: 20 % of the labels", source__noise=0.2),
    *told(LLAMA, "2506.17252 section 5.1, D.1 and table 5", train__steps=58_119 // 64, train__pool=64, train__learning_rate=1e-6),
    *told(LLAMA, "2506.17252 D.1", methods__dpo__beta=0.01, schedulers__sams__ratio=0.5, **{"schedulers__random-subset__ratio": 0.5}),
    *told(LLAMA, "2506.17252 section 5.5", schedulers__selective__share=0.5, **{"schedulers__sams-75__ratio": 0.75}),
    *told(LLAMA, "princeton-nlp/SimPO, llama-3-8b-instruct-simpo.yaml", train__warmup=round(0.1 * 908), train__max_length=2048),
    *told(LLAMA, "princeton-nlp/SimPO, llama-3-8b-instruct-simpo.yaml", train__schedule="cosine", train__gradient_checkpointing=True),
    *told(
        LLAMA, "princeton-nlp/SimPO, its alpacaeval2 configuration", harness__alpaca_eval__temperature=0.9, harness__alpaca_eval__top_p=1.0
    ),
    *told(LLAMA, "princeton-nlp/SimPO, its alpacaeval2 configuration", harness__alpaca_eval__max_new_tokens=4096),
]


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def tables_of(name: str) -> dict[str, Any]:
    """A track file's tables, its harnesses by name and label."""
    tables = tomllib.loads(find_track(name).read_text(encoding="utf-8"))
    labelled = {".".join(filter(None, (table["name"], table.get("label", "")))): table for table in tables["harness"]}
    return {**tables, "harness": labelled}


def locations(track: Track, registry: Registry) -> dict[str, str]:
    source = Planner(track, registry, "float32").source()
    return {option: location for option in LOCATIONS if (location := getattr(source, option))}


def test_every_track_is_shipped() -> None:
    assert set(SHIPPED) <= packaged_tracks().keys()


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_track_is_complete_with_the_papers_plugins(name: str, registry: Registry) -> None:
    track = read_track(find_track(name), registry)
    assert not track.skipped
    assert track.name == name
    planner = Planner(track, registry, "float32")
    planner.source()
    planner.harnesses()
    for row in track.rows:
        if row.scheduler != UNTRAINED:
            planner.objective(row)
            planner.scheduler(row)
    planner.refuse_unknown_columns()
    if track.judge:
        planner.component("judge", track.judge)


@pytest.mark.parametrize("name", SHIPPED)
def test_without_the_papers_plugins_their_rows_are_skipped_and_others_stay(name: str, registry: Registry) -> None:
    bare = without(registry, PAPERS)
    whole, track = read_track(find_track(name), registry), read_track(find_track(name), bare)
    assert track.skipped
    kept = {
        row
        for row in whole.rows
        if not any(foreign in f"{row.method} {row.scheduler}" for foreign in (" sams", "+sams", "ams ", "apo-hinge", "madpo"))
    }
    assert set(track.rows) == kept
    Planner(track, bare, "float32").refuse_unknown_columns()


def without(registry: Registry, distributions: set[str]) -> Registry:
    """The registry of a machine on which some distributions are not installed."""
    rows = tuple(row for row in registry.rows if row.distribution not in distributions)
    kept = [found for found in registry._components.values() if found.origin.distribution not in distributions]
    return Registry(rows, kept)


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: f"{number.track}:{number.key}")
def test_a_setting_is_the_papers(number: Told) -> None:
    found: Any = tables_of(number.track)
    for key in number.key.split("."):
        found = found[key]
    assert found == number.value, number.place


@pytest.mark.parametrize("name", SHIPPED)
def test_locations_on_the_hub_have_commits_that_public_code_pins(name: str, registry: Registry) -> None:
    found = {location for location in locations(read_track(find_track(name), registry), registry).values() if is_on_hub(location)}
    at_a_branch = AT_A_BRANCH.get(name, set())
    assert at_a_branch <= found
    for location in found - at_a_branch:
        place = HubLocation.parse(location)
        assert place.revision == COMMITS[place.repo]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_the_user_has_to_bring_is_said_in_the_file(name: str, registry: Registry) -> None:
    track = read_track(find_track(name), registry)
    due = [location for location in locations(track, registry).values() if not is_remote(location)]
    assert bool(due) == ("Needed from you" in track.path.read_text(encoding="utf-8"))


FASTCHAT = "https://raw.githubusercontent.com/lm-sys/FastChat/0e6d3e4beaab66f4d3f93db72541a4abab8af28d/fastchat/llm_judge/data"
FASTCHATS_FILES = {
    "mt_bench_references": ("mt_bench/reference_answer/gpt-4.jsonl", "reference_answer_gpt-4.jsonl"),
    "mt_bench_prompts": ("judge_prompts.jsonl", "judge_prompts.jsonl"),
}
"""The options, the files' paths in FastChat, and their names among the real data."""


@pytest.mark.parametrize("name", SHIPPED)
def test_files_of_the_web_are_fastchats_at_its_commit(name: str, registry: Registry) -> None:
    found = {option: at for option, at in locations(read_track(find_track(name), registry), registry).items() if is_on_web(at)}
    assert set(found) == (set(FASTCHATS_FILES) if name in (QWEN, LLAMA) else set())
    for option, location in found.items():
        assert WebFile.parse(location).url == f"{FASTCHAT}/{FASTCHATS_FILES[option][0]}"


@pytest.mark.skipif(not REAL.is_dir(), reason="the real data are not beside this checkout")
@pytest.mark.parametrize("name", [QWEN, LLAMA])
@pytest.mark.parametrize("option", FASTCHATS_FILES)
def test_their_digests_are_those_of_fastchats_files(name: str, option: str, registry: Registry) -> None:
    location = locations(read_track(find_track(name), registry), registry)[option]
    assert WebFile.parse(location).sha256 == file_digest(REAL / FASTCHATS_FILES[option][1])


@pytest.mark.parametrize("name", [QWEN, LLAMA, TLDR])
def test_the_judge_is_the_one_of_the_stock_annotators(name: str) -> None:
    tables = tables_of(name)
    annotators = {table["annotator"] for table in tables["harness"].values() if "annotator" in table}
    assert "weighted_alpaca_eval_gpt4_turbo" in annotators
    for annotator in annotators:
        assert tables["judge"]["model"] == stock_configuration(annotator)["completions_kwargs"]["model_name"]


def stock_configuration(annotator: str) -> dict[str, Any]:
    """alpaca-eval's own file, read without importing the library."""
    package = find_spec("alpaca_eval")
    assert package is not None
    assert package.origin is not None
    configurations = Path(package.origin).parent / "evaluators_configs"
    found: dict[str, Any] = yaml.safe_load((configurations / annotator / "configs.yaml").read_text(encoding="utf-8"))[annotator]
    return found


@pytest.mark.parametrize("name", [QWEN, LLAMA, TLDR])
def test_a_request_carries_the_parameters_of_the_stock_configuration(name: str, registry: Registry) -> None:
    stock = stock_configuration("weighted_alpaca_eval_gpt4_turbo")["completions_kwargs"]
    request = load_annotator("weighted_alpaca_eval_gpt4_turbo").request(Question("q", ("Why?",)), "Because.", "So.")
    judge = build(registry.get("judge", "endpoint"), {key: value for key, value in tables_of(name)["judge"].items() if key != "name"})
    sent = {**judge.options(), **request.parameters}
    assert {key: sent[key] for key in ("model", "max_tokens", "temperature", "top_logprobs")} == {
        "model": stock["model_name"], **{key: stock[key] for key in ("max_tokens", "temperature", "top_logprobs")}
    }  # fmt: skip
    assert request.choices == ("m", "M")


@pytest.mark.parametrize(("name", "calls"), [(QWEN, 2 * 805 + 160), (LLAMA, 805 + 160), (TLDR, 5 * 400)])
def test_the_budget_has_room_for_every_call_and_for_a_few_that_fail(name: str, calls: int, registry: Registry) -> None:
    track = read_track(find_track(name), registry)
    needed = len(track.seeds) * len(track.rows) * calls
    assert track.judge is not None
    assert 1.1 * needed < track.judge.options["max_calls"] < 1.3 * needed


def test_the_tiers_differ_in_their_pairs_alone() -> None:
    tables = {name: tables_of(name) for name in IMDB}
    for name, found in tables.items():
        tier = name.rpartition("-")[2]
        assert found["source"].pop("pairs_file") == f"imdb/{tier}.train.jsonl"
        assert found["source"].pop("held_out_file") == f"imdb/{tier}.held-out.jsonl"
        del found["track"]["name"], found["track"]["description"]
    assert tables[IMDB[0]] == tables[IMDB[1]] == tables[IMDB[2]]


def test_noise_is_all_that_sets_the_noisy_track_apart() -> None:
    clean, noisy = (tables_of(name) for name in HH)
    assert noisy["source"] == {**clean["source"], "noise": 0.2}
    assert noisy["train"] == clean["train"]
    assert noisy["model"] == clean["model"]


def test_the_sweep_has_five_temperatures_and_no_other_difference() -> None:
    sweep = [table for key, table in tables_of(TLDR)["harness"].items() if key.startswith("alpaca_eval")]
    assert sorted(table.pop("temperature") for table in sweep) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert {tuple(sorted((key, value) for key, value in table.items() if key != "label")) for table in sweep} == {
        tuple(sorted(sweep[0].items()))
    }


def test_pythias_template_writes_a_dialogue_as_the_data_have_it() -> None:
    template = Environment().from_string(tables_of("hh-pythia-2.8b")["model"]["chat_template"])
    dialogue = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "Bye"}]
    prompt = template.render(messages=dialogue, eos_token="<end>", add_generation_prompt=True)
    assert prompt == "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: Bye\n\nAssistant:"
    whole = template.render(messages=[*dialogue, {"role": "assistant", "content": "Bye!"}], eos_token="<end>", add_generation_prompt=False)
    assert whole == f"{prompt} Bye!<end>"


def test_rows_of_an_ablation_are_there_to_be_asked_for(registry: Registry) -> None:
    track = read_track(find_track("hh-pythia-2.8b"), registry, Selection(only=("dpo",), schedulers=("sams-25", "sams-exploiting")))
    assert {row.scheduler for row in track.rows if row.scheduler != UNTRAINED} == {"sams-25", "sams-exploiting"}
