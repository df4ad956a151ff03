"""No two modules and no two public classes of DCF share a name."""

import ast
from collections import defaultdict
from pathlib import Path

import dcf

SOURCE = Path(dcf.__file__).parent
SHARED = {
    "gateway": "client.gateway is a public import path; protocol.gateway has the gateway's paths",
    "server": "one in each process, and the control plane has one for HTTP and one for gRPC",
    "stream": "client.stream is a public import path; protocol.stream has the frames of streams",
}
"""Names that several modules or classes have, each with the reason."""


def test_names_are_unique():
    found = defaultdict(list)
    for path in sorted(SOURCE.rglob("*.py")):
        if path.stem not in {"__init__", "__main__"}:
            found[path.stem].append(path)
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1}.keys() == SHARED.keys()
