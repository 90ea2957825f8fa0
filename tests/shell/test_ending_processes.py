"""Whole programs end in every way there is, and the watch inside them must say how (the rest: test_ending.py)."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from corelib.shell import ending
from corelib.shell.ending import read_status

ROOT = Path(ending.__file__).parents[2]

MONITORING = sys.version_info >= (3, 12)
GLIBC = platform.libc_ver()[0] == "glibc"

needs_exit_code = pytest.mark.skipif(
    not (MONITORING or GLIBC), reason="before 3.12, only GNU libc tells the code of a SystemExit"
)
needs_glibc = pytest.mark.skipif(not GLIBC, reason="only GNU libc has on_exit")
needs_monitoring = pytest.mark.skipif(not MONITORING, reason="sys.monitoring came with Python 3.12")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
needs_posix = pytest.mark.skipif(os.name != "posix", reason="exit statuses and signals as on POSIX")

# Imported by the programs under test. At exit it does what the library does, and writes down what it was told.
WITNESS = """
import atexit, json, os
from corelib.shell.ending import EndingWatch

def start(name="told"):
    path = os.path.join(os.environ["WITNESS"], name)
    watch = EndingWatch()

    def tell():
        if watch.inert:
            told = ["inert", watch.leave_status(path + ".status")]
        else:
            code = watch.exit_code()
            told = [code, code is None and watch.leave_status(path + ".status")]
        with open(f"{path}.{os.getpid()}" if watch.inert else path, "x") as file:
            json.dump(told, file)

    atexit.register(tell)
    return watch
"""

START = "import os, signal, sys, threading, time, witness\nwatch = witness.start()\n"

# As if other tools had taken all ids: what is left is the way before Python 3.12.
WITHOUT_MONITORING = """
import sys
if hasattr(sys, "monitoring"):
    for tool in range(6):
        if sys.monitoring.get_tool(tool) is None:
            sys.monitoring.use_tool_id(tool, "another")
"""

LAUNCHES = ("script", "module", "command", "stdin")


class Ended(NamedTuple):
    """What a program left: its status for the system, what its watch answered, what the C library wrote."""

    returncode: int
    answer: int | str | None
    status: int | None
    errors: str

    @property
    def recorded(self) -> int | str | None:
        return self.status if self.answer is None else self.answer


class Programs:
    """Starts programs in a folder of their own and collects what they left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "witness.py").write_text(WITNESS, encoding="utf-8")

    def run(self, program: str, launch: str = "script", name: str = "told") -> Ended:
        (self.folder / "program.py").write_text(program, encoding="utf-8")
        arguments = {
            "script": ["program.py"],
            "module": ["-m", "program"],
            "command": ["-c", program],
            "stdin": ["-"],
        }
        done = subprocess.run(
            [sys.executable, *arguments[launch]],
            input=program if launch == "stdin" else "",
            cwd=self.folder,
            env={**os.environ, "WITNESS": str(self.folder), "PYTHONPATH": os.pathsep.join([str(ROOT), "."])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return self.left(name, done.returncode, done.stderr)

    def left(self, name: str, returncode: int, errors: str = "") -> Ended:
        path = self.folder / name
        answer, arranged = json.loads(path.read_text()) if path.exists() else ("nothing ran", False)
        status = read_status(f"{path}.status")
        assert arranged or status is None
        return Ended(returncode, answer, status, errors)


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Return a starter of programs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    return Programs(folder)


# ------------------------------------------------------------------------------------------ all ways to end


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param("sys.exit(0)", 0, id="exit-0"),
        pytest.param("sys.exit()", 0, id="exit-none"),
        pytest.param("sys.exit(3)", 3, id="exit-3", marks=pytest.mark.case("exit-exit3")),
        pytest.param("sys.exit('bad')", 1, id="exit-text", marks=pytest.mark.case("exit-exitstr")),
        pytest.param("sys.exit([7])", 1, id="exit-object"),
        pytest.param("sys.exit(True)", 1, id="exit-true"),
        pytest.param("raise SystemExit(4)", 4, id="raise", marks=pytest.mark.case("exit-systemexit")),
        pytest.param("raise type('Done', (SystemExit,), {})(6)", 6, id="raise-subclass"),
        pytest.param("def main():\n  try: sys.exit(5)\n  finally: print()\nmain()", 5, id="from-a-function"),
        pytest.param("try: 1 / 0\nexcept ZeroDivisionError: sys.exit(8)", 8, id="while-handling"),
        pytest.param("try: sys.exit(5)\nexcept SystemExit: sys.exit(9)", 9, id="caught-then-another"),
    ],
)
@needs_exit_code
def test_system_exit(programs: Programs, launch: str, body: str, code: int) -> None:
    """A SystemExit that ends the program gives its code, however it was raised and however the program was started."""
    ended = programs.run(START + body, launch)

    assert (code, code) == (ended.returncode, ended.recorded), ended.errors


