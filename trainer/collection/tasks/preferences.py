"""General text quality: which of two responses do people prefer?"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from trainer.collection.release_files import Folder, Row, reject_bad
from trainer.collection.tasks.base import DataSet, Pair, Release, Task, majority
from trainer.collection.tasks.safety import PKU_SAFERLHF, hh_data, hh_pair

# Both as SHP's authors advise: closer scores mean little, and a post with many comments should not count more.
_SHP_RATIO = 2.0  # the better comment's score divided by the worse one's
_SHP_PER_POST = 5
_SHP_PARTS = (
    *("askacademia", "askanthropology", "askbaking", "askcarguys", "askculinary", "askdocs", "askengineers"),
    *("askhistorians", "askhr", "askphilosophy", "askphysics", "askscience", "asksciencefiction", "asksocialscience"),
    *("askvet", "changemyview", "explainlikeimfive", "legaladvice"),
)


def _shp_rows(folder: Folder) -> Iterator[Row]:
    """Yields at most the first five clear preferences of each post."""
    taken: Counter[str] = Counter()
    for place, record in folder.jsonl("*/train.json"):
        if isinstance(record, dict) and record.get("score_ratio", 0) >= _SHP_RATIO:
            post = record.get("post_id", "")
            taken[post] += 1
            if taken[post] > _SHP_PER_POST:
                continue
        yield place, record


SHP = DataSet(
    folder="shp",
    origin="hf:stanfordnlp/SHP",
    licence="none stated; Reddit's terms of its API",
    permissive=False,
    releases=(Release(files=("*/train.json",), read=_shp_rows),),
    downloads={f"hf://datasets/stanfordnlp/SHP/{part}/train.json": f"{part}/train.json" for part in _SHP_PARTS},
)
ARENA = DataSet(
    folder="lmsys_arena",
    origin="hf:lmsys/chatbot_arena_conversations",
    licence="prompts CC BY 4.0, the models' outputs CC BY-NC 4.0",
    permissive=False,
    releases=(Release(files=("train-*.parquet",), read=lambda folder: folder.parquet("train-*.parquet")),),
    downloads={"hf://datasets/lmsys/chatbot_arena_conversations/data/train-*.parquet": "./"},
)

_PRD = "https://raw.githubusercontent.com/bcdnlp/PRD/main/data/vicuna80"
_QLORA = "https://raw.githubusercontent.com/artidoro/qlora/main/eval/generations/vicuna"
_GUANACO = {f"answer_guanaco-{size.replace('30', '33')}b": size for size in ("7", "13", "30", "65")}  # 30b is named 33b
_PRD_MODELS = ("answer_bard", "answer_gpt35", "answer_gpt4", "answer_vicuna-13b")
_PRD_RATINGS = (
    *permutations((*_PRD_MODELS, *_GUANACO), 2),
    *(("answer_claude", model) for model in _PRD_MODELS),
)


def _guanaco_file(size: str) -> str:
    return f"{size}b-guanaco-vicuna-generations-topp0.9-temp0.7.jsonl"


def _prd_rows(folder: Folder) -> Iterator[Row]:
    """Yields all votes on two models' answers to one question, in both orders of showing, with the answers."""
    sources = {model: (f"generations/{model}.jsonl", "text") for model in (*_PRD_MODELS, "answer_claude")}
    for model, size in _GUANACO.items():
        sources[model] = f"qlora_generations/{_guanaco_file(size)}", "generation"
    answers: dict[tuple[str, int], str] = {}
    for model, (file, field) in sources.items():
        if folder.has(file):
            answers |= {(model, record["question_id"]): record[field] for _, record in reject_bad(folder.jsonl(file))}
    votes: dict[tuple[int, str, str, str], list[str]] = defaultdict(list)
    for path in folder.files("ratings-human/*.jsonl"):
        shown = path.name.split("-human-reviewer")[0].split("-vs-")
        if len(shown) != 2 or not sources.keys() >= set(shown):
            raise ValueError(f"{path.name} does not say whose answers it rates")
        for _, record in reject_bad(folder.jsonl(f"ratings-human/{path.name}")):
            vote = {1: shown[0], 2: shown[1], 3: "tie"}[record["score"]]
            votes[record["question_id"], record["text"], *sorted(shown)].append(vote)
    for (question, text, *models), cast in votes.items():
        pair = [answers.get((model, question)) for model in models]
        record = {"question": text, "models": models, "answers": pair, "votes": cast}
        yield f"question {question}, {' and '.join(models)}", record


