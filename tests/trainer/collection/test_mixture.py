"""The mixtures' weights against the paper's rules, and the ratings file against mistakes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame_rank.errors import UserError
from trainer.collection import mixture
from trainer.collection.mixture import Rating, bundles, flame, flame_rm, read_ratings, trained_on
from trainer.collection.mixture_options import THRESHOLDS, MixtureOptions
from trainer.collection.tasks import TASKS


def rated(**scores: tuple[int, float]) -> dict[str, Rating]:
    """Ratings of all categories: those given, 0 at 50 % for the others; chat_hard for chat-hard."""
    given_ = {name.replace("_", "-"): Rating(rating=r, score=s) for name, (r, s) in scores.items()}
    return {category: given_.get(category, Rating(rating=0, score=50.0)) for category in THRESHOLDS}


def test_flame_is_proportional_up_to_the_cap() -> None:
    assert flame({"small": 10, "large": 10**6, "none": 0}) == {"small": 10, "large": 65536}
    weights = flame({"a": 10, "b": 1000}, cap=100, temperature=2)
    assert weights["b"] / weights["a"] == pytest.approx(10**0.5)
    assert flame({"a": 10, "b": 1000}, temperature=0.001) == {"a": 0.0, "b": 1000}
    with pytest.raises(ValueError, match="positive"):
        flame({"a": 1}, temperature=0)


def test_bundles_are_the_papers() -> None:
    assert bundles(rated()) == ["others"]
    assert bundles(rated(chat=(2, 96), code=(2, 80), math=(1, 99.9))) == ["general", "specific:chat"]
    assert bundles(rated(chat=(2, 95))) == ["others"]  # the threshold has to be crossed
    assert bundles(rated(code=(1, 90))) == ["others"]  # somewhat helpful is not enough
    lower = MixtureOptions(threshold=("code=80", "chat=97")).thresholds()
    assert lower == THRESHOLDS | {"code": 80, "chat": 97}
    assert bundles(rated(chat=(2, 96), code=(2, 81)), lower) == ["specific:code"]


def test_the_papers_example() -> None:
    # A task that is generally helpful, and helpful for Chat Hard and Safety; safety's best three weigh 250 K.
    ratings = {
        "worked": rated(chat_hard=(2, 70), safety=(2, 86), math=(1, 90)),
        **{f"safe{k}": rated(safety=(2, 90 + k)) for k in range(3)},
        "other": rated(chat=(-1, 40)),
    }
    assert flame_rm(dict.fromkeys(ratings, 7), ratings) == {
        "worked": 100_000 + 2 * 30_000,
        **{f"safe{k}": 250_000 for k in range(3)},
        "other": 3_000,
    }
    with pytest.raises(UserError, match="lack the task unknown"):
        flame_rm({"unknown": 3}, ratings)
    assert flame_rm({"unknown": 0, "other": 1}, ratings) == {"other": 3_000}


@given(st.lists(st.tuples(st.integers(-1, 2), st.floats(0, 100)), min_size=5, max_size=5))
def test_a_task_is_in_others_exactly_when_it_is_in_nothing_else(results: list[tuple[int, float]]) -> None:
    ratings = {c: Rating(rating=r, score=s) for c, (r, s) in zip(THRESHOLDS, results, strict=True)}
    names = bundles(ratings)
    assert names and (names == ["others"]) == ("others" in names)
    assert ("general" in names) == (sum(r for r, _ in results) >= 5)


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["task,category,rating,score", *rows]))
    return path


def test_ratings_are_read(tmp_path: Path) -> None:
    rows = [f"a,{category},{k - 1},{50 + k}.5" for k, category in enumerate(list(THRESHOLDS)[:4])]
    results = read_ratings(write(tmp_path / "r", *rows, "a,safety,2,100"))
    assert results["a"]["chat"] == Rating(rating=-1, score=50.5) and results["a"]["math"] == Rating(
        rating=2, score=53.5
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a,chat,1,50", "b,chat,1,50", "b,math,1,50", "b,code,1,50"], "a is not rated for code, math"),
        (["a,chat,3,50"], "r:2: rating 3"),
        (["a,chat,1.5,50"], "r:2: rating must be a whole number"),
        (["a,chat,1,nan"], "r:2: score nan"),
        (["a,chat,1,150"], "r:2: score 150"),
        (["a,chat,1"], "r:2: rating must be a whole number and score a number"),
        (["a,poetry,1,50"], "r:2: category 'poetry'"),
        (["a,chat,1,50", "a,chat,1,50"], "r:3: a is rated twice for chat"),
    ],
)
def test_wrong_ratings_are_told(rows: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_ratings(write(tmp_path / "r", *rows))
    assert message in str(caught.value)


def test_a_category_for_which_no_task_is_rated_is_left_out(tmp_path: Path) -> None:
    ratings = read_ratings(write(tmp_path / "r", "a,chat,2,96", "b,chat,0,50"))
    assert bundles(ratings["a"]) == ["specific:chat"] and bundles(ratings["b"]) == ["others"]


def test_ratings_that_are_not_there_or_no_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; FLAMe-RM"):
        read_ratings(tmp_path / "r")
    (tmp_path / "r").write_bytes(b"task,category,rating,score\n\xff,chat,1,2\n")
    with pytest.raises(UserError, match="not CSV"):
        read_ratings(tmp_path / "r")
    (tmp_path / "r").write_text("task,rating\n")
    with pytest.raises(UserError, match=r"r:1: the columns must be task, category, rating, score"):
        read_ratings(tmp_path / "r")


def test_what_is_trained_on() -> None:
    assert {task.split for task in trained_on(TASKS)} == {"train"}
    assert {task.split for task in trained_on(TASKS, extra=True)} <= {"train", "extra"}
    assert all(task.data.permissive for task in trained_on(TASKS, permissive=True))
    assert mixture.CAP == 65_536
