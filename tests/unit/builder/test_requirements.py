from __future__ import annotations

from pathlib import Path

import pytest

from dcf.builder.requirements import (
    Requirements,
    check_lock,
    local_path,
    read_requirements,
)
from dcf.errors import RequirementsInvalid


def read(folder: Path, text: str) -> Requirements:
    (folder / "requirements.txt").write_text(text)
    return read_requirements(folder)


def test_a_missing_file_is_empty(tmp_path: Path) -> None:
    assert read_requirements(tmp_path) == Requirements()


def test_comments_and_spaces_are_ignored(tmp_path: Path) -> None:
    first = read(tmp_path, "# what we need\nsix==1.16  # pinned\n\n  idna \\\n  >=3\n")
    second = read(tmp_path, "six==1.16\nidna    >=3")
    assert first.lines == second.lines
    assert first.requirements == 2


def test_a_hash_within_a_url_is_not_a_comment(tmp_path: Path) -> None:
    content = read(tmp_path, "mine @ https://host/mine.whl#sha256=0 # comment\n")
    assert content.lines == ["mine @ https://host/mine.whl#sha256=0"]
    assert content.local == []


def test_included_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("idna\n-c limits.txt\n")
    (tmp_path / "sub" / "limits.txt").write_text("idna<4\n")
    content = read(tmp_path, "six\n-r sub/more.txt\n")
    assert content.lines == ["six", "-r sub/more.txt", "idna", "-c limits.txt", "idna<4"]
    assert content.requirements == 2


def test_a_missing_include_is_reported_with_its_line(tmp_path: Path) -> None:
    message = r"requirements\.txt, line 2: expected an existing file, got more\.txt"
    with pytest.raises(RequirementsInvalid, match=message):
        read(tmp_path, "six\n-r more.txt\n")


def test_a_file_that_includes_itself_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(RequirementsInvalid, match=r"got requirements\.txt, which includes itself"):
        read(tmp_path, "-r requirements.txt\n")


def test_options_are_sorted_by_kind(tmp_path: Path) -> None:
    content = read(
        tmp_path,
        "--index-url https://one/simple\n--extra-index-url=https://two/simple\n-f wheels\n"
        "--find-links https://three/\n--no-binary numpy\n--pre\n--trusted-host one\n",
    )
    assert content.indexes == [
        "--index-url https://one/simple",
        "--extra-index-url=https://two/simple",
        f"--find-links {tmp_path / 'wheels'}",
        "--find-links https://three/",
    ]
    assert content.build_options == ["--no-binary numpy"]
    assert content.flags == ["--prerelease", "allow", "--allow-insecure-host", "one"]
    assert content.requirements == 0


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("./pkg", "./pkg"),
        ("pkg/", "pkg/"),
        (".", "."),
        ("./pkg[extra] ; python_version > '3'", "./pkg"),
        ("mine @ ./pkg", "./pkg"),
        ("mine[extra]@./pkg", "./pkg"),
        ("mine @ file:///a/b", "/a/b"),
        ("file:./pkg", "./pkg"),
        ("wheels/mine-1-py3-none-any.whl --hash=sha256:0", "wheels/mine-1-py3-none-any.whl"),
        ("mine-1.tar.gz", "mine-1.tar.gz"),
        ("six", None),
        ("six==1.16 ; python_version < '4' and platform_system != 'a/b'", None),
        ("mine @ https://host/mine.whl", None),
        ("git+https://host/mine.git", None),
        ("six[extra]>=1", None),
    ],
)
def test_local_paths_are_recognised(line: str, path: str | None) -> None:
    assert local_path(line) == path


def test_a_local_path_in_the_folder_is_relative(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    content = read(tmp_path, "six\n-e ./pkg\n")
    assert [(path, str(place)) for path, place in content.local] == [
        ("pkg", "requirements.txt, line 2")
    ]
    assert [str(place) for place in content.editable] == ["requirements.txt, line 2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("../pkg", r"expected a path in the function's folder, got \.\./pkg"),
        ("mine @ file:///usr/lib", "expected a path in the function's folder, got /usr/lib"),
        ("-e /usr/lib", "expected a path in the function's folder, got /usr/lib"),
        ("./nowhere", r"expected an existing file or folder, got \./nowhere"),
        ("~/pkg", "got ~/pkg, which depends on this machine"),
        ("./${NAME}", "which depends on this machine"),
        ("DCFramework>=0.1", "expected a package other than dcframework, .*'DCFramework>=0.1'"),
        ("dcf_runtime", "expected a package other than dcf-runtime, .*'dcf_runtime'"),
    ],
)
def test_a_requirement_that_cannot_be_installed_elsewhere_is_rejected_with_its_line(
    tmp_path: Path, line: str, reason: str
) -> None:
    with pytest.raises(RequirementsInvalid, match=f"requirements.txt, line 3: .*{reason}"):
        read(tmp_path, f"six\n\n{line}\n")


