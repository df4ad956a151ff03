"""All that the CLI says to people: on standard error, so that standard output is the reply's."""

from __future__ import annotations

import sys
from typing import TextIO

import click

from dcf.cli.hints import advice
from dcf.errors import BuildError, DcfError


class Console:
    """Says things, and shows a build's progress (a ``dcf.builder.build_progress.Listener``)."""

    def __init__(self, *, verbose: bool = False, stream: TextIO | None = None) -> None:
        """A console on standard error.

        Args:
            verbose: Whether the tools' own output is shown.
            stream: Another place to write to.
        """
        self._verbose = verbose
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and not verbose
        self._open_line = False

    @property
    def is_terminal(self) -> bool:
        """Whether somebody may be looking."""
        return self._stream.isatty()

    def say(self, text: str) -> None:
        """One line or more."""
        self._end_line()
        click.echo(text, file=self._stream)

    def started(self, step: str, detail: str) -> None:
        """A step begins: on a terminal its line stands until the step is finished."""
        if self._live:
            self._end_line()
            click.echo(f"  {step}: {detail} ...", file=self._stream, nl=False)
            self._open_line = True
        elif self._verbose:
            self.say(f"  {step}: {detail}")

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """A step is done."""
        if self._live:
            click.echo("\r\x1b[K", file=self._stream, nl=False)
            self._open_line = False
        self.say(f"  {step}: {detail} ({seconds:.1f} s)")

    def notice(self, text: str) -> None:
        """Something the author should know."""
        self.say(f"Notice: {text}")

    def output(self, line: str) -> None:
        """A line of a tool at work."""
        if self._verbose:
            self.say(f"    {line}")

    def error(self, error: DcfError) -> None:
        """What went wrong, the author's traceback, and what to do."""
        traceback = getattr(error, "traceback", "")
        if traceback:
            self.say(traceback.rstrip())
        self.say(click.style("Error: ", fg="red", bold=True) + str(error))
        if isinstance(error, BuildError) and error.output and self._verbose:
            self.say(error.output.rstrip())
        if hint := advice(error):
            self.say(hint)

    def _end_line(self) -> None:
        if self._open_line:
            click.echo("", file=self._stream)
            self._open_line = False
