"""The judge ``local``: a causal LM of this machine, read by the log-probs of its verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from prefbench.api import Judge, JudgeReply, JudgeRequest, Message, hyper
from prefbench.config import ModelRules
from prefbench.data.content import model_identity
from prefbench.data.locations import fetch_model, located, refuse_web_model
from prefbench.data.tokens import encode, render
from prefbench.errors import PrefbenchError
from prefbench.train.device import autocast, compute_dtype, device
from prefbench.train.forward import Scorer, make_scorer, refuse_unknown_tokens, summed_log_probs
from prefbench.train.layout import SHARED

BEFORE_RATING, BEFORE_LABEL, BEHIND = "Rating: [[", "[[", "]]"
"""What stands around a verdict. The brackets behind it are scored too: otherwise the probability of 1 would hold that of 10."""
SCORING_VERSION = 1
"""Raised when the same model scores a verdict differently: a kept reply is then another judge's."""


@dataclass
class LocalModel(Judge):
    """A Hugging Face model that is asked nothing that it has to write: each verdict that it could give is scored as the next words.

    Verdict tokens (``choices``): the summed log-prob of each choice's tokens behind the conversation, normalised neither by length nor over
    the choices. Written verdicts (``verdicts``): each is scored behind ``Rating: [[`` or ``[[`` with its closing brackets, and the reply holds
    the expected rating with two decimals, or of labels the most likely one. A request with neither gets a greedy answer.

    A request is scored on its own, so that no verdict depends on what else was asked. A model without a chat template sees the messages'
    texts, a blank line between two; one whose template takes no system message sees it before the user's first. What a stock
    configuration sends besides the messages (``parameters``) is not used.
    """

    name: ClassVar[str] = "local"
    source: ClassVar[str] = "prefbench's own; the expected rating as in Liu et al., G-Eval (2023), arXiv 2303.16634"
    kept: ClassVar[bool] = True

    model: str = hyper(dataclasses.MISSING, doc="Hugging Face folder, or hf://OWNER/NAME@REVISION")
    weights: str = hyper("float32", choices=("float32", "bfloat16"), doc="dtype of the weights in memory")
    attention: str = hyper("sdpa", choices=("sdpa", "eager", "flash_attention_2"), doc="attention implementation")
    dtype: str = hyper("auto", choices=("auto", "float32", "bfloat16"), doc="of the matrix products; auto is bfloat16 on a GPU that has it")
    max_new_tokens: int = hyper(512, low=1, doc="tokens of a written answer, at most, where a request names no verdicts")
    micro_batch_tokens: int = hyper(16384, low=1, identity=False, doc="tokens of one forward, padding included")

    def __post_init__(self) -> None:
        if not self.model:
            raise PrefbenchError("local: model is empty", "name the judge's model folder, or hf://OWNER/NAME@REVISION")
        refuse_web_model(self.model)

    def locate(self, folder: Path) -> LocalModel:
        """A copy whose relative path is resolved against ``folder``."""
        return dataclasses.replace(self, model=located(self.model, folder))

    def identity_options(self) -> dict[str, Any]:
        """The options; instead of a path the digest of the folder's content, the dtype that this machine computes in, and the version of how
        verdicts are scored."""
        own = {"model": model_identity(self.model), "dtype": self._compute_dtype, "scoring": SCORING_VERSION}
        return {**super().identity_options(), **own}

    def judge(self, requests: Sequence[JudgeRequest]) -> list[JudgeReply]:
        """One reply per request, in order."""
        return [reply for _, reply in self.replies(requests)]

    def replies(self, requests: Sequence[JudgeRequest]) -> Iterator[tuple[int, JudgeReply]]:
        """One after the other, so that what was scored is kept when the work is ended."""
        for place, request in enumerate(requests):
            yield place, self._reply(request)

    @cached_property
    def _folder(self) -> Path:
        return fetch_model(self.model)

    @cached_property
    def _tokenizer(self) -> Any:
        from prefbench.train.checkpoint import load_tokenizer  # it imports transformers, and a judge is made to be asked its name, too

        return load_tokenizer(self._folder)

    @cached_property
    def _scorer(self) -> Scorer:
        rules = ModelRules(weights=self.weights, attention=self.attention)
        from prefbench.train.checkpoint import load_model

        return make_scorer(load_model(self._folder, device(), rules), self._compute_dtype)

    @property
    def _compute_dtype(self) -> str:
        return compute_dtype(self.dtype, self.weights)

    def release(self) -> None:
        """Let the model go; it is loaded again when it is asked again."""
        self.__dict__.pop("_scorer", None)

    def _reply(self, request: JudgeRequest) -> JudgeReply:
        prompt = self._rendered(request.messages)
        if request.choices:
            found = self._log_probs(prompt, request.choices)
            return JudgeReply(max(found, key=found.__getitem__), found)
        if request.verdicts:
            return self._verdict(prompt, request.verdicts)
        return JudgeReply(self._written(prompt))

    def _verdict(self, prompt: str, verdicts: Sequence[str]) -> JudgeReply:
        ratings = _numbers(verdicts)
        before = BEFORE_LABEL if ratings is None else BEFORE_RATING
        scored = self._log_probs(prompt + before, [verdict + BEHIND for verdict in verdicts])
        log_probs = dict(zip(verdicts, scored.values(), strict=True))
        chosen = max(log_probs, key=log_probs.__getitem__)
        if ratings is not None:
            weights = np.exp(np.array(list(log_probs.values())) - log_probs[chosen])
            chosen = f"{float(weights @ ratings / weights.sum()):.2f}"
        return JudgeReply(f"{before}{chosen}{BEHIND}", raw={"log_probs": log_probs})

    def _log_probs(self, prompt: str, continuations: Sequence[str]) -> dict[str, float]:
        """Summed log-probs (nats) of texts behind a prompt."""
        head = encode(self._tokenizer, [prompt], special=self._plain)[0]
        bodies = [self._continuation(prompt, head, text) for text in continuations]
        if self._scorer.layout.name == SHARED:
            sums = summed_log_probs(self._scorer, [head], [[body] for body in bodies], self.micro_batch_tokens)
        else:  # each behind a prompt of its own, so that micro-batches may part them
            sums = summed_log_probs(self._scorer, [head] * len(bodies), [bodies], self.micro_batch_tokens)
        return dict(zip(continuations, sums.flatten().tolist(), strict=True))

    def _continuation(self, prompt: str, head: Sequence[int], text: str) -> list[int]:
        """Token ids of a text behind a prompt; on its own where the tokenizer merges across the border."""
        whole = encode(self._tokenizer, [prompt + text], special=self._plain)[0]
        ids = whole[len(head) :] if whole[: len(head)] == list(head) else encode(self._tokenizer, [text], special=False)[0]
        if not ids:
            raise PrefbenchError(f"local: the judge's tokenizer makes nothing of the verdict {text!r}", "name another model", exit_code=1)
        return ids

    @torch.inference_mode()
    def _written(self, prompt: str) -> str:
        head = encode(self._tokenizer, [prompt], special=self._plain)
        refuse_unknown_tokens(self._scorer.model, head)
        ids = torch.tensor(head, device=self._scorer.model.device)
        with autocast(self._scorer.dtype):
            whole: Any = self._scorer.model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=self.max_new_tokens
            )
        return str(self._tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True))

    @property
    def _plain(self) -> bool:
        """Whether the model has no chat template; the tokenizer's own special tokens are then added."""
        return self._tokenizer.chat_template is None

    def _rendered(self, messages: Sequence[Message]) -> str:
        """The conversation, ready for the judge's first token."""
        if self._plain:
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        try:
            return render(self._tokenizer, tuple(messages))
        except PrefbenchError:
            if messages[0]["role"] != "system" or len(messages) < 2:
                raise
            merged = {**messages[1], "content": f"{messages[0]['content']}\n\n{messages[1]['content']}"}
            return render(self._tokenizer, (merged, *messages[2:]))


def _numbers(verdicts: Sequence[str]) -> np.ndarray | None:
    """The verdicts as ratings; None where one is no number."""
    try:
        return np.array([float(verdict) for verdict in verdicts])
    except ValueError:
        return None
