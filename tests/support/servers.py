"""Servers of the tests' own on this machine: they answer as vLLM, SGLang, llama.cpp and OpenAI do, and can misbehave.

The model behind them prefers the longer response, A a little more than B: its answers are known. Its tokens are bytes.
"""

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import flame_rank
from flame_rank.judges.options import JudgeOptions

BEFORE, BEHIND = "<user>", "<assistant>"
MASS = 0.9  # P(A) + P(B)
KEY = "sk-not-to-be-seen"
_SPECIAL = {"<s>": 1, "</s>": 2}
_FIRST = 3  # id of byte 0

LLAMA = frozenset({"tokenize", "template", "props", "top"})
VLLM = frozenset({"tokenize", "chat tokens", "generative_scoring", "label ids", "top", "chat", "chat logprobs"})
SGLANG = frozenset({"tokenize", "chat tokens", "score", "top", "chat", "chat logprobs"})
HOSTED = frozenset({"chat", "chat logprobs"})
WRITES = frozenset({"chat"})


def log_odds(first: str, second: str) -> float:
    """What the model thinks."""
    return 0.1 * (len(first) - len(second)) + 0.3


def encode(text: str) -> list[int]:
    ids: list[int] = []
    for part in re.split("(<s>|</s>)", text):
        ids += [_SPECIAL[part]] if part in _SPECIAL else [byte + _FIRST for byte in part.encode()]
    return ids


def decode(ids: Sequence[int]) -> str:
    names = {number: name for name, number in _SPECIAL.items()}
    pieces = [names[i].encode() if i in names else bytes([i - _FIRST]) for i in ids]
    return b"".join(pieces).decode(errors="replace")


def rendered(messages: list[dict[str, str]], asks: bool) -> str:
    """A chat in the model's template."""
    starts = {"user": BEFORE, "assistant": BEHIND}
    return "".join(starts[m["role"]] + m["content"] for m in messages) + (BEHIND if asks else "")


def reward(answer: str) -> float:
    """What the reward model thinks."""
    return 0.25 * len(answer) - 3


def labels(text: str) -> dict[str, float]:
    """The log-probability of each letter of a comparison, or of a choice among more, in the unified format: of two
    neighbouring letters the first one is preferred a little."""
    body = text.partition("\nresponse_a: ")[2].rpartition("\n\nEVALUATION:")[0]
    responses = re.split(r"\nresponse_[b-z]: ", body) if body else ["", " " * 3]
    qualities = [log_odds(response, "") - 0.3 * (k + 1) for k, response in enumerate(responses)]
    total = math.log(sum(map(math.exp, qualities)))
    return {chr(ord("A") + k): math.log(MASS) + quality - total for k, quality in enumerate(qualities)}


