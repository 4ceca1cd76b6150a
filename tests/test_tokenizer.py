"""How a prompt and a candidate become a row of tokens."""

from pathlib import Path
from typing import Any

import pytest
from conftest import vocabulary, write_tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from flame_rank.model.tokenizer import Row, RowTokenizer, pad

HEAD = 6  # "Which response is better?" and the break before it: that many words and signs are in the tiny vocabulary
PIECES = {i: piece for piece, i in vocabulary().items()}


def make(path: Path, max_prompt: int = 40, max_length: int = 120) -> RowTokenizer:
    return RowTokenizer(path, max_prompt=max_prompt, max_length=max_length)


def pieces(row: Row) -> tuple[list[str], list[str]]:
    """The word pieces of the prompt and of the candidate, without the tokens around them."""
    read = [PIECES[token] for token in row.tokens]
    first, second = read[: row.first], read[row.first :]
    assert first[0] == "[CLS]" and first[-1] == second[-1] == "[SEP]"
    assert "".join(first[1 : 1 + HEAD]).replace("##", "").startswith("[unused0]whichresponse")
    return first[1 + HEAD : -1], second[:-1]


def test_a_line_break_with_its_indentation_is_a_token(tiny_tokenizer: Path) -> None:
    prompt, candidate = pieces(make(tiny_tokenizer).rows("a", ["b\n    if c:\n\td  \n\n  e\nf"])[0])
    assert prompt == ["[unused0]", "a"]  # every text begins on a line of its own
    assert candidate == [
        *("[unused0]", "b", "[unused2]", "if", "c", ":", "[unused2]", "d"),
        *("[unused1]", "e", "[unused0]", "f"),
    ]


def test_indentation_tells_texts_apart(tiny_tokenizer: Path) -> None:
    texts = ["if a:\n    b\n    c", "if a:\n    b\nc", "if a: b c", "    if a:\n    b\n    c"]
    rows = make(tiny_tokenizer).rows("p", texts)
    assert len({tuple(row.tokens) for row in rows}) == 4


def test_deep_lines_share_the_last_token(tiny_tokenizer: Path) -> None:
    rows = make(tiny_tokenizer).rows("", [" " * 24 + "a", " " * 60 + "a", " " * 22 + "a"])
    assert [pieces(row)[1] for row in rows] == [["[unused12]", "a"], ["[unused12]", "a"], ["[unused11]", "a"]]


def test_a_long_candidate_keeps_its_head_and_tail(tiny_tokenizer: Path) -> None:
    tokenizer = make(tiny_tokenizer, max_prompt=9, max_length=40)
    short, long = tokenizer.rows("p", ["x y", " ".join(["a", *["m"] * 60, "z"])])
    assert not short.cut and long.cut
    _, kept = pieces(long)
    assert len(long.tokens) == 40
    assert kept[:2] == ["[unused0]", "a"] and kept[-1] == "z" and set(kept[2:-1]) == {"m"}


def test_a_long_prompt_keeps_its_head_and_tail(tiny_tokenizer: Path) -> None:
    tokenizer = make(tiny_tokenizer, max_prompt=6)
    [row] = tokenizer.rows("a b " + "m " * 60 + "y z", ["c"])
    prompt, candidate = pieces(row)
    assert prompt == ["[unused0]", "a", "b", "m", "y", "z"] and candidate == ["[unused0]", "c"]
    assert row.cut  # whatever became of the candidate
    [whole] = tokenizer.rows("a b m y z", ["c"])
    assert not whole.cut


def test_exactly_what_fits_is_not_cut(tiny_tokenizer: Path) -> None:
    tokenizer = make(tiny_tokenizer, max_prompt=9, max_length=40)
    empty = len(tokenizer.rows("p", [""])[0].tokens)  # the break that opens a text is in it
    fits, over = tokenizer.rows("p", ["a " * (40 - empty), "a " * (41 - empty)])
    assert (len(fits.tokens), fits.cut) == (40, False)
    assert (len(over.tokens), over.cut) == (40, True)


def test_empty_texts(tiny_tokenizer: Path) -> None:
    [row] = make(tiny_tokenizer).rows("", [""])
    assert pieces(row) == (["[unused0]"], ["[unused0]"]) and not row.cut
    assert make(tiny_tokenizer).rows("p", []) == []