PRD_VICUNA = DataSet(
    folder="prd_vicuna80",
    origin="github:bcdnlp/PRD",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=("ratings-human/*.jsonl", "generations/answer_*.jsonl", "qlora_generations/*.jsonl"), read=_prd_rows
        ),
    ),
    downloads={
        **{
            f"{_PRD}/generations/{model}.jsonl": f"generations/{model}.jsonl"
            for model in (*_PRD_MODELS, "answer_claude")
        },
        **{f"{_QLORA}/{_guanaco_file(size)}": f"qlora_generations/{_guanaco_file(size)}" for size in _GUANACO.values()},
        **{
            f"{_PRD}/ratings-human/{name}": f"ratings-human/{name}"
            for first, second in _PRD_RATINGS
            for name in (f"{first}-vs-{second}-human-reviewer_threeclass.jsonl",)
        },
    },
)
PANDALM = DataSet(
    folder="extra_pandalm_testset",
    origin="github:WeOpenML/PandaLM",
    licence="Apache-2.0",
    permissive=True,
    releases=(Release(files=("testset-v1.json",), read=lambda folder: folder.records("testset-v1.json")),),
    downloads={"https://raw.githubusercontent.com/WeOpenML/PandaLM/main/data/testset-v1.json": "testset-v1.json"},
)


def _shp(record: Any) -> Iterator[Pair]:
    better, worse = {1: ("A", "B"), 0: ("B", "A")}[record["labels"]]
    if record[f"score_{better}"] < record[f"score_{worse}"]:
        raise ValueError("the better comment has the lower score")
    if record["score_ratio"] >= _SHP_RATIO:
        comments = record[f"human_ref_{better}"], record[f"human_ref_{worse}"]
        yield Pair(context=(record["history"],), better=comments[0], worse=comments[1])


def _beavertails(record: Any) -> Iterator[Pair]:
    better = record["better_response_id"]
    pair = record["response_0"], record["response_1"]
    if better not in (0, 1):
        raise ValueError(f"better_response_id is {better!r}")
    yield Pair(context=(record["prompt"],), better=pair[better], worse=pair[1 - better])


