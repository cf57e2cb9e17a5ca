"""Files of the web: fetched once from a loopback server, held to their sha256, and read from the cache where nobody answers."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from prefbench.data.content import file_identity
from prefbench.data.files import Files
from prefbench.data.locations import fetch_file
from prefbench.data.rows import Table
from prefbench.data.web_files import WebFile
from prefbench.errors import PrefbenchError
from prefbench.judges.local import LocalModel

TEXT = b'{"prompt": "Why?", "chosen": "So.", "rejected": "No."}\n'


class Web(HTTPServer):
    """Files by their paths; of one in ``torn`` it sends the half and hangs up."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Reply)
        self.files: dict[str, bytes] = {}
        self.torn: set[str] = set()
        self.asked: list[str] = []

    def place(self, path: str, content: bytes, sha256: str | None = None) -> str:
        """The location of a file that lies there from now on, with its digest unless another is given."""
        self.files[path] = content
        return f"http://127.0.0.1:{self.server_port}{path}#sha256={sha256 or hashlib.sha256(content).hexdigest()}"


class Reply(BaseHTTPRequestHandler):
    server: Web

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if self.path in self.server.torn else content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PREFBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def web(cache: Path) -> Iterator[Web]:
    server = Web()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def kept(cache: Path) -> list[Path]:
    """Every file below the cache folder, half-written ones too."""
    return [path for path in cache.rglob("*") if path.is_file()]


def test_a_file_is_fetched_once_and_then_needs_no_network(web: Web, cache: Path) -> None:
    location = web.place("/a/pairs.jsonl", TEXT)
    path = fetch_file(location)
    assert path == cache / "files" / hashlib.sha256(TEXT).hexdigest() / "pairs.jsonl"
    assert path.read_bytes() == TEXT
    web.files.clear()
    assert fetch_file(location) == path
    assert web.asked == ["/a/pairs.jsonl"]
    assert kept(cache) == [path]


def test_another_file_than_is_meant_is_refused_with_both_digests_and_not_kept(web: Web, cache: Path) -> None:
    location = web.place("/pairs.jsonl", TEXT, sha256="0" * 64)
    with pytest.raises(PrefbenchError, match=hashlib.sha256(TEXT).hexdigest()) as caught:
        fetch_file(location)
    assert "0" * 64 in str(caught.value)
    assert not kept(cache)


def test_a_file_that_is_torn_on_its_way_is_not_kept(web: Web, cache: Path) -> None:
    location = web.place("/pairs.jsonl", TEXT)
    web.torn.add("/pairs.jsonl")
    with pytest.raises(PrefbenchError, match=r"http://127\.0\.0\.1:\d+/pairs\.jsonl"):
        fetch_file(location)
    assert not kept(cache)
    web.torn.clear()
    assert fetch_file(location).read_bytes() == TEXT


def test_a_file_that_the_server_lacks_is_told_with_its_answer(web: Web) -> None:
    location = web.place("/pairs.jsonl", TEXT)
    web.files.clear()
    with pytest.raises(PrefbenchError, match="the server says 404 Not Found") as caught:
        fetch_file(location)
    assert "correct the address" in caught.value.hint


def test_without_a_network_the_hint_says_where_to_put_the_file(cache: Path) -> None:
    location = f"http://127.0.0.1:9/pairs.jsonl#sha256={hashlib.sha256(TEXT).hexdigest()}"  # where nobody answers
    with pytest.raises(PrefbenchError, match=r"127\.0\.0\.1:9/pairs\.jsonl: cannot be fetched") as caught:
        fetch_file(location)
    by_hand = WebFile.parse(location).kept
    assert str(by_hand) in caught.value.hint
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(TEXT + b"\n")
    with pytest.raises(PrefbenchError, match="is due") as caught:
        fetch_file(location)
    assert str(by_hand) in str(caught.value)
    by_hand.write_bytes(TEXT)
    assert fetch_file(location).read_bytes() == TEXT


def test_an_address_that_no_server_can_be_asked_for_is_told_in_words(cache: Path) -> None:
    for name in ("für.jsonl", "two words.jsonl"):
        with pytest.raises(PrefbenchError, match="cannot be fetched"):
            fetch_file(f"http://127.0.0.1:9/{name}#sha256={'0' * 64}")


@pytest.mark.parametrize("fragment", ["", "#", "#sha256=", "#sha256=abc", f"#md5={'0' * 32}", f"#sha256={'0' * 65}"])
def test_without_a_whole_digest_an_address_is_refused(fragment: str) -> None:
    with pytest.raises(PrefbenchError, match="has no sha256") as caught:
        WebFile.parse(f"https://example.org/pairs.jsonl{fragment}")
    assert "sha256sum" in caught.value.hint


@pytest.mark.parametrize(
    "address", ["https://example.org", "https://example.org/a/", "https:///pairs.jsonl", "https://[x/a", "https://a/.."]
)
def test_an_address_that_names_no_file_is_refused(address: str) -> None:
    with pytest.raises(PrefbenchError, match="names no file"):
        WebFile.parse(f"{address}#sha256={'0' * 64}")


def test_http_is_for_this_machine_alone() -> None:
    with pytest.raises(PrefbenchError, match="this machine only"):
        WebFile.parse(f"http://example.org/pairs.jsonl#sha256={'0' * 64}")


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("pairs.jsonl", lambda rows: "\n".join(map(json.dumps, rows)).encode()),
        ("pairs.json", lambda rows: json.dumps(rows).encode()),
        ("pairs.csv", lambda rows: ("prompt,chosen\n" + "".join(f"{row['prompt']},{row['chosen']}\n" for row in rows)).encode()),
        ("pairs.json.gz", lambda rows: gzip.compress(json.dumps(rows).encode())),
    ],
)
def test_the_end_of_the_name_says_how_it_is_read(name: str, pack: Callable[[list[dict[str, str]]], bytes], web: Web) -> None:
    rows = [{"prompt": "w1", "chosen": "w2"}, {"prompt": "w3", "chosen": "w4"}]
    table = Table(web.place(f"/{name}?raw=1", pack(rows)))
    assert [row for _, row in table.rows()] == rows
    assert table.name.endswith(f"/{name}?raw=1")  # without the digest


def test_a_copy_on_this_disk_or_elsewhere_is_the_same_file(web: Web, tmp_path: Path) -> None:
    (tmp_path / "pairs.jsonl").write_bytes(TEXT)
    assert file_identity(web.place("/a.jsonl", TEXT)) == file_identity(web.place("/b.jsonl", TEXT))
    assert file_identity(web.place("/a.jsonl", TEXT)) == file_identity(str(tmp_path / "pairs.jsonl"))
    assert not web.asked


def test_a_model_is_no_file_of_the_web() -> None:
    location = f"https://example.org/model.safetensors#sha256={'0' * 64}"
    for make in (lambda: Files(location, "pairs.jsonl"), lambda: Files("sft", "pairs.jsonl", base=location), lambda: LocalModel(location)):
        with pytest.raises(PrefbenchError, match="a model is a folder"):
            make()


def test_the_source_fetches_what_a_harness_reads(web: Web, tmp_path: Path) -> None:
    source = Files("sft", "pairs.jsonl", mt_bench_prompts=web.place("/judge_prompts.jsonl", TEXT)).locate(tmp_path)
    assert source.files("mt_bench")["judge_prompts"].read_bytes() == TEXT
    assert source.harness_identity("mt_bench")["files"] == {"mt_bench_prompts": hashlib.sha256(TEXT).hexdigest()}
