"""A checkpoint directory as the judge: log-odds, what is cut, what is refused, and the command line."""

import json
import shutil
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoints import VARIANTS, write_checkpoint
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from places import ROOT
from safetensors.numpy import load_file, save_file
from tokenizers_tiny import CHATML, write_byte_bpe, write_sentencepiece

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges.language_model import LanguageModelJudge, expected
from flame_rank.model.kernel import Kernel
from flame_rank.prompts.instructions import Instructions
from flame_rank.prompts.truncation import truncate_pair

SAMPLES = ROOT / "examples" / "samples.jsonl"
PROBLEM = Problem(prompt="What is 2 + 2?", candidates=["4", "It is 5.", "Four, I think."], name="sum")
ALL = np.array(list(permutations(range(3), 2)))


def make(folder: Path, family: str) -> Path:
    """A tiny checkpoint with a tokenizer of its family's kind."""
    tokenizers: dict[str, Callable[[Path], int]] = {
        "llama2": lambda f: write_sentencepiece(f, "llama"),
        "llama3": lambda f: write_byte_bpe(f, bos=True),
        "mistral": lambda f: write_sentencepiece(f, "llama"),
        "qwen2": lambda f: write_byte_bpe(f, template=CHATML),
        "qwen3": lambda f: write_byte_bpe(f, template=CHATML),
        "gemma": lambda f: write_sentencepiece(f, "gemma"),
        "gemma2": lambda f: write_sentencepiece(f, "gemma"),
        "gemma3": lambda f: write_sentencepiece(f, "gemma"),
        "t5": lambda f: write_sentencepiece(f, "t5"),
    }
    folder.mkdir()
    size = tokenizers[family](folder)
    config = T5 if family == "t5" else {**VARIANTS[family], "max_position_embeddings": 4096}
    write_checkpoint(folder, {**config, "vocab_size": size})
    return folder


T5 = {"model_type": "t5", "d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4}
FAMILIES = ["llama2", "llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "t5"]


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("local") / "qwen2", "qwen2")


@pytest.fixture(scope="module")
def judge(qwen: Path) -> LanguageModelJudge:
    loaded = flame_rank.load_judge(qwen)
    assert isinstance(loaded, LanguageModelJudge)
    return loaded


def copy(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder / "copy"))


def test_log_odds_are_those_of_the_verdicts_behind_the_tokens(judge: LanguageModelJudge) -> None:
    (answers,) = judge.judge([(PROBLEM, ALL)])
    assert isinstance(judge.kernel, Kernel)
    for (first, second), log_odds in zip(ALL, answers, strict=True):
        ids = tuple(judge.tokens(PROBLEM, int(first), int(second)))
        of_a, of_b = judge.kernel.log_probs([(ids,)], judge.verdict_ids)[0]  # the whole text as one piece
        assert abs(log_odds - (of_a - of_b)) <= 1e-4
    mass = judge.verdict_mass(PROBLEM, ALL)
    assert mass.shape == (len(ALL),) and ((mass > 0) & (mass < 1)).all() and judge.notes(PROBLEM).truncated == 0
    assert mass[-1] == pytest.approx(np.exp(of_a) + np.exp(of_b), abs=1e-6)
    assert np.isnan(judge.verdict_mass(Problem(prompt="not judged", candidates=["a", "b"]), ALL[:1])).all()


def test_the_instructions_are_encoded_once_a_run(judge: LanguageModelJudge) -> None:
    kernel = judge.kernel
    assert isinstance(kernel, Kernel)
    kernel.forget()
    other = Problem(prompt="What is 3 + 3?", candidates=["6", "It is 7.", "Six, I am sure."])
    before, between, behind, cue = judge.frame
    instructions = len(before)
    for problem in (PROBLEM, other):
        prompt, *texts = judge.form.values([problem.prompt, *problem.texts])
        once = kernel.usage.tokens
        judge.judge([(problem, ALL)])
        firsts, leaves = (sum(len(text + piece) for text in texts) for piece in (behind, cue))
        assert kernel.usage.tokens - once == instructions + len(prompt + between) + firsts + 2 * leaves
        instructions = 0
        joined = (*before, *prompt, *between, *texts[0], *behind, *texts[1], *cue)
        assert judge.tokens(problem, 0, 1) == [*joined]


