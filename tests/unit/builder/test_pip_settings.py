from __future__ import annotations

import os
from pathlib import Path

from dcf.builder.pip_settings import pip_files, pip_settings


def conf(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_without_settings_nothing_is_added() -> None:
    assert pip_settings({}, files=[]).variables == {}


def test_every_option_is_translated(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    env = {
        "PIP_INDEX_URL": "https://one/simple",
        "PIP_EXTRA_INDEX_URL": "https://two/simple  https://three/simple",
        "PIP_FIND_LINKS": f"{tmp_path}/wheels https://four/ {tmp_path}/nowhere",
        "PIP_TRUSTED_HOST": "one two",
        "PIP_CERT": "/etc/own.pem",
        "PIP_NO_INDEX": "1",
    }
    settings = pip_settings(env, files=[])
    assert settings.variables == {
        "UV_DEFAULT_INDEX": "https://one/simple",
        "UV_INDEX": "https://one/simple https://two/simple https://three/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": f"{tmp_path}/wheels,https://four/",
        "UV_INSECURE_HOST": "one two",
        "SSL_CERT_FILE": "/etc/own.pem",
    }
    assert settings.no_index


def test_uvs_own_variables_take_precedence() -> None:
    env = {
        "PIP_INDEX_URL": "https://one/simple",
        "PIP_EXTRA_INDEX_URL": "https://two/simple",
        "PIP_CERT": "/etc/own.pem",
        "UV_INDEX_URL": "https://mine/simple",
        "UV_EXTRA_INDEX_URL": "https://mine/more",
        "SSL_CERT_FILE": "/etc/mine.pem",
    }
    assert pip_settings(env, files=[]).variables == {}


def test_the_users_index_strategy_is_kept() -> None:
    env = {"PIP_EXTRA_INDEX_URL": "https://two/simple", "UV_INDEX_STRATEGY": "first-index"}
    assert pip_settings(env, files=[]).variables == {"UV_INDEX": "https://two/simple"}


def test_files_sections_and_variables_have_pips_precedence(tmp_path: Path) -> None:
    weak = conf(
        tmp_path / "weak.conf",
        "[install]\nindex-url = https://weak/\n[global]\ncert = /weak.pem\ntrusted_host = weak\n",
    )
    strong = conf(
        tmp_path / "strong.conf",
        "[global]\nindex-url = https://global/\n[install]\nindex-url = https://install/\n"
        "extra-index-url =\n    https://a/\n    https://b/%20c/\n",
    )
    settings = pip_settings({"PIP_TRUSTED_HOST": "mine"}, files=[weak, strong]).variables
    assert settings == {
        "UV_DEFAULT_INDEX": "https://install/",
        "UV_INDEX": "https://install/ https://a/ https://b/%20c/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "SSL_CERT_FILE": "/weak.pem",
        "UV_INSECURE_HOST": "mine",
    }


def test_broken_and_missing_files_set_nothing(tmp_path: Path) -> None:
    broken = conf(tmp_path / "broken.conf", "index-url = nowhere\n")
    assert pip_settings({}, files=[broken, tmp_path / "missing"]).variables == {}


def test_the_files_are_those_that_pip_reads() -> None:
    env = {
        "HOME": "/h",
        "XDG_CONFIG_HOME": "/c",
        "XDG_CONFIG_DIRS": "/x:/y",
        "PIP_CONFIG_FILE": "/p",
    }
    files = [str(path) for path in pip_files(env, platform="linux")]
    assert files[:5] == [
        "/y/pip/pip.conf",
        "/x/pip/pip.conf",
        "/etc/pip.conf",
        "/h/.pip/pip.conf",
        "/c/pip/pip.conf",
    ]
    assert files[-1] == "/p"
    assert pip_files({"PIP_CONFIG_FILE": os.devnull}) == []


def test_the_main_index_comes_before_the_extra_ones() -> None:
    env = {"PIP_EXTRA_INDEX_URL": "https://two/simple", "UV_DEFAULT_INDEX": "https://mine/simple"}
    settings = pip_settings(env, files=[]).variables
    assert settings["UV_INDEX"] == "https://mine/simple https://two/simple"
    assert "UV_DEFAULT_INDEX" not in settings
