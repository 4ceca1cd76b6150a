"""The value of arithmetic expressions, in every way in which they can be read."""

from fractions import Fraction

from flame_rank.candidates.expressions import number, shows, symbols, tokenize, values, with_digits


def test_number_words() -> None:
    assert with_digits("one hundred and twenty-five, two two, three thousand six") == "125, 2 2, 3006"
    assert with_digits("someone often weighs tens, two million") == "someone often weighs tens, 2000000"


def test_shown_values() -> None:
    assert shows(Fraction(2, 3), "0.67") and shows(Fraction(2, 3), "0.66") and not shows(Fraction(2, 3), "0.68")
    assert shows(Fraction(1200), "1,200") and not shows(Fraction(1200), "1,201")
    assert number("1,200.50") == Fraction(2401, 2)


def test_an_ambiguous_expression_has_all_its_values() -> None:
    assert values(tokenize("-2^2")) == [-4, 4] and values(tokenize("100/5*2")) == [40, 10]
    assert values(tokenize("2 + 3 * 4")) == [14] and values(tokenize("2 +")) == [] == values([])


def test_signs_stand_for_words() -> None:
    assert symbols(r"3 \times \frac{1}{2} is equal to 1.5") == "3 * ((1)/(2)) =: 1.5"
    assert symbols("a 2x4 of 3x") == "a 2*4 of 3x"
