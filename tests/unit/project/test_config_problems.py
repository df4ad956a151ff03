"""All problems of config.yaml are reported, each with its line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from unit.project.kit import problems


def test_every_problem_is_told_at_once_in_the_files_order(tmp_path: Path) -> None:
    text = """\
functions:
  Hello: {}
  a:
    runtme: python
    limits:
      memory: 512m
    limits: {}
dfc: {}
"""
    assert [(line, column) for line, column, _ in problems(tmp_path, text)] == [
        (2, 3),
        (4, 5),
        (6, 15),
        (7, 5),
        (8, 1),
    ]


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", (0, 0), ["expected a mapping with the key 'functions', got an empty file"]),
        ("# nothing\n", (0, 0), ["got an empty file"]),
        ("---\n", (0, 0), ["got an empty file"]),
        ("- a\n", (1, 1), ["the file: expected a mapping, got a list"]),
        ("hello\n", (1, 1), ["the file: expected a mapping, got text"]),
        ("dcf: {}\n", (1, 1), ["the file: missing key 'functions'"]),
        ("functions:\n", (1, 11), ["functions: expected at least one function, got none"]),
        ("functions: {}\n", (1, 12), ["functions: expected at least one function, got none"]),
        ("functions: []\n", (1, 12), ["functions: expected a mapping, got a list"]),
        (
            "runtime: python\nfunctions: {f: }\n",
            (1, 1),
            ["unknown key 'runtime' (it belongs under 'functions.NAME')"],
        ),
        (
            "functions: {f: {}}\ndfc: {}\n",
            (2, 1),
            ["unknown key 'dfc' (did you mean 'dcf'?); known keys: functions, dcf"],
        ),
        (
            "functions: {f: {}}\ndcf: {gatway: a:1}\n",
            (2, 7),
            ["dcf: unknown key 'gatway' (did you mean 'gateway'?)"],
        ),
        (
            "functions: {f: {}}\ndcf: {gateway: host}\n",
            (2, 16),
            ["dcf.gateway: expected host:port, got 'host'"],
        ),
        (
            "functions: {f: {}}\ndcf: {gateway: 'h:70000'}\n",
            (2, 16),
            ["expected host:port, got 'h:70000'"],
        ),
        ("functions: {f: {}, f: {}}\n", (1, 20), ["duplicate key 'f', first in line 1"]),
        ("functions: {[a]: {}, f: {}}\n", (1, 13), ["expected text as a key, got a list"]),
        (
            "functions: {f: {}, <<: 3}\n",
            (1, 24),
            ["expected a mapping after '<<', got the number 3"],
        ),
        ("functions: !mine {f: {}}\n", (1, 12), ["functions: expected a mapping, got a tag"]),
    ],
)
def test_faults_of_the_file(
    tmp_path: Path, text: str, place: tuple[int, int], said: list[str]
) -> None:
    ((line, column, message),) = problems(tmp_path, text)

    assert (line, column) == place
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        (
            "runtime",
            "go",
            ["the runtime 'go' of the original DCF is not supported; available: python, streaming"],
        ),
        (
            "runtime",
            "Pyton",
            ["unknown runtime 'Pyton' (did you mean 'python'?); available: python, streaming"],
        ),
        ("runtime", "[x]", ["expected the name of a runtime, got a list"]),
        ("desc", "2020", ['expected text, got the number 2020; write it in quotes: "2020"']),
        ("desc", "yes", ['expected text, got the boolean yes; write it in quotes: "yes"']),
        ("desc", '"a\\0b"', ["expected text, got 'a\\x00b'"]),
        ("maintainer", "{a: b}", ["maintainer: expected text, got a mapping"]),
        ("image", "a b", ["expected the name of an image, got 'a b'"]),
        (
            "handler",
            "{dir: ../x}",
            [
                "dir: expected a folder inside the function's, without '..' or a leading '/', got '../x'"
            ],
        ),
        ("handler", "{dir: a/../../x}", ["without '..'"]),
        ("handler", "{dir: /x}", ["or a leading '/', got '/x'"]),
        (
            "handler",
            "{file: a/b.py}",
            ["handler.file: expected the name of a .py file without a folder, got 'a/b.py'"],
        ),
        (
            "handler",
            "{file: handler}",
            ["expected the name of a .py file without a folder, got 'handler'"],
        ),
        (
            "handler",
            "{name: 1a}",
            ["handler.name: expected the name of a class or function in Python, got '1a'"],
        ),
        (
            "handler",
            "{nam: x}",
            ["unknown key 'nam' (did you mean 'name'?); known keys: dir, file, name"],
        ),
        ("handler", "Handler", ["functions.f.handler: expected a mapping, got text"]),
        (
            "limits",
            "{memory: 512m}",
            ["got '512m'; in Kubernetes 'm' means a thousandth, write 512Mi or 512M"],
        ),
        (
            "limits",
            "{memory: 512MB}",
            [
                "expected an amount such as 512Mi or 1G, or a number of bytes, got '512MB'; write 512Mi or 512M"
            ],
        ),
        ("limits", "{memory: 2g}", ["got '2g'; write 2Gi or 2G"]),
        (
            "limits",
            "{memory: much}",
            ["memory: expected an amount such as 512Mi or 1G, or a number of bytes, got 'much'"],
        ),
        ("limits", "{memory: 0}", ["got the number 0"]),
        ("limits", "{memory: -1}", ["got the number -1"]),
        ("limits", "{memory: 99E}", ["; the maximum is 9223372036854775807 bytes"]),
        ("limits", "{memory: 1e99}", ["; the maximum is 9223372036854775807 bytes"]),
        (
            "limits",
            "{memory: 1e999999999}",
            ["expected an amount such as 512Mi or 1G, or a number of bytes, got"],
        ),
        (
            "limits",
            "{memory: .inf}",
            ["expected an amount such as 512Mi or 1G, or a number of bytes, got"],
        ),
        ("limits", "{memory: true}", ["got the boolean true"]),
        (
            "limits",
            "{cpu: 0.5m}",
            ["expected a number of cores such as 2, 0.5 or 500m, got '0.5m'"],
        ),
        (
            "limits",
            "{cpu: 0}",
            ["expected a number of cores such as 2, 0.5 or 500m, got the number 0"],
        ),
        ("limits", "{gpu: 1.5}", ["expected a whole number of GPUs, got the number 1.5"]),
        ("limits", "{gpu: -1}", ["expected a whole number of GPUs, got the number -1"]),
        (
            "limits",
            "{gpus: 1}",
            ["limits: unknown key 'gpus' (did you mean 'gpu'?); known keys: memory, cpu, gpu"],
        ),
        ("memory", "1G", ["unknown key 'memory' (it belongs under 'limits' or 'requests')"]),
        (
            "requests",
            "{cpu: 2}\n    limits: {cpu: 1}",
            ["functions.f: requests.cpu is greater than limits.cpu"],
        ),
        (
            "build_args",
            "[CUDA]",
            ["build_args[0]: expected KEY=VALUE with letters, digits and '_' in KEY"],
        ),
        ("build_args", "[3]", ["expected text KEY=VALUE, got the number 3"]),
        ("build_args", "[A=1, A=2]", ["build_args[1]: duplicate key A"]),
        (
            "build_args",
            "[PYTHON_VERSION=3.6]",
            ["PYTHON_VERSION: expected Python 3.11 or later, got 3.6"],
        ),
        (
            "build_args",
            "[PYTHON_VERSION=x]",
            ["expected a version of Python such as 3.12, at least 3.11, got 'x'"],
        ),
        (
            "python",
            "'3.12'\n    build_args: [PYTHON_VERSION=3.11]",
            ["python is '3.12', but PYTHON_VERSION in build_args (line 4) is '3.11'; remove one"],
        ),
        (
            "python",
            "3.10",
            ['a version of Python in quotes, got the number 3.10; write it in quotes: "3.10"'],
        ),
        ("python", "3", ["write it in quotes"]),
        ("python", "'3.10'", ["python: expected Python 3.11 or later, got 3.10"]),
        ("python", "'2.7'", ["expected Python 3.11 or later, got 2.7"]),
        ("python", "'3'", ["expected Python 3.11 or later, got 3"]),
        (
            "python",
            "'4.0'",
            ["expected a version of Python such as 3.12, at least 3.11, got '4.0'"],
        ),
        (
            "python",
            "latest",
            ["expected a version of Python such as 3.12, at least 3.11, got 'latest'"],
        ),
        ("build_options", "libgl1", ["build_options: expected a list, got text"]),
        (
            "build_options",
            "[a b]",
            ["build_options[0]: expected the name of a system package, got 'a b'"],
        ),
        (
            "build_options",
            "['']",
            ["build_options[0]: expected the name of a system package, got nothing"],
        ),
        ("environment", "[A=1]", ["environment: expected a mapping, got a list"]),
        (
            "environment",
            "{A: [1]}",
            ["environment.A: expected text, a number, true or false, got a list"],
        ),
        (
            "environment",
            "{A: !mine 1}",
            ["environment.A: expected text, a number, true or false, got the tag '!mine'"],
        ),
        (
            "environment",
            "{1A: 1}",
            ["expected a name of letters, digits and '_' without a leading digit, got '1A'"],
        ),
        (
            "environment",
            "{A-B: 1}",
            ["environment: expected a name of letters, digits and '_' without a leading", "'A-B'"],
        ),
        (
            "environment",
            "{DCF_LISTEN: 1}",
            ["the name 'DCF_LISTEN' is reserved: names with the prefix DCF_ belong to DCF"],
        ),
        ("environment", '{A: "\\0"}', ["environment.A: must not contain NUL"]),
        (
            "environment_file",
            "[3]",
            ['[0]: expected the path of a file, got the number 3; write it in quotes: "3"'],
        ),
        (
            "secrets",
            "[../key]",
            ["secrets[0]: expected a file's name without a folder, got '../key'"],
        ),
        ("secrets", "[a/b]", ["without a folder"]),
        ("secrets", "['a\\b']", ["without a folder"]),
        ("secrets", "['..']", ["without a folder"]),
        ("secrets", "[[a]]", ["secrets[0]: expected a file's name without a folder, got a list"]),
        ("constraints", "{}", ["constraints: expected a list, got a mapping"]),
        ("labels", "{'': x}", ["labels: expected a label's key, got an empty text"]),
        ("timeout", "0", ["timeout: expected seconds or a duration such as 90s, got the number 0"]),
        (
            "timeout",
            "-5",
            ["timeout: expected seconds or a duration such as 90s, got the number -5"],
        ),
        (
            "timeout",
            "5 minutes",
            ["timeout: expected seconds or a duration such as 90s, got '5 minutes'"],
        ),
        (
            "timeout",
            ".nan",
            ["timeout: expected seconds or a duration such as 90s, got the number .nan"],
        ),
        ("timeout", "1:30", ["got the number 1:30"]),
        ("concurrency", "0", ["concurrency: expected a whole number, 1 or more, got the number 0"]),
        ("concurrency", "many", ["concurrency: expected a whole number, 1 or more, got 'many'"]),
        ("queue", "-1", ["queue: expected a whole number, 0 or more, got the number -1"]),
        ("queue", "1.5", ["queue: expected a whole number, 0 or more, got the number 1.5"]),
        ("preflight", "1", ["preflight: expected true or false, got"]),
        ("preflight", "'true'", ["expected true or false, got 'true'"]),
        ("preflight", "[]", ["preflight: expected true or false, got"]),
        (
            "runtme",
            "python",
            [
                "functions.f: unknown key 'runtme' (did you mean 'runtime'?); known keys: runtime, desc"
            ],
        ),
    ],
)
def test_faults_of_a_function(tmp_path: Path, key: str, value: str, said: list[str]) -> None:
    ((line, column, message),) = problems(tmp_path, f"functions:\n  f:\n    {key}: {value}\n")

    assert line == 3
    assert column >= 5
    assert message.startswith("functions.f")
    for words in said:
        assert words in message


@pytest.mark.parametrize(
    ("body", "hidden"),
    [
        ("{build_args: 'TOKEN=hunter2'}", "hunter2"),
        ("{build_args: ['1TOKEN=hunter2']}", "hunter2"),
        ("{environment: 'TOKEN=hunter2'}", "hunter2"),
        ("{environment: {TOKEN: !x hunter2}}", "hunter2"),
    ],
)
def test_what_may_be_a_credential_is_not_shown(tmp_path: Path, body: str, hidden: str) -> None:
    ((_, _, message),) = problems(tmp_path, f"functions: {{f: {body}}}\n")

    assert hidden not in message


def test_a_fault_behind_an_alias_is_told_once(tmp_path: Path) -> None:
    text = "functions:\n  a: &a {runtme: x}\n  b: *a\n  c: *a\n"

    places = {(line, column) for line, column, _ in problems(tmp_path, text)}

    assert places == {(2, 10)}
