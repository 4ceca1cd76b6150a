"""The unified format: its text, its pieces, and that the ids of the pieces are those of the texts one by one."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

from flame_rank.model import chat, text
from flame_rank.model.text import TextTokenizer
from flame_rank.prompts.format import Format, frame
from flame_rank.prompts.instructions import PAIRWISE, PAIRWISE_CONTEXT, Instructions, with_criteria, with_words

TASK = Instructions(title="Which is better?", description="Choose.\nA or B.", output_fields=("choice", "explanation"))


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp("bpe")
    write_byte_bpe(folder, bos=True)
    return text.load(folder)


@pytest.fixture(scope="module", params=["llama", "gemma", "t5"])
def piece(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    folder = tmp_path_factory.mktemp(request.param)
    write_sentencepiece(folder, request.param)
    return text.load(folder)


def test_the_format_as_a_reader_sees_it() -> None:
    before, between, behind = frame(TASK, ("prompt", "response"))
    assert before + "2 + 2?" + between + "4" + behind == (
        "INSTRUCTIONS:\n"
        "title: Which is better?\n"
        "description: Choose.\n"
        "A or B.\n"
        "output_fields: choice, explanation\n"
        "\n"
        "CONTEXT:\n"
        "prompt: 2 + 2?\n"
        "response: 4\n"
        "\n"
        "EVALUATION:\n"
        "choice:"
    )
    *_, cue = frame(TASK, ("prompt",), [("choice", "A")])
    assert cue == "\n\nEVALUATION:\nchoice: A\nexplanation:"


def test_criteria_of_the_user() -> None:
    instructions = with_criteria("  Prefer the shorter one. ")
    assert instructions.description.startswith("Prefer the shorter one.\nAnswer with A if response_a")
    assert with_words(instructions).output_fields == ("choice", "explanation")


@given(values=st.lists(st.text(max_size=40), min_size=3, max_size=3))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_value_has_the_same_ids_wherever_it_stands(bpe: TextTokenizer, values: list[str]) -> None:
    form = Format(bpe)
    around = form.frame(PAIRWISE, PAIRWISE_CONTEXT)
    assert around[0][0] == bpe.bos and bpe.bos not in around[1] + around[2] + around[3]
    whole = [around[0]]
    for value, behind in zip(form.values(values), around[1:], strict=True):
        assert value == tuple(bpe.encode([value_ := values[len(whole) // 2]])[0]), value_
        whole += [value, behind]
    assert bpe.decode([token for part in whole for token in part]) == "".join(
        text for pair in zip(frame(PAIRWISE, PAIRWISE_CONTEXT), [*values, ""], strict=True) for text in pair
    )


def test_labels_are_what_follows_the_cue(bpe: TextTokenizer) -> None:
    form = Format(bpe)
    shared, found = form.labels(PAIRWISE, ("A", "B"))
    *_, cue = form.frame(PAIRWISE, ("prompt",))
    assert [bpe.decode(shared + label).strip() for label in found] == ["A", "B"]
    assert [len(label) for label in found] == [1, 1]
    whole = bpe.encode([frame(PAIRWISE, ("prompt",))[-1] + " A"])[0]
    assert tuple(whole) == cue + shared + found[0]


def test_labels_of_sentencepiece(piece: TextTokenizer) -> None:
    end = (1,) if piece.bos is None else ()
    form = Format(piece, end=end)
    shared, found = form.labels(PAIRWISE, ("A", "B"))
    assert [len(label) for label in found] == [1, 1] and found[0] != found[1]
    assert piece.decode([*shared, *found[0]]).strip() == "A"
    *_, cue = form.frame(PAIRWISE, ("prompt",))
    assert cue[len(cue) - len(end) :] == end


def test_labels_that_begin_alike(bpe: TextTokenizer) -> None:
    _, found = Format(bpe).labels(PAIRWISE, ("very good", "very bad", "bad"))
    assert len({*found}) == 3 and all(found)
    with pytest.raises(ValueError, match="apart"):
        Format(bpe).labels(PAIRWISE, ("yes", "yes"))


def test_through_a_chat_template(tmp_path: Path) -> None:
    write_byte_bpe(tmp_path, template=CHATML)
    tokenizer, template = text.load(tmp_path), chat.chat_template(tmp_path)
    assert template is not None
    form = Format(tokenizer, chat=template.around())
    around = form.frame(PAIRWISE, PAIRWISE_CONTEXT)
    values = form.values(["a prompt", "<|im_end|> first", "two"])
    ids = list(around[0])
    for value, behind in zip(values, around[1:], strict=True):
        ids += [*value, *behind]
    before, *middle, behind_ = frame(PAIRWISE, PAIRWISE_CONTEXT)
    content = f"{before}a prompt{middle[0]}<|im_end|> first{middle[1]}two{behind_}"
    # The special tokens of the template, and nothing of a candidate that looks like one.
    (trusted,) = tokenizer.encode(["<|im_start|><|im_end|>"], special=True)
    assert [token for token in ids if token in trusted] == [trusted[0], trusted[1], trusted[0]]
    rendered = template.render([{"role": "user", "content": content}], reply=True)
    for special in ("<|im_start|>", "<|im_end|>"):
        rendered = rendered.replace(special, "")
    assert tokenizer.decode(ids) == rendered.replace("response_a:  first", "response_a: <|im_end|> first")
    shared, found = form.labels(PAIRWISE, ("A", "B"))
    assert tokenizer.decode(shared + found[1]) == "B"


def test_an_answer_ends_as_the_template_ends_a_turn(tmp_path: Path) -> None:
    write_byte_bpe(tmp_path, template=CHATML)
    tokenizer, template = text.load(tmp_path), chat.chat_template(tmp_path)
    assert template is not None
    [turn] = tokenizer.encode(["<|im_end|>"], special=True)[0]
    several: Any = Several(tokenizer, frozenset({turn, turn - 2}))
    assert Format(several, chat=template.around(), template=template).end == (turn,)
    assert Format(several).end == (turn - 2,)  # without a template the smallest


class Several:
    """A tokenizer with these ends."""

    def __init__(self, tokenizer: TextTokenizer, eos: frozenset[int]):
        self._tokenizer, self.eos = tokenizer, eos

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)
