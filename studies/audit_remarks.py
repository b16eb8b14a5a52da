"""What a look by hand found behind a line that does not conform: whose fault it is, and why.

Keyed by library, label and the version that was read; another version has no remark until somebody has looked.
"""

from __future__ import annotations

REMARKS: dict[tuple[str, str, str], str] = {}


def remark(library: str, label: str, version: str | None) -> str:
    """The sentence for a line, or nothing."""
    said = REMARKS.get((library, label, version or ""))
    return f" Read by hand: {said}" if said else ""