@pytest.mark.full
def test_in_bfloat16(qwen: Path, judge: LanguageModelJudge) -> None:
    coarse = flame_rank.load_judge(qwen, dtype="bfloat16")
    (found,), (exact,) = coarse.judge([(PROBLEM, ALL)]), judge.judge([(PROBLEM, ALL)])
    assert np.isfinite(found).all() and 0 < np.abs(found - exact).max() < 0.5


def test_the_api_ranks_with_it(judge: LanguageModelJudge) -> None:
    ranking = flame_rank.Reranker(judge).rank(PROBLEM)
    assert sorted(ranking.order) == [0, 1, 2] and ranking.comparisons == 6
    assert ranking.judge == judge.name and judge.name.startswith("qwen2:")
    assert ranking.verdict_mass == pytest.approx(judge.verdict_mass(PROBLEM, ALL).mean())


def test_the_name_is_the_identity(qwen: Path, judge: LanguageModelJudge, tmp_path: Path) -> None:
    moved = copy(qwen, tmp_path)
    names = {
        judge.name: flame_rank.load_judge(moved).name,
        "criteria": flame_rank.load_judge(qwen, criteria="Be brief.").name,
        "max_length": flame_rank.load_judge(qwen, max_length=1024).name,
        "on_long": flame_rank.load_judge(qwen, on_long="skip").name,
        "template": flame_rank.load_judge(qwen, template="plain").name,
        "dtype": flame_rank.load_judge(qwen, dtype="bfloat16").name,
    }
    assert names[judge.name] == judge.name  # where it lies does not matter
    weights = moved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 1
    weights.write_bytes(data)
    names["weights"] = flame_rank.load_judge(moved).name
    assert len({*names.values()}) == len(names)


