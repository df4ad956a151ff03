"""Messages of the CLI, on standard error. Standard output is for results alone."""

from __future__ import annotations

import sys
from typing import TextIO

import click

from dcf.cli.hints import hint
from dcf.errors import BuildError, DcfError


class Console:
    """Prints messages and the progress of a build (a ``dcf.builder.build_progress.Listener``)."""

    def __init__(self, *, verbose: bool = False, stream: TextIO | None = None) -> None:
        """Create a console.

        Args:
            verbose: Whether to show the output of the tools that a build runs.
            stream: Where to write; standard error if None.
        """
        self._verbose = verbose
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty() and not verbose
        self._open_line = False

    @property
    def is_terminal(self) -> bool:
        """Whether messages go to a terminal."""
        return self._stream.isatty()

    def print(self, text: str) -> None:
        """Print one or more lines."""
        self._end_line()
        click.echo(text, file=self._stream)

    def started(self, step: str, detail: str) -> None:
        """Show that a step begins. On a terminal the line stays until the step is finished."""
        if self._live:
            self._end_line()
            click.echo(f"  {step}: {detail} ...", file=self._stream, nl=False)
            self._open_line = True
        elif self._verbose:
            self.print(f"  {step}: {detail}")

    def finished(self, step: str, detail: str, seconds: float) -> None:
        """Show that a step is finished."""
        if self._live:
            click.echo("\r\x1b[K", file=self._stream, nl=False)
            self._open_line = False
        self.print(f"  {step}: {detail} ({seconds:.1f} s)")

    def notice(self, text: str) -> None:
        """Print something that the user should know."""
        self.print(f"Note: {text}")

    def output(self, line: str) -> None:
        """Print a line of a tool's output, if they are shown."""
        if self._verbose:
            self.print(f"    {line}")

    def error(self, error: DcfError) -> None:
        """Print an error, the traceback of the author's code and a hint."""
        traceback = getattr(error, "traceback", "")
        if traceback:
            self.print(traceback.rstrip())
        self.print(click.style("Error: ", fg="red", bold=True) + str(error))
        if isinstance(error, BuildError) and error.output and self._verbose:
            self.print(error.output.rstrip())
        if text := hint(error):
            self.print(text)

    def _end_line(self) -> None:
        if self._open_line:
            click.echo("", file=self._stream)
            self._open_line = False
