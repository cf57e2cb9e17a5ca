"""Where prefbench keeps what it can make again: one folder per user, or the one that PREFBENCH_CACHE names."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """The cache folder, absolute; it need not exist yet."""
    chosen = os.environ.get("PREFBENCH_CACHE", "").strip()
    return Path(chosen or platformdirs.user_cache_dir("prefbench")).expanduser().absolute()
