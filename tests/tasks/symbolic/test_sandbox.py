from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fipo.tasks.symbolic import sandbox

# Each is run in a process of its own, inside the sandbox, and must be refused there, for the event named first.
ACTIONS = [
    ("socket.", "import socket; socket.socket()"),
    ("socket.", "import socket; socket.getaddrinfo('localhost', 80)"),
    ("subprocess.Popen", "import subprocess; subprocess.run(['true'])"),
    ("os.system", "import os; os.system('true')"),
    ("os.exec", "import os; os.execv('/bin/true', ['true'])"),
    ("os.fork", "import os; os.fork()"),
    ("os.posix_spawn", "import os; os.posix_spawn('/bin/true', ['true'], {})"),
    ("os.fork|os.spawn", "import os; os.spawnv(os.P_WAIT, '/bin/true', ['true'])"),
    ("subprocess.|open", "import os, subprocess; os.popen('true').read()"),
    ("os.kill", "import os; os.kill(os.getpid(), 0)"),
    ("os.remove", "import os; os.remove('here')"),
    ("os.remove", "import pathlib; pathlib.Path('here').unlink()"),
    ("os.rename", "import os; os.rename('here', 'there')"),
    ("os.rename", "import os; os.replace('here', 'there')"),
    ("os.mkdir", "import os; os.mkdir('folder')"),
    ("os.rmdir", "import os; os.rmdir('empty')"),
    ("os.truncate", "import os; os.truncate('here', 0)"),
    ("os.chmod", "import os; os.chmod('here', 0)"),
    ("os.link", "import os; os.link('here', 'there')"),
    ("os.symlink", "import os; os.symlink('here', 'there')"),
    ("os.putenv", "import os; os.environ['X'] = 'y'"),
    ("shutil.", "import shutil; shutil.rmtree('empty')"),
    ("tempfile.|open|os.", "import tempfile; tempfile.NamedTemporaryFile()"),
    ("open", "open('new', 'w')"),
    ("open", "open('here', 'a')"),
    ("open", "open('here', 'r+')"),
    ("open", "open('new', 'xb')"),
    ("open", "import os; os.open('new', os.O_WRONLY | os.O_CREAT)"),
    ("open", "import os; os.fdopen(1, 'w')"),
    ("open", "open('here').read()"),
    ("open", "open('/etc/passwd').read()"),
    ("open", "import sys, os; open(os.path.join(sys.prefix, 'pyvenv.cfg')).read()"),
    ("ctypes.", "import ctypes; ctypes.CDLL(None)"),
    ("compile", "eval('1 + 1')"),
    ("compile", "exec('pass')"),
    ("compile", "compile('1', 'os.py', 'eval')"),
    ("compile", "compile(b'1', '<frozen importlib._bootstrap>', 'eval')"),
    ("compile", "import ast; ast.parse('1')"),
    ("exec", "eval((lambda: 1).__code__)"),
    ("code.__new__", "(lambda: 1).__code__.replace(co_name='f')"),
    ("function.__new__", "import types; types.FunctionType((lambda: 1).__code__, {})"),
    ("pickle.find_class", "import pickle; pickle.loads(b'cos\\nsystem\\n.')"),
    ("sys.addaudithook", "import sys; sys.addaudithook(print)"),
    ("sys.settrace", "import sys; sys.settrace(print)"),
    ("signal.|os.", "import os, signal; signal.pthread_kill(0, 0)"),
    ("resource.setrlimit", "import resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))"),
    ("sqlite3.", "import sqlite3; sqlite3.connect('new')"),
    ("fcntl.", "import fcntl; fcntl.flock(0, fcntl.LOCK_UN)"),
]
FOLDER = str(Path(sandbox.__file__).parent)
HARNESS = """
import json, sys
sys.path.insert(0, {folder!r})
from sandbox import Refused, Sandbox
import {imports}
def action():
    {body}
box = Sandbox(); box.install()
try:
    action(); outcome = "done"
except Refused as refused:
    outcome = "refused " + str(refused)
except BaseException as error:
    outcome = repr(error)
print(json.dumps([outcome, box.refusals]))
"""


