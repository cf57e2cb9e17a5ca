"""Model folders that lack something or hold the wrong thing: said before any cell is trained, and the finished run stays as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tests.bad_input.place import Bad, Spoil, Told, add, both, cut, drop, each, edit, jsonl, put, rows
from tests.models import tiny_llama, tiny_model

TALK = [
    {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "chosen": [{"role": "assistant", "content": row["chosen"]}],
        "rejected": [{"role": "assistant", "content": row["rejected"]}],
    }
    for row in rows(*range(60))
]


def gone(folder: Path) -> None:
    shutil.rmtree(folder / "sft")


def emptied(folder: Path) -> None:
    gone(folder)
    (folder / "sft").mkdir()


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / "sft" / "model.safetensors"), folder / "sft" / "pytorch_model.bin")
    (folder / "sft" / "model.safetensors").unlink()


def not_a_number(folder: Path) -> None:
    weights = load_file(folder / "sft" / "model.safetensors")
    save_file({name: values * float("nan") for name, values in weights.items()}, folder / "sft" / "model.safetensors", {"format": "pt"})


def layer_missing(folder: Path) -> None:
    weights = load_file(folder / "sft" / "model.safetensors")
    kept = {name: values for name, values in weights.items() if ".layers.1." not in name}
    save_file(kept, folder / "sft" / "model.safetensors", {"format": "pt"})


def few_words(folder: Path) -> None:
    tiny_llama(vocab_size=20).save_pretrained(folder / "sft")


def gemma2(folder: Path) -> None:
    tiny_model("gemma2").save_pretrained(folder / "sft")


def config(**changes: object) -> Spoil:
    """Other values in config.json."""

    def spoil(folder: Path) -> None:
        path = folder / "sft" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return spoil


CASES = [
    Bad("missing", "sft: there is no such model folder", "relative to the track file", gone),
    Bad(
        "a-hub-name",
        "meta/llama: there is no such model folder",
        "relative to the track file",
        edit('model = "sft"', 'model = "meta/llama"'),
    ),
    Bad("a-file", "pairs.jsonl: there is no such model folder", "", edit('model = "sft"', 'model = "pairs.jsonl"')),
    Bad("empty", "sft: no config.json", "save_pretrained", emptied),
    Bad("config-not-json", "config.json: not a JSON object", "save_pretrained", put("sft/config.json", "{")),
    Bad("config-of-no-model", "no causal LM", "save_pretrained", put("sft/config.json", "{}"), code=1),
    Bad("architecture-unknown", "no causal LM", "save_pretrained", config(model_type="gpt17"), code=1),
    Bad("no-weights", "sft: no safetensors weights", "pickles are not read", drop("sft/model.safetensors")),
    Bad("pickle-only", "sft: no safetensors weights", "pickles are not read", pickled),
    Bad("weights-cut-short", "model.safetensors: damaged", "copy the file again", cut("sft/model.safetensors")),
    Bad("weights-of-zeros", "model.safetensors: damaged", "copy the file again", put("sft/model.safetensors", b"\0" * 4096)),
    Bad(
        "git-lfs-pointer",
        "model.safetensors: damaged",
        "copy the file again",
        put("sft/model.safetensors", "version https://git-lfs.github.com/spec/v1\n"),
    ),
    Bad(
        "shard-missing",
        "weights are missing: model-2.safetensors",
        "copy all the files",
        put("sft/model.safetensors.index.json", '{"weight_map": {"a": "model-2.safetensors"}}'),
    ),
    Bad("index-not-json", "model.safetensors.index.json: not a JSON object", "", put("sft/model.safetensors.index.json", '{"weight_map')),
    Bad("layer-missing", "sft: no causal LM: the weights lack", "", layer_missing, code=1),
    Bad("weights-of-another-shape", "sft: no causal LM", "", config(intermediate_size=64), code=1),
    Bad("weights-nan", "gives logits that are no numbers", "", not_a_number, code=1),
    Bad("vocabulary-too-small", "the model knows 20 tokens, and the tokenizer gave", "", few_words, code=1),
    Bad("attention-logits-capped", "the model caps its attention logits at 0.5", 'attention = "eager" under [model]', gemma2, code=1),
    Bad(
        "own-code", "sft: no causal LM", "trust_remote_code = true", config(model_type="own", auto_map={"AutoConfig": "own.Config"}), code=1
    ),
    Bad(
        "lora-target-unknown",
        "LlamaForCausalLM has no linear layer 'Wqkv'",
        "it has down_proj",
        add('[lora]\ntargets = ["Wqkv"]\n'),
        code=1,
    ),
    Bad("no-tokenizer", "sft: no tokenizer", "tokenizer.save_pretrained", drop("sft/tokenizer.json", "sft/tokenizer_config.json")),
    Bad("tokenizer-cut-short", "sft: no tokenizer", "tokenizer.save_pretrained", cut("sft/tokenizer.json"), code=1),
    Bad(
        "no-chat-template",
        "sft: no chat template, and the prompts are conversations",
        "chat_template.jinja",
        both(drop("sft/chat_template.jinja"), put("pairs.jsonl", jsonl(TALK))),
    ),
    Bad(
        "no-chat-template-for-questions",
        "sft: no chat template, and the questions are conversations",
        "chat_template.jinja",
        both(
            drop("sft/chat_template.jinja"),
            put("q.json", '[{"instruction": "w1"}]'),
            edit("held_out_share = 0.3", 'held_out_share = 0.3\nalpaca_eval_questions = "q.json"'),
            edit('name = "held_out"', 'name = "alpaca_eval"', "[train]", '[judge]\nname = "prefworld-annotator"\n[train]'),
        ),
    ),
    Bad(
        "chat-template-broken",
        "the chat template of",
        "",
        both(put("sft/chat_template.jinja", "{% for message in messages %}"), put("pairs.jsonl", jsonl(TALK))),
        code=1,
    ),
    Bad("base-missing", "base: there is no such model folder", "", edit('model = "sft"', 'model = "sft"\nbase = "base"')),
]


@each(CASES)
def test_a_model_folder_that_cannot_be_used_is_refused_before_a_cell_is_trained(bad: Bad, tell: Callable[[Bad], Told]) -> None:
    told = tell(bad)
    assert told.code == bad.code
    assert not {name for name in told.changed if name.startswith(("records/dpo", "items/dpo", "cells/dpo"))}
    assert told.code == 1 or not told.changed
