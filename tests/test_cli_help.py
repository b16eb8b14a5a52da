"""Help: every example of every help text is a command line that works, starts are quick, flags mean the same everywhere."""

import dataclasses
import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from figures import __main__ as figures
from studies import __main__ as everything
from studies import console, loss_adaptive, plan, rows, study
from verify import __main__ as verify
from verify.claims.ledger import find
from verify.command import EXIT_CODES, Command

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = "import sys; from studies.console import main; sys.argv[0] = 'truerate'; main()"
EXAMPLE = re.compile(r"^  (truerate|python -m [\w.]+) ?(.*?) +# .+$", re.MULTILINE)
COMMANDS = {
    "studies": everything.command(),
    "studies.plan": plan.COMMAND,
    "studies.rows": rows.COMMAND,
    "studies.loss_adaptive": loss_adaptive.COMMAND,
    "verify": verify.COMMAND,
}


def of_study(name: str) -> Command:
    module = importlib.import_module(f"studies.{name}")
    return study.described(module.Config, name, module.__doc__)


def parsed(module: str, words: list[str]):
    """What the real parser of a module makes of the words; claims and figures are looked up as well."""
    if module == "studies" and words and words[0] in console.STUDIES:
        return of_study(words[0]).parse(words[1:])
    if module.removeprefix("studies.") in console.STUDIES:
        return of_study(module.removeprefix("studies.")).parse(words)
    if module == "figures":
        options = figures.parser().parse_args(words)
        assert figures.refused(options.names, options.json) == ""
        return options
    options = COMMANDS[module].parse(words)
    if module == "verify":
        find(options.claims)
    return options


def examples(text: str) -> list[tuple[str, list[str]]]:
    """(module, arguments) of every example in a help text, as the shell splits the line."""
    found = []
    for program, line in EXAMPLE.findall(text):
        words = shlex.split(line)
        if program == "truerate":
            module, words = console.COMMANDS[words[0]][0], words[1:]
        else:
            module = program.removeprefix("python -m ")
        found.append((module, words))
    return found


def test_examples_of_the_short_page():
    found = examples(console.page())
    assert len(found) == len(console.EXAMPLES)
    for module, words in found:
        parsed(module, words)


@pytest.mark.parametrize("name", [*COMMANDS, "figures", *console.STUDIES])
def test_examples_of_every_help_text(name, capsys):
    with pytest.raises(SystemExit) as stop:
        parsed("studies." + name if name in console.STUDIES else name, ["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.rstrip().endswith(EXIT_CODES)
    found = examples(text)
    assert 2 <= len(found) <= 5
    for module, words in found:
        parsed(module, words)


def test_the_check_of_examples_sees_a_wrong_one():
    wrong = Command(study.Config, "python -m studies", "", (("--presett full", "misspelt"),))
    ((module, words),) = examples(wrong.ending())
    with pytest.raises(SystemExit):
        parsed(module, words)


CONFIGS = {
    "studies": study.Config,
    "plan": plan.Options,
    "rows": rows.Options,
    "loss": loss_adaptive.Config,
    "verify": verify.Config,
}


def test_every_command_writes_json():
    for config in CONFIGS.values():
        fields = {field.name: field for field in dataclasses.fields(config)}
        assert fields["json"].default is None
    assert figures.parser().parse_args(["--json", "-"]).json == Path("-")


@pytest.mark.parametrize(("flag", "values"), [("preset", {"quick", "full"}), ("seed", {0}), ("out", {Path("results")})])
def test_flags_mean_the_same_everywhere(flag, values):
    found = [field.default for c in CONFIGS.values() for field in dataclasses.fields(c) if field.name == flag]
    assert found
    assert set(found) <= values


@pytest.mark.parametrize("name", [*COMMANDS, *console.STUDIES])
def test_no_flag_has_a_twin(name, capsys):
    with pytest.raises(SystemExit):
        parsed("studies." + name if name in console.STUDIES else name, ["--help"])
    assert "--no-" not in capsys.readouterr().out


def test_json_is_no_part_of_a_setting():
    assert study.Config(json=Path("-")).varied() == study.Config().varied() == {"preset": "quick", "seed": 0}


# ---- starting ----------------------------------------------------------------------------------------------------------


def start(*arguments, path="", **options):
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}:{path}" if path else str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=environment,
        **options,
    )


@pytest.mark.parametrize(
    ("arguments", "code"), [([], 0), (["--help"], 0), (["--version"], 0), (["help"], 0), (["audit"], 2)]
)
def test_the_short_page_needs_nothing_heavy(arguments, code, tmp_path):
    """A numpy and a torch that cannot be imported, and half a second of processor time."""
    for name in ("torch", "numpy", "rich", "tyro"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not needed for this')\n")
    before = os.times()
    done = start(*arguments, path=tmp_path)
    after = os.times()
    assert done.returncode == code, done.stderr
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 0.5


def test_figures_help_needs_nothing_heavy(tmp_path):
    for name in ("torch", "numpy", "rich", "tyro", "matplotlib"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('not needed for this')\n")
    done = start("figures", "--help", path=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: truerate figures ")


def test_the_version_is_the_one_of_the_package():
    from importlib import metadata

    assert start("--version").stdout == f"truerate {metadata.version('truerate')}\n"


def test_ctrl_c_while_torch_is_imported_is_one_line(tmp_path):
    (tmp_path / "torch.py").write_text(
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nsignal.raise_signal(signal.SIGINT)\n"
    )
    for arguments in (["studies", "step_scaling"], ["verify", "--help"], ["plan", "schedules"], ["studies"]):
        done = start(*arguments, path=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == ("", "stopped\n", 130)


def test_an_error_on_import_keeps_its_traceback(tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('broken installation')\n")
    done = start("verify", path=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "broken installation" in done.stderr
