"""What the IMDb tracks need, made in miniature by their own command: a tuned Gemma 3, continuations, scores, and the pairs of the three tiers."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from prefbench.config import find_track, read_track
from prefbench.data.content import check_model_folder
from prefbench.data.locations import HubLocation
from prefbench.errors import PrefbenchError
from prefbench.plan import Planner
from prefbench.planned import RunOptions
from prefbench.registry import load_registry
from prefbench.run import run
from prefbench.store.files import PARTIAL
from prefbench.store.folder import Folder
from tests.data.conftest import COMMIT
from tests.models import tiny_model

FOLDER = Path(__file__).parents[1] / "leaderboards" / "imdb-gemma-270m"
TIERS = ("high", "medium", "low")
PROMPT, WHOLE = 10, 28
SHORT = 3
"""The row of a review that is no longer than a prompt."""


def modules() -> list[str]:
    return [path.stem for path in FOLDER.glob("*.py")]


@pytest.fixture(scope="module")
def prepare() -> Iterator[ModuleType]:
    """The tracks' own script, which is no part of the package; the modules beside it are in ``sys.modules`` then."""
    sys.path.insert(0, str(FOLDER))
    import prepare as module

    yield module
    sys.path.remove(str(FOLDER))
    for name in modules():
        sys.modules.pop(name, None)


# ---------------------------------------------------------------- a miniature of everything


def reviews() -> list[dict[str, object]]:
    """24 negative reviews and then 16 positive ones; the fourth is short."""
    rng = np.random.default_rng(0)
    shared = "a the film plot cast and but was felt then".split()
    negative, positive = ([*shared, *own.split()] for own in ("dull poor bad", "grand fine good"))
    rows = [{"text": " ".join(rng.choice(negative if i < 24 else positive, 40)), "label": int(i >= 24)} for i in range(40)]
    rows[SHORT]["text"] = "a"
    return rows


def letters(texts: list[str]) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most 50 entries that puts a start token in front, as Gemma's does."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=50, special_tokens=["<pad>", "<eos>", "<bos>"], show_progress=False))
    bpe.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>")


def tiny_classifier(labels: dict[int, str]) -> RobertaForSequenceClassification:
    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = RobertaConfig(**sizes, max_position_embeddings=600, pad_token_id=0, initializer_range=0.5, id2label=labels)
    return RobertaForSequenceClassification(config).eval()


@dataclass(frozen=True)
class Made:
    """What the command was given, and the folder that it made."""

    base: Path
    reviews: Path
    classifier: Path
    out: Path

    def command(self, out: Path) -> list[str]:
        return [str(out), "--model", str(self.base), "--reviews", str(self.reviews), "--classifier", str(self.classifier)]

    def rows(self) -> list[dict[str, Any]]:
        return read(self.out / "scored.jsonl")


def sizes() -> Any:
    small = {"tuned": range(28, 40), "watched": range(24, 28), "continued": range(24)}
    return sys.modules["reviews"].Sizes(**small, prompt=PROMPT, whole=WHOLE, epochs=2, evaluated_every=1)


