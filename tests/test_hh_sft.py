"""The script that makes the model of the HH tracks, on copies of those tracks with a tiny GPT-NeoX and dialogues of their own."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from prefbench.cell import _workshops
from prefbench.config import Selection, Track, find_track, read_track
from prefbench.data.content import check_model_folder
from prefbench.errors import PrefbenchError
from prefbench.planned import RunOptions
from prefbench.registry import load_registry
from prefbench.run import run
from prefbench.store.folder import Folder
from prefbench.train.checkpoint import load_model, load_tokenizer, weights_digest
from tests.hub import FIRST, loopback_hub
from tests.models import WORDS, tiny_neox, word_tokenizer

SCRIPT = Path(__file__).parents[1] / "leaderboards" / "hh-pythia-2.8b" / "prepare.py"
CPU = torch.device("cpu")
TRAINING = [(f"w{i % 7} w{i}", f"w{i % 5 + 20} w1", f"w{i % 3 + 30}") for i in range(40)]
"""Question, chosen and rejected answer."""
TWICE = ("w6 w6", "w7", "w8"), ("w6 w6", "w7", "w9")
"""One prompt with one chosen answer, in two pairs."""
TOO_LONG = ("w5 w5", "w1", "w3 " * 30)
HELD_OUT = [(f"w40 w{i}", "w44", "w43") for i in range(6)]
ALSO_HELD_OUT = (HELD_OUT[0][0], "w41", "w42")
"""A training pair whose prompt is held out."""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    spec = importlib.util.spec_from_file_location("hh_pythia_prepare", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def dialogue(question: str, answer: str) -> str:
    return f"\n\nHuman: {question}\n\nAssistant: {answer}"


def ids(text: str) -> tuple[int, ...]:
    return tuple(WORDS.index(word) if word in WORDS else WORDS.index("<unk>") for word in text.split())


def example(question: str, answer: str, _: str = "") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The token ids that the model is to see: the track's template has ``Human:`` and ``Assistant:`` around the question."""
    return ids(f"Human: {question} Assistant:"), ids(f"{answer} <eos>")


def write_pairs(path: Path, pairs: list[tuple[str, str, str]]) -> None:
    rows = [{"chosen": dialogue(question, chosen), "rejected": dialogue(question, rejected)} for question, chosen, rejected in pairs]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def copy_of(name: str, folder: Path) -> Path:
    """A shipped track with local pairs and a tiny model, otherwise as it is: template, options, drop rule."""
    tiny_neox().save_pretrained(folder / "base")
    tokenizer = word_tokenizer()
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder / "base")
    (folder / "hh").mkdir()
    write_pairs(folder / "hh" / "train.jsonl", [*TRAINING, *TWICE, TOO_LONG, ALSO_HELD_OUT])
    write_pairs(folder / "hh" / "test.jsonl", HELD_OUT)
    text = find_track(name).read_text(encoding="utf-8")
    here = {"base": '"base"', "pairs_file": '"hh"', "seeds": "[0]", "steps": "2", "pool": "4", "warmup": "1", "max_length": "24"}
    for option, value in here.items():
        text = re.sub(rf"^{option} = .*$", f"{option} = {value}", text, flags=re.MULTILINE)
    (folder / "track.toml").write_text(text, encoding="utf-8")
    return folder / "track.toml"


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return read_track(copy_of("hh-pythia-2.8b", tmp_path), load_registry())


def quick(script: ModuleType, **changes: Any) -> Any:
    """The recipe for a tiny model: 6 steps of 8 pairs, large enough to see."""
    return replace(script.RECIPE, learning_rate=1e-2, batch=8, micro_batch=4, **changes)


