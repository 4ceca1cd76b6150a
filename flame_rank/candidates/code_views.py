"""The views of a candidate's text that are compared with its pool, and whether the text can be right at all."""

import ast
import builtins
import re
import warnings
from dataclasses import dataclass

_FENCE = re.compile(r"```[ \t]*([\w+#.-]*)[^\n`]*\n(.*?)```", re.DOTALL)  # its language, and what is inside
_OURS = ("", "python", "python3", "py", "py3")  # the languages of a fence, in lower case
PROGRAM = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)  # prose has none of these
_TOKEN = re.compile(r"\w+|[^\w\s]")
# Lines that Python has and prose hardly, and lines that another language has.
_OPENING = re.compile(
    r"^(?:(?:async )?def \w+\(.*(?<![={;])|class \w+(?:\(.*\))?:(?:[ \t]*#.*)?|from [\w.]+ import [\w(*].*"
    r"|import [\w.]+(?: as \w+)?)[ \t]*\r?$",
    re.MULTILINE,
)
_OTHERS = re.compile(
    r"^[ \t]*(?:end\b|fun |func |val |let |var |public |private |object |module |data |type .*=|\w+ ::)|[;{][ \t]*\r?$",
    re.MULTILINE,
)
_HOW = re.compile(r"\bhow (?:do|does|can|could|to|would|should)\b", re.IGNORECASE)
_PROGRAM_ASKED = re.compile(r"\b(?:function|program|script|class|method|def|implement\w*)\b", re.IGNORECASE)
_GIVEN = frozenset((*dir(builtins), "__name__", "__file__", "__doc__"))
LONGEST = 100_000  # characters that are read: enough to see what a text shares with its pool

Tokens = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class CandidateViews:
    """The views of one candidate.

    Attributes:
      views: its tokens as written; its tokens after parsing and unparsing; and the same tokens with every name that the
        program binds replaced by a number, in order of appearance. All three are the same if the text is not Python.
      code: whether the text is Python or looks like it.
      valid: False for Python that cannot be right: it has a syntax error or a name that nothing binds, or it
        continues a function and uses none of the arguments or returns nothing although a value is asked for.
    """

    views: tuple[Tokens, Tokens, Tokens]
    code: bool
    valid: bool


def read_candidate(prompt: str, text: str) -> CandidateViews:
    """Reads a candidate as a program, as a fenced program, as the indented continuation of the prompt's function, or
    as prose if it is none of these."""
    prompt, text = prompt[-LONGEST:], text[:LONGEST]
    others = False
    if (program := fenced(text)) is not None:
        text = program
    else:
        others = _FENCE.search(text) is not None  # a program in another language
    continues = is_continuation(prompt, text)
    # Text after a continued function is not compared with anything, but it has to parse, since all of it is run.
    compared = "def f():\n" + _continuation(text) if continues else text
    plain = tuple(_TOKEN.findall(_continuation(text) if continues else text))
    tree = parse(compared)
    is_program = tree is not None and any(isinstance(node, PROGRAM) for node in tree.body)
    if not continues and not is_program:
        code = not others and bool(_OPENING.search(text)) and not _OTHERS.search(text)
        return CandidateViews(views=(plain,) * 3, code=code, valid=not code)
    whole = parse(prompt + text if continues else text)
    # A program that stands alone may rely on names in the prompt, which may bind what the program does not.
    given = _GIVEN if continues else _GIVEN | set(re.findall(r"\w+", prompt[:LONGEST]))
    lines = prompt.count("\n") + 1
    # Lines that show how something is done may rely on names that nothing binds.
    shows = not continues and bool(_HOW.search(prompt)) and not _PROGRAM_ASKED.search(prompt)
    valid = whole is not None and not (continues and _idle(whole, lines)) and (shows or not _unbound(whole, given))
    if tree is None:
        return CandidateViews(views=(plain,) * 3, code=True, valid=False)
    try:
        normal = ast.unparse(tree)
        renamed = ast.unparse(_Rename(tree).visit(tree))
    except (RecursionError, ValueError):  # nested too deeply, or a number too large to print
        return CandidateViews(views=(plain,) * 3, code=True, valid=valid)
    return CandidateViews(
        views=(plain, tuple(_TOKEN.findall(normal)), tuple(_TOKEN.findall(renamed))), code=True, valid=valid
    )


def fenced(text: str) -> str | None:
    """Returns the first program of a text that stands in a fence which names Python or no language; None without one.
    Fences are read in pairs, so that what stands between two of them is in none."""
    return next((match[2] for match in _FENCE.finditer(text) if match[1].lower() in _OURS), None)


def unfenced(text: str) -> str:
    """Returns what is inside a fence if the whole text is one; else the text."""
    match = _FENCE.fullmatch(text.strip())
    return match[2] if match and match[1].lower() in _OURS else text


def is_continuation(prompt: str, text: str) -> bool:
    """Tells whether a text is the indented body of the function at the end of the prompt."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return first[:1].isspace() and bool(re.search(r"^[ \t]*(async )?def \w+", prompt, re.MULTILINE))


def _continuation(text: str) -> str:
    """Returns the lines of a continued function: those before the first line that is not indented."""
    lines = text.strip("\n").split("\n")
    end = next((at for at, line in enumerate(lines) if at and line[:1].strip()), len(lines))
    return "\n".join(lines[:end])


def parse(source: str) -> ast.Module | None:
    """Returns the syntax tree of a program that compiles; None for any other text, whatever is wrong with it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the candidate's invalid escapes and comparisons
            compile(source, "<candidate>", "exec")  # finds what parsing does not: a return outside a function
            return ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _unbound(tree: ast.Module, given: frozenset[str]) -> bool:
    """Tells whether the program reads a name that it binds nowhere, which would raise a NameError."""
    read, bound = set[str](), set[str]()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name):
                bound.add(name)
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound.add(name)
            case ast.ClassDef(name=name) | ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                bound.add(name)
            case ast.alias(name="*"):
                return False  # it may bind any name
            case ast.alias(name=name, asname=other):
                bound.add((other or name).split(".")[0])
    return bool(read - bound - given)


def _idle(tree: ast.Module, lines: int) -> bool:
    """Tells whether the continued function ignores all its arguments, or returns nothing although its annotation or its
    docstring says that it does.

    The continued function is the last one at the top level that begins in the first `lines` lines of the program. If
    the program defines it again later, as some models do, the later definition counts.
    """
    functions = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    continued = [node.name for node in functions if node.lineno <= lines]
    if not continued:
        return False
    function = [node for node in functions if node.name == continued[-1]][-1]
    every = [node for statement in function.body for node in ast.walk(statement)]
    own = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    read = {node.id for node in every if isinstance(node, ast.Name)}
    if own and not own & read and "locals" not in read:
        return True
    stated = function.returns
    asked = not (isinstance(stated, ast.Constant) and stated.value is None) and (
        stated is not None or "return" in (ast.get_docstring(function) or "").lower()
    )
    gives = any(
        isinstance(node, (ast.Yield, ast.YieldFrom)) or (isinstance(node, ast.Return) and node.value is not None)
        for node in every
    )
    return asked and not gives


class _Rename(ast.NodeTransformer):
    """Renames every name that a program binds by the order in which the names first occur."""

    def __init__(self, tree: ast.AST):
        stored = (n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        arguments = (n.arg for n in ast.walk(tree) if isinstance(n, ast.arg))
        self.own = {*stored, *arguments}
        self.names: dict[str, str] = {}

    def _name(self, name: str) -> str:
        return self.names.setdefault(name, f"v{len(self.names)}") if name in self.own else name

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._name(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(self._name(node.arg))
