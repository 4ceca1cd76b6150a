"""Rules that find texts that cannot be a good answer, whatever the other candidates are; code_views.py has the rules
for programs. A rule applies only if it is certain: a text with a fault ranks behind all texts without one."""

# ruff: noqa: RUF001 - signs of other scripts are meant

import ast
import re
import unicodedata
from typing import Literal, TypeAlias

from flame_rank.candidates.code_views import LONGEST, is_continuation, parse
from flame_rank.candidates.languages import is_foreign, scripts, word_set, words
from flame_rank.candidates.repetition import is_loop

Fault: TypeAlias = Literal["empty", "filler", "garbage", "loop", "copied", "few", "language"]

_PARSED = 20_000  # characters; a longer text is not parsed, its lines show whether it is a program


def faults(prompt: str, text: str) -> tuple[Fault, ...]:
    """Returns the reasons why a text cannot be a good answer to a prompt; empty if nothing is certainly wrong.

    Returns:
      "empty": nothing visible, or neither a letter nor a digit, unless the prompt asks for a symbol.
      "filler": placeholder text, such as lorem ipsum or "[insert answer here]".
      "garbage": not words: random keys, broken encodings, the remains of a template or a crash.
      "loop": one passage repeated over and over.
      "copied": nothing but the prompt, or its last question.
      "few": fewer words than the items that the prompt asks for ("Name three colours.").
      "language": another language than the prompt asks for or, if it asks for none, than the prompt is in.
    """
    text = text[:LONGEST].strip()
    prompt, text = _ends(prompt, 3_000), _ends(text, 6_000)
    if _is_empty(prompt, text):
        return ("empty",)
    if is_code(prompt, text):
        return ()
    if not any(map(str.isalnum, text)):
        return ()  # a sign, which may be the right answer
    reasons: list[Fault] = []
    if _is_filler(prompt, text):
        reasons.append("filler")
    elif _is_garbage(prompt, text):
        reasons.append("garbage")
    if is_loop(prompt, text):
        reasons.append("loop")
    if _is_copied(prompt, text):
        reasons.append("copied")
    if _has_too_few_items(prompt, text):
        reasons.append("few")
    if not reasons and is_foreign(prompt, text):
        reasons.append("language")
    return tuple(reasons)


def _ends(text: str, each: int) -> str:
    """Returns the beginning and the end of a text: enough to see what it asks, and any fault that runs through all of
    it."""
    return text if len(text) <= 2 * each else f"{text[:each]}\n{text[-each:]}"


# --- programs: the rules for prose do not apply

_LINES = re.compile(
    r"^[ \t]*(?:def|class|import|from|async def|function|const|let|var|public|private|static|void|int|package|func"
    r"|fn|use"
    r"|#include|<\?php|<!DOCTYPE|</?\w+[^>\n]*>|SELECT|INSERT|CREATE|for|while|if|return|print|echo|\$"
    r"|>>>)\b.*[;:{}()>\]]"
    r"[ \t]*$|^[ \t]*[}\]][;,)]*[ \t]*$|[;{][ \t]*$",
    re.MULTILINE,
)
_STATEMENTS = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.For, ast.While, ast.If),
    *(ast.Assign, ast.AugAssign, ast.With, ast.Try, ast.Assert, ast.Return, ast.Raise),
)
_LITERALS = (ast.Call, ast.Dict, ast.List, ast.ListComp, ast.Lambda, ast.Subscript, ast.JoinedStr)
_FENCES = re.compile(r"^```\w*\n|\n```$")
_DATA = (ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant)


def is_program(prompt: str, text: str) -> bool:
    """Tells whether a text is or contains a program in any language, and is not data such as JSON."""
    text = _ends(text, 6_000)  # its indentation may say that it continues the prompt
    if not is_code(prompt, text):
        return False
    tree = parse(_FENCES.sub("", text.strip()))
    return tree is None or not all(isinstance(node, ast.Expr) and isinstance(node.value, _DATA) for node in tree.body)


def is_code(prompt: str, text: str) -> bool:
    """Tells whether a text is or contains a program in any language, or data; the rules for prose do not apply to
    these."""
    if "```" in text or is_continuation(prompt, text):
        return True
    if len(_LINES.findall(text)) >= max(1, 0.25 * (text.count("\n") + 1)) and re.search(r"[({\[=<]", text):
        return True
    tree = parse(text) if len(text) <= _PARSED else None
    return tree is not None and any(
        isinstance(node, _STATEMENTS) or (isinstance(node, ast.Expr) and isinstance(node.value, _LITERALS))
        for node in tree.body
    )


