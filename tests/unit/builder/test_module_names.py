"""Notices of files that have the name of another module."""

import pytest

from dcf.builder.module_names import name_notices
from dcf.model.artifact import Bundle, BundleFile


@pytest.mark.parametrize(
    ("path", "handler_dir", "told"),
    [
        ("src/queue.py", "./src", "src/queue.py has the name of a module of Python."),
        ("src/asyncio/__init__.py", "src/", "src/asyncio has the name of a module of Python."),
        ("types.py", ".", "types.py has the name of a module of Python."),
        ("src/dcf/__init__.py", "./src", "src/dcf has the name of a module of DCF."),
        ("src/dcf.py", "./src", "src/dcf.py has the name of a module of DCF."),
        ("queue.py", "./src", ""),
        ("src/queue.txt", "./src", ""),
        ("src/queue/data.py", "./src", ""),
        ("src/own/queue.py", "./src", ""),
        ("src/helper.py", "./src", ""),
        ("src/random.py", "./src", ""),
    ],
)
def test_a_module_with_the_name_of_another_one_is_told(path, handler_dir, told):
    bundle = Bundle((BundleFile(path, "sha256:0", 1),))
    found = list(name_notices(bundle, handler_dir, "random.py"))
    assert len(found) == bool(told)
    assert all(sentence.startswith(told) for sentence in found)
