"""Model folders: loaded as the track says or refused in words, and saved so that transformers alone gives the same log-probs."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from prefbench.config import LoraRules, ModelRules
from prefbench.data.tokens import render
from prefbench.errors import PrefbenchError
from prefbench.objectives.dpo import Dpo
from prefbench.train.adapters import with_adapters
from prefbench.train.checkpoint import load_model, load_tokenizer, save_policy
from prefbench.train.forward import make_scorer
from prefbench.train.loop import train
from prefbench.train.meter import Clocks
from prefbench.train.state import trainable
from tests.models import tiny_llama, tiny_model, word_tokenizer
from tests.train.test_adapters import lora_job
from tests.train.test_loop import make_job

CPU = torch.device("cpu")
ELSEWHERE = """
import json, sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

log_probs = {}
for folder, sequences in json.load(sys.stdin).items():
    AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.no_grad():
        log_probs[folder] = [torch.log_softmax(model(torch.tensor([ids])).logits[0, :-1].double(), -1).gather(
            1, torch.tensor(ids[1:])[:, None])[:, 0].tolist() for ids in sequences]
assert not [name for name in sys.modules if name.split(".")[0] in ("prefbench", "peft")]
print(json.dumps(log_probs))
"""
"""What a user does with policy folders: token ids by folder on stdin, the log-prob of every token but the first on stdout."""


def log_probs_elsewhere(sequences: dict[str, list[list[int]]]) -> dict[str, list[list[float]]]:
    """Under plain transformers in a process of its own that never imports prefbench."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE], input=json.dumps(sequences), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@torch.no_grad()
def log_probs_here(model: torch.nn.Module, ids: list[int]) -> list[float]:
    logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()


def test_a_policy_trained_with_lora_and_one_without_give_the_same_log_probs_in_plain_transformers(tmp_path):
    full, lora = make_job(Dpo()), lora_job(tmp_path / "cache", make_scorer(tiny_llama(), "float32"))
    folders = {str(tmp_path / name): job.scorer.model for name, job in (("full", full), ("lora", lora))}
    sequences = [[5, 6, 7], list(range(5, 45))]
    for (folder, model), job in zip(folders.items(), (full, lora), strict=True):
        train(job, Clocks())
        save_policy(model, word_tokenizer(), Path(folder))
        assert not np.allclose(log_probs_here(model, sequences[1]), log_probs_here(tiny_llama(), sequences[1]), atol=1e-2)
    found = log_probs_elsewhere(dict.fromkeys(folders, sequences))
    for folder, model in folders.items():
        for ids, values in zip(sequences, found[folder], strict=True):
            assert values == pytest.approx(log_probs_here(model, ids), abs=1e-5)


@pytest.mark.parametrize("name", ["llama", "qwen2"], ids=["untied", "tied"])
def test_a_merged_folder_has_the_files_and_the_tensors_of_a_plain_one(name, tmp_path):
    model = tiny_model(name)
    save_policy(model, word_tokenizer(), tmp_path / "plain")
    save_policy(with_adapters(model, LoraRules(), seed=0), word_tokenizer(), tmp_path / "merged")
    plain, merged = (tensors_of(tmp_path / folder) for folder in ("plain", "merged"))
    assert plain == merged
    assert ("lm_head.weight" in plain) == (not model.config.tie_word_embeddings)
    assert {path.name for path in (tmp_path / "plain").iterdir()} == {path.name for path in (tmp_path / "merged").iterdir()}


