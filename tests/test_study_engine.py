"""Sweeps here, in worker processes and on a cluster give the same rows; what fails or stops them loses nothing."""

import json
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial, reduce
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_study

from figures import load
from studies import study
from studies.engine import Engine, limited, pace
from studies.store import StoppedSweepError, Store

HERE = Path(__file__).parent
CPU = torch.device("cpu")
COMPUTE = partial(toy_study.compute, place=CPU)


def contents(path: Path) -> dict[str, dict]:
    """What rows say, by setting and number: all but when and in how long they were made."""
    out = {}
    for row in load.rows(path):
        made = row.pop("provenance")
        row["provenance"] = {key: made[key] for key in ("commit", "code", "torch", "machine")}
        name = f"{row['setting']['family']}/{row['row']}"
        if name in out:
            assert json.dumps(out[name], sort_keys=True) == json.dumps(row, sort_keys=True)
        out[name] = row
    return out


HERE_ALONE = Engine()


def swept(folder: Path, engine: Engine = HERE_ALONE, **options) -> dict[str, dict]:
    study.sweep(Store(folder, "toy"), toy_study.settings(toy_study.Config(**options)), COMPUTE, engine)
    return contents(folder / "toy" / "rows.jsonl")


def command(folder: Path, *options: str, **more) -> subprocess.Popen:
    line = [sys.executable, "-m", "toy_study", "--out", str(folder), *options]
    return subprocess.Popen(line, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)


def lines(folder: Path) -> int:
    path = folder / "toy_study" / "rows.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(process: subprocess.Popen, folder: Path, count: int) -> None:
    """Until the sweep has written `count` lines."""
    end = time.monotonic() + 120
    while lines(folder) < count and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, dict]:
    rows = swept(tmp_path_factory.mktemp("undisturbed"))
    assert len(rows) == 36
    return rows


def test_worker_processes_give_the_same_bits(tmp_path, undisturbed):
    assert swept(tmp_path, Engine(workers=2)) == undisturbed


def test_settings_that_belong_together_are_computed_in_one_place(tmp_path, undisturbed):
    settings = toy_study.settings(toy_study.Config())
    seen = []

    def parity(setting):
        seen.append(setting["family"])
        return int(setting["family"].split()[1]) % 2

    rows = study.sweep(Store(tmp_path, "toy"), settings, COMPUTE, Engine(workers=2), parity)
    assert seen == [setting["family"] for setting in settings]
    assert [row["setting"] for row in rows[::3]] == settings
    assert contents(tmp_path / "toy" / "rows.jsonl") == undisturbed


@pytest.mark.parametrize(("fault", "cause"), [("nan", "value = nan in row 0"), ("raise", "ZeroDivisionError: seed 5")])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_setting_is_marked_and_the_others_are_done(tmp_path, undisturbed, fault, cause, workers):
    options: dict[str, Any] = {"spoil": f"{fault}:5"}
    with pytest.raises(study.FailedSettingsError, match=rf"1 of 12 settings failed(.|\n)*toy 5, d=2: .*{cause}"):
        swept(tmp_path, Engine(workers=workers), **options)
    path = tmp_path / "toy" / "rows.jsonl"
    kept = contents(path)
    assert {row["setting"]["family"] for row in kept.values()} == {f"toy {i}" for i in range(12) if i != 5}
    assert all(row["value"] == undisturbed[name]["value"] for name, row in kept.items())
    (failed,) = [row for line in path.read_text().splitlines() if "failed" in (row := json.loads(line))]
    assert re.search(cause, failed["failed"])
    assert failed["setting"]["family"] == "toy 5"
    assert "toy_study.py" in failed["trace"] or fault == "nan"
    before = path.read_bytes()
    with pytest.raises(study.FailedSettingsError):
        swept(tmp_path, **options)
    assert path.read_bytes().startswith(before)
    assert len(contents(path)) == 33


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_killed_worker_stops_the_sweep_and_the_next_goes_on(tmp_path, undisturbed):
    options: dict[str, Any] = {"spoil": "kill:9", "marker": str(tmp_path / "killed"), "wait": 0.05}
    with pytest.raises(StoppedSweepError, match=r"killed, most often because memory ran out.*goes on"):
        swept(tmp_path, Engine(workers=2), **options)
    before = contents(tmp_path / "toy" / "rows.jsonl")
    rows = swept(tmp_path, Engine(workers=2), **options)
    assert before.items() <= rows.items()
    assert {name: row["value"] for name, row in rows.items()} == {
        name: row["value"] for name, row in undisturbed.items()
    }


def killed_and_resumed(folder: Path, counts: list[int], *options: str) -> dict[str, dict]:
    """The rows after a SIGKILL of the main process at each number of lines, then a whole run."""
    for count in counts:
        process = command(folder, *options)
        wait_for(process, folder, count)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    process = command(folder, *options)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    assert "36 rows" in out
    return contents(folder / "toy_study" / "rows.jsonl")


def values(rows: dict[str, dict]) -> dict[str, float]:
    return {name: row["value"] for name, row in rows.items()}