def _arena_side(conversation: Any) -> tuple[list[str], str]:
    """Returns the user's prompt and the model's side: its reply, or everything after the first prompt."""
    roles = [turn["role"] for turn in conversation]
    if not roles or roles != ["user", "assistant"] * (len(roles) // 2):
        raise ValueError(f"the turns are {roles}")
    prompts = [turn["content"] for turn in conversation[::2]]
    replies = [turn["content"] for turn in conversation[1::2]]
    later = (
        f"\n\nHuman: {prompt}\n\nAssistant: {reply}" for prompt, reply in zip(prompts[1:], replies[1:], strict=True)
    )
    return prompts, replies[0] + "".join(later)


def _arena(record: Any) -> Iterator[Pair]:
    """Yields English battles in which both models were asked the same."""
    winner = record["winner"]
    if winner not in ("model_a", "model_b", "tie", "tie (bothbad)"):
        raise ValueError(f"winner is {winner!r}")
    if record["language"] != "English":
        return
    prompts, first = _arena_side(record["conversation_a"])
    others, second = _arena_side(record["conversation_b"])
    if prompts == others:
        better, worse = (second, first) if winner == "model_b" else (first, second)
        yield Pair(context=(prompts[0],), better=better, worse=worse, tie=winner.startswith("tie"))


def _prd(record: Any) -> Iterator[Pair]:
    """Yields the pair by the majority of the votes."""
    chosen = majority(record["votes"])
    first, second = record["answers"]
    if chosen is None or first is None or second is None:  # one model did not answer the question
        return
    better, worse = (second, first) if chosen == record["models"][1] else (first, second)
    yield Pair(context=(record["question"],), better=better, worse=worse, tie=chosen == "tie")


def _pandalm(record: Any) -> Iterator[Pair]:
    """Yields the pair by at least two of the three annotators; 0 is a tie."""
    votes = [record[f"annotator{number}"] for number in (1, 2, 3)]
    if not {0, 1, 2}.issuperset(votes):
        raise ValueError(f"the annotators' votes are {votes}")
    chosen = majority(votes)
    if chosen is None:
        return
    pair = str(record["response1"]), str(record["response2"])  # a response "True" became a boolean in some records
    better, worse = pair[::-1] if chosen == 2 else pair
    yield Pair(context=(record["instruction"], record["input"]), better=better, worse=worse, tie=chosen == 0)


_HH_HELPFUL = (
    ("hh-helpful-base", "helpful-base", 43_835, "Both replies were written by an early assistant."),
    ("hh-helpful-online", "helpful-online", 22_007, "Both replies were written by assistants already trained to help."),
    (
        "hh-helpful-rejection",
        "helpful-rejection-sampled",
        52_421,
        "Each reply was the best of several drafts by an automatic score.",
    ),
)

TASKS: tuple[Task, ...] = (
    Task(
        name="shp",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=SHP,
        title="The comment that readers found more helpful",
        description=(
            "A post in an online community asks a question or gives an instruction, and two people replied. Choose the "
            "reply that the community's readers voted higher because it is more helpful: it answers what was asked, is "
            "well informed and gives reasons or useful detail. Answer with A if response_a is that reply, with B if "
            "response_b is."
        ),
        fields=("post",),
        convert=_shp,
    ),
    Task(
        name="beavertails-helpful",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=PKU_SAFERLHF,
        title="The more helpful response, harm aside",
        description=(
            "Both responses answer a prompt that may ask for something harmful. Compare only how helpful they are to "
            "the one who asked: clear, relevant to the question and of good quality. Whether a response is safe does "
            "not count here. Answer with A if response_a is the more helpful one, with B if response_b is."
        ),
        fields=("prompt",),
        convert=_beavertails,
    ),
    *(
        Task(
            name=name,
            split="train",
            capability="general text quality",
            kind="pairwise",
            data=hh_data(part),
            title="The more helpful reply",
            description=(
                "A person asks an assistant for help with a question or a text, and gets two possible replies to the "
                f"last message. {assistants} Choose the reply that helps more: that does what was asked, is right and "
                "honest, and moves the conversation on. Answer with A if response_a is the more helpful one, with B "
                "if response_b is."
            ),
            fields=("prompt",),
            convert=hh_pair,
            full=full,
        )
        for name, part, full, assistants in _HH_HELPFUL
    ),
    Task(
        name="lmsys-arena",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=ARENA,
        title="The model that its user preferred",
        description=(
            "A user wrote to two chat models at once without knowing which they were, and voted for the one whose "
            "answers were better. After the first answer a response may go on with the user's further messages, behind "
            "Human, and the model's answers, behind Assistant. Answer with A if the user would prefer response_a, with "
            "B if response_b."
        ),
        fields=("prompt",),
        convert=_arena,
    ),
    Task(
        name="prd-vicuna",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=PRD_VICUNA,
        title="The better answer of two assistants",
        description=(
            "Two assistants answered a user's question, which may ask for knowledge, a plan, code, mathematics or "
            "a piece of writing. Compare how helpful, relevant, accurate and detailed the answers are; the order in "
            "which they stand must not matter. Answer with A if response_a is better overall, with B if response_b is."
        ),
        fields=("question",),
        convert=_prd,
        full=2_196,
    ),
    Task(
        name="pandalm",
        split="extra",
        capability="general text quality",
        kind="pairwise",
        data=PANDALM,
        title="The response that follows the instruction better",
        description=(
            "An instruction was given, with an input to work on or without one. Choose the response that follows it "
            "better: that is correct, does all that was asked in the form it was asked for, and is clear without "
            "needless words. Answer with A if response_a is the better one, with B if response_b is."
        ),
        fields=("instruction", "input"),
        convert=_pandalm,
        full=842,
    ),
)