def run(body: str, folder: Path, imports: str = "sys") -> tuple[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", HARNESS.format(body=body, imports=imports, folder=FOLDER)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    outcome, refusals = json.loads(done.stdout)
    return outcome, refusals


def script(code: str, folder: Path, *options: str) -> str:
    code = f"import sys; sys.path.insert(0, {FOLDER!r})\n{code}"
    done = subprocess.run(
        [sys.executable, *options, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here").write_text("as it was")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(("event", "body"), ACTIONS, ids=[body for _, body in ACTIONS])
def test_what_reaches_outside_is_refused(event: str, body: str, folder: Path) -> None:
    # Its modules are imported before: what is refused must be the action, not its import.
    found = re.match(r"import ([\w, ]+);", body)
    try:
        outcome, refusals = run(body, folder, found[1] if found else "sys")
    except AssertionError as error:
        if not found or "ModuleNotFoundError" not in str(error):
            raise
        pytest.skip(f"this system lacks one of {found[1]}")
    assert any(re.match(event, refusal) for refusal in refusals), (outcome, refusals)
    assert outcome.startswith("refused")
    assert (folder / "here").read_text() == "as it was"
    assert sorted(path.name for path in folder.iterdir()) == ["empty", "here"]


@pytest.mark.parametrize(
    "body",
    [
        "import colorsys, wave; colorsys.rgb_to_hsv(1, 1, 1)",
        "import email.mime.text, json, random; json.dumps([random.random()])",
        "import linecache, os; assert linecache.getline(os.__file__, 1)",
        "import re; re.compile('a+')",
        "sorted(map(id, [[], {}]))",
    ],
)
def test_what_stays_inside_goes_on(body: str, folder: Path) -> None:
    assert run(body, folder) == ("done", [])


def test_a_module_may_compile_text_of_its_own_while_it_is_imported(folder: Path) -> None:
    pytest.importorskip("sympy", reason="needs the extra [eval]")
    # Its data classes do, on Python's behalf.
    assert run("import sympy.integrals.manualintegrate", folder, "sympy") == ("done", [])
    assert run("sympy.sympify('x + 1')", folder, "sympy")[1] == ["compile"]


def test_text_that_a_named_function_makes_may_be_compiled_and_no_other(folder: Path) -> None:
    code = (
        "from sandbox import Refused, Sandbox\n"
        "def maker(text): return eval(text)\n"
        "def other(text): return eval(text)\n"
        "Sandbox(frozenset({maker.__code__})).install()\n"
        "print(maker('1 + 1'))\n"
        "try: other('1 + 1')\nexcept Refused: print('refused')\n"
    )
    assert script(code, folder).split() == ["2", "refused"]


def test_a_refusal_that_is_caught_is_remembered(folder: Path) -> None:
    outcome, refusals = run("try: open('new', 'w')\n    except BaseException: pass", folder)
    assert outcome == "done"
    assert refusals == ["open"]


def test_limits_cannot_be_raised_again(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="this system has no resource limits")
    code = (
        "import resource\nfrom sandbox import limit\n"
        "for name, value in (('RLIMIT_FSIZE', 0), ('RLIMIT_CORE', 0), ('RLIMIT_AS', 1 << 30)):\n"
        "    limit(name, value)\n"
        "    assert resource.getrlimit(getattr(resource, name)) == (value, value), name\n"
        "try:\n    open('new', 'w').write('x' * 100000)\nexcept OSError as error: print('no room')\n"
        "try:\n    bytearray(1 << 31)\nexcept MemoryError: print('no memory')\n"
    )
    assert script(code, tmp_path).splitlines() == ["no room", "no memory"]
    assert (tmp_path / "new").stat().st_size == 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0


def test_a_limit_that_is_lower_already_stays(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="this system has no resource limits")
    code = (
        "import resource\nfrom sandbox import limit\n"
        "limit('RLIMIT_FSIZE', 10); limit('RLIMIT_FSIZE', 1000); print(resource.getrlimit(resource.RLIMIT_FSIZE))"
    )
    assert script(code, tmp_path).strip() == "(10, 10)"


def test_the_module_needs_nothing_but_the_standard_library(tmp_path: Path) -> None:
    assert script("import sandbox; print(len(sandbox.Sandbox().refusals))", tmp_path, "-I", "-S").strip() == "0"
