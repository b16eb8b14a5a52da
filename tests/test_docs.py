"""The documentation site: formulas, links to code, docstrings as pages, navigation, citation; the build itself is slow."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from pages import BLOCK, DOCS, ROOT, displayed, text

pytest.importorskip("latex2mathml")
griffe = pytest.importorskip("griffe")
LINK = re.compile(r"\[`([\w.]+)`\]\[\1\]")
PAGES = sorted(path.name for path in (DOCS / "mathematics").glob("*.md") if path.name != "index.md")


def hook(name: str):
    """A hook of the site as a module."""
    spec = importlib.util.spec_from_file_location(f"site_{name}", DOCS / f"_site/{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MATHML = hook("mathml")
NAVIGATION = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]


def page(name: str = "some/page.md") -> SimpleNamespace:
    return SimpleNamespace(file=SimpleNamespace(src_uri=name))


def rendered(markdown: str, name: str = "some/page.md") -> str:
    """Through both ends of the hook, with Markdown left out."""
    return MATHML.on_page_content(MATHML.on_page_markdown(markdown, page=page(name)), page=page(name))


def test_formulas_become_mathml():
    html = rendered("so $\\gamma = \\alpha^2/\\sigma^2$ and\n\n$$\\lVert x\\rVert^2 \\le \\mathrm{mmse}(\\gamma)$$\n")
    assert html.count("<math ") == 2
    assert html.count('<div class="formula">') == 1
    assert '<mo form="prefix" fence="true" stretchy="false">‖</mo>' in html
    assert "<mi>mmse</mi>" in html
    assert "$" not in html
    assert "\\" not in html


@pytest.mark.parametrize(
    "markdown",
    [
        "`$x$`",
        "``a ` $x$``",
        "```sh\necho $HOME $PATH\n```",
        "~~~\n$x\n~~~",
        "text\n\n    $indented\n\nmore",
        "<!-- $ -->",
    ],
)
def test_code_is_left_alone(markdown):
    assert rendered(markdown) == markdown


def test_an_escaped_dollar_is_a_dollar():
    assert rendered("costs \\$5 and \\$6") == "costs $5 and $6"


@pytest.mark.parametrize(
    ("markdown", "why"),
    [
        ("$\\nosuchcommand x$", "not known"),
        ("$\\frac{a}{b$", "braces"),
        ("$a} + {b$", "braces"),
        ("$\\left( a$", "Right"),
        ("$a & b$", "outside of a table"),
        ("line\n\nand a $ alone", "line 3"),
        ("$$ $$", "empty"),
    ],
)
def test_what_is_no_formula_stops_the_build_and_names_the_page(markdown, why):
    from mkdocs.exceptions import PluginError

    with pytest.raises(PluginError, match=rf"some/page\.md.*{why}"):
        rendered(markdown)


def test_notebooks_keep_their_formulas_and_lose_foreign_scripts():
    html = (
        '<p>$\\alpha &lt; 1$</p><pre>$x$</pre><script>load("https://cdn.example/mathjax.js")</script>'
        '<script>own()</script><p title="$5">cost</p>'
    )
    found = MATHML.on_page_content(MATHML.on_page_markdown("{}", page=page("a.ipynb")) and html, page=page("a.ipynb"))
    assert "<math " in found
    assert "&#x0003C;" in found
    assert "<pre>$x$</pre>" in found
    assert "cdn.example" not in found
    assert "own()" in found


def test_every_formula_names_the_function_that_computes_it():
    for name in PAGES:
        formulas = displayed(f"mathematics/{name}")
        assert len(formulas) >= 3
        assert text(f"mathematics/{name}").count("$$") == 2 * len(formulas)
        for formula, after in formulas:
            assert LINK.findall(after), f"{name}: no link after {formula}"
            for place in LINK.findall(after):
                assert imported(place) is not None


def imported(place: str) -> object:
    """The object of a dotted name: the longest module in it, then attributes."""
    parts = place.split(".")
    for size in range(len(parts) - 1, 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        for name in parts[size:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(place)


def test_a_missing_link_and_a_wrong_name_are_seen():
    ((_, after),) = BLOCK.findall("$$x$$\n\nand so on\n")
    assert not LINK.findall(after)
    with pytest.raises(AttributeError):
        imported("verify.kl.pth")


def test_most_displayed_formulas_are_evaluated():
    stated: dict[str, list[str]] = {}
    for file in ROOT.glob("tests/test_docs_formulas*.py"):
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "states":
                place, latex = (argument.value for argument in call.args)  # type: ignore[attr-defined]
                stated.setdefault(f"{place}.md", []).append(latex)
    found = [(name, formula) for name in PAGES for formula, _ in displayed(f"mathematics/{name}")]
    checked = [one for one in found if any(latex in one[1] for latex in stated.get(one[0], ()))]
    assert len(checked) >= 0.8 * len(found), [one for one in found if one not in checked]


def test_docstrings_become_readable():
    readable = hook("docstrings").readable
    source = (
        "A law on R^d.\n\nvp        σ = 1\nve        α = 1\n\n    K·KL  →  S²/4\n\n>>> 1 + 1\n2\n\nThe *p_k* of `a_b`."
    )
    assert readable(source) == (
        "A law on R^d.\n\n    vp        σ = 1\n    ve        α = 1\n\n    K·KL  →  S²/4\n\n"
        "```pycon\n>>> 1 + 1\n2\n```\n\nThe \\*p\\_k\\* of `a_b`."
    )


def test_exported_names_are_found_where_a_module_has_the_same_name():
    extension = hook("docstrings").Docstrings()
    package = griffe.load("verify", search_paths=[str(ROOT)], extensions=griffe.load_extensions(extension))
    assert package["kl.path"].is_function
    assert package["kl.parts"].is_function
    assert package["samplers.ddpm"].is_function
    assert "verify/kl/path.py" in package["kl.path"].docstring.value
    assert "verify/kl/path.py" not in package["kl.parts"].docstring.value


def test_figures_are_linked_by_their_place_on_the_site():
    relinked = hook("pictures").relinked
    assert relinked("![a](../figures/front/x.png)", 0) == "![a](figures/front/x.svg)"
    assert relinked("[a](../../figures/front/x.svg)", 1) == "[a](../figures/front/x.svg)"
    assert relinked("[a](../figures/other/x.png)", 0) == "[a](../figures/other/x.png)"


def leaves(item) -> list[str]:
    if isinstance(item, str):
        return [item]
    return [leaf for child in (item.values() if isinstance(item, dict) else item) for leaf in leaves(child)]


def test_navigation_holds_every_page_once():
    pages = [str(path.relative_to(DOCS)) for kind in ("*.md", "*.ipynb") for path in DOCS.rglob(kind)]
    assert sorted(leaves(NAVIGATION)) == sorted(pages)


def test_nothing_is_loaded_from_elsewhere():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in config
    assert not re.findall(r"https?://", config + (DOCS / "_site/site.css").read_text(encoding="utf-8"))


def test_citation():
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "version", "license", "type", "abstract"} <= set(found)
    assert found["cff-version"] == "1.2.0"
    assert found["type"] == "software"
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{found["version"]}"' in project
    assert f'license = "{found["license"]}"' in project
    known = (ROOT / "references.bib").read_text(encoding="utf-8")
    for reference in found["references"]:
        assert {"type", "title", "authors"} <= set(reference) <= {"type", "title", "authors", "identifiers", "url"}
        assert all(author.get("name") or author.get("family-names") for author in reference["authors"])
        (identifier,) = reference["identifiers"]
        assert identifier["value"].removeprefix("arXiv:") in known


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_without_a_network(tmp_path):
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    for path in tmp_path.rglob("*.html"):
        html = path.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)\b[^>]*(?:src|href)="(https?://[^"]*)"', html)
        assert not loaded, f"{path.name} loads {loaded}"
        assert "\ue000" not in html
        assert not re.search(r"import\(.https?://", html)
    assert (tmp_path / "mathematics/path.html").read_text(encoding="utf-8").count("<math ") > 20
    assert 'id="verify.kl.path"' in (tmp_path / "reference/kl.html").read_text(encoding="utf-8")
