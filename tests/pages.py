"""The pages of docs/ as their tests read them."""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"\$\$(.+?)\$\$\n+([^\n]*)", re.DOTALL)


@cache
def text(page: str) -> str:
    """A page's source."""
    return (DOCS / page).read_text(encoding="utf-8")


def displayed(page: str) -> list[tuple[str, str]]:
    """Every displayed formula with the line after it."""
    return BLOCK.findall(text(page))


def states(page: str, latex: str) -> None:
    """The mathematics page displays this formula, or this part of one, to the letter."""
    assert any(latex in formula for formula, _ in displayed(f"mathematics/{page}.md")), f"{page} does not state {latex}"