def test_a_killed_main_process_loses_nothing(tmp_path, undisturbed):
    assert values(killed_and_resumed(tmp_path, [4], "--wait", "0.05", "--workers", "2")) == values(undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_ten_kills_lose_nothing(tmp_path, undisturbed, workers):
    """At ten moments, some of them before the first row and in the middle of a line's setting."""
    generator = torch.Generator().manual_seed(int(workers))
    counts = sorted(torch.randint(0, 33, (10,), generator=generator).tolist())
    rows = killed_and_resumed(tmp_path, counts, "--wait", "0.1", "--workers", workers)
    assert values(rows) == values(undisturbed)


def test_a_full_disk_stops_the_sweep_and_keeps_what_was_there(tmp_path, undisturbed):
    limit = 9000
    full = command(
        tmp_path, "--workers", "1", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    )
    out, _ = full.communicate(timeout=300)
    assert full.returncode == 1
    assert re.search(r"error: .*rows.jsonl takes no more rows \(File too large\).*goes on", out)
    assert "Traceback" not in out
    path = tmp_path / "toy_study" / "rows.jsonl"
    assert 0 < path.stat().st_size <= limit
    assert path.read_bytes().endswith(b"\n")
    kept = values(contents(path))
    assert 0 < len(kept) < 36
    assert len(kept) % 3 == 0
    assert values(killed_and_resumed(tmp_path, [])) == values(undisturbed)


def test_two_sweeps_into_one_folder(tmp_path, undisturbed):
    both = [command(tmp_path, "--wait", "0.05", "--workers", "1") for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    assert values(contents(tmp_path / "toy_study" / "rows.jsonl")) == values(undisturbed)


def test_fresh_moves_the_rows_aside(tmp_path):
    first = Store(tmp_path, "toy")
    first.add({"a": 1}, [{"value": 1.0}])
    text = first.path.read_text()
    for count in (1, 2):
        again = Store(tmp_path, "toy", fresh=True)
        assert again.get({"a": 1}) is None
        kept = [path for path in first.path.parent.glob("rows.*.jsonl") if path.read_text() == text]
        assert len(kept) == count
        again.path.write_text(text)
    assert Store(tmp_path, "toy").get({"a": 1}) is not None


def test_threads_are_limited_and_given_back():
    torch.set_num_threads(1)
    with limited(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 1
    assert 0 < pace() < 10


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"workers": 0}, "workers = 0"),
        ({"threads": 0}, "threads = 0"),
        ({"scheduler": "tcp://127.0.0.1:1"}, "scheduler = 'tcp://127.0.0.1:1': expected the address of a running Dask"),
        ({"scheduler": "nowhere"}, "scheduler = 'nowhere': expected the address"),
        ({"scheduler": "tcp://127.0.0.1:1", "workers": 2}, "workers = 2: expected none beside --scheduler"),
    ],
)
def test_engines_that_cannot_be_are_refused(options, told):
    with pytest.raises(study.ArgumentError, match=re.escape(told)):
        toy_study.Config(**options).engine()


def test_every_failure_is_counted_and_told(tmp_path):
    """Settings of one label that fail for different reasons; those beyond twenty are counted."""
    settings: list[dict[str, Any]] = [{"family": "same", "index": i} for i in range(30)]

    def compute(setting):
        if setting["index"] >= 5:
            raise ValueError(f"number {setting['index']}")
        return [{"value": 1.0}]

    with pytest.raises(study.FailedSettingsError) as caught:
        study.sweep(Store(tmp_path, "toy"), settings, compute)
    told = str(caught.value)
    assert "25 of 30 settings failed" in told
    assert told.count("same: ValueError: number") == 20
    assert "and 5 more" in told


@pytest.mark.parametrize(
    "row",
    [
        {"key": "mine"},
        {"of": 3},
        {"big": 10**400},
        {"deep": reduce(lambda inner, _: [inner], range(40), [])},
        {"x" * 300: 1},
    ],
)
def test_rows_that_could_not_be_read_again_are_failures(tmp_path, row):
    with pytest.raises(study.FailedSettingsError, match="expected fields other than key, of, provenance, row"):
        study.sweep(
            Store(tmp_path, "toy"), [{"index": 0}, {"index": 1}], lambda s: [row if s["index"] else {"value": 1}]
        )
    kept = list(load.rows(tmp_path / "toy" / "rows.jsonl"))
    assert [one["setting"] for one in kept] == [{"index": 0}]


def test_repeated_rows_are_drawn_once(tmp_path):
    store = Store(tmp_path, "toy")
    store.add({"index": 0}, [{"value": 1.0}, {"value": 2.0}])
    text = store.path.read_text()
    store.path.write_text(text + text)
    assert load.load(store.path).value.tolist() == [1.0, 2.0]


def test_rows_of_another_device_are_other_rows(monkeypatch, tmp_path):
    """The settings of a GPU's rows say so: its random numbers are others."""
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(study, "sweep", lambda _, settings, *__: seen.extend(settings) or [])
    monkeypatch.setattr(study.Config, "place", lambda _: "cuda")
    monkeypatch.setattr(study.Config, "engine", lambda _: Engine())
    toy_study.main(toy_study.Config(out=tmp_path))
    assert {setting["device"] for setting in seen} == {"cuda"}
    monkeypatch.setattr(study.Config, "place", lambda _: "cpu")
    seen.clear()
    toy_study.main(toy_study.Config(out=tmp_path))
    assert not any("device" in setting for setting in seen)


def test_quick_settings_do_not_hold_slow_ones_back(tmp_path):
    """A slow setting's rows are on disk when the next one still runs, however many quick ones came before."""
    written: list[float] = []

    class Watched(Store):
        def add(self, setting, rows, made=None):
            written.append(time.time() - rows[0]["value"])
            super().add(setting, rows, made)

    settings: list[dict[str, Any]] = [{"family": str(i), "wait": 0.0 if i < 600 else 1.0} for i in range(612)]
    study.sweep(Watched(tmp_path, "toy"), settings, toy_study.stamp, Engine(workers=2))
    assert len(written) == 612
    assert max(written) < 0.95
