"""Measures the judge behind a server against a bare load generator that sends the very same requests, and how many of
the tokens that requests share come from the server's prefix cache.

    python examples/benchmark_server.py http://localhost:8000 --prompt 600 --response 300 --candidates 8

The server should be otherwise idle. Judge and generator take turns; each run has texts of its own, so that the cache of
one is of no use to the other.
"""

import http.client
import json
import os
import threading
import time
from itertools import permutations
from queue import Empty, SimpleQueue
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import click
import numpy as np

import flame_rank
from flame_rank.judges.server.judge import ServerJudge
from flame_rank.judges.server.prompts import Comparison

WORDS = [
    "the",
    "of",
    "a",
    "cat",
    "river",
    "stone",
    "light",
    "walks",
    "under",
    "seven",
    "never",
    "water",
    "house",
    "road",
]


def texts(rng: np.random.Generator, words: int, count: int) -> list[str]:
    return [" ".join(rng.choice(WORDS, words)) for _ in range(count)]


def made(seed: int, problems: int, prompt: int, response: int, candidates: int) -> list[Any]:
    """Problems of random words, and all ordered pairs of each."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(permutations(range(candidates), 2)))
    return [
        (flame_rank.Problem(prompt=texts(rng, prompt, 1)[0], candidates=texts(rng, response, candidates)), pairs)
        for _ in range(problems)
    ]


def bodies(judge: ServerJudge, asked: list[Any]) -> list[bytes]:
    """The requests that the judge makes for comparisons, in its order; of a server that takes token ids."""
    tokens: Any = judge.path.tokens  # type: ignore[attr-defined]
    judge.path.prepare([problem for problem, _ in asked])
    made = []
    for problem, pairs in asked:
        for first, second in pairs.tolist():
            cut = tokens.ids(Comparison(problem, first, second))
            body = {"model": judge._client.address.model, "prompt": [*cut.shared, *cut.rest], "max_tokens": 1}
            made.append(json.dumps({**body, "temperature": 0, "logprobs": 20}).encode())
    return made


def generate(url: str, requests: list[bytes], concurrency: int) -> float:
    """Seconds that a bare client takes for requests: threads, with a connection each; answers are not parsed."""
    place = urlsplit(url)
    queue: SimpleQueue[bytes] = SimpleQueue()
    for request in requests:
        queue.put(request)

    def work() -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        headers = {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY', '')}",
        }
        while True:
            try:
                request = queue.get_nowait()
            except Empty:
                return connection.close()
            connection.request("POST", "/v1/completions", request, headers)
            connection.getresponse().read()

    start = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - start


def sharable(judge: ServerJudge, asked: list[Any]) -> tuple[int, int]:
    """Tokens of all comparisons, and how many of them another one before has read, at the same place."""
    tokens: Any = judge.path.tokens  # type: ignore[attr-defined]
    start = tokens.frame[0]  # which earlier runs have read
    total, seen = 0, {hash(start[: k + 1]) for k in range(len(start))}
    fresh = -len(seen)
    for problem, pairs in asked:
        for first, second in pairs.tolist():
            cut = tokens.ids(Comparison(problem, first, second))
            ids = (*cut.shared, *cut.rest)
            total += len(ids)
            seen.update(hash(ids[: k + 1]) for k in range(len(ids)))
    return total, total - (len(seen) + fresh)


@click.command()
@click.argument("url")
@click.option("--model", default="", help="Its name; without it, the only one that the server has.")
@click.option("--problems", default=2, show_default=True, type=click.IntRange(min=1))
@click.option("--candidates", default=8, show_default=True, type=click.IntRange(min=2))
@click.option("--prompt", default=150, show_default=True, metavar="WORDS", type=click.IntRange(min=1))
@click.option("--response", default=75, show_default=True, metavar="WORDS", type=click.IntRange(min=1))
@click.option("--concurrency", default=None, type=click.IntRange(min=1), help="Requests at once.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(min=1))
def main(
    url: str,
    model: str,
    problems: int,
    candidates: int,
    prompt: int,
    response: int,
    concurrency: int | None,
    repeats: int,
) -> None:
    """Measure the judge behind the server at URL."""
    judge: Any = flame_rank.load_judge(f"openai:{model}@{url}" + (f"#concurrency={concurrency}" if concurrency else ""))
    print(judge.name)
    at_once = judge._concurrency
    shape = (problems, prompt, response, candidates)
    bare, ours, shares = [], [], []
    for repeat in range(repeats):
        asked = made(2 * repeat, *shape)
        requests = bodies(judge, asked)
        bare.append(generate(url, requests, at_once))
        asked = made(2 * repeat + 1, *shape)
        before = judge.usage.cached_tokens, judge.usage.prompt_tokens
        start = time.perf_counter()
        answers = judge.judge(asked)
        ours.append(time.perf_counter() - start)
        assert all(np.isfinite(log_odds).all() for log_odds in answers), "the server did not answer"
        total, shared = sharable(judge, asked)
        cached = judge.usage.cached_tokens - before[0]
        shares.append(cached / shared)
        print(
            f"{len(requests)} requests: bare {bare[-1]:.2f} s, judge {ours[-1]:.2f} s; {total} tokens, {shared} "
            f"sharable ({shared / total:.1%}), {cached} from the cache ({cached / shared:.1%} of the sharable)",
            flush=True,
        )
    print(f"throughput {median(bare) / median(ours):.1%} of the bare generator's; cache {median(shares):.1%}")


if __name__ == "__main__":
    main()
