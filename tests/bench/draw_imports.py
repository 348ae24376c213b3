"""Draw which rooms of the package import which: a picture of the house, or of another one beside it.

    python tests/bench/draw_imports.py OUTPUT.png [--source DIRECTORY_THAT_HOLDS_CODEBLOCK]

A room is what lies directly in the package: a module, or a package with all that is in it. Each stands above those that it
imports; rooms that import each other in a circle share a line, and the imports among them are red. An arrow is as thick as
there are imports.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from pathlib import Path

import grimp
import matplotlib as mpl
import matplotlib.pyplot as plt
import networkx as nx

PACKAGE = "codeblock"
Edge = tuple[str, str]


def main() -> None:
    """Draw the picture and say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--source", type=Path, default=Path(__file__).parents[2] / "platform")
    options = parser.parse_args()
    sys.path.insert(0, str(options.source))
    imports, modules = imports_of_rooms()
    circles = [circle for circle in nx.strongly_connected_components(nx.DiGraph(list(imports))) if len(circle) > 1]
    draw(imports, modules, circles, options.output)
    told = f"{len(modules)} rooms, {sum(modules.values())} modules, {len(imports)} pairs of rooms"
    print(f"{told}; in circles: {sum(map(len, circles))}")


def imports_of_rooms() -> tuple[Counter[Edge], Counter[str]]:
    """How many imports lead from a room to another, and how many modules each has."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    room = {name: name.split(".")[1] for name in graph.modules if name != PACKAGE}
    edges: Counter[Edge] = Counter()
    for name, one in room.items():
        for other in graph.find_modules_directly_imported_by(name):
            if room.get(other, one) != one:
                edges[one, room[other]] += 1
    return edges, Counter(room.values())


def heights(imports: Counter[Edge], modules: Counter[str]) -> dict[str, int]:
    """The line of each room: above all that it imports, but for those of its circle."""
    graph = nx.DiGraph(list(imports))
    graph.add_nodes_from(modules)
    condensed = nx.condensation(graph)
    height: dict[int, int] = {}
    for node in reversed(list(nx.topological_sort(condensed))):
        height[node] = 1 + max((height[below] for below in condensed.successors(node)), default=-1)
    return {room: height[node] for room, node in condensed.graph["mapping"].items()}


def draw(imports: Counter[Edge], modules: Counter[str], circles: list[set[str]], output: Path) -> None:
    mpl.use("Agg")
    lines: dict[int, list[str]] = defaultdict(list)
    for room, height in sorted(heights(imports, modules).items()):
        lines[height].append(room)
    place = {
        room: ((at + 0.5) / len(rooms) * 10, height) for height, rooms in lines.items() for at, room in enumerate(sorted(rooms))
    }
    figure, axes = plt.subplots(figsize=(12, 0.7 * len(lines) + 1))
    for (one, other), count in imports.items():
        circle = any({one, other} <= each for each in circles)
        arrow = {"arrowstyle": "-|>", "shrinkA": 14, "shrinkB": 14, "connectionstyle": f"arc3,rad={0.18 if circle else 0.05}"}
        look = {"color": "#c0392b" if circle else "#7f8c8d", "lw": 0.4 + min(count, 40) / 14, "alpha": 0.8 if circle else 0.5}
        axes.annotate("", place[other], place[one], arrowprops={**arrow, **look})
    for room, (across, up) in place.items():
        axes.text(
            across, up, f"{room}\n{modules[room]}", ha="center", va="center", fontsize=8, bbox={"fc": "white", "ec": "#2c3e50"}
        )
    axes.set_xlim(0, 10)
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.axis("off")
    figure.tight_layout()
    figure.savefig(output, dpi=72)


if __name__ == "__main__":
    main()
