"""What the encoder sees at which step."""

from collections import Counter

import pytest

from trainer.comparisons import SOURCES, Comparison
from trainer.pools import Pool
from trainer.sampling import CODE, DAMAGED, HELD_OUT, Mixture, held_out, plain

RIGHT, WRONG, MUTANT = "    return (a+b)  # sum\n", "    return (a-b)  # sum\n", "    return a * b\n"


def pool(number: int, *, right: bool = True, wrong: bool = True, mutant: bool = True) -> Pool:
    programs = [(f"{RIGHT}# {number}", True, False)] * right + [(WRONG, False, False)] * wrong
    programs += [(MUTANT, False, True)] * mutant
    texts, passed, made = zip(*programs, strict=True)
    return Pool(problem=number, prompt=f"def f{number}(a, b):\n", texts=texts, right=passed, mutant=made)


def comparisons(name: str, count: int = 40) -> list[Comparison]:
    return [
        Comparison(prompt=f"{name} {i}", better=f"It is good. That is {name} {i}.", worse=f"bad {i}")
        for i in range(count)
    ]


POOLS = [pool(number) for number in range(40)]
DRAWN = {name: comparisons(name) for name in ("pandalm", "gsm8k", "lens", "summeval")}
FREE = {name for name in DRAWN if SOURCES[name].free}
MIXTURE = Mixture.of(POOLS, DRAWN)
STEPS = range(600)


def source(prompt: str) -> str:
    return prompt.split()[0]


def test_the_held_out_part_stays_the_same() -> None:
    # Golden: with another split, a judge would be measured on what it has learned.
    assert [letter for letter in "abcdefghijk" if held_out(letter)] == ["c", "d", "f", "j"]
    assert sum(held_out(str(i)) for i in range(5000)) / 5000 == pytest.approx(HELD_OUT, abs=0.02)


def test_nothing_held_out_is_drawn_and_all_else_is() -> None:
    given = {p.prompt for p in POOLS} | {c.prompt for found in DRAWN.values() for c in found}
    kept = {prompt for prompt in given if not held_out(prompt)}
    assert 0 < len(kept) < len(given)
    assert {c.prompt for step in STEPS for c in MIXTURE.batch(0, step, 8)} == kept


def test_a_batch_is_a_function_of_seed_and_step() -> None:
    ahead = {step: MIXTURE.batch(3, step, 8) for step in range(20)}
    again = Mixture.of(POOLS, dict(reversed(DRAWN.items())))
    assert all(again.batch(3, step, 8) == ahead[step] for step in reversed(range(20)))
    assert len({repr(batch) for batch in ahead.values()}) == 20
    assert MIXTURE.batch(4, 0, 8) != ahead[0]
    assert len(MIXTURE.batch(3, 0, 5)) == 5


def test_a_step_has_one_source() -> None:
    sources = [{source(c.prompt) for c in MIXTURE.batch(0, step, 8)} for step in STEPS]
    assert all(len(found) == 1 for found in sources)


def is_damaged(batch: list[Comparison]) -> bool:
    (found,) = {not c.worse.startswith("bad") for c in batch}  # all of a batch, or none
    return found


def test_the_shares_of_the_steps() -> None:
    drawn = [MIXTURE.batch(0, step, 2) for step in STEPS]
    kept = [batch for batch in drawn if source(batch[0].prompt) != "def"]
    whole, damaged = ([source(b[0].prompt) for b in kept if is_damaged(b) is which] for which in (False, True))
    assert 1 - len(kept) / len(drawn) == pytest.approx(CODE, abs=0.06)
    assert len(damaged) / len(drawn) == pytest.approx(DAMAGED, abs=0.05)
    for found, names in ((whole, set(DRAWN)), (damaged, FREE)):
        total = sum(SOURCES[name].weight for name in names)
        assert set(found) == names
        for name in names:
            assert Counter(found)[name] / len(found) == pytest.approx(SOURCES[name].weight / total, abs=0.1)
    assert sorted(FREE) == ["gsm8k", "pandalm"] and SOURCES["pandalm"].weight > SOURCES["gsm8k"].weight


def test_a_damaged_reply_is_the_worse_one() -> None:
    better = {c.prompt: c.better for found in DRAWN.values() for c in found}
    words = {name: {word for c in DRAWN[name] for word in c.better.split()} for name in FREE}
    seen = set()
    for step in STEPS:
        batch = MIXTURE.batch(0, step, 8)
        if source(batch[0].prompt) == "def" or not is_damaged(batch):
            continue
        for c in batch:
            assert c.better == better[c.prompt] != c.worse.strip() != ""
            # Made of this reply and of others of the same source.
            assert set(c.worse.split()) <= words[source(c.prompt)]
            seen.add(c.worse in better.values())
    assert seen == {True, False}  # the reply to something else is one kind of damage


def test_two_replies_to_one_prompt_do_not_damage_one_another() -> None:
    same = [Comparison(prompt="same", better=f"Reply{i}", worse="bad") for i in range(40)]
    other = [Comparison(prompt="other", better="Other", worse="bad")]
    mixture = Mixture(pools=POOLS, sources={"pandalm": [*same, *other]})
    drawn = [c for step in range(100) for c in mixture.batch(0, step, 2) if c.prompt == "same" and c.worse != "bad"]
    assert {c.worse for c in drawn} > {"Other"}
    assert all(set(c.worse.split()) <= {c.better, "Other"} for c in drawn)


def test_pools_without_two_sides_are_left_out() -> None:
    right = pool(1, wrong=False, mutant=False)
    wrong = pool(2, right=False)
    both = next(pool for pool in POOLS if not held_out(pool.prompt))
    assert not held_out(right.prompt)
    assert not held_out(wrong.prompt)
    assert Mixture.of([right, both, wrong], {}).pools == [both]


def drawn(of: Pool) -> list[Comparison]:
    mixture = Mixture(pools=[of], sources={"pandalm": comparisons("pandalm", 2)})
    return [c for step in STEPS for c in mixture.batch(0, step, 4) if c.prompt == of.prompt]


def test_a_program_is_compared_in_the_layout_of_the_other() -> None:
    found = {(c.better, c.worse) for c in drawn(pool(1))}
    # An unparsed mutant beside a program with its comments would give itself away.
    assert found == {(f"{RIGHT}# 1", WRONG), ("    return a + b\n", MUTANT)}


def test_half_of_the_wrong_programs_are_sampled_ones_at_least() -> None:
    one = pool(1)
    many = Pool(
        problem=1,
        prompt=one.prompt,
        texts=(RIGHT, WRONG, *(f"    return a * {i}\n" for i in range(9))),
        right=(True, *(False,) * 10),
        mutant=(False, False, *(True,) * 9),
    )
    share = sum(c.worse == WRONG for c in drawn(many)) / len(drawn(many))
    assert share == pytest.approx(0.5 + 0.5 / 10, abs=0.07)
    assert {c.worse for c in drawn(pool(1, wrong=False))} == {MUTANT}
    assert {c.worse for c in drawn(pool(1, mutant=False))} == {WRONG}


@pytest.mark.parametrize(
    ("body", "layout"),
    [
        ("  return (a+b)  # sum\n", "    return a + b\n"),
        ("\n\tif a :\n\t\treturn 'x'\n\n\treturn \"y\"", "    if a:\n        return 'x'\n    return 'y'\n"),
        ("    x = [\n        1,\n    ]\n    return x\n", "    x = [1]\n    return x\n"),
    ],
)
def test_plain_is_the_layout_of_an_unparsed_program(body: str, layout: str) -> None:
    assert plain(body) == layout
    assert plain(layout) == layout