# --- empty

_SIGNS_ASKED = re.compile(
    r"\b(?:array|arrow|ascii\b|asterisk|blank|bracket|braille|bullet|card suit|characters?\b|chess|code\b|comment"
    r"|compar|complete\b|currency|dash|delimit|dice|dots?\b|draw\b|ellipsis|emoji|emoticon|feel\b|fill\b|flag\b|icon|java|json"
    r"|key\b|keyboard|keys\b|marks?\b|morse|no words|notation|nothing\b|operator|output|parenthes|pattern|prints?\b"
    r"|punctuat|punctuation|regex|regular expression|s[íi]mbolo|segno|separat|sequence|signe\b|signo|signs?\b"
    r"|silen|smiley|speechless|stars?\b|symbol|without words|zeichen|знак|смайл)|_{2,}|符号|标点|表情|記号|絵文字"
    r"|기호|رمز"
)
# A question that a picture cannot answer.
_IN_WORDS = re.compile(
    r"\b(?:why|who|when|explain|describe|define|summari[sz]e|list|name|write|translate|give|suggest|recommend"
    r"|in which|how (?:do|does|did|can|could|should|to|many|much|long|far|old|tall|is)"
    r"|what (?:is|was|does|did) (?:the|an?))\b"
)


_SHOW_NOTHING = re.compile("[\u115f\u1160\u2800\u3164\uffa0]")  # although Unicode counts them as letters or signs


_NONE_OF_THEM = re.compile(r"""\[\s*\]|\{\s*\}|\(\s*\)|""|''|[∅∞±≠≤≥]""")  # an empty list, say, is a result


def _is_empty(prompt: str, text: str) -> bool:
    text = _SHOW_NOTHING.sub("", text).strip()
    if any(map(str.isalnum, text)) or _NONE_OF_THEM.fullmatch(text):
        return False
    hidden = ("Cf", "Cc", "Mn", "Zs", "Zl", "Zp")
    visible = [sign for sign in text if unicodedata.category(sign) not in hidden]
    if not visible:
        return True
    if (
        _SIGNS_ASKED.search(prompt.lower())
        or text in prompt.split()
        or re.search(rf"[\"'`“‘]{re.escape(text[:40])}[\"'`”’]", prompt)
    ):
        return False
    if _in_dialogue(prompt) and re.fullmatch(r"[.…?!]+|[:;=8xX][-'^o]?[()\[\]/\\|<>]+", text):
        return False  # a reaction to a statement
    # A picture or a mathematical sign can be a reply, but not to every question. ASCII has none of them.
    says = any(sign > "\x7f" and unicodedata.category(sign) in ("So", "Sm", "Sc", "Sk") for sign in visible)
    return not says or "\ufffd" in visible or bool(_IN_WORDS.search(prompt.lower()))


def _in_dialogue(prompt: str) -> bool:
    """Tells whether a prompt is a dialogue whose last turn does not ask for anything."""
    *before, last = _ROLE.split(prompt)
    return bool(before) and "?" not in last and not _ASKS.search(last)


# --- filler

_LOREM = word_set(
    "lorem ipsum dolor sit amet consectetur consectetuer adipiscing adipisicing elit sed do eiusmod tempor"
    " incididunt ut"
    " labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi aliquip ex ea"
    " commodo consequat duis aute irure in reprehenderit voluptate velit esse cillum eu fugiat nulla pariatur excepteur"
    " sint occaecat cupidatat non proident sunt culpa qui officia deserunt mollit anim id est laborum vestibulum"
    " pellentesque habitant morbi tristique senectus netus malesuada fames ac turpis egestas curabitur vivamus aenean"
    " praesent donec phasellus maecenas nunc vitae sapien euismod tincidunt vehicula lacinia"
)
_PLACES_ASKED = re.compile(
    r"\b(?:blank|boilerplate|cicero|comment|dummy|element|filler|forms?\b|ipsum|latin\b|lorem|place.?holder|release|tag\b|template|to.?do\b"
    r"|typeset)"
)
_PLACE = re.compile(
    r"[\[<({]{0,2}\b(?:your|insert|put|add|enter|type|write|fill in|place)(?: (?:the|your|an?|some|in))? ?(?:own )?"
    r"(?:answers?|responses?|text|content|description|repl(?:y|ies)|explanation|solution)(?: (?:goes|text"
    r"|in))?(?: here)"
    r"\b[\])}>]{0,2}"
    r"|[\[<({]{1,2}(?:insert|your|answer|response|text|content|placeholder|reply|todo|tbd"
    r"|blank)(?:[ _][\w ]{0,40})?[\])}>]{1,2}"
    r"|(?<![^\W_])(?:TODO|TBD|FIXME)(?![^\W_])|\bplaceholder(?: text)?\b",
    re.IGNORECASE,
)


