"""One command from the data to what the tracks need: ``python prepare.py DATA OUT`` makes a small Llama, its SFT, a judge, pairs, questions."""

from __future__ import annotations

import argparse
import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from hh import Preference, fit, read_lines, read_preferences, split, without_prompts_of
from judge import APART, LABELS, PAIRS_PER_LIST, Compared, beside_samples, compared_answers, sampled_answers, train_judge, trust
from language_model import END, Budget, Shape, conversation_batches, new_model, text_batches, train, train_tokenizer
from scored import ScoredList, alpaca_eval_rows, fit_lists, mt_bench_rows, read_scored_lists, split_lists
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

T = TypeVar("T")
SEED = 0
HELD_OUT_SHARE = 0.25
HELD_OUT_PAIRS = 600
"""Held-out pairs that the boards are measured on; with the judged questions, the items of a cell with more would be beyond a board's 20 KiB."""
MAX_LENGTH = 128
"""Tokens of prompt and longer answer; a dialogue that is longer loses its earliest turns, and is dropped when its last turn is too long."""
BLOCK = 256
POSITIONS = 512
SCORED_LENGTH = 256
"""Tokens of a scored list's prompt and each response; AlpacaEval's answers are long, and ``MAX_LENGTH`` would leave few of them."""
NEW_TOKENS = 48
"""Tokens of an answer, as the tracks say; a question that has no room for it is left out."""


@dataclass(frozen=True)
class Sizes:
    """How much is learned; the defaults take about ten minutes on two cores."""

    shape: Shape = Shape()  # noqa: RUF009 - frozen
    base: Budget = Budget(tokens=1_400_000, learning_rate=2e-3, step_tokens=768)  # noqa: RUF009 - frozen
    sft: Budget = Budget(tokens=700_000, learning_rate=1e-3, step_tokens=1024)  # noqa: RUF009 - frozen
    judge: Budget = Budget(tokens=1_600_000, learning_rate=1e-3, step_tokens=2048)  # noqa: RUF009 - frozen


@dataclass(frozen=True)
class Learned:
    """The SFT model with its tokenizer, and HH's pairs that it has not seen."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    held_out: list[Preference]


def prepare(data: Path, out: Path, sizes: Sizes, report: Callable[[str], None] = print) -> Counter[str]:
    """Make everything in ``out`` from the data folder: models, pairs, scored lists, questions, judge; the counts that are printed."""
    torch.set_num_threads(2)  # fixed, so that the weights do not follow the machine
    counts = Counter[str]()
    learned = make_policies(data, out, sizes, counts, report)
    counts.update(write_questions(data, out, learned.tokenizer))
    make_judge(data, out, learned, sizes.judge, counts, report)
    for name, count in counts.items():
        report(f"{name}: {count}")
    return counts


def make_policies(data: Path, out: Path, sizes: Sizes, counts: Counter[str], report: Callable[[str], None]) -> Learned:
    """HH's pairs, the base model and its SFT."""
    found, dropped = read_preferences(data / "hh_rlhf")
    training, held_out = split(found, HELD_OUT_SHARE)
    instructions = read_instructions(data)
    documents = shuffled([*read_stories(data), *(f"{q}\n\n{a}" for q, a in instructions), *map(as_text, training)])
    tokenizer = train_tokenizer(documents, sizes.shape.vocabulary, max_length=10**9)

    training, kept = fit(training, counter(tokenizer), MAX_LENGTH)
    held_out, kept_held_out = fit(held_out, counter(tokenizer), MAX_LENGTH)
    held_out = without_prompts_of(held_out, training)
    counts.update({**dropped, **labelled_counts("training", kept), **labelled_counts("held out", kept_held_out)})
    counts.update({"training pairs": len(training), "held-out pairs": len(held_out)})
    write_rows(out / "pairs.jsonl", map(Preference.row, training))
    write_rows(out / "held_out.jsonl", map(Preference.row, drawn(held_out, HELD_OUT_PAIRS)))

    model = new_model(sizes.shape, tokenizer, positions=POSITIONS, seed=SEED)
    report(f"model: {model.num_parameters() / 1e6:.1f} million parameters")
    ids = flat_ids(tokenizer, documents, sizes.base.tokens)
    train(model, text_batches(ids, BLOCK, sizes.base, SEED), sizes.base, lambda line: report(f"base: {line}"))
    save(model, tokenizer, out / "base")
    # SFT learns from both answers of a pair: pairs of a preference set are samples of one policy, and a reference that has learned
    # the chosen ones alone has spent part of the signal that the objectives are compared on.
    conversations = sft_rows(tokenizer, instructions, training, sizes.sft.tokens)
    batches = conversation_batches(conversations, tokenizer.pad_token_id, sizes.sft, SEED)
    train(model, batches, sizes.sft, lambda line: report(f"sft: {line}"))
    save(model, tokenizer, out / "sft")
    return Learned(model, tokenizer, held_out)