@pytest.mark.parametrize(
    "line",
    [
        "--pre --cache-dir=X",
        "--pre=--cache-dir=X",
        "--cache-dir=X",
        "--cache-dir X",
        "--config-file=uv.toml",
        "--python=/tmp/evil",
        "--prerelease allow",
        "--allow-insecure-host=x",
        "--offline",
        "--pr",
        "--PRE",
        "-p /tmp/evil",
        "-v",
        "-",
        "--",
        "-- six",
        "-rmore.txt",
        "--use-feature=fast-deps",
        "--no-index --cache-dir=X",
        "--no-index=yes",
        "--prefer-binary --cache-dir=X",
        "--require-hashes --cache-dir=X",
        "--index-url",
        "--index-url=",
        "--index-url --pre",
        "--index-url=--cache-dir=X",
        "--index-url https://one/simple --cache-dir=X",
        "--index-url https://one/simple https://two/simple",
        "--extra-index-url https://-oProxyCommand=x/simple",
        "-i https://one/simple --pre",
        "--trusted-host --cache-dir=X",
        "--trusted-host one --cache-dir=X",
        "--trusted-host -one",
        "--trusted-host ${HOST}",
        "--find-links --cache-dir=X",
        "-f wheels --cache-dir=X",
        "--no-binary --cache-dir=X",
        "--no-binary six,--cache-dir=X",
        "--only-binary=${ALL}",
        "-r",
        "-r ../more.txt",
        "-r sub/../../more.txt",
        "-r /etc/hostname",
        "-r https://host/more.txt",
        "-c https://host/limits.txt",
        "-c ${LIMITS}",
        "-r more.txt --cache-dir=X",
        "-r --cache-dir=X",
        "-e",
        "-e --cache-dir=X",
        "-e -r more.txt",
        "-e ./pkg --config-settings=x",
        "-e git+ssh://-oProxyCommand=x/mine.git",
        "six --global-option=x",
        "six --install-option=x",
        "six --config-settings=x",
        "six --hash=sha256:0 --cache-dir=X",
        "six --hash=--cache-dir=X",
        "six -r more.txt",
        "six==1 --pre",
        "six 1.16",
        "six --",
        "${OPTION}",
        "${OPTION} six",
        "six==${VERSION}",
        "six ; python_version > '${VERSION}'",
        "'--cache-dir=X'",
        '"six"',
        "\\--cache-dir=X",
        "@six",
        "mine @ git+https://host/mine.git@--upload-pack=x",
        "mine @ git+ssh://user@-oProxyCommand=x/mine.git",
        "six # pinned \\\n--cache-dir=X",
        "# pinned \\\n--cache-dir=X",
        "six \\\n# pinned\n--pre",
        "six \\\n--cache-dir=X",
        "--pre \\\n--cache-dir=X",
        "# pinned\r--cache-dir=X",
        "# pinned\v--cache-dir=X",
        "# pinned\x85--cache-dir=X",
        "# pinned\u2028--cache-dir=X",
        "six\0",
    ],
)
def test_no_line_becomes_an_option_of_uv(tmp_path: Path, line: str) -> None:
    (tmp_path / "more.txt").touch()
    (tmp_path / "pkg").mkdir()
    (tmp_path.parent / "more.txt").touch()
    with pytest.raises(RequirementsInvalid, match=r"^requirements.txt, line [23]: .*"):
        read(tmp_path, f"idna\n{line}\n")


def test_an_invalid_line_is_reported_in_every_file(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("six\n--cache-dir=X\n")
    for option in ("-r", "-c", "--requirement", "--constraint"):
        with pytest.raises(RequirementsInvalid, match=r"^more.txt, line 2: .*got '--cache-dir'"):
            read(tmp_path, f"{option} more.txt\n")


def test_a_misspelled_option_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(RequirementsInvalid, match=r"did you mean --index-url\?"):
        read(tmp_path, "--indexurl https://one/simple\n")


@pytest.mark.parametrize(
    "line",
    [
        "six",
        "six==1.16",
        "six ~= 1.16, != 1.16.1",
        "six[extra,more]>=1;python_version<'4'",
        "six (>=1)",
        "six==1.16 --hash=sha256:00ff --hash sha512:00",
        "six==1.16 \\\n    --hash=sha256:00ff \\\n    --hash=sha256:01ff",
        "six>=1 ; python_version >= '3.8' and platform_release != 'a-b'",
        "mine @ https://host/mine-1-py3-none-any.whl#sha256=0",
        "mine[extra] @ git+https://${USER}:${TOKEN}@host/mine.git@v1-2#subdirectory=x",
        "git+ssh://git@host/mine.git@main",
        "https://gitlab.example/api/-/packages/mine.whl",
        "-e git+https://host/mine.git#egg=mine",
        "--index-url https://${USER}:${TOKEN}@host/simple",
        "-i=https://one/simple",
        "--index-url \\\n  https://one/simple",
        "--extra-index-url https://[::1]:3141/-/simple",
        "--trusted-host *.host.example:8080",
        "--no-binary :all:",
        "--only-binary=numpy,six",
        "--no-index",
        "--pre",
        "--prefer-binary",
        "--require-hashes",
        "\ufeffsix",
        "six\r",
        "\tsix # comment",
    ],
)
def test_lines_that_pip_and_uv_both_support_are_accepted(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line + "\n").lines


@pytest.mark.parametrize(
    "line",
    ["--index-url https://evil.example", "-r /etc/hostname", "--find-links .", "-e .", "six --pre"],
)
def test_a_lock_with_anything_but_requirements_is_rejected(line: str) -> None:
    lock = "# dcf-lock\nsix==1.16 \\\n    --hash=sha256:00\n./pkg\n    # via x\n"
    check_lock(lock, "requirements.lock")
    with pytest.raises(RequirementsInvalid, match=r"^requirements.lock, line 6: expected"):
        check_lock(f"{lock}{line}\n", "requirements.lock")


def test_an_absolute_path_in_the_folder_gets_the_relative_path_as_a_suggestion(
    tmp_path: Path,
) -> None:
    (tmp_path / "pkg").mkdir()
    with pytest.raises(RequirementsInvalid, match=r"expected a path relative .*; write \./pkg"):
        read(tmp_path, f"{tmp_path}/pkg\n")


def test_another_encoding_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("six\n".encode("utf-16"))
    with pytest.raises(
        RequirementsInvalid, match=r"requirements\.txt: expected UTF-8, got .* byte 0"
    ):
        read_requirements(tmp_path)
