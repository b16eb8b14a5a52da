"""Small reports for the tests, and a reader of their tags."""

from html.parser import HTMLParser

import pytest
import report_inputs as inputs

from figures.report import build
from figures.report.data import read

EXTRA = "jinja2, plotly or latex2mathml is not installed (the extra report)"


class Parsed(HTMLParser):
    """Every start tag with its attributes, in order; what is open at the end; text of scripts."""

    VOID = frozenset("meta link img input br path circle rect".split())

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.scripts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)

    def all(self, attribute):
        return [attrs[attribute] for _, attrs in self.tags if attribute in attrs]


def made(folder, **changed):
    for name in build.LIBRARIES:
        pytest.importorskip(name, reason=EXTRA)
    return build.page(read(folder / "rows", **changed), folder / "front")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return inputs.write(tmp_path_factory.mktemp("report") / "inputs")


@pytest.fixture(scope="module")
def page(folder):
    return made(folder)
