"""The language of a text, its words, and the languages that it names."""

import pytest

from flame_rank.candidates.languages import identify, mentioned, words


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The leaves of the tree are red.", "English"),
        ("Die Blätter sind rot und liegen auf dem Boden.", "German"),
        ("Las hojas del árbol son rojas porque es otoño.", "Spanish"),
        ("As folhas da árvore são vermelhas porque não há sol.", "Portuguese"),
        ("Liście są czerwone, ponieważ jest to jesień i nie ma słońca.", "Polish"),
        ("叶子是红的。", "Han"),
        ("葉が赤いです。", "Kana"),
        ("잎이 빨갛습니다.", "Hangul"),
        ("पत्ते लाल हैं।", "Devanagari"),
        ("Leonardo da Vinci", None),
        ("42", None),
        ("", None),
    ],
)
def test_the_language_of_a_text(text: str, language: str | None) -> None:
    assert identify(text) == language


def test_words_and_names_of_languages() -> None:
    assert words("It's late; 天冷了 — पत्ते_लाल!") == ["it", "s", "late", "天", "冷", "了", "पत्ते", "लाल"]
    assert mentioned("Say it in french, auf Deutsch, or 用中文.") == {"French", "German", "Han"}
    assert mentioned("Germany and France; a frenchman") == set()
