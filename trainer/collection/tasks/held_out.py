"""The pairwise evaluations besides RewardBench and HHH (the paper's section 4.1), which are never trained on. If
several people judged a pair, the response that more of them prefer is the better one."""

import re
from collections.abc import Callable, Hashable, Iterator
from typing import Any

from trainer.collection.release_files import Folder, Row, map_records, reject_bad
from trainer.collection.tasks.base import DataSet, Pair, Release, Task

_GITHUB = "https://raw.githubusercontent.com"
_LANGUAGES = {
    "cs": "Czech",
    "de": "German",
    "en": "English",
    "fr": "French",
    "ja": "Japanese",
    "pl": "Polish",
    "ru": "Russian",
    "zh": "Chinese",
}
_POEMS = "Batch_4739845_batch_results - Batch_4739845_batch_results.csv"
_EXPERTS = "experts_pairwise_human_preferences.jsonl"


def _together(rows: Iterator[Row], pair: Callable[[Any], Hashable]) -> Iterator[Row]:
    """Yields a record for each pair, at its first position in the file: the list of all judgements of the pair."""
    groups: dict[Hashable, tuple[str, list[Any]]] = {}
    for where, record in reject_bad(map_records(rows, lambda record: (pair(record), record))):
        groups.setdefault(record[0], (where, []))[1].append(record[1])
    yield from groups.values()


def _preferred(context: tuple[str, ...], first: str, second: str, votes: list[int]) -> Pair:
    """Makes a pair from votes (1 for the first response, 2 for the second, 0 for neither); the better response has
    more."""
    ones, twos = votes.count(1), votes.count(2)
    better, worse = (first, second) if ones >= twos else (second, first)
    counts = max(ones, twos), min(ones, twos)
    return Pair(context=context, better=better, worse=worse, tie=ones == twos, votes=counts)


def _rankgen_rows(folder: Folder) -> Iterator[Row]:
    return _together(folder.csv("*.csv", unended=True), lambda row: row["HITId"])


ALPACAFARM = DataSet(
    folder="alpacafarm",
    origin="hf:tatsu-lab/alpaca_farm",
    licence="CC BY-NC 4.0",
    permissive=False,
    releases=(
        Release(
            files=("alpaca_human_preference.json",), read=lambda folder: folder.records("alpaca_human_preference.json")
        ),
    ),
    downloads={"hf://datasets/tatsu-lab/alpaca_farm/alpaca_human_preference.json": "alpaca_human_preference.json"},
)
RANKGEN = DataSet(
    folder="rankgen",
    origin="github:martiansideofthemoon/rankgen",
    licence="Apache-2.0",
    permissive=True,
    releases=(Release(files=("gpt2_medium.csv", "t5_xxl_c4.csv"), read=_rankgen_rows),),
    downloads={
        f"{_GITHUB}/martiansideofthemoon/rankgen/master/human-eval-data/{name}": name
        for name in ("gpt2_medium.csv", "t5_xxl_c4.csv")
    },
)
CONTRASTIVE_SEARCH = DataSet(
    folder="contrastive_search",
    origin="github:yxuansu/Contrastive_Search_versus_Contrastive_Decoding",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=("human_evaluation_annotations.json",),
            read=lambda folder: folder.records("human_evaluation_annotations.json"),
        ),
    ),
    downloads={
        f"{_GITHUB}/yxuansu/Contrastive_Search_versus_Contrastive_Decoding/c7a4a44a62d74933c83591c37fca788451b5050c/"
        "human_evaluation_annotations/human_evaluation_annotations.json": "human_evaluation_annotations.json"
    },
)
LITERARY_MT = DataSet(
    folder="literary_mt",
    origin="github:marzenakrp/LiteraryTranslation",
    licence="none stated",
    permissive=False,
    releases=(
        Release(files=("all_annotations_v1.json",), read=lambda folder: folder.records("all_annotations_v1.json")),
    ),
    downloads={
        f"{_GITHUB}/marzenakrp/LiteraryTranslation/9067588a34ca3fac24dfcd62e75921098b5e8382/annotations/"
        "default_format_v1/all_annotations_v1.json": "all_annotations_v1.json"
    },
)
COPOEM = DataSet(
    folder="copoem",
    origin="github:vishakhpk/creative-instructions",
    licence="MIT",
    permissive=True,
    releases=(
        Release(
            files=(_POEMS,), read=lambda folder: _together(folder.csv(_POEMS, unended=True), lambda row: row["HITId"])
        ),
    ),
    downloads={
        f"{_GITHUB}/vishakhpk/creative-instructions/36d98fb31c01600d3360e3a41373bd83e0bb650a/"
        + _POEMS.replace(" ", "%20"): _POEMS
    },
)
EXPERT_LFQA = DataSet(
    folder="expert_lfqa",
    origin="github:carriex/lfqa_eval",
    licence="none stated; MIT in a copy by others",
    permissive=False,
    releases=(
        Release(
            files=(_EXPERTS,),
            read=lambda folder: _together(
                folder.jsonl(_EXPERTS), lambda record: (record["question"], record["answer_a"], record["answer_b"])
            ),
        ),
    ),
    downloads={
        "https://media.githubusercontent.com/media/carriex/lfqa_eval/5202745be28c1574c79c18c95143a797567eded9/"
        f"preference_data/{_EXPERTS}": _EXPERTS
    },
    sha256={_EXPERTS: "5944620336f9a4f72261d29b6b91dc7fb0ee8a6a7dec6e65bff6275be7c1cfac"},
)


