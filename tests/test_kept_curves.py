"""Curves on disk are the computed ones bit by bit, and are named by everything that decides them."""

import math
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from targets import (
    Discrete,
    Embedded,
    Gaussian,
    GaussianMixture,
    Level,
    MarkovChain,
    Product,
    Sphere,
    get,
    kept,
)
from targets.base import Target
from targets.curve import Curve
from targets.tabulated import TabulatedCurve

SQUARE = Discrete([[-1.0, -1.0], [1.0, -1.0], [0.5, 2.0]], [0.2, 0.5, 0.3])
TIED = GaussianMixture.shared([0.4, 0.6], [[0.0, 1.0, 0.0], [1.0, -1.0, 2.0]], np.diag([1.0, 2.0, 0.5]) + 0.1)
LAWS = {
    "tabulated": get("curved_mixture"),
    "closed form": Gaussian([0.0, 1.0], [[1.0, 0.2], [0.2, 0.5]]),
    "blurred line": TIED,
    "sampled": SQUARE.refined(16),
    "blurred": get("random_centres", components=4, dim=3).refined(16),
    "unlike": GaussianMixture.diagonal([0.5, 0.5], [[0.0, 1.0], [2.0, 0.0]], [[1.0, 0.2], [0.3, 0.1]]).refined(16),
    "sum": get("low_rank_mixture", dim=12, rank=1, components=2).refined(16),
    "chain": get("bit_chain", length=3).refined(16),
    "independent chain": MarkovChain([0.0, 1.0, 3.0], [[0.5, 0.3, 0.2]] * 3, 5),
    "sphere": Sphere(3, 1.5),
}


def bits(curve: Curve) -> bytes:
    """All that a curve can say, at levels below, within and beyond its edges."""
    u = np.linspace(curve.edges[0] - 3.0, curve.edges[-1] + 3.0, 60)
    snr = np.exp(np.append(u, curve.edges))
    rows = [
        curve.edges,
        curve.mmse_rows(snr),
        curve.slope_rows(snr),
        curve.information_rows(snr),
        curve.extrapolation(snr),
    ]
    return b"".join(np.ascontiguousarray(row).tobytes() for row in rows) + f"{curve.bias!r} {curve.method}".encode()


def fresh(law: Target) -> Target:
    """The same law without its curve."""
    return law.refined(law.points)


def refuse_to_compute(*_: object) -> Curve:
    pytest.fail("computed although it was kept")


@pytest.fixture(name="place")
def place_of_curves(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TRUERATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "WORTH", 0.0)
    return tmp_path / "cache"


def only_file(place: Path) -> Path:
    (path,) = place.iterdir()
    return path


# ---- what is read is what was computed ---------------------------------------------------------------


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.usefixtures("place")
def test_a_kept_curve_is_the_computed_one_bit_by_bit(name):
    law = LAWS[name]
    written = bits(fresh(law).curve)
    assert written == bits(law._curve())
    read = kept.curve(law, refuse_to_compute)
    assert bits(read) == written
    assert type(read) is type(fresh(law).curve)
    length, known = read.discretisation_length(), law._curve().discretisation_length()
    assert (length.value, length.stderr, length.bias) == (known.value, known.stderr, known.bias)


@pytest.mark.usefixtures("place")
def test_a_law_asks_for_its_kept_curve(monkeypatch):
    values = fresh(SQUARE.refined(16)).mmse(np.array([0.1, 1.0])).value
    monkeypatch.setattr(Discrete, "_curve", refuse_to_compute)
    assert np.array_equal(fresh(SQUARE.refined(16)).mmse(np.array([0.1, 1.0])).value, values)
    copy = fresh(SQUARE.refined(16)).to(dtype=torch.float32)
    assert np.array_equal(copy.mmse(np.array([0.1, 1.0])).value, values)


def test_laws_made_of_laws_use_the_curves_of_their_parts(place, monkeypatch):
    mmse = fresh(SQUARE.refined(16)).mmse(1.0).value
    monkeypatch.setattr(Discrete, "_curve", refuse_to_compute)
    inner = fresh(SQUARE.refined(16))
    for law, parts in ((Product([inner, inner]), 2.0), (Embedded(fresh(inner), 5), 1.0)):
        assert kept.fingerprint(law) is None
        assert law.mmse(1.0).value == parts * mmse
        assert len(list(place.iterdir())) == 1


def test_what_is_computed_at_once_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("TRUERATE_CACHE", str(tmp_path / "cache"))
    assert get("gaussian", dim=3).curve.bias > 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.usefixtures("place")
def test_a_law_on_a_gpu_has_a_file_of_its_own():
    law = fresh(SQUARE.refined(16))
    there = law.to(device="cuda")
    assert kept.fingerprint(there) not in (None, kept.fingerprint(law))
    assert bits(there.curve) == bits(kept.curve(there, refuse_to_compute))


# ---- names ------------------------------------------------------------------------------------------


def base_laws() -> dict[str, Target]:
    laws = {name: get(name) for name in ("rare_bit", "digits_mixture", "bit_chain", "sphere", "nested_scales")}
    more = {name: get(name) for name in ("codebook", "low_rank_mixture", "scale_mixture", "lattice", "two_points")}
    return laws | more | {f"own {name}": law for name, law in LAWS.items()}


def test_laws_have_names_that_use_does_not_change_and_none_is_shared():
    names = {}
    for label, law in base_laws().items():
        names[label] = kept.fingerprint(law)
        assert names[label] is not None, label
        assert names[label] == kept.fingerprint(fresh(law))
    for law in LAWS.values():
        law.mmse(1.0)
        law.denoiser(torch.zeros(2, law.dim, dtype=torch.float64), Level(1.0, 0.7))
    assert names == {label: kept.fingerprint(law) for label, law in base_laws().items()}
    assert len(set(names.values())) == len(names)