def _is_filler(prompt: str, text: str) -> bool:
    if _PLACES_ASKED.search(prompt.lower()):
        return False
    tokens = words(text)
    lorem = [token for token in tokens if token in _LOREM]
    if 2 * len(lorem) >= len(tokens) and (len(set(lorem)) >= 6 or {"lorem", "ipsum"} <= set(lorem)):
        return True
    left, places = _PLACE.subn(" ", text)
    return places > 0 and 4 * _letters(left) <= _letters(text)


# --- few

_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
_ITEMS_ASKED = re.compile(
    r"\W*(?:(?:please|can|could|would|you) )*(?:name|list|mention)(?: me)?(?: any| at least| the)?"
    rf" (?P<count>{'|'.join(_COUNTS)}|[2-9]|10) (?:[a-z]+ )?(?!times|letter|syllable|word)[a-z]{{2,}}s\b"
    r"[^.?!:;,\n]*[.?!]?\s*"
)


def _has_too_few_items(prompt: str, text: str) -> bool:
    """Tells whether a prompt asks for nothing but some items, and a text has fewer words than that."""
    *_, question = [turn for turn in _ROLE.split(prompt) if turn.strip()] or [""]
    match = _ITEMS_ASKED.fullmatch(question.strip().lower())
    if match is None or not text.isascii() or text.isupper():  # without spaces between words, or RGB
        return False
    return len(re.findall(r"\w+", text)) < (_COUNTS.get(match["count"]) or int(match["count"]))


# --- garbage

_CODES_ASKED = re.compile(
    r"\b(?:abbreviat|acronym|address|anagram|api\b|ascii\b|backwards|base.?64|bash\b|bitcoin|bounds\b|calculat|characters?\b|chess"
    r"|cipher|codes?\b|coding|command|compil|consonant|crash|croat|css\b|cypher|czech\b|debug|decod|decrypt|divid"
    r"|dna\b|emoji|emoticon|encod|encrypt|equation|error|exception|formula|function|gibberish|hash|hex"
    r"|how (?:do|would) you say|html\b|http|ids?\b|java|json|key\b|keyboard|keys\b|langu|latex|letters?\b"
    r"|licen[cs]e|limit|links?\b|logarithm|logs?\b|markdown|markup|math|model number|moves?\b|nan\b|noise"
    r"|nonsense|notation|null\b|onomatop|output|packages?\b|part number|pass.?phrase|pass.?word|plate\b"
    r"|polish\b|prints?\b|program|pronounc|protein|python|random|regex|regular expression"
    r"|revers|rna\b|scrambl|script|sequence"
    r"|serial|shell\b|slope|software|solve|sounds?\b|spell|sql\b|strings?\b|symbol|tags?\b|tangent|terminal"
    r"|tokens?\b|traceback|translat|type\b|typing|undefined|urls?\b|user.?name|values?\b|variable|version"
    r"|vowel|welsh\b|xml\b|yaml)"
)
_LEFTOVER = re.compile(
    r"<\|[\w \-]{1,40}\|>|<｜[^｜<>]{1,40}｜>|</?s>|<(?:pad|unk|bos|eos|mask|start_of_turn|end_of_turn|endoftext|null)>"
    r"|\[/?INST\]|<</?SYS>>|\[(?:PAD|UNK|CLS|SEP|MASK|EOS|BOS)\]|\[object \w+\]|\[native code\]"
    r"|\{\{[^{}]{0,80}\}\}|\{%[^{}%]{0,80}%\}|\$\{[^{}]{0,80}\}|%\(\w+\)[sd]|%[sd]\b|&(?:nbsp|amp|lt|gt|quot|#\d+);"
    r"|</?(?:br|p|div|span|html|body|head|b|i|table|tr|td|ul|li)\s*/?>",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"(?<![^\W_])(?:null|undefined|nan|nil|none|n/a|\(null\)|void|NoneType)(?![^\W_])", re.IGNORECASE)