def _alpacafarm(record: Any) -> Iterator[Pair]:
    if record["preference"] not in (1, 2):
        raise ValueError(f"preference is {record['preference']!r}")
    prompt = f"{record['instruction']}\n\n{record['input']}".strip()
    yield _preferred((prompt,), record["output_1"], record["output_2"], [record["preference"]])


def _rankgen(judgements: Any) -> Iterator[Pair]:
    """Reads the choice from an utterance that begins with "Text 1" or "Text 2" and then gives the reason."""
    votes = []
    for row in judgements:
        choice = re.match(r"text ([12])\b", row["Answer.utterance"].strip(), re.IGNORECASE)
        if choice is None:
            raise ValueError(f"utterance begins {row['Answer.utterance'][:20]!r}")
        votes.append(int(choice[1]))
    row = judgements[0]
    yield _preferred((row["Input.Prefix"],), row["Input.First"], row["Input.Second"], votes)


def _contrastive_search(record: Any) -> Iterator[Pair]:
    choices = {
        "system a is more human-like.": 1,
        "system b is more human-like.": 2,
        "two systems are comparable.": 0,
    }
    votes = [choices[vote] for vote in record["human_annotation"].values()]
    prompt, texts = record["prompt"], (record["system_a_result"], record["system_b_result"])
    if not all(text.startswith(prompt) for text in texts):
        raise ValueError("a result does not begin with the prompt")
    yield _preferred((prompt,), texts[0][len(prompt) :], texts[1][len(prompt) :], votes)


def _literary_mt(record: Any) -> Iterator[Pair]:
    choice = {"text1": 1, "text2": 2}[record["choice"]]
    context = _LANGUAGES[record["source_lang"]], _LANGUAGES[record["target_lang"]], record["source"]
    yield _preferred(context, record["text1"], record["text2"], [choice])


def _copoem(judgements: Any) -> Iterator[Pair]:
    """Reads judgements in which one of two boxes is ticked."""
    ticks = [(row["Answer.creative1.creative1"], row["Answer.creative2.creative2"]) for row in judgements]
    votes = [{("TRUE", "FALSE"): 1, ("FALSE", "TRUE"): 2}[tick] for tick in ticks]
    row = judgements[0]
    first, second = (row[f"Input.poem_{number}"].replace("<br />", "\n") for number in (1, 2))
    yield _preferred((row["Input.title"],), first, second, votes)


def _expert_lfqa(judgements: Any) -> Iterator[Pair]:
    votes = [{-1: 1, 1: 2}[record["overall_preference"]] for record in judgements]
    question, first, second = (
        judgements[0][name].replace("<br />", "\n") for name in ("question", "answer_a", "answer_b")
    )
    yield _preferred((question,), first, second, votes)


_LETTERS = "Answer with A if response_a is the better one, with B if response_b is."
TASKS: tuple[Task, ...] = (
    Task(
        name="alpacafarm",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=ALPACAFARM,
        title="The preferred answer to an instruction",
        description=(
            "Two answers of language models to the same instruction are given. Choose the one that people would "
            "rather have: it does what is asked, says nothing wrong, is clear and complete, and is no longer than it "
            f"has to be. {_LETTERS}"
        ),
        fields=("prompt",),
        convert=_alpacafarm,
    ),
    Task(
        name="rankgen",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=RANKGEN,
        title="The better continuation of a passage",
        description=(
            "The context is a passage of a book or an encyclopedia; the responses are two continuations by language "
            "models. Choose the one that continues the passage better: that stays with its topic, events, people and "
            f"style, flows on from its last sentence, and contradicts neither it nor common sense. {_LETTERS}"
        ),
        fields=("context",),
        convert=_rankgen,
        full=199,  # of 200; one has an empty continuation
    ),
    Task(
        name="contrastive-search",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=CONTRASTIVE_SEARCH,
        title="The more human-like continuation",
        description=(
            "The prompt is the beginning of a news report, an encyclopedia's article or a story; two programs have "
            "continued it. Choose the continuation that reads more as if a person had written it: coherent with the "
            f"prompt and in itself, fluent, informative, and without pointless repetition. {_LETTERS}"
        ),
        fields=("prompt",),
        convert=_contrastive_search,
        full=113,  # of 150; four judges are often two against two
    ),
    Task(
        name="literary-mt",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=LITERARY_MT,
        title="The better translation of a literary paragraph",
        description=(
            "The source is a paragraph of a novel or a story; both responses translate it from the source language "
            "into the target language. Choose the translation that a literary translator would prefer: one that "
            "renders the meaning without errors, leaves out and adds nothing that matters, is grammatical and "
            f"consistent, and keeps the register and the voice of the author. {_LETTERS}"
        ),
        fields=("source_language", "target_language", "source"),
        convert=_literary_mt,
    ),
    Task(
        name="copoem",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=COPOEM,
        title="The more creative poem",
        description=(
            "Two short poems have been written for the same title. Choose the one that is the more creative and "
            "interesting: in its images, wording and rhymes, and in what it makes of the title. "
            "Answer with A if response_a is the better poem, with B if response_b is."
        ),
        fields=("title",),
        convert=_copoem,
        full=51,
    ),
    Task(
        name="expert-lfqa",
        split="eval",
        capability="general text quality",
        kind="pairwise",
        data=EXPERT_LFQA,
        title="The answer that an expert prefers",
        description=(
            "Two long answers to a question about a field such as history, law, biology or economics are given. Choose "
            "the one that an expert of the field would prefer: factually right, complete, to the point, easy to "
            "understand, with examples or sources where they help, and aware of what the question wrongly takes for "
            f"granted. {_LETTERS}"
        ),
        fields=("question",),
        convert=_expert_lfqa,
        full=129,  # of 140
    ),
)
