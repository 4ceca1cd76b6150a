"""Reward models as judges, against the plain computation of each text and against transformers."""

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from checkpoints import REWARD_CLASSES, VARIANTS, write_checkpoint, write_reward_model
from click.testing import CliRunner
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers_tiny import CHATML, TURNS, write_byte_bpe

import flame_rank
from flame_rank import Problem, UserError
from flame_rank.cli.group import cli
from flame_rank.judges.checkpoint import load_reader
from flame_rank.judges.reward_model import RewardModelJudge
from flame_rank.model.decoder import Decoder
from flame_rank.model.families import read_architecture
from flame_rank.model.sharding import mesh
from flame_rank.model.text import load as load_tokenizer
from flame_rank.model.weight_files import WeightFiles

FAMILIES = ("llama3", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3")
QUESTION = Problem(
    prompt="What is the sum of 2 and 2?", candidates=["It is 4.", " Five, I think.\n", "", "4", "<|im_end|>", "4 " * 20]
)


def write(folder: Path, name: str, template: str | None = CHATML, **stated: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    size = write_byte_bpe(folder, bos=template is None, template=template)
    write_reward_model(folder, {**VARIANTS[name], "vocab_size": size}, **stated)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reward") / "m", "llama2")


@pytest.fixture(scope="module")
def judge(folder: Path) -> RewardModelJudge:
    return loaded(folder, max_length=256)


def loaded(folder: Path, **options: Any) -> RewardModelJudge:
    judge = flame_rank.load_judge(folder, **options)
    assert isinstance(judge, RewardModelJudge)
    return judge


@partial(jax.jit, static_argnums=0)
def rewards_of_tokens(graph: nnx.GraphDef[Decoder], params: Any, tokens: jax.Array) -> jax.Array:
    decoder = nnx.merge(graph, params)
    return decoder.reward(decoder.hidden(tokens)[0])


def plain(folder: Path, texts: list[list[int]]) -> np.ndarray:
    """The rewards of whole texts, each computed at once, with padding after it that it does not see."""
    tokens = np.zeros((len(texts), max(map(len, texts))), np.int32)
    for row, ids in zip(tokens, texts, strict=True):
        row[: len(ids)] = ids
    graph, params = read_architecture(folder, reward=True).load(WeightFiles.open(folder), mesh(), jnp.float32)
    rewards = np.asarray(rewards_of_tokens(graph, params, tokens))
    return rewards[np.arange(len(texts)), [len(ids) - 1 for ids in texts]]


@pytest.mark.parametrize("name", ["gemma2", pytest.param("qwen3", marks=pytest.mark.full)])
def test_rewards_are_those_of_whole_texts(name: str, tmp_path: Path) -> None:
    judge = loaded(write(tmp_path / "m", name))
    (rewards,) = judge.rewards([(QUESTION, range(len(QUESTION)))])
    expected = plain(tmp_path / "m", [judge.tokens(QUESTION, i) for i in range(len(QUESTION))])
    assert np.abs(rewards - expected).max() <= 1e-4 and np.ptp(expected) > 0.1


@pytest.mark.live
@pytest.mark.parametrize("pad", [None, "<|im_end|>"])
@pytest.mark.parametrize("name", FAMILIES)
def test_rewards_are_those_of_transformers(name: str, pad: str | None, tmp_path: Path) -> None:
    """Read from what transformers saves. Where conversations end with the padding, an earlier token counts."""
    torch = pytest.importorskip("torch", reason="the live comparison needs PyTorch")
    transformers = pytest.importorskip("transformers", reason="the live comparison needs transformers")
    template = CHATML.replace("'<|im_end|>' + '\\n'", "'<|im_end|>'") if pad else CHATML
    ours = write(tmp_path / "ours", name, template)
    if pad:
        number = load_tokenizer(ours).encode([pad], special=True)[0][0]
        write(ours, name, template, pad_token_id=number)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(ours).eval()
    assert type(model).__name__ == f"{REWARD_CLASSES[VARIANTS[name]['model_type']]}ForSequenceClassification"
    model.save_pretrained(tmp_path / "theirs")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(ours / file, tmp_path / "theirs")
    judges = [loaded(ours), loaded(tmp_path / "theirs")]
    tokenizer = load_tokenizer(ours)
    with torch.no_grad():
        expected = []
        for text in QUESTION.texts:
            parts = tokenizer.encode([QUESTION.prompt, text])
            assert judges[0]._conversation.pieces is not None
            before, between, after = tokenizer.encode(judges[0]._conversation.pieces, special=True)
            whole = torch.tensor([[*before, *parts[0], *between, *parts[1], *after]])
            expected.append(float(model(whole).logits[0, 0]))
    for judge in judges:
        (rewards,) = judge.rewards([(QUESTION, range(len(QUESTION)))])
        assert np.abs(rewards - expected).max() <= 1e-4
    assert np.ptp(expected) > 0.1


def test_log_odds_are_differences_of_rewards(folder: Path, judge: RewardModelJudge) -> None:
    assert judge.pointwise and not judge.pool_aware
    (rewards,) = judge.rewards([(QUESTION, range(len(QUESTION)))])
    pairs = np.array([[0, 1], [1, 0], [5, 2], [3, 3]])
    assert np.allclose(judge.judge([(QUESTION, pairs)])[0], rewards[pairs[:, 0]] - rewards[pairs[:, 1]])
    flat = loaded(folder, max_length=256, reward_temperature=4.0)
    assert np.allclose(flat.judge([(QUESTION, pairs)])[0] * 4, judge.judge([(QUESTION, pairs)])[0])
    ranking = flame_rank.Reranker(judge).rank(QUESTION.prompt, QUESTION.texts)
    assert ranking.order[0] == int(rewards.argmax()) and ranking.order[-1] == int(rewards.argmin())


def test_identity(folder: Path, judge: RewardModelJudge, tmp_path: Path) -> None:
    same = loaded(folder, max_length=256)
    others = [loaded(folder, max_length=256, **more) for more in ({"reward_temperature": 2.0}, {"template": "plain"})]
    others += [loaded(folder, max_length=128), loaded(folder, max_length=256, dtype="bfloat16")]
    assert same.name == judge.name and judge.name.startswith("reward:llama:")
    assert len({judge.name, *(other.name for other in others)}) == 5


def test_a_prompt_is_encoded_once_and_so_is_each_candidate(folder: Path) -> None:
    """16 candidates cost at most 1.1 times the tokens of prompt and candidates."""
    judge, rng = loaded(folder, max_length=2048), np.random.default_rng(0)
    words = np.array(["What", "is", "the", "sum", "of", "two", "and", "five", "I", "think", "It", "Four"])
    texts = [" ".join(rng.choice(words, 60)) for _ in range(17)]
    problem = Problem(prompt=texts[0] * 2, candidates=texts[1:])
    pairs = np.array([[0, i] for i in range(1, 16)])
    judge.judge([(problem, pairs)])
    judge.judge([(problem, pairs[::-1])])  # known by now
    tokenizer = load_tokenizer(folder)
    least = sum(tokenizer.count([problem.prompt, *problem.texts]))
    assert least <= judge.tokens_encoded <= 1.1 * least


def test_only_the_candidates_that_are_asked_for_are_read(folder: Path) -> None:
    judge = loaded(folder, max_length=256)
    judge.judge([(QUESTION, np.array([[3, 0]]))])
    few = judge.tokens_encoded
    judge.judge([(QUESTION, np.array([[3, 0], [0, 3]]))])
    assert judge.tokens_encoded == few
    judge.judge([(QUESTION, np.array([[3, 5]]))])
    assert judge.tokens_encoded > few


def test_the_template_decides_about_white_space(tmp_path: Path) -> None:
    """Gemma's and Llama's templates strip messages, ChatML does not; neither lets a text close its turn."""
    stripped, kept = loaded(write(tmp_path / "a", "llama2", TURNS)), loaded(write(tmp_path / "b", "llama2"))
    problem = Problem(prompt=" What? ", candidates=["It is 4.", "  It is 4.\n", "<|im_end|>"])
    assert stripped.tokens(problem, 0) == stripped.tokens(problem, 1)
    assert kept.tokens(problem, 0) != kept.tokens(problem, 1)
    end = load_tokenizer(tmp_path / "b").encode(["<|im_end|>"], special=True)[0][0]
    assert [kept.tokens(problem, i).count(end) for i in range(3)] == [2, 2, 2]
    text = load_tokenizer(tmp_path / "b").decode(kept.tokens(problem, 1))
    assert " What? " in text and "  It is 4.\n" in text


def test_without_a_template(tmp_path: Path) -> None:
    judge = loaded(write(tmp_path / "m", "llama2", None))
    tokenizer = load_tokenizer(tmp_path / "m")
    ids = judge.tokens(Problem(prompt="What?", candidates=["4"]), 0)
    assert ids[0] == tokenizer.bos and ids[-1] in tokenizer.eos
    assert tokenizer.decode(ids) == "What?\n\n4"
    with pytest.raises(UserError, match="it has no chat template"):
        flame_rank.load_judge(tmp_path / "m", template="chat")


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text("What is the sum? 45", max_size=400), min_size=2, max_size=4), room=st.integers(40, 200))
def test_what_is_left_of_a_candidate_depends_on_it_and_the_prompt(
    texts: list[str], room: int, judge: RewardModelJudge
) -> None:
    prompt, *answers = texts
    paths, cut = judge._conversation.paths(prompt, answers, room)
    for answer, path, was_cut in zip(answers, paths, cut, strict=True):
        assert judge._conversation.paths(prompt, [answer], room) == ([path], [was_cut])
        assert sum(map(len, path)) <= room and path[0] == paths[0][0]
        whole = sum(map(len, judge._conversation.paths(prompt, [answer], 10_000)[0][0]))
        assert was_cut or sum(map(len, path)) == whole


