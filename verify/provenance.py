"""What made a number: command, commit, version of the code, libraries, machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch

ROOT = Path(__file__).resolve().parent.parent
"""The checkout."""

ABOVE = (
    "verify/claims/",
    "verify/__main__.py",
    "verify/command.py",
    "verify/progress.py",
    "verify/starting.py",
    "studies/__init__.py",
    "studies/__main__.py",
    "studies/console.py",
    "studies/plan.py",
    "studies/publish.py",
    "studies/rows.py",
)
"""Source of the ledger and of commands, on which no stored row depends."""


@lru_cache(maxsize=1)
def code_version() -> str:
    """Hash of every source file that a row of a study depends on."""
    digest = hashlib.sha256()
    for package in ("targets", "verify", "studies"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(ABOVE):
                digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@lru_cache(maxsize=1)
def provenance() -> dict[str, Any]:
    """Command, commit, code version, library versions and machine of this run."""
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        "command": " ".join(["python", "-m", _module(), *sys.argv[1:]]),
        "commit": git.stdout.strip() or "unknown",
        "code": code_version(),
        **surroundings(),
    }


def surroundings() -> dict[str, str]:
    """Versions of the libraries, kind of machine, and how many cores it has."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _module() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).stem
