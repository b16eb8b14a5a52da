"""What commands write, and where: JSON alone on standard output, no escape sequences where none are wanted, exit codes."""

import json
import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from studies import study
from studies.store import StoppedSweepError
from targets import ArgumentError, NotAvailableError
from verify import command as frame
from verify import progress as progressing
from verify.command import Command, Json, write_json
from verify.progress import clock, progress

ROOT = Path(__file__).resolve().parent.parent
TOY = [sys.executable, "-m", "toy_study", "--count", "3", "--device", "cpu", "--workers"]
CLAIM = "denoiser/rare-bit-growth"


def environment(**more):
    """This process's, with the toy study on the path, and nothing that decides on colour."""
    dropped = {"NO_COLOR", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE", "PYTHONUNBUFFERED"}
    kept = {k: v for k, v in os.environ.items() if k not in dropped}
    return {**kept, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **more}


def run(*arguments, **options):
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=ROOT, check=False, env=environment(), **options
    )


def on_terminal(arguments, **more):
    """(exit code, all that a process writes to a terminal that is both of its outputs)."""
    master, slave = pty.openpty()
    shown = environment(**{"TERM": "xterm-256color", **more})
    process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, env=shown)
    os.close(slave)
    text = everything(master)
    return process.wait(), text


def everything(master):
    """What is written to a terminal until its other end is closed."""
    parts = []
    with suppress(OSError):
        while part := os.read(master, 65536):
            parts.append(part)
    os.close(master)
    return b"".join(parts).decode()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_standard_output_is_the_json_alone(tmp_path, workers):
    """Tables and whatever workers print go to standard error; the rows are those that were stored."""
    done = run(*TOY, workers, "--out", str(tmp_path), "--json", "-")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["study"] == "toy_study"
    assert set(found) == {"study", "provenance", "rows"}
    assert found["provenance"]["command"].startswith("python -m toy_study --count 3")
    stored = [json.loads(line) for line in (tmp_path / "toy_study" / "rows.jsonl").read_text().splitlines()]
    assert sorted(found["rows"], key=lambda r: (r["key"], r["row"])) == sorted(
        stored, key=lambda r: (r["key"], r["row"])
    )
    assert "9 rows" in done.stderr
    file = tmp_path / "deep" / "rows.json"
    again = run(*TOY, workers, "--out", str(tmp_path), "--json", str(file))
    assert again.returncode == 0, again.stderr
    assert json.loads(file.read_text())["rows"] == found["rows"]
    assert "9 rows" in again.stdout


