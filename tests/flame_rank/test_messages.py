"""Chat messages: the written form that judges read, round trips, and what is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flame_rank
from flame_rank.messages import from_text, normalised, to_text

WEATHER: list[dict[str, Any]] = [
    {"role": "system", "content": "You answer in one word."},
    {"role": "user", "content": [{"type": "text", "text": "What is the "}, {"type": "text", "text": "weather?"}]},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
]
WRITTEN = """\
[system]
You answer in one word.

[user]
What is the weather?

[assistant]


[call id="call_1" name="weather"]
{"city": "Oslo"}

[tool id="call_1"]
rain"""

CONTENT = st.text(alphabet=st.sampled_from('ab []\\\n="é')) | st.sampled_from(
    ["[user]", "\\[tool]\nx", "a\n\n[user]\nb"]
)
NAMES = st.text(min_size=1, max_size=6)
CALLS = st.builds(
    lambda id, name, arguments: {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}},
    NAMES,
    NAMES,
    CONTENT,
)
MESSAGES = st.lists(
    st.builds(lambda role, content: {"role": role, "content": content}, st.sampled_from(("system", "user")), CONTENT)
    | st.builds(
        lambda content, calls: {"role": "assistant", "content": content, "tool_calls": calls},
        CONTENT,
        st.lists(CALLS, min_size=1, max_size=2),
    )
    | st.builds(lambda id, content: {"role": "tool", "content": content, "tool_call_id": id}, NAMES, CONTENT),
    min_size=1,
    max_size=4,
)


def test_the_written_form() -> None:
    assert to_text(WEATHER) == WRITTEN
    assert from_text(WRITTEN) == normalised(WEATHER)


@given(MESSAGES)
def test_round_trip(messages: list[dict[str, Any]]) -> None:
    assert from_text(to_text(messages)) == messages


@given(st.text())
def test_a_single_message_is_its_content(content: str) -> None:
    written = to_text([{"role": "user", "content": content}])
    assert from_text(written) == [{"role": "user", "content": content}]
    assert written == content or "[" in content
    assert to_text([{"role": "assistant", "content": content}]) == content


def test_share_gpt() -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "Bye"}]
    assert [message["role"] for message in from_text(to_text(turns))] == ["user", "assistant", "user"]


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "message 0 has an image in it",
        ),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "message 0 has an audio in it"),
        ({"role": "user", "content": [{"type": "file"}]}, "a part of type 'file' in it; only text is judged"),
        ({"role": "user", "content": 3}, "its content is a int"),
        ({"role": "user"}, 'message 0 has no "content"; add one'),
        ({"role": "queen", "content": "Off"}, "has the role 'queen'; it must be one of system"),
        ({"role": "assistant", "tool_calls": [{"id": "x"}]}, 'a tool call without a function\'s "name"'),
    ],
)
def test_what_is_refused(message: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        to_text([message])


def test_messages_are_ranked_in_python() -> None:
    seen: list[tuple[str, list[tuple[str, str]]]] = []

    def longer(prompt: str, pairs: list[tuple[str, str]]) -> list[float]:
        seen.append((prompt, pairs))
        return [float(len(a) - len(b)) for a, b in pairs]

    answers: list[Any] = [
        [{"role": "assistant", "content": "rain"}],
        {"role": "assistant", "content": "It rains."},
        "rain!",
    ]
    ranking = flame_rank.rerank(WEATHER, answers, judge=longer, strategy="knockout")
    assert seen[0][0] == WRITTEN
    assert ranking.order == [1, 2, 0]
    best = ranking.best
    assert isinstance(best, flame_rank.Candidate) and best.text == "It rains."
    assert best.fields["messages"] == [{"role": "assistant", "content": "It rains."}]
    with pytest.raises(ValueError, match="candidate 0: message 0 has an image"):
        flame_rank.Problem(prompt="p", candidates=[[{"role": "user", "content": [{"type": "image"}]}]])  # type: ignore[list-item]


def test_a_users_own_headings_are_text() -> None:
    for words in ('[user id="\\q"]\nhello', "[user]x", '[call id="a"]'):
        assert "".join(str(message["content"]) for message in from_text(words)) or from_text(words)
    assert from_text('[user id="\\q"]\nhello') == [{"role": "user", "content": '[user id="\\q"]\nhello'}]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "content": [{"type": 5, "text": "x"}]}, "part of type '5'"),
        ({"role": "assistant", "content": "x", "tool_calls": 5}, "they must be a list"),
    ],
)
def test_other_types_are_named(message: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        normalised([message])