# Questions that "none" does not answer, and further ones that "undefined" does not answer.
_OPEN = re.compile(
    r"\b(?:why|explain|describe|summari[sz]e|write|how (?:do|can|should|could|to)|tell me|tips?|difference)\b"
)
_PLAIN = re.compile(r"\b(?:who|where|when|in which|capital|name an?|suggest|recommend)\b")
_UNSET = re.compile(r"\W*(?:(?:null|undefined|nan)\W*)+", re.IGNORECASE)
_CRASH = re.compile(
    r"^\W{0,9}(?:Traceback \(most recent call last\)|Segmentation fault|(?:HTTP(?: Error)? |Error:? )?(?:404 Not Found"
    r"|500 Internal Server Error|502 Bad Gateway|503 Service (?:Temporarily )?Unavailable|504 Gateway Time-?out"
    r"|403 Forbidden|429 Too Many Requests)|Internal Server Error\W*$|Uncaught \w*Error\b|(?:java"
    r"|System)\.[\w.]+Exception\b"
    r"|CUDA out of memory|CUDA error|RuntimeError:|(?:Key|Value|Type|Name|Index|Attribute|Syntax)Error:)"
)
_MOJIBAKE = re.compile(
    "[\u00c2-\u00c5\u00cb\u00ce\u00cf\u00d0\u00d1\u00d7-\u00db\u00e0-\u00ef\u00f0][\u0080-\u00bf\u0152-\u017e\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)
_KEYS = re.compile(
    r"asdf|sdfg|dfgh|fghj|ghjk|hjkl|lkjh|kjhg|jhgf|hgfd|gfds|fdsa|qwer|wert(?!h|e|s|v|u)|rewq|zxcv|xcvb|cvbn|vbnm"
    r"|mnbv|uiop"
    r"|poiu|jkl|lkj|qaz|wsx|йцук|цукен|фыва|ывап|олдж|ячсм",
    re.IGNORECASE,
)
# Pairs of letters that hardly occur in English, including its names and loan words.
_STRANGE = re.compile(
    r"b[qxz]|c[fgjvxw]|d[qx]|f[jkqvxz]|g[jqxv]|h[xjz]|j[bcdfghklmnpqrstvwxyz]|k[qxz]|l[xq]|m[xqj]|p[qxvzj]"
    r"|q[a-hj-tv-z]|s[xj]"
    r"|t[qx]|v[bcfhjmpqtwxz]|w[jqvxz]|x[jkrzgvdn]|y[qjy]|z[bcfgjkmnqrsvx]|uq[^u]"
)
_VOWELS = re.compile(r"[aeiouyàáâãäåæèéêëìíîïòóôõöøùúûüýœœ]")
_LATIN_WORD = re.compile(r"[a-zà-ÿœ]+")
_SERIAL = re.compile(r"[A-Za-z0-9+/_=\-]{24,}")
_JUNK = frozenset("!@#$%^&*~?;|\\<>{}[]`§¶¤¬±")


def _is_garbage(prompt: str, text: str) -> bool:
    visible = "".join(text.split())
    broken = sum(map(_is_broken, visible)) if not visible.isascii() or not visible.isprintable() else 0
    if 5 * broken >= len(visible) or (not text.isascii() and 3 * len(_MOJIBAKE.findall(text)) >= len(visible) > 5):
        return True
    if _CODES_ASKED.search(prompt.lower()):
        return False
    if _CRASH.search(text):
        return True
    left, leftovers = _LEFTOVER.subn(" ", text)
    left, nothings = _NOTHING.subn(" ", left)
    if not _letters(left) and not re.search(r"\d", left) and leftovers + nothings:
        asked = prompt.lower()
        open_ = bool(_OPEN.search(asked)) or bool(_PLAIN.search(asked) and _UNSET.fullmatch(text))
        if leftovers or open_:
            return True
    counted = bool(re.search(r"\d", prompt))
    return (not counted and _is_serial(text)) or _is_symbols(visible, counted) or _is_mashed(text)


def _is_broken(sign: str) -> bool:
    return sign == "\ufffd" or unicodedata.category(sign) in ("Cc", "Co", "Cs", "Cn")


def _is_serial(text: str) -> bool:
    """Tells whether a text is mostly one long mixture of letters and digits, such as base64."""
    runs = [run for run in _SERIAL.findall(text) if re.search("[a-z]", run) and re.search("[A-Z]", run)]
    runs = [run for run in runs if len(re.findall(r"\d", run)) >= 2 and not re.search(r"[a-z]{9}", run)]
    return sum(map(len, runs)) >= 0.7 * len(text)


def _is_symbols(visible: str, counted: bool) -> bool:
    """Tells whether a text is mostly signs of several kinds without a word between them."""
    junk = [sign for sign in visible if sign in _JUNK]
    if (
        len(visible) > 400
        or (counted and re.search(r"\d", visible))
        or not visible.isascii()
        or re.search(r"[A-Za-z]{4}", visible)
    ):
        return False
    vowels = [run for run in re.findall(r"[A-Za-z]{3,}", visible) if _VOWELS.search(run.lower())]
    jammed = re.findall(r"[A-Za-z0-9](?=[#!@$%&~?;]+[A-Za-z0-9])", visible)
    if vowels:
        return False
    if len(junk) >= max(6, 0.6 * len(visible)) and len(set(junk)) >= 3:
        return True
    hard = sum(map(visible.count, "#!@$%&~?;"))  # not operators: they occur in formulas
    return len(jammed) >= 2 and hard >= max(3, 0.25 * len(visible))


def _is_mashed(text: str) -> bool:
    """Tells whether a text in Latin letters is random typing: neighbouring keys, or hardly any pronounceable word."""
    text = text[:4_000]
    counts = scripts(text)
    if counts.get("Latin", 0) + counts.get("Cyrillic", 0) < max(1, sum(counts.values())) or re.search(
        r"://|www\.|\\", text
    ):
        return False
    lowered = text.casefold()
    keys = sum(len(word) for word in re.findall(r"[^\W\d_]+", lowered) if _KEYS.search(word) and word not in _KEYBOARDS)
    total = sum(map(len, re.findall(r"[^\W\d_]+", lowered)))
    if keys >= 8 and 2 * keys >= total:
        return True
    # In lower case only, which leaves out names and abbreviations.
    lower_case = [word for word in _LATIN_WORD.findall(text) if len(word) >= 4]
    strange = [
        word for word in lower_case if not _VOWELS.search(word) or len(_STRANGE.findall(word)) >= 1 + (len(word) > 12)
    ]
    letters = sum(map(len, strange))
    return len(set(strange)) >= 3 and letters >= 15 and 2 * letters >= total


_KEYBOARDS = word_set("qwerty qwertz azerty qwert werther swert schwert wertung")


def _letters(text: str) -> int:
    return sum(map(str.isalpha, text))


# --- copied

_COPY_ASKED = re.compile(
    r"\b(?:abschreib|answer with|ask\b|capitali|classif|clean|complete\b|continue\b|convert|cop(?:y|ied)"
    r"|correct|corrig|echo|edit|extract|fix\b|format|grammar|improve|korrig|lower.?case|mirror|output"
    r"|paraphras|parrot|polish|print|proof.?read|punctuat|quer(?:y|ies)|question\b|quot|re-?write|read\b"
    r"|recite|repeat|rephras|repite|reply with|respond with|rewrit|répét|say\b|sentence|shorten|simplif|spell"
    r"|standalone\b|transcri|translat|type\b|upper.?case|verbatim|wiederhol"
    r"|write (?:down )?(?:this|the following)|повтор)|重复|修正|翻译|繰り返"
)
_ROLE = re.compile(
    r"^[ \t]*(?:#+[ \t]*)?(?:user|human|assistant|system|question|prompt|instruction|q|a|answer"
    r"|response)[ \t]*:[ \t]*",
    re.I | re.M,
)
_ASKS = re.compile(
    r"^\W{0,9}(?:what|which|who|whom|whose|why|when|where|how|is|are|was|were|do|does|did|can|could|will|would"
    r"|should|has|have"
    r"|name|give|tell|explain|describe|list|write|suggest|recommend|define|summari[sz]e|compare|create|make|find"
    r"|show|help"
    r"|discuss|compute|calculate|solve|identify|provide|outline|propose|plan|design|compose|imagine|please)\b",
    re.IGNORECASE,
)


def _is_copied(prompt: str, text: str) -> bool:
    if len(text) > 4 * len(prompt) + 200 or _COPY_ASKED.search(prompt.lower()):
        return False
    given = words(_ROLE.sub("\n", text))
    turns = [turn.strip() for turn in _ROLE.split(prompt) if turn.strip()]
    lines = [line.strip() for line in prompt.splitlines() if line.strip()]
    asked = {prompt.strip(), *turns[-1:], *(_ROLE.sub("", line) for line in lines[-1:])}
    for source in asked:
        if not (source.endswith(("?", "？", "؟")) or _ASKS.search(source)):
            continue  # for example a greeting, which may be answered with the same greeting
        wanted = words(source)
        times = len(given) // max(1, len(wanted))
        if len(wanted) >= 3 and times and given == wanted * times:
            return True
    return False