def test_a_failed_study_writes_no_json(tmp_path):
    done = run(*TOY, "1", "--out", str(tmp_path), "--json", "-", "--spoil", "raise:1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: 1 of 3 settings failed" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_go_on_as_json(tmp_path):
    run(*TOY, "1", "--out", str(tmp_path), "--json", str(tmp_path / "made.json"))
    done = run(sys.executable, "-m", "studies.rows", "toy_study", "--from", str(tmp_path), "--json", "-")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == json.loads((tmp_path / "made.json").read_text())["rows"]


def test_one_claim_as_json_and_the_list():
    done = run(sys.executable, "-m", "verify", CLAIM, "--json", "-")
    assert done.returncode == 0, done.stderr
    (claim,) = json.loads(done.stdout)["claims"]
    assert (claim["id"], claim["verdict"]["status"]) == (CLAIM, "supported")
    assert CLAIM in done.stderr
    listed = json.loads(run(sys.executable, "-m", "verify", "--list", "--json", "-").stdout)
    assert len(listed["claims"]) > 30
    assert {"id", "source", "statement", "rung", "families"} <= listed["claims"][0].keys()
    assert "verdict" not in listed["claims"][0]


def test_the_grid_as_json(tmp_path):
    """The grid of the file is the one of the document, and the best schedule is the optimum."""
    losses = tmp_path / "losses.csv"
    losses.write_text("snr,loss\n" + "".join(f"{10 ** (i / 8)},{1 / (1 + 10 ** (i / 8))}\n" for i in range(-24, 25)))
    options = ["--prediction", "x0", "--weighting", "sum", "--steps", "5", "--out", str(tmp_path), "--json", "-"]
    done = run(sys.executable, "-m", "studies.loss_adaptive", str(losses), *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    levels = [float(line.split(",")[0]) for line in (tmp_path / "loss_adaptive" / "grid.csv").read_text().split()[1:]]
    assert found["grid"]["snr"] == pytest.approx(levels)
    assert (found["steps"], found["unit"], len(levels)) == (5, "nats", 6)
    assert found["window"]["snr"] == pytest.approx([1e-3, 1e3])
    assert found["schedules"][0]["schedule"] == "optimal"
    costs = [one["value"] for one in found["schedules"]]
    assert costs == sorted(costs)


def test_figures_as_json(monkeypatch, tmp_path, capsys):
    from figures import __main__ as figures

    drawn = {"step_scaling": [tmp_path / "a.svg", tmp_path / "a.png"], "schedules": [tmp_path / "b.svg"]}

    def drawer(name):
        def draw():
            if name not in drawn:
                raise figures.NoRowsError(f"rows of {name}: none")
            return drawn[name]

        return draw

    monkeypatch.setattr(figures, "drawer", drawer)
    assert figures.main(["step_scaling", "schedules", "--json", "-"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out) == [str(path) for paths in drawn.values() for path in paths]
    assert told.err.split() == json.loads(told.out)
    assert figures.main(["score_error", "schedules", "--json", str(tmp_path / "list.json")]) == 1
    told = capsys.readouterr()
    assert json.loads((tmp_path / "list.json").read_text()) == [str(tmp_path / "b.svg")]
    assert (told.out, told.err) == (f"{tmp_path / 'b.svg'}\n", "error: rows of score_error: none\n")


PLAIN = ({"NO_COLOR": "1"}, {"TERM": "dumb"})
SHOWN = [
    pytest.param((*TOY, "1"), 0, PLAIN, id="sweep"),
    pytest.param((sys.executable, "-m", "verify", CLAIM), 0, PLAIN[:1], id="table"),
    pytest.param((sys.executable, "-m", "verify", "--help"), 0, PLAIN[:1], id="help"),
]


@pytest.mark.parametrize(("arguments", "code", "ways"), SHOWN)
def test_escape_sequences_on_a_terminal_and_none_where_none_are_wanted(arguments, code, ways, tmp_path):
    """The same command in several ways; that the first has escape sequences shows that the others could have had them."""

    def there(way):
        return [*arguments, *(["--out", str(tmp_path / way)] if "toy_study" in arguments else [])]

    status, coloured = on_terminal(there("coloured"))
    assert status == code, coloured
    assert "\x1b" in coloured
    for way in ways:
        (name,) = way
        status, text = on_terminal(there(name), **way)
        assert status == code, text
        assert "\x1b" not in text
        assert len(text) > 50
    done = run(*there("pipe"))
    assert done.returncode == code
    assert "\x1b" not in done.stdout + done.stderr


def test_a_wrong_option_on_a_terminal_is_one_plain_line():
    status, text = on_terminal([sys.executable, "-m", "studies.rows", "step_scaling", "--nonsense"])
    assert (status, text) == (2, "error: unrecognized options: --nonsense; see python -m studies.rows --help\r\n")


def test_colours_of_a_terminal_stay_out_of_a_file(tmp_path):
    """Standard output is a terminal, but with --json - all else goes to standard error, which is a file."""
    master, slave = pty.openpty()
    with (tmp_path / "errors").open("wb") as errors:
        arguments = [sys.executable, "-m", "verify", CLAIM, "--json", "-"]
        shown = environment(TERM="xterm-256color")
        process = subprocess.Popen(arguments, stdout=slave, stderr=errors, cwd=ROOT, env=shown)
        os.close(slave)
        text = everything(master)
        assert process.wait() == 0
    assert json.loads(text)["claims"][0]["id"] == CLAIM
    told = (tmp_path / "errors").read_text()
    assert CLAIM in told
    assert "\x1b" not in told


def test_a_plain_line_now_and_then(monkeypatch, capsys):
    """Forty settings of 8 seconds, four of which were done before: a line each 32 s, with the time that is left."""
    now = [0.0]
    monkeypatch.setattr(progressing.time, "monotonic", lambda: now[0])
    with progress("step_scaling", 40, 4) as tell:
        for done in range(5, 41):
            now[0] += 8.0
            tell(done, "label")
    told = capsys.readouterr()
    assert told.out == ""
    lines = told.err.splitlines()
    assert lines[0] == "step_scaling: 8 of 40 settings, 4:16 left"  # 32 more of 8 s
    assert lines[1] == "step_scaling: 12 of 40 settings, 3:44 left"
    assert len(lines) == 8
    assert lines[-1] == "step_scaling: 36 of 40 settings, 0:32 left"


def test_short_work_says_nothing(capsys):
    with progress("ledger", 3, unit="claims") as tell:
        for done in (1, 2, 3):
            tell(done, "")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0:00"), (80, "1:20"), (59.6, "1:00"), (3599, "59:59"), (7380, "2:03:00")]
)
def test_time_left(seconds, text):
    assert clock(seconds) == text


@dataclass(frozen=True)
class Options:
    """Nothing but a number and where the JSON goes."""

    number: int = 1
    json: Json = None


TRIED = Command(Options, "python -m tried", "A command.", (("--number 2", "two"),))


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ArgumentError("a = 1: expected 2"), 2, "error: a = 1: expected 2\n"),
        (NotAvailableError("not here"), 1, "error: not here\n"),
        (StoppedSweepError("the disk is full"), 1, "error: the disk is full\n"),
        (PermissionError(13, "Permission denied", "f"), 1, "error: [Errno 13] Permission denied: 'f'\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
        (study.InterruptedSweep("stopped at setting 2 of 3"), 130, "\nstopped at setting 2 of 3\n"),
    ],
)
def test_errors_and_their_exit_codes(error, code, told, capsys):
    def main(_):
        raise error

    with pytest.raises(SystemExit) as stop:
        TRIED.run(main, [], failures=study.FAILURES)
    assert stop.value.code == code
    assert capsys.readouterr() == ("", told)


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        TRIED.run(lambda _: 1 // 0, [])


def test_the_answer_no_is_exit_code_one():
    TRIED.run(lambda _: 0, [])
    TRIED.run(lambda _: None, [])
    with pytest.raises(SystemExit) as stop:
        TRIED.run(lambda options: options.number, ["--number", "1"])
    assert stop.value.code == 1


def test_nothing_is_written_where_nothing_is_asked_for(capsys):
    write_json(None, {"a": 1})
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ValueError, match="JSON"):
        write_json(Path("-"), {"a": float("nan")})


