"""TRL's side of a comparison: its DPOTrainer, used as its documentation says, in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
import trl
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback
from trl import DPOConfig, DPOTrainer

from benchmarks.trl.sides import StepClock, Trained, Training, Workload, counting_tokens, device_name, serve, tokens_digest
from prefbench.train.meter import peak_memory_bytes


class Ends(TrainerCallback):
    """Tells a clock when a step has ended."""

    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def on_step_end(self, *event: Any, **more: Any) -> None:
        """A step has."""
        self.clock.step()


class Recorded(DPOTrainer):
    """DPOTrainer that keeps the loss of every step, on the device: what it logs is a mean over ten."""

    kept: list[torch.Tensor]

    def training_step(self, *given: Any, **more: Any) -> torch.Tensor:
        """TRL's own."""
        loss: torch.Tensor = super().training_step(*given, **more)
        self.kept.append(loss.detach())
        return loss


def run(training: Training, options: Mapping[str, Any]) -> Trained:
    """Load, tokenise, train."""
    workload, clock = Workload(Path(training.folder)), StepClock(training)
    with counting_tokens() as counted:
        trainer = Recorded(
            model=str(workload.model),
            args=config(training, options),
            train_dataset=pairs(workload, training),
            processing_class=AutoTokenizer.from_pretrained(workload.model),
            callbacks=[Ends(clock)],
        )
    trainer.kept = []
    began = time.monotonic()
    trainer.train()
    rows = trainer.train_dataset
    return Trained(
        ends=clock.ends,
        processor_ends=clock.processor_ends,
        losses=[float(loss) for loss in trainer.kept],
        began=began,
        peak_bytes=peak_memory_bytes(),
        tokens_digest=tokens_digest(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"]),
        order=list(training.order),
        reference_tokens=counted["tokens"],
        versions={"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__},
        device=device_name(),
    )


def config(training: Training, options: Mapping[str, Any]) -> DPOConfig:
    """TRL's defaults but for the data type, what both sides are told, and what ``options`` say.

    On a CPU TRL 1.16 itself would choose bfloat16 and gradient checkpointing, which most CPUs make three times slower: both are off here
    unless ``options`` turn them on.
    """
    fixed: dict[str, Any] = {
        "loss_type": [training.objective],
        "seed": training.seed,
        "learning_rate": training.learning_rate,
        "max_steps": training.steps,
        "per_device_train_batch_size": training.batch,
        "max_length": training.max_length,
        "bf16": training.dtype == "bfloat16",
    }
    comparable = {"lr_scheduler_type": "constant", "train_sampling_strategy": "sequential", "gradient_checkpointing": False}
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": not torch.cuda.is_available()}
    folder = str(Path(training.scratch) / "trl")
    return DPOConfig(folder, model_init_kwargs={"dtype": "float32"}, **{**fixed, **comparable, **quiet, **options})


def pairs(workload: Workload, training: Training) -> Dataset:
    """The pairs in the order that they are trained in, from a file, so that what TRL computes of them can be cached."""
    return Dataset.from_json(str(workload.pairs), cache_dir=str(Path(training.scratch) / "datasets")).select(list(training.order))


if __name__ == "__main__":
    serve(run)
