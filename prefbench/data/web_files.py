"""A single file of the web, pinned by its sha256: fetched once into prefbench's cache folder, and whole or absent there."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from prefbench.cache import cache_folder
from prefbench.errors import PrefbenchError
from prefbench.store.files import replacing

SCHEMES = ("https://", "http://")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SECONDS = 30.0
"""That a server has for each answer."""
CHUNK = 1 << 20

_DIGEST = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True)
class WebFile:
    """``https://HOST/PATH/NAME#sha256=HEX``; ``http://`` from this machine itself only."""

    url: str
    sha256: str

    @classmethod
    def parse(cls, text: str) -> WebFile:
        """Raises PrefbenchError for an address that names no file, that anybody on the way could change, or that has no digest behind it."""
        url, _, fragment = text.partition("#")
        host = _host(url)
        if not host or _name(url) in ("", ".", ".."):
            raise PrefbenchError(f"{text}: names no file", "write https://HOST/PATH/FILE#sha256=HEX")
        if not url.startswith("https://") and host not in LOOPBACK:
            raise PrefbenchError(f"{text}: http is read from this machine only", "write https://")
        found = _DIGEST.fullmatch(fragment)
        if not found:
            hint = "write #sha256= and 64 hexadecimal digits behind it; no address tells them: fetch the file, look at it, and run `sha256sum FILE`"
            raise PrefbenchError(f"{text}: has no sha256, and what an address holds may be something else tomorrow", hint)
        return cls(url, found[1])

    @property
    def kept(self) -> Path:
        """Where the file is once it was fetched, under its own name, whose end says how it is read."""
        return cache_folder() / "files" / self.sha256 / _name(self.url)

    def fetch(self) -> Path:
        """The file in the cache folder, fetched where it is not there yet. Raises PrefbenchError that says what to do."""
        if not self.kept.is_file():
            hint = (
                f"correct the address; or fetch the file where there is a network and put it at {self.kept}, or name a file of this machine"
            )
            try:
                self._download()
            except HTTPError as error:
                raise PrefbenchError(f"{self.url}: cannot be fetched: the server says {error.code} {error.reason}", hint) from None
            except (OSError, HTTPException) as error:
                raise PrefbenchError(f"{self.url}: cannot be fetched: {error}", hint) from None
        return self.kept

    def _download(self) -> None:
        with urlopen(Request(self.url, headers={"User-Agent": "prefbench"}), timeout=SECONDS) as reply, replacing(self.kept) as temporary:
            found = _copy(reply, temporary)
            if found != self.sha256:
                hint = (
                    "the file at this address is another one than the track means: look at it, and write its sha256 if it is what you mean"
                )
                raise PrefbenchError(f"{self.url}: has the sha256 {found}, and {self.sha256} is due", hint)


def _host(url: str) -> str:
    """Nothing where an address cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


def _copy(reply: HTTPResponse, path: Path) -> str:
    """Write a reply to a file; the sha256 of its bytes."""
    found = hashlib.sha256()
    with path.open("wb") as file:
        while chunk := reply.read(CHUNK):
            found.update(chunk)
            file.write(chunk)
    return found.hexdigest()
