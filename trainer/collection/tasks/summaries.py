"""General text quality: which of two summaries is better, and does a summary meet its requirements?"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from trainer.collection.release_files import Folder, Row
from trainer.collection.tasks.base import Answer, DataSet, Pair, Release, Task, rounded_mean

_LIKERT = ("1", "2", "3", "4", "5")
_NEWS_MARGIN = 2  # the least difference in votes of three annotators; a vote for the worst summary counts -1
_NEWS_SYSTEMS = ("gpt3", "t0", "brio")
_TLDR_SPLITS = ("train", "valid1", "valid2")
_TLDR = "https://openaipublic.blob.core.windows.net/summarize-from-feedback/dataset/comparisons"
_TLDR_FILES = (*(f"batch{k}" for k in (*range(3, 21), 22)), "batch0_cnndm", "cnndm0", "cnndm2", "edit_b2_eval_test")


def _instrusum_data(file: str) -> DataSet:
    """Makes the data set of one file of InstruSum, a list of records."""
    return DataSet(
        folder="instrusum",
        origin="hf:Salesforce/InstruSum",
        licence="BSD-3-Clause",
        permissive=True,
        releases=(Release(files=(file,), read=lambda folder: folder.records(file)),),
        downloads={f"hf://datasets/Salesforce/InstruSum/{file}": file},
    )


INSTRUSUM = _instrusum_data("human_eval.json")
INSTRUSUM_PAIRS = _instrusum_data("human_eval_pairwise.json")

SUMMARY_FEEDBACK = DataSet(
    folder="summary_feedback",
    origin="github:openai/summarize-from-feedback",
    licence="MIT, modified; of software and feedback",
    permissive=True,
    releases=(Release(files=("comparisons/*.json",), read=lambda folder: folder.jsonl("comparisons/*.json")),),
    downloads={f"{_TLDR}/{name}.json": f"comparisons/{name}.json" for name in _TLDR_FILES},
)


def _news(folder: Folder) -> Iterator[Row]:
    for part in ("cnn", "bbc"):  # the third file, keyword_human.json, belongs to another task
        yield from folder.records(f"**/{part}_human.json")


NEWS = DataSet(
    folder="news_summ_eval",
    origin="https://tagoyal.github.io/zeroshot-news-annotations.html",
    licence="none stated",
    permissive=False,
    releases=(Release(files=("**/cnn_human.json", "**/bbc_human.json"), read=_news),),
    downloads={"https://tagoyal.github.io/zero-shot-explorer/human_annotations.zip": "human_annotations.zip"},
)
NEWS_WRITERS = DataSet(
    folder="news_summ_eval_zhang2023",
    origin="github:Tiiiger/benchmark_llm_summarization",
    licence="none stated",
    permissive=False,
    releases=(
        Release(
            files=("pairwise_evaluation_results.json",),
            read=lambda folder: folder.records("pairwise_evaluation_results.json"),
        ),
    ),
    downloads={
        "https://raw.githubusercontent.com/Tiiiger/benchmark_llm_summarization/main/pairwise_evaluation_results.json": (
            "pairwise_evaluation_results.json"
        )
    },
)


def _instrusum(record: Any) -> Iterator[Pair]:
    """Yields the pairs on which the annotators agreed; the release does not have the others and ties."""
    scores = float(record["score_1"]), float(record["score_2"])
    if scores[0] == scores[1]:
        raise ValueError("the two scores are equal")
    better, worse = (1, 2) if scores[0] > scores[1] else (2, 1)
    context = record["article"], record["requirement"]
    yield Pair(context=context, better=record[f"output_{better}"], worse=record[f"output_{worse}"])


def _instrusum_factual(record: Any) -> Iterator[Answer]:
    for annotation in record["annotations"].values():
        label = {0: "inconsistent", 1: "consistent"}[annotation["score"]["factual"]]
        yield Answer(context=(record["article"], record["requirement"], annotation["summary"]), values=(label,))


def _instrusum_missing(record: Any) -> Iterator[Answer]:
    for annotation in record["annotations"].values():
        rating = rounded_mean([annotation["score"]["missing"]])  # the release has the mean; higher: less is missing
        yield Answer(context=(record["article"], record["requirement"], annotation["summary"]), values=(rating,))


def _summary_feedback(record: Any) -> Iterator[Pair]:
    info, summaries, choice = record["info"], record["summaries"], record["choice"]
    if record["split"] not in _TLDR_SPLITS or choice not in (0, 1) or len(summaries) != 2:
        raise ValueError(f"split is {record['split']!r} and choice is {choice!r}, of {len(summaries)} summaries")
    if record["split"] != "train":
        return
    text = info["post"] if "post" in info else info["article"]  # of Reddit, or of a newspaper
    better, worse = summaries[choice]["text"], summaries[1 - choice]["text"]
    yield Pair(context=(info["title"], text), better=better.strip(), worse=worse.strip())


def _news_overall(record: Any) -> Iterator[Pair]:
    """Yields pairs from annotators who each name the best and the worst of three summaries."""
    votes = dict.fromkeys(_NEWS_SYSTEMS, 0)
    for annotator in record["annotators"]:
        for system in annotator["best_summary"]:
            votes[system] += 1
        for system in annotator["worst_summary"]:
            votes[system] -= 1
    for pair in combinations(_NEWS_SYSTEMS, 2):
        worse, better = sorted(pair, key=lambda system: votes[system])
        if votes[better] - votes[worse] >= _NEWS_MARGIN:
            yield Pair(context=(record["article"],), better=record[better]["text"], worse=record[worse]["text"])


def _writer_or_model(field: str) -> Callable[[Any], Iterator[Pair]]:
    """Compares a freelance writer's summary with a model's, by one of the two questions."""

    def convert(record: Any) -> Iterator[Pair]:
        choice = record[field]
        pair = record["writer_summary"], record["text-davinci-002_summary"]
        if choice is False:
            pair = pair[::-1]
        elif choice is not True and choice != "Equally Good":
            raise ValueError(f"{field} is {choice!r}")
        yield Pair(context=(record["article_text"],), better=pair[0], worse=pair[1], tie=choice == "Equally Good")

    return convert


TASKS = (
    Task(
        name="instrusum",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=INSTRUSUM_PAIRS,
        title="The better summary for a requirement",
        description=(
            "The article is to be summarised for a reader who asks for something particular: the requirement. Choose "
            "the summary of better overall quality: it gives what the requirement asks for, leaves out none of it "
            "that matters, adds nothing beside the point, and is true to the article. Answer with A if response_a is "
            "the better one, with B if response_b is."
        ),
        fields=("article", "requirement"),
        convert=_instrusum,
        full=411,
    ),
    Task(
        name="instrusum-factual",
        split="train",
        capability="general text quality",
        kind="classification",
        data=INSTRUSUM,
        title="Is the summary for a requirement true to the article?",
        description=(
            "The summary was written from the article to meet the requirement. Compare what it states with the facts "
            "in the article: answer consistent if nothing in it contradicts or misrepresents them, and inconsistent if "
            "anything does. How well the requirement is met does not count here."
        ),
        fields=("article", "requirement", "summary"),
        output_fields=("verdict",),
        labels=("consistent", "inconsistent"),
        convert=_instrusum_factual,
        full=500,
    ),
    Task(
        name="instrusum-missing",
        split="train",
        capability="general text quality",
        kind="pointwise",
        data=INSTRUSUM,
        title="Does the summary leave out what was required?",
        description=(
            "The summary was written from the article to meet the requirement. Rate how complete it is for that "
            "requirement: 5 if nothing is missing that the article has to say on it; 3 if some of what matters is "
            "missing; 1 if most of what matters is missing, or all of it; 2 and 4 lie between these. Only what is left "
            "out counts, not what is superfluous."
        ),
        fields=("article", "requirement", "summary"),
        output_fields=("rating",),
        labels=_LIKERT,
        convert=_instrusum_missing,
        full=500,
    ),
    Task(
        name="summary-feedback",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=SUMMARY_FEEDBACK,
        title="The better summary of a post",
        description=(
            "Choose the summary that tells somebody who has not read the text best what it says: it covers the main "
            "points and what the author wants, states nothing that is not so, and can be understood on its own. Both "
            "are short, and neither gains by length as such. Answer with A if response_a is the better one, with B if "
            "response_b is."
        ),
        fields=("title", "text"),
        convert=_summary_feedback,
        full=92_858,
    ),
    Task(
        name="news-overall",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=NEWS,
        title="The preferred summary of a news article",
        description=(
            "Two systems have summarised the news article in a few sentences. Choose the summary that you "
            "would rather be given if you had no time for the article, whatever makes it better for you: what it "
            "covers, whether it is right, how it reads. Answer with A if you prefer response_a, with B if you prefer "
            "response_b."
        ),
        fields=("article",),
        convert=_news_overall,
    ),
    Task(
        name="news-informative",
        split="train",
        capability="general text quality",
        kind="pairwise",
        data=NEWS_WRITERS,
        title="The more informative summary of a news article",
        description=(
            "Choose the summary that says more of what matters in the news article: who did what, why and with which "
            "outcome. Look at the information alone, and neither at the style nor at which of them pleases more. "
            "Answer with A if response_a is the more informative one, with B if response_b is."
        ),
        fields=("article",),
        convert=_writer_or_model("informative_writer_better"),
        full=599 - 132,  # comparisons without those of equally good summaries
    ),
    Task(
        name="news-overall-zhang",
        split="extra",
        capability="general text quality",
        kind="pairwise",
        data=NEWS_WRITERS,
        title="The better summary of a news article",
        description=(
            "Two people or programs have summarised the news article in a few sentences. Choose the summary that is "
            "better overall: informative, true to the article, and well written. Answer with A if response_a is the "
            "better one, with B if response_b is."
        ),
        fields=("article",),
        convert=_writer_or_model("overall_writer_better"),
        full=599 - 117,
    ),
)
