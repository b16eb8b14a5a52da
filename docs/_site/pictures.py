"""The repository's figures as part of the site: pages name them by their place in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FRONT = "figures/front"


def on_files(files: Any, *, config: Any, **_: Any) -> Any:
    """Every SVG of figures/front, under the same path on the site."""
    from mkdocs.structure.files import File

    for path in sorted((REPOSITORY / FRONT).glob("*.svg")):
        files.append(File.generated(config, f"{FRONT}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """`../figures/` from docs/, one level more in a folder, becomes the path on the site."""
    return relinked(markdown, page.file.src_uri.count("/"))


def relinked(markdown: str, depth: int) -> str:
    """Links out of docs/ to the repository's figures, of a page `depth` folders deep; the vector form of each."""
    up = "../" * depth
    link = rf"\]\({re.escape('../' + up)}{FRONT}/(\w+)\.(?:png|svg)\)"
    return re.sub(link, rf"]({up}{FRONT}/\1.svg)", markdown)
