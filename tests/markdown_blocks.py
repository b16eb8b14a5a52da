"""Fenced code blocks and commands of Markdown pages, with their places; as a program, it runs or parses them."""

import ast
import contextlib
import io
import json
import re
import runpy
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})[ ]*(?P<language>[^\s`{]*)[^\n`]*\n(?P<text>.*?)^ *(?P=fence)[`~]*[ ]*$",
    re.MULTILINE | re.DOTALL,
)
SPAN = re.compile(r"(?<!`)`(?P<text>[^`]+)`(?!`)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """The text of one fenced block, its language ("" where none is said) and the line of its first line."""

    page: str
    line: int
    language: str
    text: str

    @property
    def place(self):
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class CommandLine:
    """One line for a shell, split into words, and where it stands."""

    place: str
    words: tuple[str, ...]

    def __str__(self):
        return f"{self.place}: {shlex.join(self.words)}"


def _blank(found):
    return re.sub(r"[^\n]", " ", found[0])


def blocks(file: Path, root: Path) -> list[Block]:
    """The fenced blocks of a page in order; what an HTML comment hides is none."""
    text, page = COMMENT.sub(_blank, file.read_text("utf-8")), file.relative_to(root).as_posix()
    found = []
    for match in FENCE.finditer(text):
        inside = re.sub(rf"^ {{0,{len(match['indent'])}}}", "", match["text"], flags=re.MULTILINE)
        found.append(Block(page, text.count("\n", 0, match.start("text")) + 1, match["language"].lower(), inside))
    assert len(re.findall(r"^ *(?:`{3,}|~{3,})", text, re.MULTILINE)) == 2 * len(found), (
        f"{page}: a fence is not closed"
    )
    return found


def command_lines(block: Block) -> list[CommandLine]:
    """The commands of a shell block: without comments and prompts, continued lines joined, and those of && and | apart."""
    found, pending, first = [], "", block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        first = first if pending else number
        if line.rstrip().endswith("\\"):
            pending += line.rstrip()[:-1] + " "
            continue
        found += split(f"{block.page}:{first}", re.sub(r"^\s*\$ ", "", pending + line))
        pending = ""
    return found


def split(place: str, line: str) -> list[CommandLine]:
    """The commands of one line."""
    reader = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    reader.whitespace_split, reader.commenters = True, "#"
    words, commands = list(reader), [[]]
    for word in words:
        if word in ("&&", "||", "|", ";", "&"):
            commands.append([])
        else:
            commands[-1].append(word)
    return [CommandLine(place, tuple(command)) for command in commands if command]


def spans(file: Path, root: Path, program: re.Pattern[str]) -> list[CommandLine]:
    """The commands that code spans of the running text give: spans that `program` matches from their beginning."""
    text = FENCE.sub(_blank, COMMENT.sub(_blank, file.read_text("utf-8")))
    page, found = file.relative_to(root).as_posix(), []
    for match in SPAN.finditer(text):
        if program.match(match["text"]):
            place = f"{page}:{text.count(chr(10), 0, match.start()) + 1}"
            found += split(place, " ".join(match["text"].split()))
    return found


TAKES_A_FILE = {"figures.benchmarks"}
"""Modules whose command line is one file, without a parser."""


# ---- in a process of their own ---------------------------------------------------------------------------


def run_page(job):
    """Run blocks [(line, text)] of a page in one namespace; the printed text of each statement by its last line."""
    sys.path.insert(0, "")  # what a page's own folder holds can be imported
    namespace = {"__name__": "page"}
    for text in job["prepared"]:
        exec(text, namespace)
    printed = {}
    for line, text in job["blocks"]:
        tree = ast.parse("\n" * (line - 1) + text, job["page"])
        for statement in tree.body:
            code = compile(ast.Module([statement], []), job["page"], "exec")
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(code, namespace)
            printed[statement.end_lineno] = out.getvalue()
    tests = [function for name, function in namespace.items() if name.startswith("test_") and callable(function)]
    for function in tests:  # as pytest would
        (mark,) = vars(function)["pytestmark"]
        assert mark.args[1], "no checks"
        for value in mark.args[1]:
            function(**{mark.args[0]: value})
    return {"printed": printed, "tests": len(tests)}


class ParsedError(BaseException):
    """Ends a command where its options are known; `options` are they."""

    def __init__(self, options):
        self.options = options


def parse_lines(job):
    """What is wrong with each command [module or "truerate", arguments], "" where it parses and what it names exists."""
    import argparse

    import tyro

    inner, whole = tyro.cli, argparse.ArgumentParser.parse_args

    def cli(*args, **kwargs):
        argparse.ArgumentParser.parse_args = whole
        raise ParsedError(inner(*args, **kwargs))

    def parse_args(self, *args, **kwargs):
        raise ParsedError(whole(self, *args, **kwargs))

    tyro.cli = cli
    found = []
    for module, arguments in job["lines"]:
        argparse.ArgumentParser.parse_args = parse_args
        sys.argv = [module, *arguments]
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                runpy.run_module("studies.console" if module == "truerate" else module, {}, "__main__", alter_sys=True)
            helped = {"-h", "--help", "--version"} & set(arguments)
            found.append("" if helped else "it ran to its end; expected its options to be parsed")
        except ParsedError as parsed:
            found.append(unknown_names(parsed.options))
        except SystemExit as stop:
            helped = not stop.code and {"-h", "--help"} & set(arguments)
            given_file = module in TAKES_A_FILE and len(arguments) == 1
            found.append("" if helped or given_file else f"exit code {stop.code}: {said.getvalue().strip()[-300:]}")
    return found


def unknown_names(options):
    """What options name that does not exist, "" if all of it does."""
    from studies.console import STUDIES
    from targets import ArgumentError

    kind = type(options).__module__
    try:
        if hasattr(options, "claims"):
            from verify.claims.ledger import find

            find(options.claims)
            assert options.study in {None, *STUDIES}, options.study
        elif hasattr(options, "names"):
            from figures.__main__ import refused

            return refused(options.names, None)
        elif hasattr(options, "library"):
            from verify.audit import registry

            assert options.library in {None, *registry.ADAPTERS}, options.library
            assert options.sampler is None or options.sampler in registry.names(options.library), options.sampler
        elif hasattr(options, "name"):
            assert options.name in STUDIES, options.name
    except (ArgumentError, AssertionError) as error:
        return f"{kind}: {error} is not known"
    return ""


if __name__ == "__main__":
    _, task, file = sys.argv
    answer = {"run": run_page, "parse": parse_lines}[task](json.loads(Path(file).read_text("utf-8")))
    Path(f"{file}.done").write_text(json.dumps(answer), "utf-8")
