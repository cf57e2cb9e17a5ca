"""One command from Pythia and HH to the model that `hh-pythia-2.8b` starts from: ``python prepare.py pythia-2.8b-hh-sft``.

The track's base model is tuned on prompt and chosen answer of the track's training pairs, which are read, rendered, tokenised and dropped as
the track itself does it; held-out pairs are not seen. A command that was cut short goes on from its last checkpoint when it is given again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, Trainer, TrainingArguments

from prefbench.cache import cache_folder
from prefbench.config import ModelRules, Track, find_track, read_track, resolved
from prefbench.data.files import Files
from prefbench.data.revisions import at_commits, commit_now, moving
from prefbench.data.tokens import TokenPairs, tokenise_pairs
from prefbench.errors import PrefbenchError, in_two_lines
from prefbench.identity import digest
from prefbench.plan import Planner
from prefbench.registry import load_registry
from prefbench.train.checkpoint import load_model, load_tokenizer, save_policy
from prefbench.train.device import compute_dtype, device
from prefbench.train.recompute import recompute_layers

TRACK = "hh-pythia-2.8b"
IGNORED = -100
"""The label of a token that carries no loss."""
Example = tuple[tuple[int, ...], tuple[int, ...]]
"""Token ids of a prompt and of its chosen answer."""


@dataclass(frozen=True)
class Recipe:
    """One epoch of AdamW, with linear warm-up and linear decay to zero; the Trainer's defaults in all else.

    The paper, arXiv 2506.17252, states none of it. Epoch and batch are those of eric-mitchell/direct-preference-optimization, from which its
    repository is derived; the warm-up is the 150 steps of both, as a share of HH's 2,500; learning rate and decay are ours.
    """

    learning_rate: float = 1e-5
    warmup: float = 0.06
    batch: int = 64
    micro_batch: int = 8
    save_steps: int = 250
    seed: int = 0


RECIPE = Recipe()


def prepare(out: Path, track: Track, recipe: Recipe = RECIPE) -> int:
    """Make the model folder; the number of answers that it was tuned on. Raises PrefbenchError where ``out`` is there already."""
    if out.exists():
        raise PrefbenchError(f"{out} is there already", "name another folder, or delete this one to make it again")
    source = training_source(track)
    source.prepare(cache_folder(), print)
    base = source.models()["sft"]
    tokenizer = load_tokenizer(base, track.model)
    tokens = tokenise_pairs(tokenizer, source.pairs(track.seeds[0]), track.train.max_length, track.train.prompt_length)
    examples = chosen_answers(tokens)
    print(f"{len(examples)} different chosen answers; pairs dropped as too long, as in the track: {len(tokens.dropped)}")
    decided_by = [dict(source.identity()), resolved(track.model), resolved(track.train), asdict(recipe)]
    # Checkpoints of other data or settings are none to go on from.
    checkpoints = out.with_name(f"{out.name}.{digest(decided_by)[:8]}.checkpoints")
    model = load(base, last_checkpoint(checkpoints), replace(track.model, weights="float32"))
    if track.train.gradient_checkpointing:
        recompute_layers(model)
    tune(model, examples, checkpoints, recipe, compute_dtype(track.train.dtype) == "bfloat16")
    save_policy(model, tokenizer, out)
    shutil.rmtree(checkpoints)
    return len(examples)


def training_source(track: Track) -> Files:
    """The track's source with the base model in the place of the one to be made, and all its pairs with the labels that the data have.

    Raises PrefbenchError where the track names no base model.
    """
    commits = {location: commit_now(place) for location, place in moving(track).items()}
    source = Planner(at_commits(track, commits), load_registry(), "float32").source()
    if not isinstance(source, Files) or not source.base:
        raise PrefbenchError(f"{track.path}: [source] has no base", "write base: the model that is to be tuned, a folder or hf://...")
    return replace(source, model=source.base, pairs_per_seed=0, noise=0.0)


def chosen_answers(tokens: TokenPairs) -> list[Example]:
    """Every prompt with its chosen answer, each of them once, in an order that is no seed's."""
    return sorted(set(zip(tokens.prompt_ids, tokens.chosen_ids, strict=True)))


def padded(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """``input_ids``, ``attention_mask`` and ``labels`` of B examples, each (B, T), int64, padded on the right; labels are answers only."""
    ids = [torch.tensor(prompt + answer) for prompt, answer in examples]
    labels = [torch.tensor((IGNORED,) * len(prompt) + answer) for prompt, answer in examples]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORED),
    }


def load(base: Path, checkpoint: Path | None, rules: ModelRules) -> PreTrainedModel:
    """The base model, with the weights of a checkpoint where there is one.

    The Trainer does not find the head of a GPT-NeoX in a checkpoint of its own (transformers 5.23): it is saved under another name than it has.
    """
    model = load_model(base, device(), rules)
    if checkpoint:
        print(f"going on from {checkpoint}")
        model.load_state_dict(load_model(checkpoint, torch.device("cpu"), rules).state_dict())
    return model


def tune(model: PreTrainedModel, examples: list[Example], checkpoints: Path, recipe: Recipe, bfloat16: bool) -> None:
    """One epoch over the examples, on from the last checkpoint where there is one; all answer tokens of a batch have the same weight."""
    settings = TrainingArguments(
        output_dir=str(checkpoints),
        num_train_epochs=1,
        per_device_train_batch_size=recipe.micro_batch,
        gradient_accumulation_steps=recipe.batch // recipe.micro_batch,
        learning_rate=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        use_cpu=device().type == "cpu",
        bf16=bfloat16,
        seed=recipe.seed,
        save_steps=recipe.save_steps,
        save_total_limit=1,
        logging_steps=25,
        report_to="none",
    )
    caches = model.config.use_cache  # the Trainer turns it off, and a model that is saved so answers slowly
    trainer = Trainer(model=model, args=settings, train_dataset=examples, data_collator=padded)
    last = last_checkpoint(checkpoints)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    model.config.use_cache = caches


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that is whole: the Trainer writes its own state last."""
    whole = [path.parent for path in folder.glob("checkpoint-*/trainer_state.json")]
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the model folder to be made")
    parser.add_argument("--track", default=TRACK, help="a copy of the track with other locations")
    arguments = parser.parse_args()
    # On several GPUs the Trainer would multiply the batch by their number.
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    try:
        count = prepare(arguments.out, read_track(find_track(arguments.track), load_registry()))
    except PrefbenchError as error:
        print(in_two_lines(error), file=sys.stderr)
        sys.exit(error.exit_code)
    is_copy = Path(arguments.track).is_file()
    run = f"prefbench run {arguments.track}" if is_copy else f"prefbench show --track {arguments.track} > hh.toml; prefbench run hh.toml"
    print(f"{arguments.out}: tuned on {count} answers. Next, beside it: {run}")


if __name__ == "__main__":
    main()
