"""A model on this machine that thinks first: what it writes is read strictly, and its samples are averaged."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint
from click.testing import CliRunner
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges.base import notes
from flame_rank.judges.thinking import ThinkingJudge
from flame_rank.model.generation import Written

PAIRS = np.array([[0, 1], [1, 0]])


def problem(prompt: str = "What is 2 + 2?") -> Problem:
    return Problem(prompt=prompt, candidates=["It is 4.", "It is 5."])


def load(folder: Path, stated: str = "think=8", **options: Any) -> ThinkingJudge:
    judge = flame_rank.load_judge(f"{folder}#{stated}", **{"max_length": 512, **options})
    assert isinstance(judge, ThinkingJudge)
    return judge


@pytest.fixture(scope="module")
def judge(tiny_model: Path) -> ThinkingJudge:
    return load(tiny_model, "think=8,samples=3")


def says(judge: ThinkingJudge, monkeypatch: pytest.MonkeyPatch, texts: list[str | None]) -> list[dict[str, Any]]:
    """Has the model write these texts in turn, None for one that does not end; what it was asked is returned. The
    scores of the letters are those that the test knows."""
    asked: list[dict[str, Any]] = []

    def write(paths: Any, **options: Any) -> list[Written]:
        asked.append({"paths": paths, **options})
        rows = []
        for k in range(len(paths)):
            text = texts[k % len(texts)]
            ids = list(judge.form.values(["I think and think" if text is None else text])[0])
            scores = -np.tile(np.arange(len(options["targets"])) / 10 + k, (len(ids), 1))
            rows.append(Written(ids=ids, ended=text is not None, scores=scores))
        return rows

    monkeypatch.setattr(judge._kernel, "write", write)
    return asked


def test_the_model_is_told_to_reason_first(judge: ThinkingJudge) -> None:
    text = judge.form.text(judge.tokens(problem(), 0, 1))
    assert "output_fields: explanation, choice" in text and "`choice: A` or `choice: B`" in text
    assert text.endswith("EVALUATION:\nexplanation:\nassistant")  # and no empty block of thoughts
    assert "thinks for 8 tokens at most" in judge.name


def test_samples_are_averaged_and_the_reasons_kept(judge: ThinkingJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = says(judge, monkeypatch, ["<think>4 it is.</think>Yes.\nchoice: A", "So.\n**choice: B**", None])
    known = problem()
    [answers] = judge.judge([(known, PAIRS[:1])])
    letters = [len(ids) for ids in judge._letters.values()]
    first = np.array([-0.1 * np.arange(sum(letters)), -0.1 * np.arange(sum(letters)) - 1])
    odds = [np.logaddexp.reduce(row[: letters[0]]) - np.logaddexp.reduce(row[letters[0] :]) for row in first]
    np.testing.assert_allclose(answers, [np.mean(odds)])
    assert judge.explain([(known, 1, 0)]) == ["4 it is.\n\nYes."] and len(asked) == 1
    [request] = asked
    assert request["limit"] == 8 + 32 and len(request["paths"]) == 3 == len({*request["seeds"]})
    assert request["sampling"].temperature == 1 and {*request["eos"]} == judge.form.eos


def test_a_letter_in_the_reasons_is_not_the_verdict(judge: ThinkingJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    says(judge, monkeypatch, ["Response A is short.\nchoice: a"])  # whose own token is no letter of a verdict
    [answers] = judge.judge([(problem("Another?"), PAIRS[:1])])
    says(judge, monkeypatch, ["Response _ is short.\nchoice: a"])
    [without] = judge.judge([(problem("Yet another?"), PAIRS[:1])])
    assert answers[0] == without[0] > 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no verdict within 40 tokens"),
        ("<think>choice: A", "an answer that is no verdict: '<think>choice: A'"),
        ("choice: A or B", "an answer that is no verdict: 'choice: A or B'"),
        ("", "an answer that is no verdict: ''"),
    ],
)
def test_no_verdict_is_invalid(
    judge: ThinkingJudge, monkeypatch: pytest.MonkeyPatch, text: str | None, reason: str
) -> None:
    asked, known = says(judge, monkeypatch, [text]), problem()
    ranking = flame_rank.Reranker(judge, "round-robin").rank(known)
    assert not ranking.decided and ranking.invalid == 2 and ranking.reasons == (reason,)
    assert notes(judge, known).failures == (reason,)
    seeds = [{*request["seeds"]} for request in asked]
    assert len(seeds) == 2 and not seeds[0] & seeds[1]  # asked again, it draws again


def test_what_the_model_itself_writes(tiny_model: Path) -> None:
    """A random model writes no verdict: all is invalid, the same each time, and other words by another seed."""
    judge, known = load(tiny_model, "think=4,samples=2,temperature=0.7,top-p=0.9"), problem()
    [answers] = judge.judge([(known, PAIRS)])
    assert np.isnan(answers).all() and notes(judge, known).failures
    again = load(tiny_model, "think=4,samples=2,temperature=0.7,top-p=0.9")
    rows = []
    for own in (judge, again, load(tiny_model, "think=4,samples=2,temperature=0.7,top-p=0.9,seed=5")):
        paths = [own._pairs.path(problem(), 0, 1)] * 2
        seeds = own._seeds(problem(), PAIRS[0], paths[0] or [], 2)
        written = own._kernel.write(
            [path for path in paths if path],
            limit=36,
            eos=own.form.eos,
            sampling=own._sampling,
            seeds=seeds,
            targets=[],
        )
        rows.append([row.ids for row in written])
    assert rows[0] == rows[1] != rows[2] and judge.name == again.name
    assert rows[0][0] != rows[0][1]


def test_the_identity(tiny_model: Path) -> None:
    stated = ("think=8", "think=9", "think=8,samples=2", "think=8,temperature=0", "think=8,top_p=0.5", "think=8,seed=1")
    names = {load(tiny_model, options).name for options in stated}
    assert len({*names, load(tiny_model, criteria="Short is better.").name}) == 7


def test_several_criteria(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("".join(f'[[criteria]]\nname = "{name}"\ntext = "{name} is better"\n' for name in ("x", "y")))
    judge: Any = flame_rank.load_judge(f"{tiny_model}#think=8", criteria=str(file), max_length=512)
    assert [type(member) for member in judge.members] == [ThinkingJudge] * 2


@pytest.mark.parametrize(
    ("stated", "options", "message"),
    [
        ("samples=3", {}, "its options apply only if the model thinks; add think=TOKENS, such as #think=2000"),
        ("think=0", {}, "#think=0: it must be a whole number, 1 or more"),
        ("think=8,top_p=0", {}, "#top_p=0: it must be a number above 0, and 1 at most"),
        ("think=8,temperature=-1", {}, "#temperature=-1: it must be a number, 0 or more"),
        (
            "think=8,effort=low",
            {},
            "#effort: no such option; this judge takes samples, seed, temperature, think, top_p",
        ),
        ("think", {}, "'think' after the # is not NAME=VALUE"),
        ("think=8", {"ask": "likelihood"}, "--ask likelihood gives no reasons; only --ask verdict does"),
        ("think=8", {"ask": "choice"}, "--ask choice gives no reasons"),
        ("think=4090", {}, "think=4090 takes 4122 of the model's 4096 positions"),
        ("think=4000", {"max_length": 500}, "max_length 500 does not fit beside them; lower one of the two"),
        ("think=8", {"max_length": 40}, "max_length 40 leaves no room beside the instructions; raise it"),
    ],
)
def test_mistakes(stated: str, options: dict[str, Any], message: str, tiny_model: Path) -> None:
    with pytest.raises(UserError) as caught:
        flame_rank.load_judge(f"{tiny_model}#{stated}", **options)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_other_judges_do_not_think(tmp_path: Path) -> None:
    write_checkpoint(
        tmp_path,
        {
            "model_type": "t5",
            "d_model": 32,
            "d_ff": 48,
            "d_kv": 8,
            "num_layers": 1,
            "num_heads": 2,
            "vocab_size": write_sentencepiece(tmp_path, "t5"),
        },
    )
    with pytest.raises(UserError, match="think=8 is for a decoder, but this is a model of the family t5"):
        flame_rank.load_judge(f"{tmp_path}#think=8")
    for spec in ("agreement#think=8", "json:loads#think=8"):
        with pytest.raises(UserError, match="only a Hugging Face directory, a GGUF file or a server takes options"):
            flame_rank.load_judge(spec)


def test_a_folder_may_have_the_mark_in_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "a#think=8"
    folder.mkdir()
    size = write_byte_bpe(folder, template=CHATML)
    write_checkpoint(folder, {**VARIANTS["llama2"], "vocab_size": size, "num_hidden_layers": 1})
    assert not isinstance(flame_rank.load_judge(folder), ThinkingJudge)
    assert isinstance(flame_rank.load_judge(f"{folder}#think=4", max_length=512), ThinkingJudge)


def test_the_command(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"prompt": "p", "candidates": ["a", "b"]}) + "\n")
    line = ["rerank", str(path), "--judge", f"{tiny_model}#think=4", "--max-length", "512", "--explain"]
    done = CliRunner().invoke(cli, [*line, "--format", "jsonl", "--ledger", str(tmp_path / "l.db")])
    record = json.loads(done.stdout)
    assert done.exit_code == 0 and record["best"] is None and record["invalid"] == 2
    assert record["reasons"] and all("verdict" in reason for reason in record["reasons"])
    planned = CliRunner().invoke(cli, ["plan", str(path), *line[2:6], "--json"])
    assert planned.exit_code == 0, planned.stderr
