"""A single file of the web, pinned by its sha256: fetched once into prefbench's cache folder, and whole or absent there."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from prefbench.cache import cache_folder
from prefbench.errors import PrefbenchError
from prefbench.identity import file_digest
from prefbench.store.files import replacing

SCHEMES = ("https://", "http://")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SECONDS = 30.0
"""That a server has for each answer."""

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

    def here(self) -> Path | None:
        """The file in the cache folder; None where it is not there. Raises PrefbenchError for another one, which somebody put there by hand."""
        if not self.kept.is_file():
            return None
        self._check(self.kept, str(self.kept), "remove it: a run with a network fetches the right one")
        return self.kept

    def fetch(self) -> Path:
        """The file in the cache folder, fetched where it is not there yet. Raises PrefbenchError that says what to do."""
        if found := self.here():
            return found
        hint = f"correct the address; or fetch the file where there is a network and put it at {self.kept}, or name a file of this machine"
        try:
            self._download()
        except HTTPError as error:
            raise PrefbenchError(f"{self.url}: cannot be fetched: the server says {error.code} {error.reason}", hint) from None
        except (OSError, HTTPException, ValueError) as error:  # the last for an address that is no ASCII
            raise PrefbenchError(f"{self.url}: cannot be fetched: {error}", hint) from None
        return self.kept

    def _download(self) -> None:
        request = Request(self.url, headers={"User-Agent": "prefbench"})
        with urlopen(request, timeout=SECONDS) as reply, replacing(self.kept) as temporary:
            with temporary.open("wb") as file:
                shutil.copyfileobj(reply, file)
            self._check(temporary, self.url, "look at what is at this address, and write its sha256 if it is what you mean")

    def _check(self, path: Path, called: str, hint: str) -> None:
        """Raise PrefbenchError, with both digests, for a file that is not the one meant."""
        if (found := file_digest(path)) != self.sha256:
            raise PrefbenchError(f"{called}: has the sha256 {found}, and {self.sha256} is due", hint)


def _host(url: str) -> str:
    """Nothing where an address cannot be read."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _name(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]
