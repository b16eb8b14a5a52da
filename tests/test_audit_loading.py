"""What the adapters find in azula, k-diffusion, flow-matching and smalldiffusion, installed or not, and how they load it."""

import ast
import importlib
import inspect
import math
import sys
import types

import pytest
import torch

from targets import ArgumentError, Level, NotAvailableError
from verify.audit import azula, flow_matching, k_diffusion, loading, models, own, registry, smalldiffusion
from verify.audit.contract import Audited, NotDrivableError, Untestable
from verify.grid import Grid

ADAPTERS = {module.LIBRARY: module for module in (azula, k_diffusion, flow_matching, smalldiffusion, own)}
OTHERS = [module for module in ADAPTERS.values() if module is not own]
WINDOW = (0.05, 50.0)


@pytest.fixture(scope="module")
def found():
    return {name: module.configurations() for name, module in ADAPTERS.items()}


def driven(items):
    return [item for item in items if isinstance(item, Audited)]


# ---- what is said of it -------------------------------------------------------------------------------


def test_labels_are_unique_and_sources_are_given(found):
    for library, items in found.items():
        labels = [item.label for item in driven(items)]
        assert len(set(labels)) == len(labels)
        assert all(item.library == library for item in items)
        assert all(len(item.reason) > 20 for item in items if isinstance(item, Untestable))
        assert all(len(item.declared.source) > 10 for item in driven(items) if item.declared)


def test_declared_orders_are_read_from_the_libraries(found):
    declared = {
        (c.library, c.label): c.declared and c.declared.order for items in found.values() for c in driven(items)
    }
    assert declared["azula", "REABSampler(order=3)"] == 3
    assert declared["azula", "HeunSampler"] == 2
    assert declared["azula", "DDIMSampler"] == 1
    assert declared["azula", "PCSampler"] is None
    assert declared["k-diffusion", "sample_lms"] == 4
    assert declared["k-diffusion", "sample_heun"] == 2
    assert declared["k-diffusion", "sample_dpmpp_3m_sde(eta=0.0)"] == 3
    assert declared["k-diffusion", "sample_dpmpp_3m_sde"] is None
    assert declared["k-diffusion", "sample_dpmpp_2m_sde"] == 2
    assert declared["k-diffusion", "sample_dpmpp_sde"] is None
    assert declared["flow-matching", "ODESolver(method='heun3')"] == 3
    assert declared["flow-matching", "RiemannianODESolver(method='rk4')"] == 4
    assert declared["smalldiffusion", "samples(gam=1.0, mu=0.5)"] == 1
    assert declared["truerate", "exponential_ab3"] == 3
    assert [label for (library, label), order in declared.items() if library == "truerate" and order is None] == [
        "randomised_midpoint"
    ]


def test_what_cannot_be_driven_is_said(found):
    refused = {item.name: item.reason for items in found.values() for item in items if isinstance(item, Untestable)}
    assert "tolerance" in refused["sample_dpm_adaptive"]
    assert "tolerance" in refused["ODESolver.dopri5"]
    assert "mask" in refused["RePaintSampler"]
    assert "vocabulary_size" in refused["MixtureDiscreteEulerSolver"]
    assert not [item for item in found["truerate"] if isinstance(item, Untestable)]


# ---- inspection, not lists ---------------------------------------------------------------------------


def test_a_sampler_that_is_new_is_found_and_driven(monkeypatch):
    module = loading.load("k-diffusion", "k_diffusion.sampling", k_diffusion.UNUSED)

    def sample_new(model, x, sigmas, eta=1.0):
        return x + eta * model(x, sigmas[0])

    def sample_odd(model, x, temperature):
        return temperature * model(x)

    monkeypatch.setattr(module, "sample_new", sample_new, raising=False)
    monkeypatch.setattr(module, "sample_odd", sample_odd, raising=False)
    items = k_diffusion.configurations()
    new = [item for item in driven(items) if item.name == "sample_new"]
    assert [item.options for item in new] == [{}, {"eta": 0.0}]
    assert all(item.declared is None and item.counterpart is None for item in new)
    (odd,) = [item for item in items if item.name == "sample_odd"]
    assert isinstance(odd, Untestable)
    assert "temperature" in odd.reason


def test_a_class_of_azula_that_is_new_is_found(monkeypatch):
    module = loading.load("azula", "azula.sample")

    class NewSampler(module.EulerSampler):
        r"""Creates a sampler (4th order)."""

        def __init__(self, denoiser, strange=2.0, **kwargs):
            super().__init__(denoiser, **kwargs)

    monkeypatch.setattr(module, "NewSampler", NewSampler, raising=False)
    (new,) = [item for item in azula.configurations() if item.name == "NewSampler"]
    assert isinstance(new, Audited)
    assert new.declared is not None
    assert new.declared.order == 4
    assert new.counterpart is None


