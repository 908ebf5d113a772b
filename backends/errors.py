"""What goes wrong with backends, said in one sentence."""

from __future__ import annotations


class BackendsError(Exception):
    """A backend cannot be built, started or stopped; the text is one sentence with a remedy."""

    #: The exit code of the program.
    code = 1


class WrongOptionError(BackendsError):
    """An option of the command line makes no sense."""

    code = 2