@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize(
    ("body", "code", "returncode"),
    [
        pytest.param("", 0, 0, id="end"),
        pytest.param("for i in range(3): pass", 0, 0, id="end-in-a-loop"),
        pytest.param("if len(sys.argv) > 99: print()", 0, 0, id="end-in-a-branch"),
        pytest.param(
            "try: sys.exit(5)\nexcept SystemExit: pass",
            *(0, 0),
            id="exit-caught",
            marks=pytest.mark.case("exit-sysexit-caught"),
        ),
        pytest.param(
            "try: 1 / 0\nexcept ArithmeticError: pass",
            *(0, 0),
            id="handled",
            marks=pytest.mark.case("exit-handled-exception"),
        ),
        pytest.param("raise RuntimeError", 1, 1, id="raise", marks=pytest.mark.case("exit-raise")),
        pytest.param(
            "from corelib.errors import Error\nraise Error('no')",
            *(1, 1),
            id="raise-our-error",
            marks=pytest.mark.case("exit-wandberror"),
        ),
        pytest.param("def main(): assert not sys\nmain()", 1, 1, id="raise-in-a-function"),
        pytest.param(
            "raise KeyboardInterrupt",
            *(255, -signal.SIGINT),
            id="interrupt",
            marks=[pytest.mark.case("exit-kbd"), needs_posix],
        ),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGINT)\ntime.sleep(30)",
            *(255, -signal.SIGINT),
            id="sigint",
            marks=needs_posix,
        ),
    ],
)
def test_other_endings(programs: Programs, launch: str, body: str, code: int, returncode: int) -> None:
    """Without a SystemExit the watch itself knows: normal end and handled exceptions 0, uncaught 1, Ctrl-C 255."""
    ended = programs.run(START + body, launch)

    assert (returncode, code, None) == (ended.returncode, ended.answer, ended.status), ended.errors


@pytest.mark.parametrize(
    ("body", "code"), [("", 0), ("raise RuntimeError", 1), ("raise KeyboardInterrupt", 255)], ids=repr
)
def test_without_monitoring(programs: Programs, body: str, code: int) -> None:
    """Where other tools hold all ids of sys.monitoring, normal ends and uncaught exceptions are known as before."""
    ended = programs.run(WITHOUT_MONITORING + START + body)

    assert (ended.answer, ended.status) == (code, None), ended.errors


@pytest.mark.parametrize("body", ["raise RuntimeError", "sys.exit(5)"])
@pytest.mark.case("exit-thread-exception")
def test_exception_in_a_thread(programs: Programs, body: str) -> None:
    """What ends another thread does not end the program."""
    in_thread = (
        f"def work():\n  {body}\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )

    ended = programs.run(START + in_thread)

    assert (ended.returncode, ended.answer) == (0, 0)


@pytest.mark.parametrize(
    ("body", "returncode"),
    [
        ("os._exit(0)", 0),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", -9, marks=needs_posix),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(30)", -15, marks=needs_posix),
    ],
    ids=["os._exit", "SIGKILL", "SIGTERM"],
)
def test_nothing_runs_when_the_process_is_cut_off(programs: Programs, body: str, returncode: int) -> None:
    """os._exit, SIGKILL and SIGTERM keep their meaning: the process is gone at once and nobody was asked."""
    ended = programs.run(START + body)

    assert (returncode, "nothing ran", None) == (ended.returncode, ended.answer, ended.status)


# ------------------------------------------------------------------------------------ what may not confuse it


STALE = """
def interrupt():
    raise KeyboardInterrupt
try:
    interrupt()
except KeyboardInterrupt as e:
    sys.last_type, sys.last_value, sys.last_traceback = type(e), e, e.__traceback__.tb_next
"""