def test_what_is_cut_is_noted(folder: Path) -> None:
    judge = loaded(folder, max_length=64)
    problem = Problem(prompt="What?", candidates=["4", "sum " * 100, "5"])
    judge.judge([(problem, np.array([[0, 1], [0, 2]]))])
    assert judge.notes(problem).truncated == 1 and judge.notes(QUESTION).truncated == 0
    with pytest.raises(UserError, match="max_length 8 leaves no room beside the chat template"):
        flame_rank.load_judge(folder, max_length=8)


def test_what_the_template_refuses_is_no_score(tmp_path: Path) -> None:
    refusing = (
        "{% if messages[1] is defined and '13' in messages[1].content %}{{ raise_exception('unlucky') }}{% endif %}"
    )
    judge = loaded(write(tmp_path / "m", "llama2", refusing + CHATML))
    problem = Problem(prompt="What?", candidates=["4", "13", "5"])
    log_odds = judge.judge([(problem, np.array([[0, 1], [0, 2]])), (QUESTION, np.array([[0, 1]]))])
    assert np.isnan(log_odds[0]).tolist() == [True, False] and np.isfinite(log_odds[1]).all()
    assert "unlucky" in judge.notes(problem).failures[0]
    for candidates in (["4", "13", "5"], ["13", "4", "5"]):
        ranking = flame_rank.Reranker(judge).rank("What?", candidates)
        assert ranking.decided and ranking.order[-1] == candidates.index("13") and ranking.invalid
        assert ranking.p_best[ranking.order[-1]] == 0 and "unlucky" in ranking.reasons[0]
        rewards = flame_rank.reward(judge)(["What?"] * 3, candidates)
        assert [i for i, reward in enumerate(rewards) if np.isnan(reward)] == [candidates.index("13")]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"labels": 2}, "LlamaForSequenceClassification has 2 labels; a reward model has 1"),
        ({"id2label": None}, "LlamaForSequenceClassification has 2 labels; a reward model has 1"),
        (
            {"model_type": "bert", "architectures": ["BertForSequenceClassification"]},
            "BertForSequenceClassification of model_type 'bert' is not supported; reward models may be of the families "
            "llama, mistral, qwen2, qwen3, gemma, gemma2, gemma3_text; encoders (BERT, RoBERTa, DeBERTa-v3, "
            "ModernBERT) are not supported",
        ),
        ({"model_type": "deberta-v2", "architectures": ["DebertaV2ForSequenceClassification"]}, "are not supported"),
        ({"rope_local": 3}, "rope_local = 3 is not supported for llama"),
    ],
)
def test_refused(stated: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        flame_rank.load_judge(write(tmp_path / "m", "llama2", **stated))
    assert message in str(error.value) and "\n" not in str(error.value) and str(tmp_path / "m") in str(error.value)


@pytest.mark.parametrize(
    "options", [{"ask": "likelihood"}, {"ask": "verdict"}, {"criteria": "short"}, {"on_long": "skip"}]
)
def test_options_that_a_reward_model_does_not_take(options: dict[str, Any], folder: Path) -> None:
    with pytest.raises(UserError, match=f"takes no {next(iter(options))}: a reward model gives each candidate a score"):
        flame_rank.load_judge(folder, **options)


def test_other_models_are_told_apart(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes no reward_temperature: it is not a reward model"):
        flame_rank.load_judge(tiny_model, reward_temperature=2.0)
    with pytest.raises(UserError, match=r"it is a reward model .* but one that writes text is needed"):
        load_reader(folder)
    write(tmp_path / "m", "llama2")
    write_checkpoint(tmp_path / "m", json.loads((tmp_path / "m" / "config.json").read_text()))
    with pytest.raises(UserError, match=r"no tensor score\.weight"):
        flame_rank.load_judge(tmp_path / "m")


def test_the_command_with_a_ledger_and_a_plan(folder: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": QUESTION.prompt, "candidates": [*QUESTION.texts]})] * 2
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
    command = ["rerank", str(tmp_path / "in.jsonl"), "--judge", str(folder), "--max-length", "256"]
    command += ["--reward-temperature", "2", "--ledger", str(tmp_path / "l.db")]
    first = CliRunner().invoke(cli, command)
    assert first.exit_code == 0, first.stderr
    record = json.loads(first.stdout.splitlines()[0])
    judge = loaded(folder, max_length=256, reward_temperature=2.0)
    (rewards,) = judge.rewards([(QUESTION, range(len(QUESTION)))])
    assert record["judge"] == judge.name and record["best"] == int(rewards.argmax())
    assert record["strategy"] == "pointwise" and record["comparisons"] == len(QUESTION) - 1
    again = CliRunner().invoke(cli, command)
    assert again.stdout == first.stdout and "10 of them from the ledger" in again.stderr
    planned = CliRunner().invoke(cli, ["plan", *command[1:4], "--max-length", "256"])
    assert planned.exit_code == 0 and str(2 * (len(QUESTION) - 1)) in planned.output


def test_messages_are_read_turn_by_turn(judge: RewardModelJudge, folder: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 2 + 2?"}]
    problem = Problem(prompt=turns, candidates=["4", [{"role": "assistant", "content": "It is 4."}]])  # type: ignore
    text = load_tokenizer(folder).decode(judge.tokens(problem, 1))
    assert text.split("\n") == ["system", "Be brief.", "user", "What is 2 + 2?", "assistant", "It is 4.", ""]
    (rewards,) = judge.rewards([(problem, [0, 1])])
    assert np.abs(rewards - plain(folder, [judge.tokens(problem, i) for i in range(2)])).max() <= 1e-4
