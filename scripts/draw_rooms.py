"""Draw the rooms of the package and who imports whom, as Mermaid, into docs/architecture.md.

From the imports themselves. An arrow that follows from others is left out (transitive reduction), and rooms that import
each other stand in one box. The outer layer, files beside the rooms, is one box.

Run: python scripts/draw_rooms.py [--check]
"""

import argparse
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: scripts/draw_rooms.py -->\n", "<!-- end of rooms -->\n"
#: Layers that know everything, by design: they would hide the rest.
_OUTER = frozenset({"defs", "commands", "components", "ui"})


def rooms() -> dict[str, set[str]]:
    """Return the rooms, and which each imports."""
    graph = grimp.build_graph("fx_pipeline", cache_dir=None)

    def room(module: str) -> str:
        parts = module.split(".")
        is_room = len(parts) > 1 and (ROOT / "fx_pipeline" / parts[1]).is_dir()
        return "outer" if not is_room or parts[1] in _OUTER else parts[1]

    found: dict[str, set[str]] = {}
    for module in graph.modules:
        own = found.setdefault(room(module), set())
        own.update(room(other) for other in graph.find_modules_directly_imported_by(module))
    # What stands beside the rooms and is imported by them (layout, kernel_cache) is no layer above them.
    return {name: {other for other in others if other not in (name, "outer")} for name, others in found.items()}


def reach(edges: dict[str, set[str]], start: str) -> set[str]:
    """Return what can be come to."""
    seen: set[str] = set()
    waiting = list(edges[start])
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(edges[name])
    return seen


def picture() -> str:
    """Return the drawing."""
    edges = rooms()
    far = {name: reach(edges, name) for name in edges}
    box = {name: " + ".join(sorted({name, *(o for o in far[name] if name in far[o])})) for name in edges}
    between = {b: {box[o] for n in edges if box[n] == b for o in edges[n] if box[o] != b} for b in set(box.values())}
    far = {name: reach(between, name) for name in between}
    lines = ["```mermaid", "flowchart TD"]
    ids = {name: name.replace(" + ", "_") for name in between}
    lines += [f'  {ids[name]}["{name}"]' for name in sorted(between)]
    for name in sorted(between):
        direct = {one for one in between[name] if not any(one in far[via] for via in between[name] - {one})}
        lines += [f"  {ids[name]} --> {ids[one]}" for one in sorted(direct)]
    return "\n".join([*lines, "```", ""])


def main() -> None:
    """Write the drawing, or say that it is not the present one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare; status 1 where it differs")
    check = parser.parse_args().check
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    now = before + BEGIN + picture() + END + after
    if check and now != text:
        raise SystemExit(f"{PAGE.name} does not show the rooms as they are: run python scripts/draw_rooms.py")
    if not check:
        PAGE.write_text(now)


if __name__ == "__main__":
    main()
