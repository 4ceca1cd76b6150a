"""The options of a judge that is loaded by name: keywords of `flame_rank.load_judge` and options of the commands."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from flame_rank.fields import described
from flame_rank.model.choices import Attend, Dtype, Template

Ask: TypeAlias = Literal["verdict", "likelihood", "choice"]
OnLong: TypeAlias = Literal["cut", "skip", "fail"]


@dataclass(frozen=True, kw_only=True)
class JudgeOptions:
    """How a language model judges; a judge without a language model takes none of these options."""

    ask: Ask | None = described(
        None,
        "Ask the model which of two candidates is better (verdict), or which of all candidates is the best, in one "
        "prompt and four random orders (choice), or compute how likely it finds each candidate after the prompt "
        "(likelihood). For a directory or a GGUF file; a server takes verdict and choice only.",
        automatic="verdict",
    )
    criteria: str | None = described(
        None,
        "Describe in your own words what makes a response better: a text, or a file that holds it. FILE.toml has "
        "several criteria, each judged by itself.",
        automatic="the built-in instructions",
        unit="FILE|TEXT",
    )
    max_length: int | None = described(
        None,
        "Read at most this many tokens for one judgement: prompt, responses and instructions.",
        automatic="2048, or fewer if the model reads fewer",
        unit="TOKENS",
        least=1,
    )
    on_long: OnLong | None = described(
        None,
        "If a comparison is longer than --max-length, cut the middle out of its responses and count it (cut), leave it "
        "out as invalid (skip), or stop (fail).",
        automatic="cut",
    )
    dtype: Dtype | None = described(
        None,
        "The number format of the computation, also for quantised weights.",
        automatic="float32 on a CPU, bfloat16 elsewhere",
    )
    max_batch_tokens: int | None = described(
        None,
        "Put at most this many tokens into one batch, padding included.",
        automatic="as many as fit into memory",
        unit="TOKENS",
        least=1,
    )
    template: Template | None = described(
        None,
        "Format the prompt with the checkpoint's chat template (chat), or without it (plain).",
        automatic="chat if the checkpoint has a chat template",
    )
    model_parallel: int | None = described(
        None,
        "Split one copy of the weights over this many devices; batches are split over the rest.",
        automatic="as few as hold the weights",
        unit="DEVICES",
        least=1,
    )
    reward_temperature: float | None = described(
        None,
        "Divide a reward model's rewards by this number to get log-odds in nats.",
        automatic="1",
        above=0,
    )
    attention: Attend | None = described(
        None,
        "Compute attention with this kernel; cudnn is NVIDIA's and needs bfloat16 on a GPU.",
        automatic="what suits the device",
    )
