"""Notices of files that have the name of another module."""

import pytest

from dcf.builder.module_names import name_notices
from dcf.model.artifact import Bundle, BundleFile


@pytest.mark.parametrize(
    ("path", "handler_dir", "start"),
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
def test_a_file_with_the_name_of_another_module_is_reported(path, handler_dir, start):
    bundle = Bundle((BundleFile(path, "sha256:0", 1),))
    notices = list(name_notices(bundle, handler_dir, "random.py"))
    assert len(notices) == bool(start)
    assert all(sentence.startswith(start) for sentence in notices)