def test_azula_is_refused_times_outside_its_grid():
    clock = azula._Clock(Grid.log_snr(4, snr=WINDOW))
    assert clock.level(1.0).snr == pytest.approx(WINDOW[0], rel=1e-14)
    assert clock.level(0.0).snr == pytest.approx(WINDOW[1], rel=1e-14)
    assert clock.level(0.625).logsnr == pytest.approx(
        0.625 * math.log(WINDOW[0]) + 0.375 * math.log(WINDOW[1]), rel=1e-12
    )
    alpha, sigma = clock(torch.tensor([1.0, 0.5], dtype=torch.float64))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(2, dtype=torch.float64))
    with pytest.raises(NotDrivableError, match="outside the grid's levels"):
        clock.level(-0.1)


# ---- installed or not --------------------------------------------------------------------------------


@pytest.mark.parametrize("module", OTHERS, ids=lambda module: module.LIBRARY)
def test_a_library_that_is_missing_is_refused_with_its_command(monkeypatch, module):
    assert module.version()[0].isdigit()
    monkeypatch.setitem(sys.modules, module.PACKAGE, None)
    assert module.version() is None
    with pytest.raises(NotAvailableError, match=f"pip install {module.LIBRARY}"):
        module.configurations()
    with pytest.raises(NotAvailableError, match=f"pip install {module.LIBRARY}"):
        registry.samplers(module.LIBRARY)


def test_unknown_classes_are_refused_with_the_nearest():
    with pytest.raises(ArgumentError, match="did you mean 'HeunSampler'"):
        registry.samplers("azula", "HeunSamplr")


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("diffusers", "did you mean 'HeunDiscreteScheduler'"),
        (None, "did you mean 'HeunDiscreteScheduler'"),
        ("azula", "expected one of azula's; it is diffusers's"),
    ],
)
def test_names_are_refused_before_the_classes_of_diffusers_are_looked_at(monkeypatch, library, words):
    """Inspecting them takes seconds: their names are read off their files."""

    def long(*_):
        raise AssertionError("inspected for a name")

    monkeypatch.setattr(registry.adapter("diffusers"), "configurations", long)
    registry.found.cache_clear()
    with pytest.raises(ArgumentError, match=words):
        registry.samplers(library, "HeunDiscreteScheduler" if library == "azula" else "HeunDiscretScheduler")


def test_names_hold_every_class_of_diffusers():
    adapter = registry.adapter("diffusers")
    assert adapter.names() >= set(importlib.import_module("verify.audit.diffusers.inspect").classes())


def test_the_clock_of_flow_matching_knows_the_ends_of_time():
    assert flow_matching.TO_DATA(0.0) == models.End(0.0, 1.0)
    assert flow_matching.TO_DATA(1.0) == models.End(1.0, 0.0)
    assert flow_matching.TO_DATA(0.25) == Level(0.25, 0.75)


def test_nothing_is_imported_before_it_is_asked_for():
    """No adapter names a library in an import statement; what they load goes through functions."""
    libraries = {"azula", "k_diffusion", "flow_matching", "smalldiffusion", "torchsde", "torchdiffeq", "accelerate"}
    for module in (*ADAPTERS.values(), loading):
        tree = ast.parse(inspect.getsource(module))
        named = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name.partition(".")[0] for name in named} & libraries


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A package whose __init__ needs something that is missing, with a module that only mentions it."""
    folder = tmp_path / "brokenlib"
    folder.mkdir()
    (folder / "__init__.py").write_text("from . import side, steps\nimport surely_missing_requirement\n")
    (folder / "side.py").write_text("VALUE = 3\n")
    (folder / "steps.py").write_text(
        "from surely_missing_tool.deep import thing\nfrom . import side\n"
        "def take(): return side.VALUE\ndef use(): thing.go()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "brokenlib"


def test_a_module_is_read_without_its_package_and_leaves_no_trace(broken):
    module = loading.load("broken-lib", f"{broken}.steps", ("surely_missing_tool.deep",))
    assert isinstance(module, types.ModuleType)
    assert module.take() == 3
    assert [m for m in sys.modules if m.startswith((broken, "surely_missing"))] == []
    with pytest.raises(NotAvailableError, match=r"surely_missing_tool\.deep\.thing\.go: a stand-in"):
        module.use()


def test_a_module_that_does_not_import_says_why(broken):
    with pytest.raises(NotAvailableError, match="surely_missing_tool"):
        loading.load("broken-lib", f"{broken}.steps")
    with pytest.raises(NotAvailableError, match="pip install no-such-lib"):
        loading.load("no-such-lib", "no_such_lib.sample")
