"""A person at the terminal, on real pseudo-terminals."""

from __future__ import annotations

import io
import os
import pty
import select
import sys
import termios
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from corelib.shell.prompt import Person, person_at_terminal


class Terminal(NamedTuple):
    """Both ends of a pseudo-terminal: what a person's keyboard and screen are, and what a program reads from."""

    keyboard: int
    program: int

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.program)[3] & termios.ECHO)


class Screen(io.StringIO):
    """Where questions are shown; each is answered by what the person types next."""

    def __init__(self, terminal: Terminal, *answers: bytes) -> None:
        super().__init__()
        self._terminal = terminal
        self._answers = list(answers)
        self.echoed: list[bool] = []

    def write(self, text: str) -> int:
        if text.endswith(": ") and self._answers:
            self.echoed.append(self._terminal.echoes)
            os.write(self._terminal.keyboard, self._answers.pop(0))
        return super().write(text)


@pytest.fixture(name="terminal")
def _terminal() -> Iterator[Terminal]:
    keyboard, program = pty.openpty()
    yield Terminal(keyboard, program)
    os.close(keyboard)
    os.close(program)


def test_a_line_is_an_answer(terminal: Terminal) -> None:
    """What is typed up to Enter is the answer, without white space around it, and is shown while it is typed."""
    screen = Screen(terminal, b"  one two \n", b"\n")
    person = Person(terminal.program, screen, None)

    assert person.ask("First: ") == "one two"
    assert person.ask("Second: ") == ""
    assert screen.getvalue() == "First: Second: "
    assert screen.echoed == [True, True]


def test_a_hidden_answer_is_not_shown(terminal: Terminal) -> None:
    """While a hidden answer is typed the terminal shows nothing, and afterwards it does as before."""
    screen = Screen(terminal, b"secret\n")
    person = Person(terminal.program, screen, None)

    assert person.ask("Key: ", hidden=True) == "secret"
    assert screen.echoed == [False]
    assert screen.getvalue() == "Key: \n"
    assert terminal.echoes
    # Only the line feed that the program wrote would be left, and that went to the screen.
    os.set_blocking(terminal.keyboard, False)
    with pytest.raises(BlockingIOError):
        os.read(terminal.keyboard, 100)


def test_what_was_typed_before_a_hidden_question_is_no_answer(terminal: Terminal) -> None:
    """Type-ahead is thrown away before a hidden question: nobody meant it as the key."""
    os.write(terminal.keyboard, b"impatient\n")
    select.select([terminal.program], [], [])  # until it has arrived
    person = Person(terminal.program, Screen(terminal, b"meant\n"), None)

    assert person.ask("Key: ", hidden=True) == "meant"


@pytest.mark.parametrize("hidden", [False, True])
def test_the_time_is_for_all_questions(terminal: Terminal, hidden: bool) -> None:
    """No answer in time is None; the time does not begin anew with each question."""
    now = [100.0]
    person = Person(terminal.program, Screen(terminal, b"a\n"), 4.0, lambda: now[0])

    assert person.ask("First: ", hidden=hidden) == "a"
    now[0] = 104.0
    assert person.ask("Second: ", hidden=hidden) is None
    assert terminal.echoes


@pytest.mark.parametrize("hidden", [False, True])
def test_the_end_of_input_is_no_answer(terminal: Terminal, hidden: bool) -> None:
    """Ctrl-D at an empty line is None, as if nobody were there."""
    assert Person(terminal.program, Screen(terminal, b"\x04"), None).ask("Key: ", hidden=hidden) is None
    assert terminal.echoes


def test_an_interrupt_leaves_the_terminal_as_it_was(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while a key is typed goes to the caller, and what is typed next is shown again."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("select.select", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Person(terminal.program, Screen(terminal), None).ask("Key: ", hidden=True)

    assert terminal.echoes


def test_bytes_that_are_no_text(terminal: Terminal) -> None:
    """What is typed in another encoding is an answer, though a wrong one, and no error."""
    assert Person(terminal.program, Screen(terminal, b"\xff\n"), None).ask("Key: ") == "\ufffd"


# ------------------------------------------------------------------------------------------------ is anybody there?


class Stream(io.StringIO):
    """A standard stream on a file descriptor."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)


def test_somebody_is_there(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person is there where both streams are a terminal and we are in front of it; otherwise nobody is."""
    front = [os.getpgrp()]
    monkeypatch.setattr("os.tcgetpgrp", lambda _fd: front[0])
    monkeypatch.setattr(sys, "stdin", Stream(terminal.program))
    monkeypatch.setattr(sys, "stderr", Stream(terminal.program))
    assert person_at_terminal() is not None

    front[0] = os.getpgrp() + 1
    assert person_at_terminal() is None  # in the background, where reading would stop us

    front[0] = os.getpgrp()
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert person_at_terminal() is None  # nobody would see the question


@pytest.mark.parametrize("stdin", [None, io.StringIO("k" * 40), "pipe", "closed"])
def test_nobody_is_there(stdin: object, terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where standard input is missing, a pipe, closed, or an object of a test runner, nobody is asked."""
    monkeypatch.setattr(sys, "stderr", Stream(terminal.program))
    read, write = os.pipe()
    stream = Stream(read) if stdin == "pipe" else stdin
    if stdin == "closed":
        stream = open(read, encoding="utf-8", closefd=False)  # noqa: SIM115  to be closed is the point
        stream.close()
    monkeypatch.setattr(sys, "stdin", stream)

    assert person_at_terminal() is None
    os.close(read)
    os.close(write)