@given(prompt=st.integers(0, 300), a=st.integers(0, 300), b=st.integers(0, 300), room=st.integers(16, 256))
def test_cutting_keeps_heads_and_tails_and_fills_the_room(prompt: int, a: int, b: int, room: int) -> None:
    texts = [tuple(range(k, k + n)) for k, n in ((0, prompt), (1000, a), (2000, b))]
    if sum(map(len, texts)) <= room:
        return
    cut = truncate_pair(texts[0], texts[1], texts[2], room)
    assert sum(map(len, cut)) == room
    for before, after in zip(texts, cut, strict=True):
        head = len(after) - len(after) // 2
        assert after == before[:head] + before[len(before) - (len(after) - head) :]
    assert all(len(after) >= min(len(before), room // 8) for before, after in zip(texts[1:], cut[1:], strict=True))
    if len(cut[0]) == prompt:  # the shorter response is cut only where both have half
        shorter = min(a, b)
        assert min(len(cut[1]), len(cut[2])) >= min(shorter, (room - prompt) // 2)


LONG = Problem(prompt="p", candidates=["short", "long " * 300, "longer " * 300], name="long one")


def test_what_is_too_long_is_cut_and_counted(qwen: Path) -> None:
    judge = flame_rank.load_judge(qwen, max_length=700)
    assert isinstance(judge, LanguageModelJudge)
    ranking = flame_rank.Reranker(judge).rank(LONG)
    assert ranking.truncated == 2 and ranking.decided and ranking.invalid == 0
    assert len(judge.tokens(LONG, 1, 2)) == 700
    assert len(judge.tokens(LONG, 0, 1)) == 700


def test_what_is_too_long_is_skipped_and_said(qwen: Path) -> None:
    ranking = flame_rank.Reranker(flame_rank.load_judge(qwen, max_length=700, on_long="skip")).rank(LONG)
    assert ranking.invalid == 6 and not ranking.decided and ranking.best is None
    assert all("max_length 700" in reason for reason in ranking.reasons)


def test_what_is_too_long_ends_the_run(qwen: Path) -> None:
    judge = flame_rank.load_judge(qwen, max_length=700, on_long="fail")
    with pytest.raises(UserError, match=r"long one: \d+ tokens .* max_length 700"):
        flame_rank.Reranker(judge).rank(LONG)


def test_choices_and_scales(judge: LanguageModelJudge) -> None:
    scale = Instructions(title="How good?", description="From 1 to 5.", output_fields=("rating",))
    contexts = [{"prompt": "2 + 2?", "response": text} for text in ("4", "5, certainly", "")]
    found = judge.score_choices(scale, contexts, ["1", "2", "3", "4", "5"])
    assert found.shape == (3, 5) and np.allclose(found.sum(1), 1) and np.ptp(found[:, 0]) > 0
    values = expected(found, [1, 2, 3, 4, 5])
    assert ((values >= 1) & (values <= 5)).all()
    one = judge.score_choices(scale, contexts[1:2], ["1", "2", "3", "4", "5"])
    assert np.abs(one[0] - found[1]).max() <= 1e-5
    words = judge.score_choices(scale, contexts, ["very good", "very bad", "bad"])
    assert np.allclose(words.sum(1), 1)
    assert judge.score_choices(scale, [], ["1", "2"]).shape == (0, 2)
    with pytest.raises(ValueError, match="different fields"):
        judge.score_choices(scale, [{"a": "1"}, {"b": "1"}], ["1", "2"])


def test_explanations(judge: LanguageModelJudge, qwen: Path) -> None:
    problems = [PROBLEM, Problem(prompt="one", candidates=["alone"]), Problem(prompt="same", candidates=["a", "a"])]
    first, *others = flame_rank.Reranker(judge, explain=True).rank_many(problems)
    assert isinstance(first.explanation, str)
    assert [ranking.explanation for ranking in others] == [None, None]
    again = flame_rank.Reranker(judge, explain=True).rank(PROBLEM)
    assert again.explanation == first.explanation
    short = flame_rank.load_judge(qwen, max_length=sum(map(len, judge.frame)) + 20)
    brief = flame_rank.Reranker(short, explain=True).rank(PROBLEM)
    assert brief.best is not None and brief.explanation is None
    with pytest.raises(UserError, match="cannot give explanations"):
        flame_rank.Reranker(lambda prompt, pairs: [0.0] * len(pairs), explain=True)


def run(*arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    try:
        result = CliRunner().invoke(cli, ["rerank", *arguments], standalone_mode=False)
    except UserError as error:
        return 2, [], str(error)
    if isinstance(result.exception, UserError):
        return 2, [], str(result.exception)
    assert result.exception is None, result.exception
    return int(result.return_value), [json.loads(line) for line in result.stdout.splitlines()], result.stderr


QUICK = ("t5",)  # the others differ from what the other tests judge with in little, and compile for long


@pytest.mark.parametrize("family", [f if f in QUICK else pytest.param(f, marks=pytest.mark.full) for f in FAMILIES])
def test_every_family_ranks_the_samples(family: str, tmp_path: Path) -> None:
    folder = make(tmp_path / family, family)
    status, records, said = run(str(SAMPLES), "--judge", str(folder), "--strategy", "knockout")
    assert status == 0 and len(records) == len(SAMPLES.read_text().splitlines())
    for record in records:
        assert sorted(record["ranking"]) == list(range(len(record["candidates"])))
        assert np.isfinite(record["scores"]).all()
    assert "A and B have" in said  # random weights do not follow a prompt, and that is said
    assert all(0 < record["verdict_mass"] < 0.5 for record in records if len(record["candidates"]) > 1)


@pytest.mark.full
def test_options_on_the_command_line(qwen: Path, tmp_path: Path) -> None:
    criteria = tmp_path / "criteria.txt"
    criteria.write_text("Prefer the shorter one.")
    lines = tmp_path / "in.jsonl"
    lines.write_text(json.dumps({"prompt": "p", "candidates": ["a", "b " * 900]}) + "\n")
    judge = ("--judge", str(qwen))
    status, (of_file,), _ = run(str(lines), *judge, "--criteria", str(criteria), "--explain")
    assert status == 0 and "explanation" in of_file
    _, (of_text,), _ = run(str(lines), *judge, "--criteria", "Prefer the shorter one.")
    assert of_text["judge"] == of_file["judge"] and of_text["scores"] == of_file["scores"]
    _, (cut,), said = run(str(lines), *judge, "--max-length", "700")
    assert cut["truncated"] == 1 and "1 candidate too long and cut" in said
    status, (skipped,), _ = run(str(lines), *judge, "--max-length", "700", "--on-long", "skip")
    assert status == 1 and skipped["best"] is None and "700" in skipped["reasons"][0]
    status, _, said = run(str(lines), *judge, "--max-length", "700", "--on-long", "fail")
    assert status == 2 and "max_length 700" in said
    _, (small,), _ = run(str(lines), *judge, "--max-batch-tokens", "64")
    _, (usual,), _ = run(str(lines), *judge)
    assert np.allclose(small["scores"], usual["scores"], atol=1e-5)


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "neither config.json"),
    "config cut": (lambda f: (f / "config.json").write_text('{"model_type": "qw'), "config.json: not whole JSON"),
    "config a list": (lambda f: (f / "config.json").write_text("[]"), "not a JSON object"),
    "family": (lambda f: change(f, model_type="mamba"), "model_type 'mamba' is not supported"),
    "unknown key": (lambda f: change(f, clip_qkv=8), "clip_qkv = 8 is not supported for qwen2"),
    "shape": (lambda f: change(f, intermediate_size=99), "mlp"),
    "layers": (lambda f: change(f, num_hidden_layers=9), "9 layers, but the weights have 2"),
    "vocabulary": (lambda f: change(f, vocab_size=10), "embed_tokens"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "weights cut": (lambda f: truncate(f / "model.safetensors"), "model.safetensors"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json"),
    "tokenizer cut": (lambda f: truncate(f / "tokenizer.json"), "tokenizer.json"),
}


def change(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, qwen: Path, tmp_path: Path) -> None:
    folder = copy(qwen, tmp_path)
    breaks, said = MISTAKES[mistake]
    breaks(folder)
    with pytest.raises(UserError) as error:
        flame_rank.load_judge(folder)
    assert said in str(error.value) and str(folder) in str(error.value) and "\n" not in str(error.value)


def test_options_that_do_not_fit(qwen: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="max_length 5000 is more than the 4096 positions"):
        flame_rank.load_judge(qwen, max_length=5000)
    with pytest.raises(UserError, match="no room beside the instructions"):
        flame_rank.load_judge(qwen, max_length=50)
    with pytest.raises(UserError, match="takes no max_length"):
        flame_rank.load_judge("agreement", max_length=50)
    with pytest.raises(UserError, match="cudnn"):
        flame_rank.load_judge(qwen, attention="cudnn")
    folder = copy(qwen, tmp_path)
    settings_ = json.loads((folder / "tokenizer_config.json").read_text())
    del settings_["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings_))
    with pytest.raises(UserError, match="no chat template"):
        flame_rank.load_judge(folder, template="chat")
    assert flame_rank.load_judge(folder).name != flame_rank.load_judge(qwen).name


@settings(deadline=None, max_examples=5)
@given(texts=st.lists(st.text(max_size=30), min_size=2, max_size=3, unique=True))
def test_any_text_is_judged(texts: list[str]) -> None:
    judge = LOADED["judge"]
    (answers,) = judge.judge([(Problem(prompt="?", candidates=texts), np.array([[0, 1], [1, 0]]))])
    assert np.isfinite(answers).all()


LOADED: dict[str, LanguageModelJudge] = {}


@pytest.fixture(autouse=True, scope="module")
def _loaded(judge: LanguageModelJudge) -> None:
    LOADED["judge"] = judge


@pytest.mark.parametrize(
    "other", [pytest.param(False, marks=pytest.mark.full), True], ids=["the same matrix", "another one"]
)
def test_an_output_matrix_beside_tied_embeddings(tmp_path: Path, caplog: pytest.LogCaptureFixture, other: bool) -> None:
    """Where a file holds both and they differ, the output matrix counts, whatever the configuration says."""
    sizes = {**VARIANTS["qwen2"], "max_position_embeddings": 4096}
    sizes["vocab_size"] = write_byte_bpe(tmp_path)
    write_checkpoint(tmp_path, sizes)
    stored = load_file(tmp_path / "model.safetensors")
    head = stored["model.embed_tokens.weight"][::-1].copy() if other else stored["model.embed_tokens.weight"]
    save_file({**stored, "lm_head.weight": head}, tmp_path / "model.safetensors", {"format": "pt"})
    problem, pairs = Problem(prompt="p", candidates=["a", "b"]), np.array([[0, 1]])
    [tied] = flame_rank.load_judge(tmp_path).judge([(problem, pairs)])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == other and all("lm_head.weight is another matrix than the embeddings" in line for line in said)
    (tmp_path / "config.json").write_text(json.dumps(sizes | {"tie_word_embeddings": False}))
    [untied] = flame_rank.load_judge(tmp_path).judge([(problem, pairs)])
    np.testing.assert_array_equal(tied, untied)