def recording(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> list[Any]:
    """What a function is called with last, call by call."""
    calls: list[Any] = []
    real: Callable[..., Any] = getattr(owner, name)

    def recorded(*given: Any) -> Any:
        calls.append(given[-1])
        return real(*given)

    monkeypatch.setattr(owner, name, recorded)
    return calls


def answer_nll(folder: Path, examples: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> float:
    """Nats per answer token, each example by itself and unpadded."""
    model, total = load_model(folder, CPU), 0.0
    for prompt, answer in examples:
        with torch.no_grad():
            log_probs = model(torch.tensor([prompt + answer])).logits[0].log_softmax(-1)
        total -= sum(float(log_probs[len(prompt) + place - 1, token]) for place, token in enumerate(answer))
    return total / sum(len(answer) for _, answer in examples)


# ---------------------------------------------------------------- the model


def test_the_track_trains_from_the_folder_that_the_command_makes(script: ModuleType, track: Track, tmp_path: Path) -> None:
    out, base = tmp_path / "pythia-2.8b-hh-sft", tmp_path / "base"
    script.prepare(out, track, quick(script))
    check_model_folder(out)
    assert load_tokenizer(out).get_vocab() == load_tokenizer(base).get_vocab()
    _workshops.clear()
    selection = Selection(only=("dpo", "sft", "base"), schedulers=("uniform",))
    assert run(RunOptions(str(track.path), tmp_path / "run", selection, in_process=True), lambda _: None).failed == {}
    assert Folder(tmp_path / "run").read_record("dpo.uniform.s0")["status"] == "done"


def test_chosen_answers_become_likelier_and_nothing_but_a_model_is_left(script: ModuleType, track: Track, tmp_path: Path) -> None:
    out, base = tmp_path / "sft", tmp_path / "base"
    before = {path.name for path in tmp_path.iterdir()}
    assert script.prepare(out, track, quick(script)) == 41
    examples = [example(*pair) for pair in TRAINING]
    assert answer_nll(out, examples) < answer_nll(base, examples) - 0.5
    assert weights_digest(out) != weights_digest(base)
    assert {path.name for path in tmp_path.iterdir()} - before == {"sft", "cache"}
    assert {path.name for path in out.iterdir()} - {path.name for path in base.iterdir()} == {"chat_template.jinja"}
    assert json.loads((out / "config.json").read_text()) == json.loads((base / "config.json").read_text())  # float32, and it caches keys


def test_products_in_bfloat16_leave_weights_in_float32(script: ModuleType, track: Track, tmp_path: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        script.prepare(tmp_path / dtype, replace(track, train=replace(track.train, dtype=dtype)), quick(script))
    exact, rounded = (load_file(tmp_path / dtype / "model.safetensors") for dtype in ("float32", "bfloat16"))
    assert {tensor.dtype for tensor in rounded.values()} == {torch.float32}
    assert max(float((exact[name] - rounded[name]).abs().max()) for name in exact) > 0
    assert any(bool((tensor != tensor.bfloat16().float()).any()) for tensor in rounded.values())  # its digits are those of float32


def test_it_sees_every_chosen_answer_of_the_tracks_training_pairs_once(
    script: ModuleType, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = recording(monkeypatch, script, "padded")
    script.prepare(tmp_path / "sft", track, quick(script))
    seen = [example for batch in batches for example in batch]
    assert sorted(seen) == sorted([*(example(*pair) for pair in TRAINING), example(*TWICE[0])])


def test_the_noisy_tracks_flips_are_no_part_of_it(script: ModuleType, tmp_path: Path) -> None:
    noisy = read_track(copy_of("hh-pythia-2.8b-noisy", tmp_path), load_registry())
    chosen = {pair.chosen for pair in script.training_source(noisy).pairs(0)}
    assert chosen == {answer for _, answer, _ in [*TRAINING, TWICE[0], TOO_LONG]}


@pytest.mark.parametrize("spared", [True, False])
def test_activations_are_kept_or_not_as_in_the_track(
    script: ModuleType, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: bool
) -> None:
    recomputing = recording(monkeypatch, script, "recompute_layers")
    script.prepare(tmp_path / "sft", replace(track, train=replace(track.train, gradient_checkpointing=spared)))
    assert len(recomputing) == spared


# ---------------------------------------------------------------- the loss


def test_prompts_and_padding_carry_no_loss(script: ModuleType, track: Track, tmp_path: Path) -> None:
    examples = [example("w1", "w2 w3 w4"), example("w5 w6 w7 w8", "w9")]
    loss = float(load_model(tmp_path / "base", CPU)(**script.padded(examples)).loss.detach())
    assert loss == pytest.approx(answer_nll(tmp_path / "base", examples), rel=1e-5)


def test_the_parts_of_a_batch_add_up_to_it(script: ModuleType, track: Track, tmp_path: Path) -> None:
    whole, parts = ({"batch": 8, "micro_batch": size} for size in (8, 2))
    for name, sizes in (("whole", whole), ("parts", parts)):
        script.prepare(tmp_path / name, track, replace(quick(script), **sizes))
    left, right = (load_model(tmp_path / name, CPU).state_dict() for name in ("whole", "parts"))
    assert all(torch.allclose(left[name], right[name], atol=1e-4) for name in left)


# ---------------------------------------------------------------- again


def test_a_command_that_was_killed_goes_on_where_it_was(
    script: ModuleType, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = quick(script, save_steps=1)
    script.prepare(tmp_path / "whole", track, recipe)
    with monkeypatch.context() as killing:
        after_three_steps(killing, script)
        with pytest.raises(KeyboardInterrupt):
            script.prepare(tmp_path / "sft", track, recipe)
    assert not (tmp_path / "sft").exists()
    third = next(tmp_path.glob("sft.*.checkpoints/checkpoint-3"))
    shutil.copytree(
        third, third.with_name("checkpoint-4"), ignore=shutil.ignore_patterns("trainer_state.json")
    )  # one that was being written
    batches = recording(monkeypatch, script, "padded")
    script.prepare(tmp_path / "sft", track, recipe)
    assert [len(batch) for batch in batches] == [4, 4, 4, 4, 1]  # three steps of six
    assert weights_digest(tmp_path / "sft") == weights_digest(tmp_path / "whole")
    assert not list(tmp_path.glob("*.checkpoints"))


def test_a_command_that_was_killed_at_its_very_end_only_writes_the_model(
    script: ModuleType, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.prepare(tmp_path / "whole", track, quick(script))
    with monkeypatch.context() as killing:
        killing.setattr(script, "save_policy", interrupt)
        with pytest.raises(KeyboardInterrupt):
            script.prepare(tmp_path / "sft", track, quick(script))
    batches = recording(monkeypatch, script, "padded")
    script.prepare(tmp_path / "sft", track, quick(script))
    assert weights_digest(tmp_path / "sft") == weights_digest(tmp_path / "whole")
    assert not batches


def interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def after_three_steps(patch: pytest.MonkeyPatch, script: ModuleType) -> None:
    """Make the Trainer stop as a signal would: in the fourth step, which has two micro-batches as the others have."""
    real, done = script.Trainer.training_step, []

    def step(self: Any, *given: Any, **named: Any) -> torch.Tensor:
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(None)
        return real(self, *given, **named)

    patch.setattr(script.Trainer, "training_step", step)


def test_a_finished_folder_is_left_alone(script: ModuleType, track: Track, tmp_path: Path) -> None:
    script.prepare(tmp_path / "sft", track, quick(script))
    before = weights_digest(tmp_path / "sft")
    with pytest.raises(PrefbenchError, match="sft is there already"):
        script.prepare(tmp_path / "sft", track, quick(script, seed=1))
    assert weights_digest(tmp_path / "sft") == before


def test_the_command_says_what_to_run_next(
    script: ModuleType, track: Track, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["prepare.py", str(tmp_path / "sft"), "--track", str(track.path)])
    script.main()
    assert f"tuned on 41 answers. Next, beside it: prefbench run {track.path}" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        script.main()
    assert "sft is there already\nhint: name another folder" in capsys.readouterr().err


def test_a_branch_of_the_hub_is_resolved(script: ModuleType, track: Track, monkeypatch: pytest.MonkeyPatch) -> None:
    with loopback_hub(monkeypatch) as hub:
        hub.has("models/someone/base", "main", FIRST)
        options = {**track.source.options, "base": "hf://someone/base@main"}
        source = script.training_source(replace(track, source=replace(track.source, options=options)))
    assert source.model == f"hf://someone/base@{FIRST}"


def test_a_track_without_a_base_model_is_told_so(script: ModuleType, track: Track, tmp_path: Path) -> None:
    options = {name: value for name, value in track.source.options.items() if name != "base"}
    with pytest.raises(PrefbenchError, match="has no base"):
        script.prepare(tmp_path / "sft", replace(track, source=replace(track.source, options=options)))
