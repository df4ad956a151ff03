"""A function's spec becomes a replica's settings."""

from dcf.engines.spec import replica_spec
from dcf.model.artifact import Artifact
from dcf.model.function import FunctionSpec, HandlerRef
from dcf.model.replica import ReplicaId
from dcf.settings import WatcherSettings

ARTIFACT = Artifact("sha256:" + "a" * 64, "sha256:" + "b" * 64)


def made(function: FunctionSpec, settings: WatcherSettings):
    return replica_spec(ReplicaId("f.0.x"), 0, function, ARTIFACT, settings)


def test_what_the_function_says_comes_before_the_defaults():
    function = FunctionSpec(
        "f",
        handler=HandlerRef("./lib", "main.py", "Main"),
        timeout=7.0,
        concurrency=3,
        preflight=True,
        secrets=("key",),
    )
    spec = made(function, WatcherSettings(timeout=1.0, queue=9, start_timeout=4.0))
    settings = spec.settings
    assert (spec.function, spec.revision, spec.secrets) == ("f", 0, ("key",))
    assert (settings.function, settings.origin) == ("f", "f")
    assert (settings.handler_dir, settings.handler_file, settings.handler_name) == (
        "./lib",
        "main.py",
        "Main",
    )
    assert (settings.timeout, settings.concurrency, settings.preflight) == (7.0, 3, True)
    assert (settings.queue, settings.start_timeout) == (9, 4.0)


def test_the_authors_folder_is_kept_for_tracebacks():
    assert made(FunctionSpec("f"), WatcherSettings(origin="/home/me/f")).settings.origin == (
        "/home/me/f"
    )


def test_variables_do_not_show_in_its_text():
    assert "s3cret" not in repr(
        made(FunctionSpec("f", environment={"A": "s3cret"}), WatcherSettings())
    )