@pytest.fixture(scope="module")
def made(prepare: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("imdb")
    found = Made(folder / "given" / "base", folder / "given" / "train.jsonl", folder / "given" / "classifier", folder / "out")
    tokenizer = letters([str(row["text"]) for row in reviews()])
    for model, place in (
        (tiny_model("gemma3"), found.base),
        (tiny_classifier({0: "negative", 1: "neutral", 2: "positive"}), found.classifier),
    ):
        model.save_pretrained(place)
        tokenizer.save_pretrained(place)
    found.reviews.write_text("\n".join(map(json.dumps, reviews())))
    prepare.main(found.command(found.out), sizes())
    return found


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


# ---------------------------------------------------------------- step 1: the model


def test_the_tuned_model_is_a_plain_float32_folder_that_has_moved(made: Made) -> None:
    folder = made.out / "gemma-3-270m-imdb-sft"
    check_model_folder(folder)
    before, after = (AutoModelForCausalLM.from_pretrained(place).state_dict() for place in (made.base, folder))
    assert before.keys() == after.keys()
    assert {weight.dtype for weight in after.values()} == {torch.float32}
    moved = {name.rsplit(".", 2)[-2] for name in after if not torch.equal(before[name], after[name])}
    assert moved == {"q_proj", "k_proj", "v_proj", "o_proj"}


def test_the_loss_is_on_what_follows_the_prompt(made: Made) -> None:
    texts = [str(reviews()[0]["text"]), "a"]
    tokenizer = AutoTokenizer.from_pretrained(made.base)
    (found,) = sys.modules["tuning"].examples(tokenizer, texts, sizes())  # the short one has nothing to learn
    ids = [tokenizer.bos_token_id, *tokenizer(texts[0], add_special_tokens=False)["input_ids"]][:WHOLE]
    assert found == {"input_ids": ids, "labels": [-100] * PROMPT + ids[PROMPT:]}


def nats_per_token(folder: Path, texts: list[str]) -> float:
    """Of the tokens behind the prompts, one text at a time."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        ids = torch.tensor(tokenizer(text)["input_ids"][:WHOLE])
        with torch.no_grad():
            log_probs = model(ids[None]).logits[0].log_softmax(-1)
        found += [-float(log_probs[place - 1, ids[place]]) for place in range(PROMPT, len(ids))]
    return float(np.mean(found))


def test_tuning_stops_early_and_keeps_the_weights_of_the_lowest_watched_loss(made: Made, tmp_path: Path) -> None:
    """The watched texts contradict the ones that are learned, so that their loss falls for a while and rises then."""
    tuned, watched = ["the film was grand and the cast was fine then"] * 32, ["the film was grand but dull dull poor bad plot"] * 4
    longer = replace(sizes(), epochs=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["tuning"], "LEARNING_RATE", 0.02)
        done = sys.modules["tuning"].tune(made.base, tmp_path / "tuned", tuned, watched, longer)
    assert 4 <= done.steps < 400
    assert nats_per_token(tmp_path / "tuned", watched) == pytest.approx(done.loss, abs=1e-5)
    assert done.loss < nats_per_token(made.base, watched)
    assert [path.name for path in tmp_path.iterdir()] == ["tuned"]  # no checkpoint is left


# ---------------------------------------------------------------- step 2: continuations


def test_prompt_and_third_text_are_the_reviews_own_words(made: Made) -> None:
    negative = [str(row["text"]) for place, row in enumerate(reviews()[:24]) if place != SHORT]
    tokenizer = AutoTokenizer.from_pretrained(made.base)
    for row, text in zip(made.rows(), negative, strict=True):
        ids = tokenizer(text)["input_ids"]
        assert row["prompt"] == tokenizer.decode(ids[:PROMPT], skip_special_tokens=True)
        assert row["prompt"] + row["texts"][2] == tokenizer.decode(ids[:WHOLE], skip_special_tokens=True)
        assert text.startswith(row["prompt"] + row["texts"][2])


def test_no_text_is_longer_than_it_may_be_and_samples_differ(made: Made) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made.base)
    lengths = [len(tokenizer(row["prompt"] + text)["input_ids"]) for row in made.rows() for text in row["texts"]]
    assert max(lengths) == WHOLE
    assert sum(row["texts"][0] != row["texts"][1] for row in made.rows()) > 20


def test_samples_follow_their_own_prompts(made: Made) -> None:
    """Each is the greedy continuation of its own prompt once the model's own generation settings, which hold, leave one token."""
    folder, texts = made.out / "gemma-3-270m-imdb-sft", [str(row["text"]) for row in reviews()[4:8]]
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    openings = sys.modules["reviews"].openings(tokenizer, texts, sizes())
    model.generation_config.top_k = 1
    found = sys.modules["continuations"].sample(model, tokenizer, openings, sizes())
    for opening, samples in zip(openings, found, strict=True):
        tokens = torch.tensor([opening.tokens])
        greedy = model.generate(tokens, do_sample=False, max_new_tokens=WHOLE - PROMPT)[0, PROMPT:]
        assert samples == [tokenizer.decode(greedy, skip_special_tokens=True)] * 2
    assert len({samples[0] for samples in found}) > 1


# ---------------------------------------------------------------- step 3: scores


def test_a_score_is_six_times_the_probability_of_positive_less_a_half(made: Made) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(made.classifier).eval()
    tokenizer = AutoTokenizer.from_pretrained(made.classifier)
    for row in made.rows()[:5]:
        for text, score in zip(row["texts"], row["scores"], strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([tokenizer(row["prompt"] + text)["input_ids"]])).logits[0].double().numpy()
            assert score == pytest.approx(6 * np.exp(logits[2]) / np.exp(logits).sum() - 3, abs=1e-5)
    assert np.std([row["scores"] for row in made.rows()]) > 0.1


def test_the_positive_label_is_found_by_its_name(made: Made, tmp_path: Path) -> None:
    texts = [row["prompt"] for row in made.rows()]
    model = AutoModelForSequenceClassification.from_pretrained(made.classifier)
    model.config.id2label, head = {0: "Positive", 1: "negative", 2: "neutral"}, model.classifier.out_proj
    head.weight.data, head.bias.data = head.weight.data[[2, 0, 1]], head.bias.data[[2, 0, 1]]
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(made.classifier).save_pretrained(tmp_path)
    scores = sys.modules["sentiment"].scores
    assert scores(tmp_path, texts) == pytest.approx(scores(made.classifier, texts))
    model.config.id2label = {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    with pytest.raises(PrefbenchError, match="has the labels LABEL_0, LABEL_1, LABEL_2"):
        sys.modules["sentiment"].positive_label(model)


def test_a_classifier_on_the_hub_whose_weights_are_a_pickle_is_read(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As cardiffnlp's are; here the repository is in the hub's cache, as a download leaves it."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "models--cardiffnlp--roberta" / "snapshots" / COMMIT
    shutil.copytree(made.classifier, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    torch.save(AutoModelForSequenceClassification.from_pretrained(made.classifier).state_dict(), folder / "pytorch_model.bin")
    module = sys.modules["sentiment"]
    assert module.fetch_classifier(f"hf://cardiffnlp/roberta@{COMMIT}") == folder
    assert module.scores(folder, ["a dull"]) == pytest.approx(module.scores(made.classifier, ["a dull"]), rel=1e-5)


def test_weights_without_a_head_are_no_classifier(made: Made, tmp_path: Path) -> None:
    AutoModelForSequenceClassification.from_pretrained(made.classifier).roberta.save_pretrained(tmp_path)
    with pytest.raises(PrefbenchError, match=r"no classifier: the weights lack 4 tensors, the first is classifier\.dense\.bias"):
        sys.modules["sentiment"].load_classifier(tmp_path)


# ---------------------------------------------------------------- step 4: pairs


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    """1,200 prompts whose original reviews are much worse than the samples; one holds a character that some take for the end of a line."""
    rng = np.random.default_rng(0)
    path = tmp_path / "scored.jsonl"
    rows = [
        {"prompt": f"p{i}\x85", "texts": [f"a{i}", f"b{i}", f"o{i}"], "scores": [*rng.uniform(-1, 1, 2).round(3), -3.0]}
        for i in range(1200)
    ]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return path


def pairs_of(folder: Path, tier: str) -> list[dict[str, str]]:
    return [*read(folder / f"{tier}.train.jsonl"), *read(folder / f"{tier}.held-out.jsonl")]


def test_tiers_differ_in_how_many_pairs_hold_the_original_review(prepare: ModuleType, tmp_path: Path, scored: Path) -> None:
    assert sys.modules["pairs"].write_pairs(scored, tmp_path / "imdb") == dict.fromkeys(TIERS, (1000, 200))
    for tier, originals in zip(TIERS, (0, 600, 1200), strict=True):
        pairs = pairs_of(tmp_path / "imdb", tier)
        assert sum("o" in pair["chosen"][0] + pair["rejected"][0] for pair in pairs) == originals
        assert len({pair["prompt"] for pair in pairs}) == 1200


def test_labels_are_noisy_votes_of_the_scores(prepare: ModuleType, tmp_path: Path, scored: Path) -> None:
    sys.modules["pairs"].write_pairs(scored, tmp_path / "imdb")
    scores = {text: score for row in read(scored) for text, score in zip(row["texts"], row["scores"], strict=True)}
    pairs = pairs_of(tmp_path / "imdb", "low")
    gaps = np.array([abs(scores[pair["chosen"]] - scores[pair["rejected"]]) for pair in pairs])
    right = np.array([scores[pair["chosen"]] > scores[pair["rejected"]] for pair in pairs])
    expected = (1 / (1 + np.exp(-gaps))).mean()  # Bradley-Terry at temperature 1
    assert abs(right.mean() - expected) < 3 * np.sqrt(expected * (1 - expected) / len(pairs))


def test_a_row_of_another_form_is_named(prepare: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "scored.jsonl"
    path.write_text('{"prompt": "p", "texts": ["a", "b"], "scores": [1, 2]}\n')
    with pytest.raises(ValueError, match="row 1 needs a prompt, three texts and three scores"):
        sys.modules["pairs"].write_pairs(path, tmp_path / "imdb")


# ---------------------------------------------------------------- the command


def times(out: Path) -> dict[Path, int]:
    """When each file was written, the pairs apart: these take a second, and are always written."""
    return {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file() and path.parent.name != "imdb"}


def test_the_same_command_makes_nothing_again(made: Made, prepare: ModuleType) -> None:
    before = times(made.out)
    pairs = {tier: pairs_of(made.out / "imdb", tier) for tier in TIERS}
    given = made.base.parent
    given.rename(given.parent / "away")  # there is nothing to make anything from
    try:
        prepare.main(made.command(made.out), sizes())
    finally:
        (given.parent / "away").rename(given)
    assert times(made.out) == before
    assert {tier: pairs_of(made.out / "imdb", tier) for tier in TIERS} == pairs


def test_after_a_stop_it_goes_on_with_what_is_missing(made: Made, prepare: ModuleType, tmp_path: Path) -> None:
    for kept in (("continuations.jsonl", "gemma-3-270m-imdb-sft"), ("gemma-3-270m-imdb-sft",)):
        out = tmp_path / str(len(kept))
        out.mkdir()
        for name in kept:
            (out / name).symlink_to(made.out / name)
        (out / f".imdb{PARTIAL}").touch()
        made.base.rename(made.base.with_name("away"))  # nothing is tuned again
        try:
            prepare.main(made.command(out), sizes())
        finally:
            made.base.with_name("away").rename(made.base)
        assert (out / "scored.jsonl").read_bytes() == (made.out / "scored.jsonl").read_bytes()
        assert not (out / f".imdb{PARTIAL}").exists()


def test_a_folder_that_was_begun_with_something_else_is_refused(
    made: Made, prepare: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(made, classifier=made.base)
    with pytest.raises(SystemExit, match="2"):
        prepare.main(other.command(made.out), sizes())
    error, hint = capsys.readouterr().err.splitlines()
    assert error == f"error: {made.out}: was begun with --classifier {made.classifier}"
    assert hint.startswith("hint: name that one")


def test_what_is_missing_of_the_classifier_is_said_before_anything_is_tuned(made: Made, prepare: ModuleType, tmp_path: Path) -> None:
    places = prepare.Places(str(made.base), str(made.reviews), str(tmp_path / "none"))
    with pytest.raises(PrefbenchError, match="there is no such classifier"):
        prepare.prepare(places, tmp_path / "out", sizes())
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made-from.json"]
    prepare.keep_to(replace(places, classifier=str(made.classifier)), tmp_path / "out")  # nothing was made, so that another may be named


def test_reviews_in_another_order_are_refused(made: Made, prepare: ModuleType) -> None:
    module = sys.modules["reviews"]
    found = module.read_reviews(str(made.reviews))
    assert module.texts(found, range(24, 28), 1) == [row["text"] for row in reviews()[24:28]]
    for rows, label in ((range(20, 28), 1), (range(36, 41), 1)):
        with pytest.raises(PrefbenchError, match=f"rows {rows.start} to {rows.stop} of 40 reviews are due, all with the label 1"):
            module.texts(found, rows, label)


def test_the_defaults_are_commits_and_the_notebooks_sizes(prepare: ModuleType) -> None:
    assert all(HubLocation.parse(location).is_pinned for location in astuple(prepare.Places()))
    paper = prepare.PAPERS
    assert (paper.tuned, paper.continued, paper.prompt, paper.whole, paper.epochs) == (range(18_000, 25_000), range(12_000), 20, 196, 5)
    assert not set(paper.watched) & {*paper.tuned, *paper.continued}


def own_copy(made: Made, tier: str) -> Path:
    """The shipped track beside what was made, with the miniature's base model and lengths, four steps and one seed."""
    text = find_track(f"imdb-gemma-270m-{tier}").read_text(encoding="utf-8")
    changes = {"base": f'"{made.base}"', "steps": 4, "pool": 4, "warmup": 1, "max_length": 40, "seeds": [0], "max_new_tokens": 18}
    changes["methods"] = '["dpo"]'
    for key, value in changes.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    path = made.out / f"{tier}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("tier", TIERS)
def test_a_shipped_track_loads_what_was_made(made: Made, tier: str) -> None:
    registry = load_registry()
    source = Planner(read_track(own_copy(made, tier), registry), registry, "float32").source()
    written = [tuple(pair.values()) for pair in pairs_of(made.out / "imdb", tier)]
    found = [(pair.prompt, pair.chosen, pair.rejected) for pair in (*source.pairs(0), *source.held_out())]
    assert sorted(found) == sorted(pair for pair in written if all(text.strip() for text in pair))  # a sample may end at once
    assert len(found) > 15


def test_a_run_of_the_shipped_track_ends_with_a_board(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    options = RunOptions(track=str(own_copy(made, "low")), out=tmp_path / "run", in_process=True)
    assert run(options, lambda _: None).failed == {}
    records = Folder(tmp_path / "run").records()
    assert set(records) == {"base.-.s0", "sft.-.s0", "dpo.uniform.s0"}
    assert all("held_out_accuracy" in record["result"]["metrics"] for record in records.values())