@pytest.mark.parametrize(
    ("body", "code"), [("", 0), ("1 / 0", 1), pytest.param("sys.exit(4)", 4, marks=needs_exit_code)]
)
@pytest.mark.parametrize(
    "before", ["", pytest.param(WITHOUT_MONITORING, marks=needs_glibc)], ids=["", "no-monitoring"]
)
def test_stale_last_value(programs: Programs, before: str, body: str, code: int) -> None:
    """An exception that an interactive shell or a test runner showed earlier is not taken for the end."""
    ended = programs.run(before + START + STALE + body)

    assert (ended.returncode, ended.recorded) == (code, code), ended.errors


def test_replaced_excepthook(programs: Programs) -> None:
    """The program's own excepthook is called, and the exception is seen all the same."""
    ended = programs.run(START + "sys.excepthook = lambda *a: sys.stderr.write('mine')\nraise RuntimeError")

    assert (ended.returncode, ended.answer, ended.errors) == (1, 1, "mine")


TRACER = """
def trace(frame, event, argument):
    frame.f_trace_opcodes = True
    return trace
sys._getframe().f_trace = trace
sys._getframe().f_trace_opcodes = True
sys.settrace(trace)
"""

OTHER_TOOL = """
if hasattr(sys, "monitoring"):
    tool, events = sys.monitoring.COVERAGE_ID, sys.monitoring.events
    sys.monitoring.use_tool_id(tool, "coverage")
    sys.monitoring.register_callback(tool, events.INSTRUCTION, lambda *a: None)
    sys.monitoring.register_callback(tool, events.PY_RETURN, lambda *a: None)
    sys.monitoring.set_local_events(tool, sys._getframe().f_code, events.INSTRUCTION | events.PY_RETURN)
"""


@pytest.mark.parametrize(
    ("body", "code"), [("", 0), ("1 / 0", 1), pytest.param("sys.exit(3)", 3, marks=needs_exit_code)]
)
@pytest.mark.parametrize("tool", [TRACER, OTHER_TOOL], ids=["tracer", "monitoring"])
def test_under_a_debugger_or_coverage(programs: Programs, tool: str, body: str, code: int) -> None:
    """Tools that instrument the program's byte code do not hide how it ended."""
    ended = programs.run(START + tool + body)

    assert (code, code) == (ended.returncode, ended.recorded), ended.errors


@pytest.mark.parametrize(
    ("body", "code"), [("", 0), ("1 / 0", 1), pytest.param("sys.exit(3)", 3, marks=needs_exit_code)]
)
def test_made_by_another_thread(programs: Programs, body: str, code: int) -> None:
    """A watch made by another thread watches the main thread; a daemon thread still at work changes nothing."""
    program = """
import sys, threading, time, witness
made = threading.Event()
def work():
    witness.start()
    made.set()
    while True: time.sleep(0.001)
threading.Thread(target=work, daemon=True).start()
made.wait()
"""

    ended = programs.run(program + body)

    assert (code, code) == (ended.returncode, ended.recorded), ended.errors


@pytest.mark.parametrize(("body", "returncode", "code"), [("", 0, 0), ("1 / 0", 1, 1), ("sys.exit(3)", 3, 0)])
def test_made_after_the_program_ended(programs: Programs, body: str, returncode: int, code: int) -> None:
    """A watch made by a thread that outlives the program sees an uncaught exception, but no SystemExit."""
    program = """
import sys, threading, witness
def work():
    threading.main_thread().join()
    witness.start()
threading.Thread(target=work).start()
"""

    ended = programs.run(program + body)

    assert (returncode, code, None) == (ended.returncode, ended.answer, ended.status), ended.errors


def test_callbacks_run_early(programs: Programs) -> None:
    """A program that calls the atexit callbacks itself is still running: no end by an exception, whatever follows."""
    ended = programs.run(START + "import atexit\natexit._run_exitfuncs()\nsys.exit(3)")

    assert (ended.returncode, ended.answer, ended.status) == (3, 0, None)


# ------------------------------------------------------------------------------------------------- processes


