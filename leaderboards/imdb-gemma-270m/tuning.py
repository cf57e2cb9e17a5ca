"""Step 1: a model that continues reviews, by LoRA on positive ones; the settings are those of the notebooks behind arXiv 2510.05342 v1."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, TaskType, get_peft_model
from reviews import Sizes
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    set_seed,
)

from prefbench.store.files import PARTIAL
from prefbench.train.checkpoint import load_model, load_tokenizer, save_policy
from prefbench.train.device import device

SEED = 0
IGNORED = -100
BATCH, MICRO_BATCH = 32, 4
LEARNING_RATE = 2e-4
WARMUP = 0.03
"""Share of all steps."""
PATIENCE = 3
"""Evaluations without a lower loss before tuning stops."""

Example = dict[str, list[int]]
"""``input_ids``, and ``labels`` that are ``IGNORED`` where there is no loss."""


@dataclass(frozen=True)
class Tuned:
    """Steps taken, and the lowest loss on the watched reviews, nats per token: that of the weights that are kept."""

    steps: int
    loss: float


def examples(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], sizes: Sizes) -> list[Example]:
    """The reviews, cut at the length of a whole text; the loss is on what follows the prompt. Those with nothing there are left out.

    No end token is added, as in the notebooks: most reviews are cut, and do not end where their tokens do.
    """
    rows = tokenizer(list(texts), truncation=True, max_length=sizes.whole)["input_ids"]
    learned = [row for row in rows if len(row) > sizes.prompt]
    return [{"input_ids": row, "labels": [IGNORED] * sizes.prompt + row[sizes.prompt :]} for row in learned]


def tune(folder: Path, out: Path, tuned: Iterable[str], watched: Iterable[str], sizes: Sizes) -> Tuned:
    """Tune the model of a folder and save it, the adapter merged, in float32, as a folder that is whole or absent."""
    set_seed(SEED)  # the adapters are drawn here, before the trainer sets its own
    tokenizer = load_tokenizer(folder)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj"]
    lora = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=targets, task_type=TaskType.CAUSAL_LM)
    model = get_peft_model(load_model(folder, device()), lora)
    training = examples(tokenizer, tuned, sizes)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=PARTIAL) as checkpoints:
        trainer = Trainer(
            model=model,
            args=arguments(checkpoints, len(training), sizes),
            train_dataset=training,
            eval_dataset=examples(tokenizer, watched, sizes),
            data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
            callbacks=[EarlyStoppingCallback(PATIENCE)],
        )
        trainer.train()
    save_policy(model.merge_and_unload(), tokenizer, out)
    return Tuned(trainer.state.global_step, float(trainer.state.best_metric))


def arguments(checkpoints: str, rows: int, sizes: Sizes) -> TrainingArguments:
    """The notebooks' settings. The cosine ends with the last step here, and later in theirs, which count 10,000 rows."""
    at_once = MICRO_BATCH * max(1, torch.cuda.device_count())  # the trainer gives every GPU that it sees a micro-batch of its own
    return TrainingArguments(
        output_dir=checkpoints,
        num_train_epochs=sizes.epochs,
        per_device_train_batch_size=MICRO_BATCH,
        per_device_eval_batch_size=MICRO_BATCH,
        gradient_accumulation_steps=max(1, BATCH // at_once),
        learning_rate=LEARNING_RATE,
        lr_scheduler_type="cosine",
        warmup_steps=round(WARMUP * sizes.epochs * math.ceil(rows / BATCH)),
        adam_beta2=0.95,
        weight_decay=0.01,
        max_grad_norm=1.0,
        eval_strategy="steps",
        eval_steps=sizes.evaluated_every,
        save_steps=sizes.evaluated_every,
        logging_steps=sizes.evaluated_every,
        save_total_limit=1,
        save_only_model=True,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        prediction_loss_only=True,  # else it keeps the logits of all watched reviews
        remove_unused_columns=False,
        report_to="none",
        seed=SEED,
    )
