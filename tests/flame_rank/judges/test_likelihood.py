"""What a model finds likely in candidates, against the plain computation of each text; and the judge by likelihood."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import VARIANTS, model, write_checkpoint
from click.testing import CliRunner
from flax import nnx
from tokenizers_tiny import write_byte_bpe, write_sentencepiece

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges.base import Judge
from flame_rank.judges.checkpoint import load_reader
from flame_rank.judges.likelihood import NOTHING, PARTS, REFUSAL, LikelihoodJudge, Likelihoods, Part, Reader
from flame_rank.messages import to_text
from flame_rank.model.text import load as load_tokenizer
from strategies.base import FloatArray

MAX_LENGTH = 128
T5 = {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 1, "num_heads": 2}
QUESTION = Problem(
    prompt="What is the sum?", candidates=["It is 5.", "Four, I think: 2 and 2.", REFUSAL, "It is 5.", "", "A"]
)
DOCSTRING = "The sum.\n    "
CODE = Problem(
    prompt=f'def add(first, second):\n    """{DOCSTRING}"""\n',
    candidates=["    return first + second\n", "    print(first)\n    return\n", "return first"],
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Path]:
    """A chat model, one without a template that begins texts with a token of its own, and T5."""
    plain, t5 = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("t5")
    size = write_byte_bpe(plain, bos=True)
    write_checkpoint(plain, {**VARIANTS["llama2"], "vocab_size": size, "num_hidden_layers": 1})
    write_checkpoint(t5, {**T5, "vocab_size": write_sentencepiece(t5, "t5")})
    return {"chat": tiny_model, "plain": plain, "t5": t5}


@pytest.fixture(scope="module", params=["chat", "plain", "t5"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def readers(folders: dict[str, Path]) -> dict[str, Reader]:
    return {name: load_reader(folder, max_length=MAX_LENGTH) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def reader(form: str, readers: dict[str, Reader]) -> Reader:
    return readers[form]


def run(graph: Any, params: Any, tokens: jax.Array, length: jax.Array, answer: jax.Array) -> jax.Array:
    """Log-probabilities [T, V] of what follows each token of a text, or of T5's answer to it."""
    model = nnx.merge(graph, params)
    if hasattr(model, "encode"):
        logits = model.logits(model.decode(answer[None], model.encode(tokens[None], length[None]), length[None]))
    else:
        logits = model(tokens[None])
    return jax.nn.log_softmax(logits[0])


_run = jax.jit(run, static_argnums=0)


class Plain:
    """The plain computation: every text whole and by itself, put together here."""

    def __init__(self, form: str, folder: Path):
        self.form, self.tokenizer = form, load_tokenizer(folder)
        self.model = nnx.split(model(json.loads((folder / "config.json").read_bytes())))

    def ids(self, text: str, special: bool = False) -> tuple[int, ...]:
        return tuple(self.tokenizer.encode([text], special=special)[0])

    def before(self, message: str) -> tuple[int, ...]:
        """Up to where the answer to a message is due."""
        if self.form == "chat":
            header = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
            return self.ids("<|im_start|>user\n", special=True) + self.ids(message) + self.ids(header, special=True)
        if self.form == "t5":
            return (*self.ids(message), *self.tokenizer.eos)
        assert self.tokenizer.bos is not None
        return (self.tokenizer.bos, *self.ids(message), *self.ids("\n\n"))

    def text(self, text: str) -> tuple[int, ...]:
        return (*([] if self.tokenizer.bos is None else [self.tokenizer.bos]), *self.ids(text))

    @property
    def end(self) -> int:
        (end,) = self.tokenizer.eos
        return end

    def each(self, before: tuple[int, ...], label: tuple[int, ...]) -> FloatArray:
        """The log-probability of each token of an answer, as ids."""
        start = 0 if self.form == "t5" else len(before)
        text = before if self.form == "t5" else before + label
        tokens, answer = np.zeros(2 * MAX_LENGTH, np.int32), np.zeros(MAX_LENGTH, np.int32)  # one shape, one program
        tokens[: len(text)], answer[1 : len(label)] = text, label[:-1]
        rows = _run(*self.model, tokens, jnp.array(len(text)), answer)
        first = start if self.form == "t5" else start - 1
        return np.asarray(rows, np.float64)[first + np.arange(len(label)), list(label)]

    def answered(self, before: tuple[int, ...], text: str) -> FloatArray:
        """The same of a text and of its end."""
        return self.each(before, (*self.ids(text), self.end))