@needs_fork
@pytest.mark.parametrize("body", ["sys.exit(5)", "raise RuntimeError", ""])
def test_forked_child_is_inert(programs: Programs, body: str) -> None:
    """The end of a forked child is never taken for the parent's: there the watch is inert and leaves no status."""
    program = START + f"child = os.fork()\nif not child:\n  {body or 'sys.exit()'}\nos.waitpid(child, 0)\n"

    ended = programs.run(program)

    told_by_child = [json.loads(path.read_text()) for path in programs.folder.glob("told.*")]
    assert told_by_child == [["inert", False]]
    assert (ended.returncode, ended.answer, ended.status) == (0, 0, None)


@needs_fork
@needs_exit_code
@pytest.mark.parametrize("first", ["watch.close()", "pass"], ids=["closed", "not-closed"])
def test_forked_child_with_its_own_watch(programs: Programs, first: str) -> None:
    """A child that makes its own watch learns its own end, and the parent still learns the parent's."""
    child = f"  {first}\n  witness.start('child')\n  sys.exit(6)\n"

    ended = programs.run(
        START + f"child = os.fork()\nif not child:\n{child}os.waitpid(child, 0)\nsys.exit(7)"
    )

    assert (ended.returncode, ended.recorded) == (7, 7), ended.errors
    assert programs.left("child", 6).recorded == 6


@needs_exit_code
@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("1 / 0", 1), ("sys.exit(3)", 3)])
def test_spawned_worker(programs: Programs, body: str, code: int) -> None:
    """A worker of multiprocessing, whose own frames swallow every exception, is recorded as the system sees it."""
    program = (
        "import multiprocessing, sys, witness\n"
        f"def work():\n  witness.start()\n  {body}\n"
        "if __name__ == '__main__':\n"
        "  worker = multiprocessing.get_context('spawn').Process(target=work)\n"
        "  worker.start()\n  worker.join()\n  sys.exit(worker.exitcode)\n"
    )

    ended = programs.run(program)

    assert (code, code) == (ended.returncode, ended.recorded), ended.errors


SUBINTERPRETER = """
import os, sys
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
inner = interpreters.create()
try:
    interpreters.run_string(inner, {!r})
except interpreters.RunFailedError if hasattr(interpreters, "RunFailedError") else () as e:
    print(e)
interpreters.destroy(inner)
"""


@pytest.mark.parametrize(
    ("body", "code"),
    [("", 0), ("1 / 0", 1 if MONITORING else None), ("sys.exit(3)", 3 if MONITORING else None)],
)
def test_subinterpreter(programs: Programs, body: str, code: int | None) -> None:
    """A watch in a subinterpreter looks at that one's program only, and the process lives on."""
    ended = programs.run(SUBINTERPRETER.format(START + body))

    assert (ended.returncode, ended.answer) == (0, code), ended.errors


# ------------------------------------------------------------------------------------------ the C library's word


@needs_glibc
@pytest.mark.parametrize("launch", LAUNCHES)
@pytest.mark.parametrize(
    ("code", "status"), [("0", 0), ("9", 9), ("'bad'", 1), ("-1", 255), ("300", 44), ("None", 0)]
)
def test_status_left_by_the_c_library(programs: Programs, launch: str, code: str, status: int) -> None:
    """Where nothing in Python tells the code, it is hidden, and the C library writes what the system is told."""
    ended = programs.run(WITHOUT_MONITORING + START + f"sys.exit({code})", launch)

    assert (status, None, status) == (ended.returncode, ended.answer, ended.status), ended.errors


@needs_monitoring
@pytest.mark.parametrize("code", [-1, 300])
def test_code_as_given(programs: Programs, code: int) -> None:
    """Where the exception itself is seen, its integer is kept as given, not as the system cuts it."""
    ended = programs.run(START + f"sys.exit({code})")

    assert (code % 256, code) == (ended.returncode, ended.answer)


@needs_glibc
def test_status_of_a_process_cut_off_after_its_callbacks(programs: Programs) -> None:
    """A process that is killed after it was asked leaves an empty file, which is no status."""
    killed = "import atexit, os\natexit.register(os._exit, 7)\n"

    ended = programs.run(killed + WITHOUT_MONITORING + START + "sys.exit(3)")

    assert (ended.returncode, ended.answer, ended.status) == (7, None, None)
    assert (programs.folder / "told.status").read_bytes() == b""
