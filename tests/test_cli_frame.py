"""The frame of commands at its edges: colours asked away, files in place of terminals, closed pipes, bars, columns."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli_output import ROOT, TRIED, Options, environment, everything

from verify import command as frame
from verify import progress as progressing
from verify.command import Command, write_json
from verify.progress import progress


@pytest.mark.parametrize(
    ("surroundings", "asked"),
    [
        ({}, False),
        ({"NO_COLOR": "1"}, True),
        ({"NO_COLOR": ""}, False),
        ({"TERM": "dumb"}, True),
        ({"TERM": "Unknown"}, True),
        ({"TERM": "xterm-256color"}, False),
    ],
)
def test_what_asks_for_text_without_escape_sequences(surroundings, asked, monkeypatch):
    """An empty NO_COLOR asks for nothing (no-color.org)."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    assert frame.plain() is asked


def test_where_there_is_no_terminal_tables_are_160_columns_wide():
    assert frame.Screen().width == 160


def test_help_asked_for_in_place_of_a_value_is_a_wrong_command(capsys):
    with pytest.raises(SystemExit) as stop:
        TRIED.parse(["--json", "--help"])
    assert stop.value.code == 2
    assert "examples:" not in capsys.readouterr().out


def test_a_wrong_option_stays_without_colours_in_a_file(tmp_path):
    """Standard output is a terminal, standard error is not."""
    master, slave = pty.openpty()
    with (tmp_path / "errors").open("wb") as errors:
        arguments = [sys.executable, "-m", "studies.rows", "step_scaling", "--nonsense"]
        shown = environment(TERM="xterm-256color")
        process = subprocess.Popen(arguments, stdout=slave, stderr=errors, cwd=ROOT, env=shown)
        os.close(slave)
        everything(master)
        assert process.wait() == 2
    told = (tmp_path / "errors").read_text()
    assert "--nonsense" in told
    assert "\x1b" not in told


def test_standard_output_is_looked_at_for_no_file(tmp_path, monkeypatch):
    """A folder of the name - is in nobody's way."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").mkdir()
    frame.writable("json", Path("-"))
    frame.writable("json", None)


def test_standard_output_comes_back_after_the_json(capfd, monkeypatch):
    """What workers write goes to standard error meanwhile; the console looks again both times."""
    looked = []
    monkeypatch.setattr(frame.console, "adapt", lambda: looked.append(os.fstat(1).st_ino))
    out, err = os.fstat(1).st_ino, os.fstat(2).st_ino
    with frame._set_aside(Path("-")):
        os.write(1, b"a table\n")
        write_json(Path("-"), [1])
    os.write(1, b"afterwards\n")
    write_json(Path("-"), [2])
    assert looked == [err, out]
    assert capfd.readouterr() == ("[\n 1\n]\nafterwards\n[\n 2\n]\n", "a table\n")


def test_what_is_printed_last_goes_to_a_closed_pipe_quietly():
    """A line so short that it is written only when the command ends."""
    code = "from test_cli_output import TRIED; TRIED.run(lambda _: print('a line'), [])"
    buffered = {name: value for name, value in environment().items() if name != "PYTHONUNBUFFERED"}
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        (sys.executable, "-c", code), stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=buffered
    )
    os.close(writer)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (141, "")


def test_what_examples_do_stands_in_one_column():
    two = Command(Options, "python -m tried", "A command.", (("", "one"), ("--number 2 --json -", "two")))
    lines = [line for line in two.ending().splitlines() if "  # " in line]
    assert len(lines) == 2
    assert len({line.index("  # ") for line in lines}) == 1


def test_a_first_call_without_anything_done_says_nothing(monkeypatch, capsys):
    """What was done before the start tells nothing of the time that is left."""
    now = [0.0]
    monkeypatch.setattr(progressing.time, "monotonic", lambda: now[0])
    with progress("step_scaling", 40, 4) as tell:
        now[0] = 40.0
        tell(4, "label")
        tell(40, "label")
    assert capsys.readouterr() == ("", "")


class Bar:
    """In the place of rich's bar: what it is given."""

    made: list = []

    def __init__(self, *columns, **options):
        self.made.append(options)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def add_task(self, name, total, completed):
        self.made.append((name, total, completed))
        return "task"

    def update(self, task, completed, description):
        self.made.append((task, completed, description))


@pytest.mark.parametrize(("no_color", "drawn"), [("", True), ("1", False)])
def test_a_bar_on_a_terminal_goes_to_standard_error_and_goes_away(no_color, drawn, monkeypatch):
    monkeypatch.setattr(progressing, "Progress", Bar)
    monkeypatch.setattr(Bar, "made", [])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress("step_scaling", 40, 4) as tell:
        tell(5, "digits")
    if not drawn:
        assert Bar.made == []
        return
    options, *told = Bar.made
    assert told == [("step_scaling", 40, 4), ("task", 5, "digits")]
    assert (options["transient"], options["redirect_stdout"], options["console"].stderr) == (True, False, True)