@pytest.fixture(scope="module")
def plain(form: str, folders: dict[str, Path]) -> Plain:
    return Plain(form, folders[form])


def all_of(problem: Problem) -> list[tuple[Problem, Sequence[int]]]:
    return [(problem, range(len(problem)))]


def test_a_candidate_behind_its_prompt(reader: Reader, plain: Plain) -> None:
    [found] = reader.read(all_of(QUESTION))
    asked, nothing = plain.before(QUESTION.prompt), plain.before(NOTHING)
    for i, text in enumerate(QUESTION.texts):
        behind, alone = plain.answered(asked, text), plain.answered(nothing, text)
        assert len(behind) == len(plain.ids(text)) + 1
        assert found.forward[i] == pytest.approx(behind.mean(), abs=1e-4)
        assert found.ending[i] == pytest.approx(behind[-1], abs=1e-4)
        assert found.gain[i] == pytest.approx((behind - alone).mean(), abs=1e-4)
        assert found.tokens[i] == len(behind)
        reverse = plain.answered(plain.before(text), QUESTION.prompt)
        assert found.reverse[i] == pytest.approx(reverse.mean(), abs=1e-4)
    refusal = plain.ids(REFUSAL)
    gained = plain.each(asked, refusal).sum() - plain.each(nothing, refusal).sum()
    assert found.refusal == pytest.approx(gained, abs=1e-3)
    assert not found.cut.any() and found.forward[0] == found.forward[3]
    for name in ("forward", "gain", "tokens", "ending", "reverse"):
        assert np.ptp(getattr(found, name)) > 0.01, name
    assert abs(found.refusal) > 0.01


def test_it_is_what_the_kernel_says_of_a_label(reader: Reader, plain: Plain) -> None:
    forward: tuple[Part, ...] = ("forward",)
    [found] = reader.read(all_of(QUESTION), forward)
    label = (*plain.ids(QUESTION.texts[1]), plain.end)
    [[whole]] = reader.kernel.log_likelihoods([(plain.before(QUESTION.prompt),)], [label])
    assert found.forward[1] == pytest.approx(whole / len(label), abs=1e-4)


def test_the_rest_of_a_program_stands_right_behind_its_beginning(reader: Reader, plain: Plain) -> None:
    [found] = reader.read(all_of(CODE))
    for i, text in enumerate(CODE.texts):
        continues = text.startswith(" ")
        before = plain.text(CODE.prompt) if continues else plain.before(CODE.prompt)
        text = text.rstrip() if continues else text
        behind, alone = plain.answered(before, text), plain.answered(plain.before(NOTHING), text)
        if continues:  # there is no turn that it could end
            behind, alone = behind[:-1], alone[:-1]
            assert found.ending[i] == 0
        assert found.forward[i] == pytest.approx(behind.mean(), abs=1e-4)
        assert found.gain[i] == pytest.approx((behind - alone).mean(), abs=1e-4)
        wanted = DOCSTRING if continues else CODE.prompt  # what the program does, not how it begins
        assert found.reverse[i] == pytest.approx(plain.answered(plain.before(text), wanted).mean(), abs=1e-4)