def raised(tensor: torch.Tensor, place: int) -> torch.Tensor:
    """One entry of the tensor one ulp up."""
    out = tensor.clone(memory_format=torch.contiguous_format)
    flat = out.view(-1)
    flat[place] = torch.nextafter(flat[place], flat.new_tensor(math.inf))
    return out


@pytest.mark.parametrize("name", LAWS)
def test_one_ulp_in_any_parameter_is_another_law(name):
    law = fresh(LAWS[name])
    known, seen = kept.fingerprint(law), set()
    for owner in (law, getattr(law, "components", law)):
        for key, value in list(vars(owner).items()):
            if isinstance(getattr(type(owner), key, None), cached_property):
                continue
            if isinstance(value, torch.Tensor) and value.numel() == 0:
                continue
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                changes = [raised(value, 0), raised(value, value.numel() - 1), value.float(), value[None]]
            elif isinstance(value, bool):
                changes = [not value]
            elif isinstance(value, int):
                changes = [value + 1, float(value)]
            elif isinstance(value, float):
                changes = [math.nextafter(value, math.inf)]
            elif isinstance(value, str):
                changes = [value + " "]
            else:
                continue
            for change in changes:
                setattr(owner, key, change)
                seen.add(kept.fingerprint(law))
                assert known not in seen, (key, change)
            setattr(owner, key, value)
    assert kept.fingerprint(law) == known
    assert seen
    assert None not in seen


def test_points_source_libraries_processor_and_threads_are_in_the_name(monkeypatch):
    law = LAWS["sampled"]
    names = [kept.fingerprint(law), kept.fingerprint(law.refined(32))]
    changes: list[tuple[object, str, object]] = [
        (kept, "SOURCE", bytes(32)),
        (kept, "np", SimpleNamespace(**vars(np) | {"__version__": "0"})),
        (kept, "scipy", SimpleNamespace(__version__="0")),
        (kept.platform, "machine", lambda: "none"),
        (torch.backends.cpu, "get_cpu_capability", lambda: "none"),
        (torch, "get_num_threads", lambda: 99),
        (torch, "__version__", "0"),
    ]
    for owner, key, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(owner, key, value)
            names.append(kept.fingerprint(law))
    assert len(set(names)) == len(names)
    assert None not in names


def test_the_source_is_that_of_every_module(tmp_path, monkeypatch):
    package = Path(kept.__file__).parent
    for path in package.glob("*.py"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(kept, "__file__", str(tmp_path / "kept.py"))
    known = kept._source()
    for path in sorted(tmp_path.glob("*.py")):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert kept._source() != known, path
        path.write_bytes(content)
    assert kept._source() == known
    (tmp_path / "sampled.py").rename(tmp_path / "other.py")
    assert kept._source() != known


def test_encodings_of_different_values_differ():
    values = [
        (),
        [],
        [()],
        ((), ()),
        "",
        "()",
        ("a", "b"),
        ("ab",),
        ("a", ("b",)),
        (("a",), "b"),
        1,
        1.0,
        True,
        "1",
        None,
    ]
    values += [(1, 1), 11, -0.0, 0.0, torch.zeros(2, 3), torch.zeros(3, 2), torch.zeros(6), torch.zeros(6).double()]
    values += [torch.zeros(3, 2).mT, [0], 0]
    found = [b"".join(bytes(part) for part in kept._encoded(value)) for value in values]
    assert len(set(found)) == len(found) - 1  # a list and a tuple are the same
    joined = {b"".join(found[i : i + 1] + found[j : j + 1]) for i in range(len(found)) for j in range(len(found))}
    assert len(joined) == len(set(found)) ** 2


class Foreign(Discrete):
    """A law whose source is not part of the package."""


def test_laws_whose_source_is_unknown_are_not_kept(place):
    law = Foreign([[0.0], [1.0]], [0.5, 0.5])
    assert law.mmse(1.0).value > 0
    odd = get("two_points")
    vars(odd)["shift"] = lambda x: x
    assert kept.fingerprint(law) is kept.fingerprint(odd) is None
    assert not place.exists()


# ---- where ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "shared", "found"),
    [
        ("off", "/x", None),
        ("/y", "/x", "/y"),
        ("", "/x", "/x/truerate"),
        ("", "relative", "/home/me/.cache/truerate"),
        ("", "", "/home/me/.cache/truerate"),
    ],
)
def test_the_folder_is_chosen_by_the_environment(monkeypatch, chosen, shared, found):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("TRUERATE_CACHE", chosen)
    monkeypatch.setenv("XDG_CACHE_HOME", shared)
    assert kept.folder() == (None if found is None else Path(found))


def test_off_keeps_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "WORTH", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TRUERATE_CACHE", "off")
    _ = fresh(SQUARE.refined(16)).curve
    assert not list(tmp_path.iterdir())
    assert not Path("off").exists()


# ---- cheaper tables ------------------------------------------------------------------------------------


def test_no_level_is_asked_for_twice_in_a_round():
    asked = []

    def points(snr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        asked.append(snr)
        return 1.0 / (1.0 + snr)[None], (1.0 / (1.0 + snr) ** 2)[None]

    curve = TabulatedCurve(points, 1e-3, 1e3, head=1.0, discrete=False, method="", degree=8, tolerance=1e-9, panel=4.0)
    assert len(asked) > 1
    for snr in asked:
        assert (np.diff(np.log(snr)) > 1e-9).all()
    assert len(asked[0]) == 4 * 8 + 1
    snr = np.geomspace(1e-4, 1e3, 200)
    np.testing.assert_allclose(curve.information_rows(snr)[0], 0.5 * np.log1p(snr), rtol=1e-8)