def test_the_program_is_what_was_typed(monkeypatch):
    assert TRIED.program == "python -m tried"
    monkeypatch.setattr(sys.modules["__main__"], "PROGRAM", "truerate tried", raising=False)
    assert TRIED.program == "truerate tried"
    assert "\n  truerate tried --number 2  # two\n" in TRIED.ending()
    assert frame.EXIT_CODES in TRIED.ending()


@pytest.mark.parametrize(
    "arguments",
    [
        (sys.executable, "-m", "verify", "--list"),
        (sys.executable, "-m", "verify", "--list", "--json", "-"),
        (sys.executable, "-c", "from studies.console import main; main()", "--help"),
        (sys.executable, "-m", "studies", "--help"),
    ],
)
def test_a_closed_pipe_is_no_error(arguments):
    """Standard output is closed before anything is written to it."""
    reader, writer = os.pipe()
    os.close(reader)
    process = subprocess.Popen(arguments, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
    os.close(writer)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 141
    if "-" not in arguments:
        assert errors == ""
    assert "Traceback" not in errors
    assert "Broken" not in errors


def test_a_full_device_is_one_line():
    """/dev/full takes nothing: an error in a line and exit code 1, after the work."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = run(sys.executable, "-m", "verify", "--list", "--json", "/dev/full")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == "error: [Errno 28] No space left on device"
