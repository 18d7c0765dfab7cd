"""No two files import each other, directly or around a corner; imports inside functions count, too.

A circle is read in any order and understood in none, and what one of its files needs, all of them need.
"""

import grimp


def circles(graph: grimp.ImportGraph) -> list[list[str]]:
    """Return the groups of modules that import each other (strongly connected components), by Tarjan's algorithm."""
    imports = {module: sorted(graph.find_modules_directly_imported_by(module)) for module in sorted(graph.modules)}
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []
    for root in imports:
        work = [] if root in number else [(root, iter(imports[root]))]
        if work:
            number[root] = lowest[root] = len(number)
            stack.append(root)
        while work:
            module, rest = work[-1]
            for other in rest:
                if other not in number:
                    number[other] = lowest[other] = len(number)
                    stack.append(other)
                    work.append((other, iter(imports[other])))
                    break
                if other in stack:
                    lowest[module] = min(lowest[module], number[other])
            else:
                work.pop()
                if work:
                    lowest[work[-1][0]] = min(lowest[work[-1][0]], lowest[module])
                if lowest[module] == number[module]:
                    group = [stack.pop()]
                    while group[-1] != module:
                        group.append(stack.pop())
                    if len(group) > 1:
                        found.append(sorted(group))
    return found


def test_no_files_of_the_package_import_each_other() -> None:
    graph = grimp.build_graph("fx_pipeline", cache_dir=None)
    said = []
    for group in circles(graph):
        said += [
            f"{importer}:{detail['line_number']} imports {imported}"
            for importer in group
            for imported in sorted(graph.find_modules_directly_imported_by(importer) & set(group))
            for detail in graph.get_import_details(importer=importer, imported=imported)
        ]
    assert not said, "cut one of these: " + "; ".join(said)


def test_a_circle_is_found_around_corners() -> None:
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "bc", "ca", "cd", "de", "ef", "fe", "ag"):
        graph.add_module(importer)
        graph.add_module(imported)
        graph.add_import(importer=importer, imported=imported)
    assert sorted(circles(graph)) == [["a", "b", "c"], ["e", "f"]]
