"""The console script `truerate`: one word for each command, run as `python -m` runs its module.

Nothing of a command is imported before it is known which one is asked for, and what no command is called is answered with
the nearest that there is, exit code 2.
"""

from __future__ import annotations

import difflib
import os
import runpy
import sys
import textwrap
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

STUDIES = {
    "dimension_scaling": "how the KL of three samplers grows with dimension",
    "step_scaling": "how every rung falls with the number of steps",
    "schedules": "what schedules in use cost over the best grid",
    "score_error": "what an imperfect denoiser costs",
    "entropy_scaling": "how the least path KL grows with entropy",
    "early_stopping": "what stopping before the data costs",
    "noise_step": "what the noise step of arXiv 2508.16306 is for",
    "open_questions": "three questions that arXiv 2508.16306 leaves open",
    "learned_score": "what a trained network costs, whose error is known exactly",
    "sampler_audit": "whether other libraries' samplers converge at the order that they declare",
    "atlas": "what every sampler costs on every schedule, on every rung",
    "filmstrip": "how two samplers carry particles of one law, beside its exact density",
}
"""Each study with its question, in the order in which they run."""

COMMANDS = {
    "studies": ("studies", "measure: every study in turn, or one of them by its name"),
    "verify": ("verify", "hold what papers claim against measured numbers: claims, verdicts, controls"),
    "figures": ("figures", "redraw the figures from stored rows"),
    "plan": ("studies.plan", "what a study will cost, before it is run"),
    "rows": ("studies.rows", "the rows of a study as a table: CSV, Parquet, JSON"),
    "loss-adaptive": ("studies.loss_adaptive", "the best grid for your own training run, from its logged losses"),
    "report": ("figures.report", "all results on one page, from stored rows"),
}
"""Each command with the module that it runs, and what it does."""

EXAMPLES = (
    ("studies dimension_scaling", "the main job, about a minute"),
    ("studies step_scaling --preset full --workers 4", "one study at length"),
    ("verify denoiser/mmse-gap", "one claim with its rows"),
    ("verify --json ledger.json", "the whole ledger, two minutes"),
    ("plan learned_score", "its cost here, before it runs"),
    ("loss-adaptive losses.csv --prediction epsilon --weighting mean", "a grid from your losses"),
)

MEANT = {
    "study": "studies",
    "run": "studies",
    "ledger": "verify",
    "claims": "verify",
    "claim": "verify",
    "check": "verify --check",
    "audit": "studies sampler_audit",
    "figure": "figures",
    "draw": "figures",
    "plot": "figures",
    "export": "rows",
    "cost": "plan",
    "grid": "loss-adaptive",
}
"""What some words mean that no command is called."""


def page() -> str:
    """The help text."""
    commands = "\n".join(f"  {word:<14} {what}" for word, (_, what) in COMMANDS.items())
    width = max(len(line) for line, _ in EXAMPLES)
    examples = "\n".join(f"  truerate {line:<{width}}  # {what}" for line, what in EXAMPLES)
    return (
        "usage: truerate COMMAND [OPTIONS]\n\n"
        "True convergence rates of diffusion samplers, measured where all is known in closed form.\n\n"
        f"commands:\n{commands}\n\n"
        "  truerate COMMAND --help says what its options are;  truerate --version, which version this is.\n\n"
        f"studies:\n{textwrap.fill(', '.join(STUDIES), 100, initial_indent='  ', subsequent_indent='  ')}\n\n"
        f"examples:\n{examples}\n\n"
        "exit codes: 0 done; 1 the answer is no, or the work failed; 2 a wrong command or input; 130 interrupted"
    )


def version() -> str:
    """The version of the package that is installed."""
    from importlib import metadata

    try:
        return f"truerate {metadata.version('truerate')}"
    except metadata.PackageNotFoundError:
        return "truerate, not installed"


def nearest(program: str, arguments: list[str]) -> str:
    """What is to be said to a word that no command is called."""
    word, name = arguments[0], arguments[0].replace("-", "_")
    known = {word.replace("-", "_"): word for word in COMMANDS} | MEANT | {one: f"studies {one}" for one in STUDIES}
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if word.startswith("-"):
        return f"error: option = {word!r}: expected a command before it, one of {', '.join(COMMANDS)}; see {program} --help"
    if "/" in word and not near:
        meant = f"verify {word}"
    else:
        meant = known[near[0]] if near else ""
    hint = f"did you mean: {' '.join([program, meant, *arguments[1:]])}" if meant else f"see {program} --help"
    return f"error: command = {word!r}: expected one of {', '.join(COMMANDS)}; {hint}"


def study_or_all(program: str, arguments: list[str]) -> bool:
    """Run the study whose name comes first, as its own module; False where none is named: all are meant.

    Exits with code 2 for a name that no study has.
    """
    if not arguments or arguments[0].startswith("-"):
        for i, (before, word) in enumerate(pairwise(arguments), 1):
            if word in STUDIES and (before == "--fresh" or not before.startswith("-")):
                meant = " ".join([program, word, *arguments[:i], *arguments[i + 1 :]])
                _wrong(f"error: study = {word!r}: expected before all options; did you mean: {meant}")
        return False
    name, rest = arguments[0].replace("-", "_"), arguments[1:]
    if name not in STUDIES:
        near = difflib.get_close_matches(name, STUDIES, n=1, cutoff=0.4)
        hint = f"; did you mean: {' '.join([program, near[0], *rest])}" if near else ""
        _wrong(f"error: study = {arguments[0]!r}: expected one of {', '.join(STUDIES)}{hint}")
    hand_over(f"studies.{name}", f"{program} {name}", rest)
    return True


def hand_over(module: str, program: str, arguments: list[str]) -> None:
    """Run the module as `python -m` does; its usage lines show the program that was typed."""
    sys.argv = [sys.argv[0], *arguments]
    runpy.run_module(module, {"PROGRAM": program}, "__main__", alter_sys=True)


def main() -> None:
    """`truerate`: hand over to the command that is named.  Exits with code 2 where none is, with 130 on Ctrl-C."""
    arguments = sys.argv[1:]
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            _say(page())
        elif arguments[0] in ("--version", "-V"):
            _say(version())
        elif arguments[0] not in COMMANDS:
            _wrong(nearest("truerate", arguments))
        else:
            hand_over(COMMANDS[arguments[0]][0], f"truerate {arguments[0]}", arguments[1:])
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        with suppress(OSError, ValueError), Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(141)


def _wrong(text: str) -> NoReturn:
    print(text, file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