class Server:
    """A server with the abilities that are named.

    Attributes:
      abilities: see above.
      fault: of each request of the model, by its number: None, or "drop", "half", "stall", "garbage", "shape", "500",
        "429" or "401".
      seen: path and body of each request.
      top: likeliest tokens that it tells; the first that fill it up are "\\n", "I" and so on.
      written: what a chat answers instead of a verdict: text of each choice, by the request's number.
      delay: seconds that an answer takes.
      most_choices: answers to one request at most.
      elsewhere: what a gateway answers on the paths that it does not have, instead of 404.
    """

    def __init__(self, abilities: frozenset[str]):
        self.abilities = abilities
        self.fault: Callable[[int], str | None] = lambda number: None
        self.written: Callable[[int], dict[str, Any]] | None = None
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.top, self.hidden, self.delay, self.count = 20, "", 0.0, 0
        self.models, self.most_choices = ["m"], 8
        self.url = ""
        self.elsewhere: tuple[int, bytes] | None = None
        self._lock = threading.Lock()
        self.open = self.most = 0  # requests at once

    def numbered(self) -> int:
        with self._lock:
            self.count += 1
            return self.count - 1

    def entries(self, text: str, width: int) -> list[tuple[int, str, float]]:
        rest = [(200 + k, f"w{k}", math.log((1 - MASS) / 2) - k) for k in range(width)]
        tokens = [(ord(name) + _FIRST, name, p) for name, p in labels(text).items() if name not in self.hidden]
        return sorted([*tokens, *rest], key=lambda token: -token[2])[:width]

    def answer(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """What is answered; None for a path that is not there, or a body that is refused."""
        can = self.abilities
        if path == "/tokenize" and "tokenize" in can:
            if "messages" in body:
                if "chat tokens" not in can:
                    return None
                return {"tokens": encode(rendered(body["messages"], body["add_generation_prompt"]))}
            return {"tokens": encode(body["prompt"]), "max_model_len": 4096}
        if path == "/detokenize" and "tokenize" in can:
            return {"prompt": decode(body["tokens"])}
        if path == "/apply-template" and "template" in can:
            return {"prompt": rendered(body["messages"], True)}
        usage = {"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 60}}
        if path in ("/v1/score", "/generative_scoring") and path.rpartition("/")[2] in can:
            ids = [encode("A")[0], encode("B")[0]]
            assert body["label_token_ids"] == ids
            known = [labels(decode([*body["query"], *item])) for item in body["items"]]
            if path == "/v1/score":
                return {"scores": [[math.exp(p) for p in pair.values()] for pair in known]}
            shares = [1 / (1 + math.exp(pair["B"] - pair["A"])) for pair in known]
            return {"data": [{"index": k, "score": share} for k, share in enumerate(shares)], "usage": usage}
        if path == "/classify" and "rewards of vLLM" in can and body["use_activation"] is False and "input" in body:
            value = reward(decode(body["input"]).partition(BEHIND)[2])
            return {"data": [{"index": 0, "label": "LABEL_0", "probs": [value], "num_classes": 1}], "usage": usage}
        if path == "/classify" and "rewards of SGLang" in can and "input_ids" in body:
            return {"embedding": [reward(decode(body["input_ids"]).partition(BEHIND)[2])], "meta_info": {}}
        if path == "/score" and "scores" in can:
            return {"data": [{"index": 0, "score": reward(body["text_2"])}], "usage": usage}
        if path == "/rerank" and "rerank" in can:
            return {"results": [{"index": 0, "relevance_score": reward(body["documents"][0])}]}
        if path == "/v1/completions" and "top" in can:
            wide = body["logprobs"] > self.top
            if wide and "props" not in can:
                return None
            text = decode(body["prompt"])
            width = min(body["logprobs"], self.top)
            tokens = self.entries(text, width)
            if "label ids" in can and "logprob_token_ids" in body:
                told = {number: p for number, _, p in self.entries(text, 99)}
                tokens = [(number, "", told.get(number, -40.0)) for number in body["logprob_token_ids"]]
            if "props" in can:
                top: Any = {"content": [{"top_logprobs": [{"id": i, "token": t, "logprob": p} for i, t, p in tokens]}]}
                top["content"][0] |= {"token": tokens[0][1], "logprob": tokens[0][2]}
            else:
                named = "return_tokens_as_token_ids" in body and "label ids" in can
                top = {"top_logprobs": [{f"token_id:{i}" if named else t: p for i, t, p in tokens}]}
            return {"choices": [{"text": "A", "logprobs": top}], "usage": usage}
        if path == "/v1/chat/completions" and "chat" in can:
            if (body.get("logprobs") and "chat logprobs" not in can) or body.get("n", 1) > self.most_choices:
                return None
            text = body["messages"][0]["content"]
            choices = []
            for _ in range(body.get("n", 1)):
                content = max(labels(text).items(), key=lambda letter: letter[1])[0]
                choice: dict[str, Any] = {"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
                if body.get("logprobs"):
                    entries = [{"token": t, "logprob": p} for _, t, p in self.entries(text, body["top_logprobs"])]
                    choice["logprobs"] = {"content": [{**entries[0], "top_logprobs": entries}]}
                if self.written:
                    choice |= self.written(self.numbered())
                choices.append(choice)
            return {"choices": choices, "usage": usage}
        return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        ours: Server = self.server.ours
        if self.path == "/v1/models":
            self._send(200, {"data": [{"id": name} for name in ours.models]})
        elif self.path == "/props" and "props" in ours.abilities:
            self._send(200, {"total_slots": 4, "default_generation_settings": {"n_ctx": 4096}})
        else:
            self._send(404, {"error": {"message": "there is no such path"}})

    def do_POST(self) -> None:
        ours: Server = self.server.ours
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        ours.seen.append((self.path, body))
        with ours._lock:
            ours.open += 1
            ours.most = max(ours.most, ours.open)
        try:
            self._answer(ours, body)
        finally:
            with ours._lock:
                ours.open -= 1

    def _answer(self, ours: Server, body: dict[str, Any]) -> None:
        time.sleep(ours.delay)
        counts = self.path not in ("/tokenize", "/detokenize", "/apply-template")
        fault = ours.fault(ours.numbered()) if counts and not ours.written else None
        if fault == "drop":
            self.close_connection = True
        elif fault == "stall":
            time.sleep(3)
            self.close_connection = True
        elif fault == "half":
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif fault == "garbage":
            self._send(200, b"{choices: nan")
        elif fault == "shape":
            self._send(200, {"choices": [], "scores": [[1]], "data": {}, "results": [[]]})
        elif fault is not None:
            words = f"wrong key {self.headers['Authorization']}" if fault == "401" else "come again"
            self._send(int(fault), {"error": {"message": words}}, {"retry-after-ms": "2"})
        elif self.path == "/tokenize" and ours.elsewhere is not None:
            self._send(*ours.elsewhere)
        elif (reply := ours.answer(self.path, body)) is None:
            self._send(404 if self.path != "/v1/chat/completions" else 400, {"error": {"message": "not supported"}})
        else:
            self._send(200, reply)

    def _send(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Threads(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that gave up


@contextmanager
def running(abilities: frozenset[str]) -> Iterator[Server]:
    """A server for as long as the block lasts."""
    ours = Server(abilities)
    server = _Threads(("127.0.0.1", 0), _Handler)
    server.ours = ours  # type: ignore[attr-defined]
    ours.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield ours
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def load(server: Server, prefix: str = "openai:", **options: Any) -> Any:
    """The judge of a server: options of the address and of any judge."""
    general = {name: options.pop(name) for name in [*options] if name in {f.name for f in fields(JudgeOptions)}}
    stated = ",".join(f"{name}={value}" for name, value in options.items())
    return flame_rank.load_judge(f"{prefix}m@{server.url}#{stated}", **general)