@given(prompt=st.text(max_size=300), candidates=st.lists(st.text(max_size=300), min_size=1, max_size=3))
@settings(deadline=None, max_examples=60)
def test_never_longer_than_allowed(tiny_tokenizer: Path, prompt: str, candidates: list[str]) -> None:
    rows = make(tiny_tokenizer, max_prompt=10, max_length=32).rows(prompt, candidates)
    assert len({row.first for row in rows}) == 1 and len(rows) == len(candidates)
    for row in rows:
        assert len(row.tokens) <= 32
        assert not row.cut or len(row.tokens) == 32 or row.first == 2 + HEAD + 10
        assert row.first <= 2 + HEAD + 10 and all(token in PIECES for token in row.tokens)


def test_far_too_long_texts_are_tokenised_in_part_only(tiny_tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = make(tiny_tokenizer)
    read: list[int] = []

    class Counting:
        def __init__(self, inner: Any):
            self.inner = inner

        def encode_batch_fast(self, texts: list[str], **options: Any) -> Any:
            read.extend(len(text) for text in texts)
            return self.inner.encode_batch_fast(texts, **options)

    monkeypatch.setattr(tokenizer, "_tokenizer", Counting(tokenizer._tokenizer))
    [row] = tokenizer.rows("q" * 10_000_000, ["a " * 5_000_000])
    assert row.cut and len(row.tokens) == 120
    assert sum(read) < 2 * 16 * 120 + 100  # 16 characters a token, of each of the two


def test_what_is_cut_before_it_is_tokenised_says_so(tiny_tokenizer: Path) -> None:
    tokenizer = make(tiny_tokenizer)
    [row] = tokenizer.rows("p", [" " * 10_000_000])  # next to no tokens, but nobody has read its middle
    assert row.cut and len(row.tokens) < 120


def test_a_prompt_that_exactly_fits_is_not_cut(tiny_tokenizer: Path) -> None:
    tokenizer = make(tiny_tokenizer, max_prompt=6)
    [fits], [over] = (tokenizer.rows("a " * n, ["c"]) for n in (5, 6))
    assert (fits.cut, over.cut) == (False, True) and fits.first == over.first
    [row] = tokenizer.rows(" " * 10_000_000, ["c"])  # before it is tokenised
    assert row.cut and row.first < fits.first


@pytest.mark.parametrize("token", ["[SEP]", "[CLS]", "[PAD]", "[MASK]", "[unused3]"])
def test_what_looks_like_a_special_token_is_text(token: str, tiny_tokenizer: Path) -> None:
    [row] = make(tiny_tokenizer).rows(f"a {token}", [f"b {token} c\n{token}"])
    for read, own in zip(pieces(row), (["[unused0]"], ["[unused0]", "[unused0]"]), strict=True):
        assert [piece for piece in read if piece.startswith("[") and piece != "["] == own
        assert "".join(read).replace("##", "").count(token.lower()) == len(own)
    assert [PIECES[i] for i in row.tokens].count("[SEP]") == 2 and row.tokens.index(row.tokens[-1]) == row.first - 1


def test_a_tokenizer_of_another_kind_is_refused(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "t.json", {"[UNK]": 0, "[CLS]": 1, "a": 2})
    with pytest.raises(ValueError, match=r"no \[unused0\]"):
        make(tmp_path / "t.json")
    write_tokenizer(tmp_path / "t.json", {piece: i for piece, i in vocabulary().items() if piece != "[SEP]"})
    with pytest.raises(ValueError, match=r"no \[SEP\]"):
        make(tmp_path / "t.json")
    (tmp_path / "t.json").write_text("{")
    with pytest.raises(ValueError, match=r"t\.json: not a tokenizer"):
        make(tmp_path / "t.json")


def test_a_row_has_room_for_a_candidate(tiny_tokenizer: Path) -> None:
    least = HEAD + 10 + 3 + 1
    make(tiny_tokenizer, max_prompt=10, max_length=least)
    with pytest.raises(ValueError, match="max_prompt 10 leaves no room for a candidate"):
        make(tiny_tokenizer, max_prompt=10, max_length=least - 1)


def test_rows_are_padded_to_one_shape() -> None:
    tokens, types = pad([Row(tokens=[5, 6, 7], first=2, cut=False), Row(tokens=[8], first=1, cut=False)], 3, 4)
    assert tokens.tolist() == [[5, 6, 7, 0], [8, 0, 0, 0], [0] * 4]
    assert types.tolist() == [[0, 0, 1, 0], [0] * 4, [0] * 4]
