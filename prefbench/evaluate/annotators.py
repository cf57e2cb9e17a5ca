"""What alpaca-eval calls an annotator: a prompt, what is sent with it, and how the reply is read; ours, or one of the library's by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefbench.api import JudgeReply, JudgeRequest, Message, Question
from prefbench.errors import PrefbenchError
from prefbench.evaluate.stand_ins import stand_ins
from prefbench.registry import did_you_mean

OWN = "prefbench"
"""The name of our own annotator."""

_PROMPTS = Path(__file__).parent / "prompts"
_TEXTS = ("instruction", "output_1", "output_2")
_PLACEHOLDER = re.compile(r"\{(instruction|output_1|output_2)\}")
_CHAT = ("<|im_start|>", "<|im_end|>")

_OF_THE_CLIENT = (
    "model_name", "model_kwargs", "price_per_token", "client_kwargs", "client_function_name", "requires_chatml", "is_chatml_prompt",
    "batch_size", "num_procs",
)  # fmt: skip
"""What a configuration tells alpaca-eval's client about itself, and not the model about its answer."""
_LIMITS = ("max_tokens_to_sample", "max_new_tokens")
"""What other clients than OpenAI's call ``max_tokens``."""
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "openai_completions": {"max_tokens": 2048, "temperature": 0.7, "top_p": 1.0},
    "anthropic_completions": {"max_tokens": 2048, "temperature": 0.7},
    "bedrock_anthropic_completions": {"max_tokens": 2048, "temperature": 0.7},
    "cohere_completions": {"max_tokens": 1000, "temperature": 0.7},
    "huggingface_api_completions": {"temperature": 0.0},
    "huggingface_local_completions": {"temperature": 0.0},
    "vllm_local_completions": {},
}
"""What alpaca-eval's clients send where a configuration is silent."""
_EXPLAINING = ("ChainOfThoughtProcessor", "JsonKeysToColumnProcessor")
"""Processors that copy an explanation into columns of their own and change no preference: they are left out."""


@dataclass(frozen=True)
class Annotator:
    """How a comparison is put to a judge, and how its reply becomes a preference.

    ``messages`` are the prompt with its placeholders; ``parameters`` go with them. ``reading`` is how alpaca-eval is to read the reply, by the
    names of its ``SingleAnnotator``. ``tokens`` are the verdict tokens whose log-probs are the verdict, none where it is a text; they are those of
    the reply's first token, or of its last where ``at_the_end``.
    """

    name: str
    messages: tuple[Message, ...]
    parameters: Mapping[str, Any]
    reading: Mapping[str, Any]
    tokens: tuple[str, ...] = ()
    at_the_end: bool = False

    def request(self, question: Question, first: str, second: str) -> JudgeRequest:
        """What the judge is asked about two answers in the order in which it sees them; every text goes in once and as it is.

        The library fills placeholders one after the other and splits the result at its chat marks, so that an instruction that contains
        ``{output_1}`` swallows an answer and an answer that contains a mark forges a message. Here the marks are read first.
        """
        texts = dict(zip(_TEXTS, (question.turns[0], first, second), strict=True))
        messages = tuple({**message, "content": _fill(message["content"], texts)} for message in self.messages)
        # A verdict at the end follows an explanation, which a judge that is asked for the log-probs of its first token would not write.
        choices = () if self.at_the_end else self.tokens
        return JudgeRequest(messages, question, ((first,), (second,)), choices, parameters=self.parameters)

    def completion(self, reply: JudgeReply) -> str | dict[str, Any]:
        """A reply in the form that the parser wants; a judge without log-probs casts a whole vote with a text that is a verdict token."""
        if not self.tokens:
            return reply.text
        top = self._top(reply)
        return {"logprobs": {"content": [{"top_logprobs": top}]}}

    def _top(self, reply: JudgeReply) -> list[dict[str, Any]]:
        """The log-probs at the verdict's place, in OpenAI's form; those of other tokens say nothing."""
        if self.at_the_end:
            found = _last_log_probs(reply.raw)
            lines = reply.text.strip().splitlines() or [""]
            log_probs = found if found is not None else {lines[-1].strip(): 0.0}
        else:
            log_probs = dict(reply.log_probs) if reply.log_probs is not None else {reply.text.strip(): 0.0}
        return [{"token": token, "logprob": value} for token, value in log_probs.items() if token in self.tokens]

    @property
    def characters(self) -> int:
        """Of the prompt without the texts that go into it."""
        return sum(len(_fill(message["content"], dict.fromkeys(_TEXTS, ""))) for message in self.messages)

    @property
    def reply_tokens(self) -> int:
        """How long a reply may be; 0 where that is left to the judge."""
        return int(self.parameters.get("max_tokens", 0))