def make_judge(data: Path, out: Path, learned: Learned, budget: Budget, counts: Counter[str], report: Callable[[str], None]) -> None:
    """The scored lists, and a judge that has learned from those that are no evaluation questions; ``learned`` becomes it."""
    model, tokenizer = learned.model, learned.tokenizer
    lists, unseen = split_lists(read_scored_lists(data), HELD_OUT_SHARE)
    short, kept = fit_lists(lists, text_counter(tokenizer), SCORED_LENGTH)
    short_unseen, kept_unseen = fit_lists(unseen, text_counter(tokenizer), SCORED_LENGTH)
    counts.update({**labelled_counts("scored training", kept), **labelled_counts("scored held out", kept_unseen)})
    write_rows(out / "scored.jsonl", map(ScoredList.row, short))
    write_rows(out / "scored_held_out.jsonl", map(ScoredList.row, short_unseen))

    own, own_unseen = (against_samples(model, tokenizer, part) for part in (short, short_unseen))
    lessons = shuffled([*compared_answers(lists, PAIRS_PER_LIST, APART, SEED), *own])
    train_judge(model, tokenizer, lessons, budget, SEED)
    save(model, tokenizer, out / "judge")
    for name, pairs in {**trials(data, learned.held_out, unseen), "answers beside SFT's own": own_unseen}.items():
        report(f"judge on {name}: {trust(model, tokenizer, pairs)}")
        report(f"judge on {name}, by letter: {trust(model, tokenizer, pairs, LABELS)}")


# ---------------------------------------------------------------- questions, and what the judge is tried on


def labelled_counts(label: str, counts: Counter[str]) -> dict[str, int]:
    """The counts under names that begin with the label."""
    return {f"{label} {reason}": count for reason, count in counts.items()}


def write_questions(data: Path, out: Path, tokenizer: PreTrainedTokenizerFast) -> Counter[str]:
    """The two harnesses' questions that the model has room for."""

    def fits(turns: list[str]) -> bool:
        conversation = [message for turn in turns for message in ({"role": "user", "content": turn}, {"role": "assistant", "content": ""})]
        text = tokenizer.apply_chat_template(conversation, tokenize=False)
        return len(tokenizer.encode(text, add_special_tokens=False)) + NEW_TOKENS * len(turns) <= POSITIONS

    asked = alpaca_eval_rows(data, HELD_OUT_SHARE, fits)
    dialogues, references = mt_bench_rows(data, fits)
    write_rows(out / "alpaca_eval_questions.jsonl", asked)
    write_rows(out / "mt_bench_questions.jsonl", dialogues)
    write_rows(out / "mt_bench_references.jsonl", references)
    return Counter({"AlpacaEval questions": len(asked), "MT-Bench questions": len(dialogues)})


def against_samples(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, lists: Sequence[ScoredList]) -> list[Compared]:
    """An answer of each list against what the model itself says."""
    samples = sampled_answers(model, tokenizer, [scored.prompt for scored in lists], NEW_TOKENS, SEED)
    return beside_samples(lists, samples, SEED)


def trials(data: Path, held_out: Sequence[Preference], lists: Sequence[ScoredList]) -> dict[str, list[Compared]]:
    """Pairs that the judge has not learned from, by name: how far its verdicts on a board can be trusted."""
    human = [Compared("\n".join(m["content"] for m in pair.prompt), pair.chosen, pair.rejected) for pair in held_out]
    return {
        "held-out HH": human,
        "answers to AlpacaEval's questions": compared_answers(lists, 5, 0.0, SEED),
        "LLMBar": labelled(data / "llmbar" / "llmbar.jsonl.gz"),
        "MT-Bench's human votes": labelled(data / "llmbar" / "mt_bench_human_200.jsonl.gz"),
    }


def labelled(path: Path) -> list[Compared]:
    """The pairs of a file in which ``label`` says which of two outputs is better."""
    rows = [(row, (row["output_1"], row["output_2"])) for row in read_lines(path)]
    return [Compared(row["input"], *(shown if row["label"] == 1 else shown[::-1])) for row, shown in rows]


