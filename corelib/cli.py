"""The command line: words in, exit code out.

Law: a command only shows what the library says; it decides nothing that a script could not decide with the
same calls. Answers go to standard output, complaints to standard error.

Exit codes: 0 all is well; 1 a problem was found (damage, a failed or crashed run, a setting that cannot be
used); 2 the command line is wrong, or names a run that is not there; 130 interrupted; 141 the reader of our
output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from corelib.errors import Error, UsageError

__all__ = ["main"]

OK: Final = 0
PROBLEM: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells report it
READER_GONE: Final = 141  # 128 + SIGPIPE

_EXIT_CODES: Final = (
    "exit codes: 0 all is well; 1 a problem was found; "
    "2 the command line is wrong or names no run; 130 interrupted"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words after `corelib`; None for those of this process.

    Raises:
        SystemExit: help was asked for (0), or the words are no command (2), as argparse does it.
    """
    arguments, strange = _parser().parse_known_args(argv)
    if strange:
        arguments.parser.error(f"unrecognized arguments: {' '.join(strange)}")
    given: object = sys.stdout
    if given is None:  # closed before we began, as by `>&-`
        if sys.stderr is not None:
            print("corelib: standard output is closed, so there is nowhere to answer.", file=sys.stderr)
        return PROBLEM
    try:
        # Each command is a module of its own, loaded when it is asked for: `--help` stays quick.
        run: Callable[[argparse.Namespace], int] = import_module(arguments.module).run
        status = run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is still buffered must not be written, and complained about, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except Error as error:
        print(f"corelib: {error}", file=sys.stderr)
        return USAGE if isinstance(error, UsageError) else PROBLEM
    except OSError as error:
        print(f"corelib: {error.filename or 'input/output'}: {error.strerror or error}", file=sys.stderr)
        return PROBLEM
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints show no word of the user's where one may be a secret by mistake."""

    is_discreet = False

    def error(self, message: str) -> NoReturn:
        """Complain, and end with 2."""
        if self.is_discreet:
            message = (
                "a word is wrong or too many; none is shown here, for it may be a key, which is no argument"
            )
        super().error(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="corelib",
        description="Look at recorded runs, and at what corelib would do here.",
        epilog=_EXIT_CODES,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def command(name: str, summary: str, **options: Any) -> _Parser:
        description = summary[0].upper() + summary[1:] + "."
        added = commands.add_parser(
            name, help=summary, description=description, epilog=_EXIT_CODES, allow_abbrev=False, **options
        )
        added.set_defaults(module=f"corelib.commands.{name.replace('-', '_')}", parser=added)
        return added

    demo = command(
        "demo", "train a model on Fisher's irises three times, resume one run, and look at the result"
    )
    demo.add_argument(
        "--dir", metavar="DIR", help="where to record; default: the current directory, or $WANDB_DIR"
    )

    ls = command("ls", "list the runs of a directory, the newest last")
    ls.add_argument(
        "directory", metavar="DIR", nargs="?", help="the directory that holds `wandb`; default: here"
    )
    _json(ls)

    show = command("show", "show one run: config, summary, metrics, state, resume decision, receipt")
    _run(show)
    _json(show)

    tail = command(
        "tail", "print the rows of a run as they are logged, until it ends; exit code 1 if it failed"
    )
    _run(tail)
    tail.add_argument(
        "-n", "--lines", type=_count, default=10, metavar="N", help="earlier rows to begin with; default: 10"
    )
    tail.add_argument(
        "--no-follow", dest="follow", action="store_false", help="print what is there, and stop"
    )
    _json(tail)

    verify = command("verify", "check every checksum of a run's journal and name what is damaged")
    _run(verify)
    _json(verify)

    settings = command(
        "settings", "show every setting as `init()` would use it here, and which source decided it"
    )
    settings.add_argument(
        "--explain", metavar="KEY", help="one setting in full: its sources, and what was overridden"
    )
    _json(settings)

    table = command("resume-table", "print how `init()` decides whether a run is resumed")
    table.add_argument("--markdown", action="store_true", help="as a Markdown table")

    sync = command(
        "sync", "deliver what runs have recorded; exit code 1 if anything is pending or was rejected"
    )
    sync.add_argument(
        "paths",
        metavar="PATH",
        nargs="*",
        help="a run directory, a directory that holds some, a folder name, a run id, or `latest`",
    )
    sync.add_argument("--all", action="store_true", help="all runs that are recorded here")
    sync.add_argument(
        "--watch",
        action="store_true",
        help="go on until the runs have ended and are delivered; with --all, until interrupted",
    )
    sync.add_argument("--dry-run", action="store_true", help="send nothing, and say what would be sent")
    sync.add_argument("--id", metavar="ID", help="the id to deliver a single run under")
    sync.add_argument("--project", metavar="NAME", help="the project to deliver to; default: as recorded")
    sync.add_argument("--entity", metavar="NAME", help="the entity to deliver to; default: as recorded")
    sync.add_argument(
        "--transport",
        metavar="SPEC",
        help="a transport's name or a URL, as file:///mnt/backup; default: the settings transport or base_url",
    )
    sync.add_argument(
        "--jobs",
        type=_count,
        default=1,
        metavar="N",
        help="how many runs are delivered at a time; default: 1",
    )
    _json(sync)

    login = command("login", "keep the API key of a server in the netrc file, for the runs to come")
    login.is_discreet = True
    login.description = (
        "Keep the API key of a server in the netrc file, for the runs to come. The key is asked for at the terminal, "
        "or read from standard input (corelib login < keyfile). It is no argument: the command line is shown to every "
        "user of this machine, and the shell writes it into its history."
    )
    login.add_argument("--host", metavar="URL", help="the server's address; default: the setting base_url")
    login.add_argument("--relogin", action="store_true", help="ask for a key although there is one")
    login.add_argument(
        "--anonymous",
        choices=("allow", "must", "never"),
        help="whether to ask the server for a key without an account where there is none",
    )
    login.add_argument(
        "--verify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="have the server check a key that is already there; a new one is always checked",
    )

    doctor = command(
        "doctor", "say what `init()` would do here: directories, settings that matter, resume plan"
    )
    doctor.add_argument(
        "--ask", action="store_true", help="ask the server as well: key and run (a few seconds at most)"
    )
    _json(doctor)
    return parser


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="an id, a folder name, a path, or `latest`")
    parser.add_argument(
        "--dir", metavar="DIR", help="the directory that holds `wandb`; default: here, or $WANDB_DIR"
    )


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print data as JSON")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_count.__name__ = "count"  # argparse says "invalid count value"


def _version() -> str:
    from corelib import __version__

    return f"corelib {__version__}"
