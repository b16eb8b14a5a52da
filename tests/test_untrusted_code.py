"""What a file holds is never run: nothing of the product unpickles, evaluates text or hands a line to a shell."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "yaml", "jsonpickle"}
NAMES = {"eval", "exec", "compile", "__import__"}
CALLS = {
    *("torch.load", "torch.hub.load", "np.load", "numpy.load", "joblib.load", "pd.read_pickle", "pandas.read_pickle"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
}
KNOWN = {
    ("verify/audit/reproduction.py", "eval"),  # of expressions that stand in that file
    ("verify/invariants/sources.py", "pickle"),  # written in memory to compare two states, never read
}
"""Uses that no file can reach."""


def uses(text: str) -> set[str]:
    """What of the above a source uses."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names} & MODULES
        elif isinstance(node, ast.ImportFrom):
            found |= {(node.module or "").split(".")[0]} & MODULES
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & CALLS
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            found |= {called} & (NAMES | CALLS)
            found |= {
                word.arg
                for word in node.keywords
                if word.arg in ("shell", "allow_pickle")
                and not (isinstance(word.value, ast.Constant) and not word.value.value)
            }
    return found


def test_nothing_that_runs_what_it_reads():
    files = [path for package in ("targets", "verify", "figures", "studies") for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    assert {
        (path.relative_to(ROOT).as_posix(), use) for path in files for use in uses(path.read_text("utf-8"))
    } == KNOWN


@pytest.mark.parametrize(
    ("text", "use"),
    [
        ("import pickle", "pickle"),
        ("from yaml import load", "yaml"),
        ("import os.path\nos.system('x')", "os.system"),
        ("from torch import load", "torch.load"),
        ("eval('1')", "eval"),
        ("torch.load('x', weights_only=True)", "torch.load"),
        ("np.load(x, allow_pickle=True)", "allow_pickle"),
        ("subprocess.run('x', shell=True)", "shell"),
        ("subprocess.run('x', shell=told)", "shell"),
    ],
)
def test_the_search_sees(text, use):
    assert use in uses(text)


@pytest.mark.parametrize(
    "text", ["network.eval()", "ast.literal_eval(x)", "subprocess.run(['git'], shell=False)", "re.compile(x)"]
)
def test_the_search_lets_through(text):
    assert not uses(text)