# ---------------------------------------------------------------- texts


def read_instructions(data: Path) -> list[tuple[str, str]]:
    """Questions with answers, of Dolly and Alpaca; an input stands below its instruction."""
    rows = [*read_lines(data / "dolly" / "dolly_3k.jsonl.gz"), *read_lines(data / "alpaca_subset" / "alpaca_subset.jsonl.gz")]
    asked = [(f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"], row["output"]) for row in rows]
    return [(question, answer) for question, answer in asked if answer.strip()]


def read_stories(data: Path) -> list[str]:
    """The paragraphs of TinyStories that are long enough to learn from."""
    files = sorted((data / "tinystories").glob("*.txt.gz"))
    texts = [gzip.decompress(path.read_bytes()).decode() for path in files]
    return [part for text in texts for part in text.split("\n\n") if len(part) > 100]


def as_text(pair: Preference) -> str:
    """A dialogue with its chosen answer as plain text."""
    return "\n\n".join([*(message["content"] for message in pair.prompt), pair.chosen])


def shuffled(rows: list[T]) -> list[T]:
    """The rows in random order, the same every time."""
    return random.Random(SEED).sample(rows, len(rows))


def drawn(rows: Sequence[T], count: int) -> list[T]:
    """At most so many of the rows, drawn at random, in their own order."""
    kept = random.Random(SEED).sample(range(len(rows)), min(count, len(rows)))
    return [rows[row] for row in sorted(kept)]


# ---------------------------------------------------------------- tokens


def conversation_ids(tokenizer: PreTrainedTokenizerFast, messages: Sequence[dict[str, str]], answer: str) -> tuple[list[int], list[int]]:
    """Token ids of a prompt through the chat template, and of its answer with the end token."""
    prompt = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
    return tokenizer.encode(prompt, add_special_tokens=False), tokenizer.encode(answer + END, add_special_tokens=False)


def counter(tokenizer: PreTrainedTokenizerFast) -> Callable[[Preference], int]:
    """A function that counts a pair's tokens: the prompt and the longer answer."""

    def count(pair: Preference) -> int:
        return max(sum(map(len, conversation_ids(tokenizer, pair.conversation, text))) for text in (pair.chosen, pair.rejected))

    return count


def text_counter(tokenizer: PreTrainedTokenizerFast) -> Callable[[str, str], int]:
    """A function that counts the tokens of a prompt, which is text, with an answer."""

    def count(prompt: str, answer: str) -> int:
        return sum(map(len, conversation_ids(tokenizer, [{"role": "user", "content": prompt}], answer)))

    return count


def flat_ids(tokenizer: PreTrainedTokenizerFast, documents: Iterable[str], enough: int) -> list[int]:
    """Token ids of the documents one after the other, an end token behind each, until there are enough."""
    ids: list[int] = []
    for text in documents:
        ids += tokenizer.encode(text + END, add_special_tokens=False)
        if len(ids) >= enough:
            break
    return ids


def sft_rows(
    tokenizer: PreTrainedTokenizerFast, instructions: list[tuple[str, str]], training: list[Preference], tokens: int
) -> list[tuple[list[int], list[int]]]:
    """Both answers of every training pair, and instructions up to ``tokens`` tokens in all; nothing longer than ``MAX_LENGTH``."""
    rows = [conversation_ids(tokenizer, pair.conversation, text) for pair in training for text in (pair.chosen, pair.rejected)]
    total = sum(len(prompt) + len(answer) for prompt, answer in rows)
    for question, answer in random.Random(SEED).sample(instructions, len(instructions)):
        row = conversation_ids(tokenizer, [{"role": "user", "content": question}], answer)
        if total >= tokens:
            break
        if len(row[0]) + len(row[1]) <= MAX_LENGTH:
            rows.append(row)
            total += len(row[0]) + len(row[1])
    return rows


# ---------------------------------------------------------------- files


def write_rows(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """JSON lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """An ordinary Hugging Face folder."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def main() -> None:
    """Read the two folders from the command line; do nothing when the second is complete."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with hh_rlhf/, tinystories/, alpaca_eval/ and the others that are read")
    parser.add_argument("out", type=Path, help="folder to be made")
    arguments = parser.parse_args()
    if (arguments.out / "judge" / "tokenizer.json").exists():
        print(f"{arguments.out} is there already; delete it to make it again")
        return
    prepare(arguments.data, arguments.out, Sizes())


if __name__ == "__main__":
    main()
