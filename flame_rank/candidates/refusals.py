"""Detects texts that decline to answer, by the words that language models use."""

import re

_READ = 300  # characters: a refusal comes at the beginning
_NOT_ABLE = (
    r"(?:(?:can(?:no|')t|can not|cannot|won'?t|will not)(?! wait\b)"
    r"|(?:am|'m|are|'re) (?:not able|unable|not going|sorry)|unable|refuse)"
)
_REFUSALS = re.compile(
    rf"\b(?:i|we)\s?{_NOT_ABLE}\b[^.!?\n]{{0,60}}"
    r"\b(?:help|assist|do|provide|answer|share|give|tell|support|discuss|write|comply|advise|explain|engage|recommend)"
    r"|\b(?:sorry|apologi[sz]e)\b[^.!?\n]{0,40}\b(?:but )?(?:i|we|that|this) ?(?:can|won|am|'m|is|would)"
    r"|\bas an? (?:ai|artificial intelligence|language model)\b[^.!?\n]{0,60}\b(?:not|cannot|can't|unable|don't)\b"
    r"|\b(?:against|violates?) (?:my|our|the) (?:guidelines|polic|programming|rules)",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Tells whether a text declines, at its beginning, to do what is asked."""
    return bool(_REFUSALS.search(text[:_READ].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")))
