"""Benchmarks: ratios beside the numbers to reach, and how costs grow, from what `make bench` measured.

    python -m figures.benchmarks results/benchmarks.json

turns the timings of pytest-benchmark into rows (results/benchmarks/rows.jsonl), prints them as a table and draws them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from figures import style
from figures.load import load

COMMITTED = Path(__file__).resolve().parent / "rows" / "benchmarks.jsonl"
COMMAND = "make bench"


def rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a benchmark: its ratio with limit and rival, or its seconds at rising sizes with the exponent."""
    out = []
    made = {
        "command": COMMAND,
        "commit": document["commit_info"]["id"],
        "time": document["datetime"],
        "machine": document["machine_info"]["cpu"]["brand_raw"],
    }
    for item in document["benchmarks"]:
        told = item["extra_info"]
        quantity = "growth" if "exponent" in told else "ratio" if "ratio" in told else "time"
        group = item["fullname"].split("[")[0].removeprefix("tests/bench/")
        row = {"quantity": quantity, "name": item["name"], "group": group, "best": item["stats"]["min"], **told}
        out.append({"key": item["fullname"], "row": 0, "of": 1, "study": "benchmarks", **row, "provenance": made})
    return out


def draw(path: Path = COMMITTED, keys: set[str] | None = None) -> list[Path]:
    """Ratios over their limits on the left, seconds against size on the right."""
    table = load(path, keys)
    figure, ((left, right),) = style.canvas(11.0, 6.4, 1, 2)
    _ratios(left, pd.DataFrame(table[table["quantity"] == "ratio"]))
    _growth(right, pd.DataFrame(table[table["quantity"] == "growth"]))
    made = table.iloc[0]["provenance"]
    figure.suptitle(f"{made['machine']}, {made['time'][:10]}", fontsize=8, x=0.99, ha="right")
    folder = style.FRONT if path == COMMITTED else style.RENDERED
    return style.save(figure, folder, "benchmarks", made["command"], made["commit"])


def _ratios(axis: Any, table: pd.DataFrame) -> None:
    """A line for each rival: every size's ratio to it, and the number to reach."""
    table = table.assign(
        label=[
            f"{_short(group).split(' against ')[0]} / {against}"
            for group, against in zip(table.group, table.against, strict=True)
        ]
    )
    table = pd.DataFrame(table[table["limit"].notna()])
    groups = list(dict.fromkeys(table["label"]))[::-1]
    for height, label in enumerate(groups):
        own = table[table["label"] == label]
        axis.plot([own.ratio.min(), own.ratio.max()], [height, height], color="0.75", linewidth=1.0, zorder=1)
        reached = own.ratio <= own.limit
        axis.plot(own.ratio[reached], [height] * int(reached.sum()), "o", color="#0072B2", markersize=3.5)
        axis.plot(own.ratio[~reached], [height] * int((~reached).sum()), "X", color="#D55E00", markersize=6)
        for limit in own.limit.unique():
            axis.plot([limit, limit], [height - 0.35, height + 0.35], color="#000000", linewidth=1.2)
    axis.set_yticks(range(len(groups)), groups, fontsize=6.5)
    axis.set_xscale("log")
    axis.set_xlabel("time over that of the other; bars: not to be passed; crosses: passed")
    axis.set_title("Ratios, each measured side by side")


def _growth(axis: Any, table: pd.DataFrame) -> None:
    """Seconds against size, the exponent of the last two sizes at each line's end."""
    ends = []
    for index, row in enumerate(table.to_dict("records")):
        look = style.cycle(index)
        axis.plot(row["sizes"], row["seconds"], **look)
        variant = row["name"].partition("[")[2].rstrip("]")
        name = _short(row["group"]).split(" against ")[0]
        name += f" ({variant})" if variant.isidentifier() else ""
        ends.append(
            (
                row["sizes"][-1],
                row["seconds"][-1],
                f"{name} in {row['against']}: {row['last_exponent']:.1f}",
                look["color"],
            )
        )
    axis.set_xscale("log")
    axis.set_yscale("log")
    axis.set_xlabel("size (K, d, points, atoms or nodes)")
    axis.set_ylabel("CPU seconds")
    axis.set_title("How costs grow: exponent of the last two sizes")
    if ends:
        low, high = axis.get_ylim()
        axis.set_ylim(low, high * 100.0)  # labels are spread upwards
        style.labels_at_ends(axis, ends)


def _short(group: str) -> str:
    return group.split("::")[-1].removeprefix("test_").replace("_", " ")


def main(arguments: list[str]) -> None:
    """From the JSON of pytest-benchmark to rows, a table and the figure."""
    if len(arguments) != 1 or not Path(arguments[0]).is_file():
        sys.exit("usage: python -m figures.benchmarks results/benchmarks.json   (make bench writes it)")
    found = rows(json.loads(Path(arguments[0]).read_text("utf-8")))
    path = Path(arguments[0]).with_suffix("") / "rows.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    for row in found:
        if row["quantity"] == "ratio":
            limit = row["limit"]
            mark = " " if limit is None else "x" if row["ratio"] > limit else "="
            np_limit = np.nan if limit is None else limit
            print(
                f"{mark} {row['ratio']:9.3f}  limit {np_limit:6.3f}  {row['name']}: {row['sizes']}, against {row['against']}"
            )
        elif row["quantity"] == "growth":
            print(
                f"  exponent {row['exponent']:.2f}, last {row['last_exponent']:.2f}  {row['name']} against {row['against']}"
            )
    print(*draw(path), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
