"""LaTeX of a claim to MathML that can be put into a page: only elements and attributes of MathML that draw, all text escaped.

The converter escapes nothing itself, so its tree is written out here again, from a list of what is let through.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

LONGEST = 2000
"""Characters of the longest formula that is converted."""

ELEMENTS = frozenset(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mstyle mpadded mphantom "
    "mtable mtr mtd mmultiscripts mprescripts none".split()
)
ATTRIBUTES = frozenset(
    "display displaystyle scriptlevel mathvariant stretchy fence form accent accentunder movablelimits largeop symmetric "
    "lspace rspace minsize maxsize width height depth linethickness columnalign rowspacing columnspacing separator".split()
)
BARS = ("‖", "|", "∥")
"""Of norms and of conditions."""

PLAIN = re.compile(r"[\w .%+-]*", re.ASCII)
"""What the value of an attribute may be."""


def mathml(latex: str, display: str = "block") -> str | None:
    """The formula as a <math> element, set apart or "inline"; None for what cannot be converted."""
    from latex2mathml.converter import convert_to_element

    if not latex.strip() or len(latex) > LONGEST:
        return None
    try:
        tree = convert_to_element(latex, display=display)
    except Exception:  # the converter raises what it happens to on text that is no LaTeX
        return None
    return "".join(_written(tree))


def _written(node: Any) -> Iterator[str]:
    name = str(node.tag).rpartition("}")[2]
    known = name in ELEMENTS
    if known:
        kept = {key: str(value) for key, value in node.attrib.items() if key in ATTRIBUTES}
        if name == "mo" and html.unescape(node.text or "") in BARS:
            kept["stretchy"] = "false"  # of one height with their letters, whatever stands in the same row
        parts = [f' {key}="{value}"' for key, value in kept.items() if PLAIN.fullmatch(value)]
        yield f"<{name}{''.join(parts)}>"
    if node.text:
        yield html.escape(html.unescape(node.text))
    for child in _merged(list(node)):
        yield from _written(child)
        if child.tail:
            yield html.escape(html.unescape(child.tail))
    if known:
        yield f"</{name}>"


def _merged(children: list[Any]) -> list[Any]:
    """Neighbouring upright letters as one identifier: KL, not K L."""
    out: list[Any] = []
    for child in children:
        if out and all(_upright(item) for item in (out[-1], child)):
            out[-1].text += child.text
        else:
            out.append(child)
    return out


def _upright(node: Any) -> bool:
    return node.tag == "mi" and node.get("mathvariant") == "normal" and bool(node.text) and not len(node)