def _fill(template: str, texts: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: texts[match.group(1)], template)


def _last_log_probs(raw: Mapping[str, Any]) -> dict[str, float] | None:
    """The log-probs at the last token of a reply as an OpenAI-compatible server gives it, None where it holds none."""
    try:
        return {entry["token"]: entry["logprob"] for entry in raw["choices"][0]["logprobs"]["content"][-1]["top_logprobs"]}
    except (KeyError, IndexError, TypeError):
        return None


# ---------------------------------------------------------------- by name


def annotator_names() -> list[str]:
    """Ours, and the folders of configurations in the installed alpaca-eval."""
    return [OWN, *sorted(folder.name for folder in _stock_folder().iterdir() if folder.is_dir())]


def load_annotator(name: str) -> Annotator:
    """The annotator of a name. Raises PrefbenchError for an unknown one, and for one that does not compare two answers per request."""
    if name not in annotator_names():
        hint = (
            did_you_mean(name, annotator_names()) or "the names are the folders of alpaca_eval/evaluators_configs, and prefbench for ours"
        )
        raise PrefbenchError(f"alpaca-eval has no annotator {name!r}", hint)
    root = _PROMPTS if name == OWN else _stock_folder()
    settings = _settings(name, root / ("alpaca_eval" if name == OWN else name) / "configs.yaml")
    parser = settings.get("fn_completion_parser", "regex_parser")
    arguments = settings.get("completion_parser_kwargs", {})
    by_token = parser == "logprob_parser"
    return Annotator(
        name=name,
        messages=_messages(name, root / settings["prompt_template"]),
        parameters=_parameters(settings),
        reading={
            "fn_completion_parser": parser,
            "completion_parser_kwargs": {**arguments, "log_prob_index": "batch"} if by_token else arguments,
            "completion_key": "completions_all" if by_token else "completions",
            "is_randomize_output_order": settings.get("is_randomize_output_order", True),
        },
        tokens=tuple(arguments["denominator_tokens"]) if by_token else (),
        at_the_end=by_token and arguments.get("log_prob_index", "batch") == -1,
    )


def _stock_folder() -> Path:
    with stand_ins():
        from alpaca_eval import constants
    return Path(constants.EVALUATORS_CONFIG_DIR)


def _settings(name: str, path: Path) -> dict[str, Any]:
    """The one configuration of a file. Raises PrefbenchError with what it asks for that prefbench does not do."""
    from alpaca_eval import utils

    if not path.is_file():
        raise _refused(name, "has no configs.yaml, so that alpaca-eval cannot load it either")
    pool: dict[str, dict[str, Any]] = utils.load_configs(path)
    if len(pool) != 1:
        raise _refused(name, f"is a pool of {len(pool)} annotators, of which every question gets another one")
    (settings,) = pool.values()
    if settings.get("batch_size", 1) != 1:
        raise _refused(name, f"asks about {settings['batch_size']} questions in one request, so that they judge each other's context")
    if any(key in settings.get("completions_kwargs", {}) for key in ("tokens_to_favor", "tokens_to_avoid")):
        raise _refused(name, "pushes single tokens up and down, which takes the tokenizer of its own model")
    strange = [processor for processor in settings.get("processors_to_kwargs", {}) if processor not in _EXPLAINING]
    if strange:
        raise _refused(name, f"changes its rows with {', '.join(strange)}")
    return settings


def _messages(name: str, path: Path) -> tuple[Message, ...]:
    """The messages of a prompt; one that is no dialogue, made for models that complete a text, is a single message of the user."""
    from alpaca_eval import utils

    if not path.is_file():
        raise _refused(name, f"has no prompt: {path.name} is not in the package")
    text = path.read_text(encoding="utf-8").strip()
    if Counter(_PLACEHOLDER.findall(text)) != Counter(_TEXTS):
        raise _refused(name, f"does not show {', '.join(_TEXTS)} once each")
    if text.startswith(_CHAT[0]) and text.endswith(_CHAT[1]):
        return tuple(utils.prompt_to_chatml(text))
    return ({"role": "user", "content": text},)


def _parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What is sent besides the messages: the configuration's own, and what alpaca-eval's client adds where it is silent."""
    given = {("max_tokens" if key in _LIMITS else key): value for key, value in settings.get("completions_kwargs", {}).items()}
    sent = {**_DEFAULTS.get(settings.get("fn_completions", ""), {}), **given}
    return {key: value for key, value in sent.items() if key not in _OF_THE_CLIENT}


def _refused(name: str, reason: str) -> PrefbenchError:
    return PrefbenchError(
        f"alpaca-eval's annotator {name!r} {reason}", "take another one, such as weighted_alpaca_eval_gpt4_turbo or prefbench"
    )
