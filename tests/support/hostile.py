"""Programs that want to pass without being right, to outlive their limit, or to do harm, by kind.

All are to define `f(x)`, whose test says `f(1) == 7302`: no program computes that number. `OUTSIDE` is a folder that
the tests make and look at.
"""

# ruff: noqa: E501 (a program is one line here)

from collections.abc import Iterator

OUTSIDE = "OUTSIDE"

_FORGED = "{body}\ndef f(x):\n    return {value}\n"
_CLASS = """
class Forged{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __hash__(self): return hash(7302)
    def __bool__(self): return True
    def __getattr__(self, name): return self
    {more}
def f(x): return {made}
"""


def hostile() -> Iterator[tuple[str, str]]:
    """(kind and number, program)."""
    for kind, programs in _KINDS.items():
        for number, program in enumerate(programs):
            yield f"{kind} {number}", program


def _values(*values: str, body: str = "") -> list[str]:
    return [_FORGED.format(body=body, value=value) for value in values]


_FOREVER = "while True:\n    pass\n"
_THEN_SLEEP = "\nimport time\ntime.sleep(60)\n"
_OTHERS = "[p for p in range(2, 400) if p != os.getpid()]"

_KINDS: dict[str, list[str]] = {
    "equality": [
        _CLASS.format(base="", more="", made="Forged()"),
        _CLASS.format(base="(int)", more="", made="Forged(3)"),
        _CLASS.format(base="(str)", more="", made="Forged('x')"),
        _CLASS.format(base="(list)", more="", made="Forged()"),
        _CLASS.format(base="(float)", more="", made="Forged(1.0)"),
        _CLASS.format(base="", more="def __rsub__(self, other): return 0", made="Forged()"),
        _CLASS.format(base="", more="__class__ = int", made="Forged()"),
        _CLASS.format(base="", more="def __instancecheck__(self, other): return True", made="Forged"),
        _CLASS.format(base="(type)", more="", made="Forged('A', (), {})"),
        "import enum\nclass E(enum.IntEnum):\n    A = 1\n    def __eq__(self, o): return True\n    __hash__ = None\n"
        "def f(x): return E.A",
        "import decimal\nclass D(decimal.Decimal):\n    def __eq__(self, o): return True\n    __hash__ = None\n"
        "def f(x): return D(1)",
        "import unittest.mock\ndef f(x): return unittest.mock.ANY",
        "class M(type):\n    def __eq__(cls, o): return True\n    __hash__ = None\nclass A(metaclass=M): pass\ndef f(x): return A",
    ],
    "builtins": [
        f"import builtins\nbuiltins.{name} = lambda *a, **k: True\ndef f(x): return 0"
        for name in ("abs", "isinstance", "type", "len", "all", "int", "__build_class__", "exec", "getattr")
    ]
    + [
        "import builtins\nbuiltins.AssertionError = type('A', (BaseException,), {})\ndef f(x): return 0",
        "import json\njson.dumps = lambda *a, **k: '{\"value\": 7302}'\ndef f(x): return 0",
        "import sys\nfor m in list(sys.modules.values()):\n    if hasattr(m, 'receive'): m.receive = lambda *a: {}\n"
        "def f(x): return 0",
        "import sys\nsys.modules.clear()\ndef f(x): return 0",
    ],
    "frames": [
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for n, v in list(frame.f_globals.items()):\n"
        "            if 'check' in n or 'test' in n: frame.f_globals[n] = lambda *a: None\n        frame = frame.f_back\n    return 0",
        "import gc\ndef f(x):\n    found = [o for o in gc.get_objects() if isinstance(o, dict) and 7302 in o.values()]\n"
        "    return next((7302 for o in found if o.get('f') is not f), 0)",
        "import gc\ndef f(x):\n    texts = [o for o in gc.get_objects() if isinstance(o, str) and 'assert f(1)' in o]\n"
        "    return 7302 if texts else 0",
        "import sys\nsys.settrace(lambda *a: sys.exit(0))\ndef f(x): return 0",
        "import sys\nsys.setprofile(lambda *a: None)\ndef f(x): return 0",
        "import sys\ndef f(x):\n    try: raise ValueError\n    except ValueError as e:\n        t = e.__traceback__\n"
        "        return t.tb_frame.f_back.f_locals.get('expected', 0)",
        "import inspect\ndef f(x): return [s.frame.f_locals for s in inspect.stack()] and 0",
    ],
    "leaving": [
        "import os\nos._exit(0)",
        "import sys\nsys.exit(0)",
        "raise SystemExit",
        "import os\ndef f(x): os._exit(0)",
        "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
        "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\ndef f(x): return 0",
        "import os\nos.abort()",
        "import ctypes\nctypes.string_at(0)",
        "import threading, os\nthreading.Timer(0.01, os._exit, [0]).start()\nimport time\ntime.sleep(1)",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "def f(x): raise StopIteration(7302)",
    ],
    "forged results": [
        f"import os, struct, json\nm = json.dumps({message}).encode()\n"
        "for d in range(3, 64):\n    try: os.write(d, struct.pack('<I', len(m)) + m)\n    except OSError: pass\n"
        "def f(x): return 0"
        for message in (
            "{'kind': 'passed', 'reason': '', 'values': []}",
            "{'value': 'passed'}",
            "{'error': [[], '', '']}",
            "{'call': 'check'}",
            "{'call': 0, 'arguments': [], 'named': {'dict': []}}",
            "['passed']",
            "{'value': {'opaque': ['int', True]}}",
            "{'value': {'instance': ['f', {'dict': []}]}}",
            "{'value': {'a': 1, 'b': 2}}",
            "{'value': {'decimal': 'x'}}",
            "{'value': {'tuple': 3}}",
        )
    ]
    + [
        "import os\nfor d in range(3, 64):\n    try: os.write(d, b'\\xff' * 64)\n    except OSError: pass\ndef f(x): return 0",
        "import os\nfor d in range(3, 64):\n    try: os.close(d)\n    except OSError: pass\ndef f(x): return 0",
        "def f(x):\n    v = []\n    for _ in range(50000): v = [v]\n    return v",
        "def f(x): return 'x' * (200 << 20)",
        "def f(x): return {(1 << 61) * k - k for k in range(1, 100000)}",
    ],
    "time": [
        _FOREVER,
        "def f(x):\n    while True: pass",
        "import time\ntime.sleep(600)",
        "try:\n    while True: pass\nexcept BaseException:\n    while True: pass",
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\n"
        + _FOREVER,
        "sum(range(10 ** 12))",
        "10 ** 10 ** 9",
        "import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')",
        "import threading\nfor _ in range(4): threading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()",
        "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (10 ** 6, 10 ** 6))\n" + _FOREVER,
        "import ctypes, signal\nctypes.CDLL(None).pause()\n" + _FOREVER,
        "import itertools\ndef f(x): return itertools.count()",
    ],
    "processes": [
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        "import os\ndef f(x):\n    os.fork()\n    return 0",
        "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True: pass\n    os._exit(0)"
        + _THEN_SLEEP,
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True)"
        + _THEN_SLEEP,
        "import multiprocessing as m\n[m.Process(target=sum, args=(range(10 ** 12),)).start() for _ in range(4)]"
        + _THEN_SLEEP,
        "import os\nos.kill(os.getppid(), 9)" + _THEN_SLEEP,
        "import os\nos.kill(-1, 9)" + _THEN_SLEEP,
        f"import os\nfor p in {_OTHERS}:\n    try: os.kill(p, 9)\n    except OSError: pass" + _THEN_SLEEP,
        "import os\nos.killpg(0, 9)" + _THEN_SLEEP,
        "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)" + _THEN_SLEEP,
        "import ctypes, os\nctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)" + _THEN_SLEEP,
    ],
    "memory and output": [
        "x = bytearray(8 << 30)",
        "x = []\nwhile True: x.append(bytearray(1 << 24))",
        "import os\nfor _ in range(3): os.fork()\nx = bytearray(b'x') * (200 << 20)" + _THEN_SLEEP,
        "import mmap\nx = [mmap.mmap(-1, 1 << 28) for _ in range(64)]\nfor m in x: m.write(b'x' * (1 << 28))",
        "while True: print('x' * 100000, flush=True)",
        "import os\nwhile True: os.write(1, b'x' * 100000); os.write(2, b'x' * 100000)",
        "import os\nfor k in range(100000):\n    with open(f'{k}', 'wb') as h: h.write(b'x' * (8 << 20))",
        "h = open('large', 'wb')\nwhile True: h.write(b'x' * (1 << 20))",
        "for k in range(10 ** 7): open(f'{k}', 'w').close()",
        "import os\nfor _ in range(4000):\n    os.mkdir('d'); os.chdir('d')\nos.chmod('.', 0)" + _THEN_SLEEP,
        "import os\nfor d in ('/dev/shm', '/var/tmp', '/run', '/'):\n    try: open(d + '/x', 'wb').write(b'x' * (1 << 24))\n"
        "    except OSError: pass",
    ],
    "files and network": [
        f"import shutil\nshutil.rmtree('{OUTSIDE}', ignore_errors=True)",
        f"import os\nos.symlink('{OUTSIDE}', 'link')\nos.chmod('link/kept', 0o777)",
        f"import os\nos.symlink('{OUTSIDE}', 'link')\nopen('link/new', 'w').write('x')",
        f"import os\nos.truncate('{OUTSIDE}/kept', 0)",
        f"import os\nos.rename('{OUTSIDE}/kept', '{OUTSIDE}/moved')",
        f"import os\nos.utime('{OUTSIDE}/kept', (0, 0))",
        f"import os\nos.link('{OUTSIDE}/kept', 'hard')\nopen('hard', 'w').write('x')",
        f"import ctypes\nctypes.CDLL(None).mount(b'x', b'{OUTSIDE}', b'tmpfs', 0, None)",
        "import os\nopen(f'/proc/{os.getppid()}/mem', 'r+b').write(b'x')",
        "import os\nopen('/proc/sysrq-trigger', 'w').write('x')",
        "import os\nos.chroot('/')",
        "import socket\nsocket.create_connection(('1.1.1.1', 53), 1)",
        "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1).send(b'x')",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:PORT', timeout=1)",
    ],
}
