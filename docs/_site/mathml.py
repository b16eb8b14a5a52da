r"""Formulas of the pages: LaTeX between dollars becomes MathML when the site is built, and no script runs when it is read.

    $…$     in a line, opening before a character that is no space and closing after one
    $$…$$   a paragraph of its own

Code, in spans and in blocks, is left alone, and \$ is a dollar.  What latex2mathml lets pass although it did not understand
it (a command left as text, braces that do not match, a stray &) is refused: `FormulaError` names the page and the formula.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from latex2mathml.converter import convert

COMMENT = r"<!--.*?-->"
FENCE = r"^[ \t]*(?P<fence>`{3,}|~{3,})[^\n]*\n.*?(?:^[ \t]*(?P=fence)[`~]*[ \t]*$|\Z)"
SPAN = r"(?P<ticks>`+)(?!`).*?(?<!`)(?P=ticks)(?!`)"
INDENTED = r"(?:(?<=\n\n)|\A)(?:(?: {4}|\t)[^\n]*(?:\n|\Z)|\n(?= {4}|\t))+"
ESCAPED = r"\\\$"
DISPLAY = r"\$\$(?P<display>.+?)\$\$"
INLINE = r"\$(?=[^\s$])(?P<inline>[^$\n]*?[^\s$\\])\$(?![\w$])"
STRAY = r"(?P<stray>\$)"
MARKDOWN = re.compile(
    "|".join((COMMENT, FENCE, SPAN, INDENTED, ESCAPED, DISPLAY, INLINE, STRAY)), re.MULTILINE | re.DOTALL
)
HTML = re.compile(
    "|".join((COMMENT, r"<(?P<raw>pre|code|script|style)\b.*?</(?P=raw)>", r"<[^>]*>", ESCAPED, DISPLAY, INLINE)),
    re.DOTALL,
)

FOREIGN = re.compile(
    r"<script\b(?:(?!</script>).)*?(?:mathjax|https?://)(?:(?!</script>).)*</script>", re.DOTALL | re.IGNORECASE
)
"""Scripts that would load others from elsewhere: formulas and diagrams of notebooks."""

TWO_SIDED = {r"\lVert": "\ue010", r"\rVert": "\ue011", r"\lvert": "\ue012", r"\rvert": "\ue013"}
"""Bars that open and close, which latex2mathml does not tell apart."""
BARS = {"\ue010": ("prefix", "‖"), "\ue011": ("postfix", "‖"), "\ue012": ("prefix", "|"), "\ue013": ("postfix", "|")}
NAMES = "log|exp|sin|cos|tan|sinh|cosh|tanh|min|max|det|tr|Cov"
AFTER = "(?:(?<=</mi>)|(?<=</mn>)|(?<=</msub>)|(?<=</msup>)|(?<=</mfrac>))"
BASE = "(?<!<msub>)(?<!<msup>)(?<!<munder>)(?<!<msubsup>)"
SPELLING = (
    (
        r"<mrow>((?:<mi mathvariant=\"normal\">[A-Za-z]</mi>){2,})</mrow>",
        lambda m: f"<mi>{re.sub('<[^>]*>', '', m[1])}</mi>",
    ),
    (r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>"),
    (r"<mi>&#x0007E;</mi>", "<mo>∼</mo>"),
    (r"<mi>(&#x003(?:9[1-9A-F]|A[0-9]);)</mi>", r'<mi mathvariant="normal">\1</mi>'),
    (r"<msup>(<mi[^>]*>[^<]*</mi>)<mi>&#x02032;</mi></msup>", r'<mrow>\1<mo lspace="0" rspace="0">′</mo></mrow>'),
    (r"<mo>&#x0002F;</mo>", '<mo lspace="0" rspace="0">/</mo>'),
    (rf"{AFTER}(<mi>(?:{NAMES})</mi>)", r'<mspace width="0.167em"/>\1'),
    (rf"{BASE}(<mi>(?:{NAMES})</mi>)(?=<m(?:i|n|sub|sup|frac|row|sqrt|mover|space)\b)", r'\1<mspace width="0.167em"/>'),
)
"""What the converter writes in letters and what typesetting does: names of functions upright and apart, capitals upright."""
MARK = "\ue000{}\ue001"
LEFT_OVER = {
    r"\\": "a command that is not known",
    r"(?<![&\w])&(?![#\w]+;)": "an & outside of a table",
    r"<m[io]>[{}]</m[io]>": "a brace without its partner",
    r"Missing|<merror": "an error",
}


class FormulaError(ValueError):
    """A formula that is no LaTeX that latex2mathml understands."""


def mathml(latex: str, *, display: bool) -> str:
    """One formula as a MathML element.

    Raises `FormulaError` for an empty one, for braces that do not match and for what the converter does not know.
    """
    if not latex.strip():
        raise FormulaError("an empty formula")
    bare = re.sub(r"\\[\\{}]", "", latex)
    depths = _depths(bare)
    if depths[-1] or min(depths) < 0:
        raise FormulaError(f"braces do not match in {latex!r}")
    for command, mark in TWO_SIDED.items():
        latex = re.sub(re.escape(command) + r"(?![A-Za-z])", mark, latex)
    try:
        found = convert(latex, display="block" if display else "inline")
    except Exception as error:
        raise FormulaError(f"{type(error).__name__} in {latex!r}") from error
    for pattern, what in LEFT_OVER.items():
        if re.search(pattern, found):
            raise FormulaError(f"{what} in {latex!r}")
    for pattern, better in SPELLING:
        found = re.sub(pattern, better, found)
    return re.sub("<m[io]>([\ue010-\ue013])</m[io]>", _bar, found)


def _depths(text: str) -> list[int]:
    depths = [0]
    for brace in re.findall(r"[{}]", text):
        depths.append(depths[-1] + (1 if brace == "{" else -1))
    return depths


def _bar(found: re.Match[str]) -> str:
    form, bar = BARS[found[1]]
    return f'<mo form="{form}" fence="true" stretchy="false">{bar}</mo>'


def taken_out(markdown: str, *, pattern: re.Pattern[str] = MARKDOWN) -> tuple[str, list[str]]:
    """The text with a mark for each formula, and the formulas as MathML; `FormulaError` names the line of a stray dollar."""
    found: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        parts = match.groupdict()
        if parts.get("stray"):
            line = markdown.count("\n", 0, match.start()) + 1
            raise FormulaError(
                f"a dollar that neither opens nor closes a formula, line {line} (write \\$ for a dollar)"
            )
        if match[0] == r"\$":
            return "$"
        if parts.get("display") is None and parts.get("inline") is None:
            return match[0]
        display = parts.get("display") is not None
        latex = parts["display"] if display else parts["inline"]
        latex = _plain(latex) if pattern is HTML else latex
        element = mathml(latex, display=display)
        found.append(f'<div class="formula">{element}</div>' if display and pattern is not HTML else element)
        return MARK.format(len(found) - 1)

    return pattern.sub(replaced, markdown), found


def put_back(html: str, formulas: list[str]) -> str:
    """The marks replaced by their formulas; a displayed one is taken out of the paragraph that Markdown made around it."""
    for index, formula in enumerate(formulas):
        mark = MARK.format(index)
        if mark not in html:
            raise FormulaError(f"a formula was lost on the way to the page: {formula[:200]}")
        whole = f"<p>{mark}</p>" if f"<p>{mark}</p>" in html else mark
        html = html.replace(whole, formula)
    return html


def _plain(html: str) -> str:
    for entity, text in (("&lt;", "<"), ("&gt;", ">"), ("&quot;", '"'), ("&#39;", "'"), ("&amp;", "&")):
        html = html.replace(entity, text)
    return html


def _named(page: Any, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except FormulaError as error:
        from mkdocs.exceptions import PluginError

        raise PluginError(f"{page.file.src_uri}: {error}") from error


FOUND: dict[str, list[str]] = {}
"""Formulas of the pages that are between Markdown and HTML."""


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Take the formulas out before Markdown reads the page; a notebook is read by others."""
    if page.file.src_uri.endswith(".ipynb"):
        return markdown
    text, FOUND[page.file.src_uri] = _named(page, lambda: taken_out(markdown))
    return text


def on_page_content(html: str, *, page: Any, **_: Any) -> str:
    """Put them back as MathML; a notebook has become HTML with its formulas, and with scripts of other sites, in it."""
    if page.file.src_uri.endswith(".ipynb"):
        html = FOREIGN.sub("", html)
        text, formulas = _named(page, lambda: taken_out(html, pattern=HTML))
        return _named(page, lambda: put_back(text, formulas))
    return _named(page, lambda: put_back(html, FOUND.pop(page.file.src_uri, [])))
