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


def test_comments_and_spaces_mean_nothing(tmp_path: Path) -> None:
    one = read(tmp_path, "# what we need\nsix==1.16  # pinned\n\n  idna \\\n  >=3\n")
    two = read(tmp_path, "six==1.16\nidna    >=3")
    assert one.lines == two.lines
    assert one.requirements == 2


def test_a_hash_within_a_url_is_no_comment(tmp_path: Path) -> None:
    found = read(tmp_path, "mine @ https://host/mine.whl#sha256=0 # comment\n")
    assert found.lines == ["mine @ https://host/mine.whl#sha256=0"]
    assert found.local == []


def test_included_files_count(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "more.txt").write_text("idna\n-c limits.txt\n")
    (tmp_path / "sub" / "limits.txt").write_text("idna<4\n")
    found = read(tmp_path, "six\n-r sub/more.txt\n")
    assert found.lines == ["six", "-r sub/more.txt", "idna", "-c limits.txt", "idna<4"]
    assert found.requirements == 2


def test_a_missing_include_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(
        RequirementsInvalid, match=r"requirements.txt, line 2: more.txt is not there"
    ):
        read(tmp_path, "six\n-r more.txt\n")


def test_an_include_of_itself_ends(tmp_path: Path) -> None:
    with pytest.raises(RequirementsInvalid, match="includes itself"):
        read(tmp_path, "-r requirements.txt\n")


def test_options_are_sorted_out(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "--index-url https://one/simple\n--extra-index-url=https://two/simple\n-f wheels\n"
        "--find-links https://three/\n--no-binary numpy\n--pre\n--trusted-host one\n",
    )
    assert found.indexes == [
        "--index-url https://one/simple",
        "--extra-index-url=https://two/simple",
        f"--find-links {tmp_path / 'wheels'}",
        "--find-links https://three/",
    ]
    assert found.build_options == ["--no-binary numpy"]
    assert found.flags == ["--prerelease", "allow", "--allow-insecure-host", "one"]
    assert found.requirements == 0


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
    found = read(tmp_path, "six\n-e ./pkg\n")
    assert [(path, str(place)) for path, place in found.local] == [
        ("pkg", "requirements.txt, line 2")
    ]
    assert [str(place) for place in found.editable] == ["requirements.txt, line 2"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("../pkg", "lies outside the function's folder"),
        ("mine @ file:///usr/lib", "lies outside the function's folder"),
        ("-e /usr/lib", "lies outside the function's folder"),
        ("./nowhere", "is not there"),
        ("~/pkg", "depends on this machine"),
        ("./${NAME}", "depends on this machine"),
        ("DCFramework>=0.1", "dcframework is part of every environment already"),
        ("dcf_runtime", "dcf-runtime is part of every environment already"),
    ],
)
def test_what_cannot_travel_is_told_with_its_line(tmp_path: Path, line: str, reason: str) -> None:
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


def test_a_bad_line_is_told_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("six\n--cache-dir=X\n")
    for option in ("-r", "-c", "--requirement", "--constraint"):
        with pytest.raises(RequirementsInvalid, match=r"^more.txt, line 2: .*got '--cache-dir'"):
            read(tmp_path, f"{option} more.txt\n")


def test_an_option_that_is_nearly_right_is_told_which_is_meant(tmp_path: Path) -> None:
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
def test_what_pip_and_uv_both_understand_is_accepted(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, line + "\n").lines


@pytest.mark.parametrize(
    "line",
    ["--index-url https://evil.example", "-r /etc/hostname", "--find-links .", "-e .", "six --pre"],
)
def test_a_lock_with_anything_but_requirements_is_refused(line: str) -> None:
    lock = "# dcf-lock\nsix==1.16 \\\n    --hash=sha256:00\n./pkg\n    # via x\n"
    check_lock(lock, "requirements.lock")
    with pytest.raises(RequirementsInvalid, match=r"^requirements.lock, line 6: expected"):
        check_lock(f"{lock}{line}\n", "requirements.lock")


def test_an_absolute_path_in_the_folder_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    with pytest.raises(RequirementsInvalid, match=r"this machine only; write \./pkg"):
        read(tmp_path, f"{tmp_path}/pkg\n")


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_bytes("six\n".encode("utf-16"))
    with pytest.raises(RequirementsInvalid, match=r"requirements\.txt is not UTF-8"):
        read_requirements(tmp_path)
