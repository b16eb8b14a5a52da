"""Imports point down: studies -> figures -> verify -> targets; figures read row files and import nothing of ours."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = {
    "targets": {"targets"},
    "verify": {"verify", "targets"},
    "figures": {"figures"},
    "studies": {"studies", "figures", "verify", "targets"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of ours that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        found |= {name.split(".")[0] for name in names} & (set(ALLOWED) | {"tests"})
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_point_down(package):
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        assert imported(path) <= ALLOWED[package], path


def test_the_check_sees_a_wrong_arrow(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from studies.store import Store\nimport verify.kl\n")
    assert imported(wrong) == {"studies", "verify"}


def test_files_have_one_reason_to_exist():
    long = {p: n for p in ROOT.glob("[tvsf]*/**/*.py") if (n := len(p.read_text().splitlines())) > 320}
    assert not long