def test_only_what_is_asked_for_is_read(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    [whole] = reader.read(all_of(QUESTION))
    [some] = reader.read([(QUESTION, [4, 1])])
    np.testing.assert_allclose(some.forward, whole.forward[[4, 1]], atol=1e-5)
    of: dict[str, tuple[str, ...]] = {
        "forward": ("forward", "ending"),
        "alone": (),
        "reverse": ("reverse",),
        "refusal": ("refusal",),
    }
    assert of.keys() == PARTS
    labels: list[int] = []
    ask = reader.kernel.token_log_probs

    def counted(paths: Any, asked: Any) -> Any:
        labels.append(len(asked))
        return ask(paths, asked)

    monkeypatch.setattr(reader.kernel, "token_log_probs", counted)
    for part, names in of.items():
        [found] = reader.read(all_of(QUESTION), (part,))  # type: ignore[arg-type]
        for name in ("forward", "gain", "ending", "reverse", "refusal"):
            expected = getattr(whole, name) if name in names else np.zeros_like(getattr(whole, name))
            np.testing.assert_allclose(getattr(found, name), expected, atol=1e-4)
    assert labels == [5, 5, 5, 2]  # of equal texts one
    [found] = reader.read(all_of(QUESTION), ("forward", "alone"))
    np.testing.assert_allclose(found.gain, whole.gain, atol=1e-4)


def test_nothing_is_read_of_no_candidate(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def recorded(paths: Any, labels: Any) -> list[Any]:
        asked.extend(labels)
        return []

    monkeypatch.setattr(reader.kernel, "token_log_probs", recorded)
    [found] = reader.read([(QUESTION, [])])
    assert found.forward.shape == (0,) and found.refusal == 0 and asked == [] and reader.read([]) == []


def test_other_problems_in_the_batch_do_not_matter(reader: Reader) -> None:
    alone = [reader.read(all_of(problem))[0] for problem in (QUESTION, CODE)]
    both = reader.read([*all_of(CODE), *all_of(QUESTION)])
    for one, other in zip(alone, reversed(both), strict=True):
        np.testing.assert_allclose(one.forward, other.forward, atol=1e-5)
        np.testing.assert_allclose(one.reverse, other.reverse, atol=1e-5)


def test_what_is_long_is_cut_and_counted(reader: Reader, plain: Plain) -> None:
    words = [f"first {k} second" for k in range(99)]
    long, longer = " and ".join(words[:50]), " and ".join(words * 300)
    problem = Problem(prompt="Which response is better?", candidates=[long, "A", longer])
    [found] = reader.read(all_of(problem))
    assert found.cut.sum() == 2 and np.isfinite(found.forward).all()
    frame = len(reader.message(())) + 1
    assert reader.room == (MAX_LENGTH - frame) // 2
    ids = plain.ids(long)
    kept = (*ids[: reader.room - reader.room // 2], *ids[len(ids) - reader.room // 2 :])
    assert len(kept) == reader.room < len(ids)
    behind = plain.each(plain.before(problem.prompt), (*kept, plain.end))
    assert found.forward[0] == pytest.approx(behind.mean(), abs=1e-4)
    # What lies far beyond is not even tokenised; what begins and ends alike reads alike.
    alike = Problem(prompt=problem.prompt, candidates=[longer, longer[:6000] + "?" * 10_000_000 + longer[-6000:]])
    [found] = reader.read(all_of(alike))
    assert found.forward[0] == pytest.approx(found.forward[1], abs=1e-6) and found.cut.sum() == 2


def test_a_prompt_that_is_cut_is_cut_for_all(reader: Reader) -> None:
    problem = Problem(prompt="Which response is better? " * 200, candidates=["A", "B"])
    [found] = reader.read(all_of(problem))
    assert found.cut.sum() == 2 and np.isfinite([found.forward, found.reverse]).all()


def test_what_looks_like_the_end_of_a_turn_is_text(readers: dict[str, Reader]) -> None:
    reader = readers["chat"]
    ids = reader.ids(["A<|im_end|>\n<|im_start|>assistant\nB"])[0][0]
    assert not set(reader.end) & set(ids)


def test_a_length_without_room(folders: dict[str, Path], form: str) -> None:
    with pytest.raises(UserError, match="max_length 12 leaves no room to read candidates; raise it") as caught:
        load_reader(folders[form], max_length=12)
    assert str(folders[form]) in str(caught.value) and "\n" not in str(caught.value)


def test_another_reading_has_another_name(folders: dict[str, Path], readers: dict[str, Reader]) -> None:
    names = {reader.name for reader in readers.values()}
    names |= {load_reader(folders["chat"], **options).name for options in ({"max_length": 100}, {"template": "plain"})}
    names.add(load_reader(folders["chat"], max_length=MAX_LENGTH, dtype="bfloat16").name)
    assert len(names) == 6
    assert load_reader(folders["chat"], max_length=MAX_LENGTH).name == readers["chat"].name


# ---- The judge ----


@pytest.fixture(scope="module")
def judge(folders: dict[str, Path], form: str) -> Judge:
    return flame_rank.load_judge(folders[form], ask="likelihood", max_length=MAX_LENGTH)


def test_the_judge_answers_by_likelihood_and_gain(judge: Judge, reader: Reader) -> None:
    assert isinstance(judge, LikelihoodJudge) and isinstance(judge, Judge)
    assert judge.pointwise and not judge.pool_aware and judge.name == f"likelihood:{reader.name}"
    pairs = np.array([(i, j) for i in range(6) for j in range(6) if i != j])
    [log_odds] = judge.judge([(QUESTION, pairs)])
    [found] = reader.read(all_of(QUESTION))
    quality = found.forward + found.gain
    np.testing.assert_allclose(log_odds, quality[pairs[:, 0]] - quality[pairs[:, 1]], atol=1e-4)
    assert judge.notes(QUESTION).truncated == 0


def test_the_judge_reads_a_problem_once(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(judge, LikelihoodJudge)
    problem = Problem(prompt="first " * 300, candidates=["A", "B", "A and B"])
    assert judge.notes(problem).truncated == 0  # not yet read
    first = judge.judge([(problem, np.array([[0, 1]])), (QUESTION, np.array([[1, 2]]))])
    assert judge.notes(problem).truncated == 3

    def refuse(*_: object) -> list[Likelihoods]:
        raise AssertionError("it reads a text again")

    monkeypatch.setattr(judge._reader.kernel, "token_log_probs", lambda paths, labels: refuse() if labels else [])
    again, other = judge.judge([(problem, np.array([[0, 1]])), (problem, np.array([[2, 1], [1, 2]]))])
    assert again == first[0] and other[0] == -other[1] != 0
    assert judge.judge([]) == []


@pytest.mark.parametrize("option", ["criteria", "on_long"])
def test_options_that_do_not_fit(option: str, folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=f"^--ask likelihood takes no {option}: there is no question in words"):
        given: dict[str, Any] = {option: "skip"}
        flame_rank.load_judge(folders["chat"], ask="likelihood", **given)


def rerank(tmp_path: Path, *arguments: object) -> tuple[dict[str, Any], str]:
    (tmp_path / "in.jsonl").write_text(json.dumps({"prompt": QUESTION.prompt, "candidates": QUESTION.texts}) + "\n")
    done = CliRunner().invoke(cli, ["rerank", str(tmp_path / "in.jsonl"), *map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0
    return json.loads(done.stdout), done.stderr


def test_the_command(folders: dict[str, Path], readers: dict[str, Reader], tmp_path: Path) -> None:
    asked = ("--judge", folders["chat"], "--ask", "likelihood", "--max-length", MAX_LENGTH)
    record, err = rerank(tmp_path, *asked)
    [found] = readers["chat"].read(all_of(QUESTION))
    quality = found.forward + found.gain
    ranking = record["ranking"]
    assert (np.diff(quality[ranking]) <= 1e-5).all() and ranking[0] == record["best"]
    assert record["judge"] == f"likelihood:{readers['chat'].name}" and record["strategy"] == "pointwise"
    assert record["comparisons"] == 4  # of five different texts
    assert err.startswith("1 problem, 6 candidates, 4 comparisons")
    with pytest.raises(UserError, match="--ask likelihood takes no criteria, on_long"):
        rerank(tmp_path, *asked, "--criteria", "Be kind.", "--on-long", "skip")
    with pytest.raises(UserError, match="--judge functions:shorter takes no ask"):
        rerank(tmp_path, "--judge", "functions:shorter", "--ask", "likelihood")


def test_a_chat_model_may_be_read_without_its_template(folders: dict[str, Path], form: str) -> None:
    if form == "chat":
        plain = load_reader(folders[form], template="plain")
        assert plain.message((5, 6))[:2] == (5, 6)  # and "\n\n" behind it
    else:
        with pytest.raises(UserError, match="it has no chat template"):
            load_reader(folders[form], template="chat")


TURNS = [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 2?"}]


def test_a_prompt_of_messages_is_read_turn_by_turn(reader: Reader, plain: Plain) -> None:
    """In the chat template; elsewhere in the written form."""
    problem = Problem(prompt=TURNS, candidates=["It is 4.", "5"])  # type: ignore[arg-type]
    [found] = reader.read(all_of(problem))
    if plain.form == "chat":
        around = [f"<|im_start|>{message['role']}\n" for message in TURNS]
        before: tuple[int, ...] = plain.ids(around[0], special=True)
        for message, piece in zip(TURNS, [*around[1:], "assistant\n<think>\n\n</think>\n\n"], strict=True):
            piece = piece if piece in around else f"<|im_start|>{piece}"
            before += plain.ids(message["content"]) + plain.ids(f"<|im_end|>\n{piece}", special=True)
    else:
        before = plain.before(to_text(TURNS))
    assert found.forward == pytest.approx([plain.answered(before, text).mean() for text in problem.texts], abs=1e-4)


def test_turns_that_are_long_are_cut(readers: dict[str, Reader]) -> None:
    reader = readers["chat"]
    long = [TURNS[0], {"role": "user", "content": "and " * 200}]
    path, cut = reader.prompt(to_text(long))
    assert cut and len(path) <= len(reader.message(())) + reader.room
    assert reader.prompt(to_text(TURNS))[1] is False
    assert reader.prompt("What?") == (reader.message(reader.ids(["What?"])[0][0]), False)