def tensors_of(folder: Path) -> dict[str, tuple[list[int], str]]:
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        return {name: (file.get_slice(name).get_shape(), file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118


def test_a_merged_policy_is_saved_in_the_dtype_of_its_weights(tmp_path):
    adapted = with_adapters(tiny_llama().bfloat16(), LoraRules(), seed=0)
    for weight in trainable(adapted):
        torch.nn.init.normal_(weight, std=0.3)
    save_policy(adapted, word_tokenizer(), tmp_path / "policy")
    assert {dtype for _, dtype in tensors_of(tmp_path / "policy").values()} == {"BF16"}
    assert json.loads((tmp_path / "policy" / "config.json").read_text())["dtype"] == "bfloat16"


def test_no_file_of_a_policy_names_the_folder_that_its_base_came_from(tmp_path):
    save_policy(tiny_llama(), word_tokenizer(), tmp_path / "secret-place")
    model, tokenizer = load_model(tmp_path / "secret-place", CPU), load_tokenizer(tmp_path / "secret-place")
    save_policy(with_adapters(model, LoraRules(), seed=0), tokenizer, tmp_path / "policy")
    assert not [path.name for path in (tmp_path / "policy").iterdir() if b"secret-place" in path.read_bytes()]


# ---------------------------------------------------------------- loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("models") / "llama"
    save_policy(tiny_llama(), word_tokenizer(), made)
    return made


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_weights_and_attention_are_those_of_the_track(folder, dtype, attention):
    model = load_model(folder, CPU, ModelRules(weights=dtype, attention=attention))
    assert {str(weight.dtype) for weight in model.parameters()} == {f"torch.{dtype}"}
    assert model.config._attn_implementation == attention
    scorer = make_scorer(model, "float32")
    used = {"sdpa": "prefbench, shared", "eager": "eager, padded"}[attention]  # ours is sdpa over packed tokens
    assert scorer.arithmetic.startswith(f"float32 on torch.{dtype}, {used}, ")


def test_the_tracks_chat_template_takes_the_place_of_the_tokenizers_and_is_saved(folder, tmp_path):
    rules = ModelRules(chat_template="{% for message in messages %}w9 {{ message['content'] }} {% endfor %}")
    tokenizer = load_tokenizer(folder, rules)
    save_policy(tiny_llama(), tokenizer, tmp_path / "policy")
    assert render(tokenizer, ({"role": "user", "content": "w1"},)) == "w9 w1 "
    assert render(load_tokenizer(tmp_path / "policy"), ({"role": "user", "content": "w1"},)) == "w9 w1 "


def test_a_cap_on_attention_logits_is_not_lost_without_a_word(tmp_path):
    save_policy(tiny_model("gemma2"), word_tokenizer(), tmp_path / "gemma2")
    with pytest.raises(PrefbenchError, match=r"caps its attention logits at 0\.5") as caught:
        load_model(tmp_path / "gemma2", CPU)
    assert 'write attention = "eager" under [model]' in caught.value.hint
    model = load_model(tmp_path / "gemma2", CPU, ModelRules(attention="eager"))
    assert log_probs_here(model, [5, 6, 7]) == log_probs_here(tiny_model("gemma2"), [5, 6, 7])


@pytest.mark.skipif(bool(find_spec("flash_attn")), reason="FlashAttention is installed here")
def test_flash_attention_that_is_not_installed_is_said_in_words(folder):
    with pytest.raises(PrefbenchError, match="FlashAttention2") as caught:
        load_model(folder, CPU, ModelRules(attention="flash_attention_2"))
    assert 'write attention = "sdpa" under [model]' in caught.value.hint


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM

class OwnConfig(LlamaConfig):
    model_type = "own"

class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(tmp_path, monkeypatch) -> Path:
    """A model folder that brings its own code."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    save_policy(tiny_llama(), word_tokenizer(), tmp_path / "own")
    (tmp_path / "own" / "own.py").write_text(OWN_CODE)
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    named = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (tmp_path / "own" / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": named}))
    return tmp_path / "own"


def test_code_that_comes_with_a_model_runs_only_where_the_track_says_so(own_code, tmp_path):
    with pytest.raises(PrefbenchError, match="own") as caught:
        load_model(own_code, CPU)
    assert "trust_remote_code = true under [model]" in caught.value.hint
    assert not (tmp_path / "modules").exists()
    model = load_model(own_code, CPU, ModelRules(trust_remote_code=True))
    assert type(model).__name__ == "OwnModel"
    save_policy(with_adapters(model, LoraRules(), seed=0), word_tokenizer(), tmp_path / "policy")
    again = load_model(tmp_path / "policy", CPU, ModelRules(trust_remote_code=True))
    assert log_probs_here(again, [5, 6, 7]) == pytest.approx(log_probs_here(model, [5, 6, 7]), abs=1e-5)
