"""What a folder of the library PEFT says of a low-rank adapter (LoRA, Hu et al. 2021): adapter_config.json.

A key that is not known here is refused unless it is off: it could change the result.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from flame_rank import json_file

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before a module's name in its base

_REMEDY = "merge it into its base (peft: merge_and_unload), save that and name it instead"
_COUNT: Mapping[str, Any] = {
    "base_model_name_or_path": None,
    "revision": None,
    "r": 8,
    "lora_alpha": 8,
    "use_rslora": False,
    "rank_pattern": {},
    "alpha_pattern": {},
    "target_modules": None,
}
# Of these only some values are computed here: a start such as "pissa" changes the base.
_ONLY: Mapping[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "init_lora_weights": (True, False, "gaussian", "eva", "orthogonal"),
}
# They choose the modules to adapt, which the tensors say themselves.
_CHOOSING = frozenset({"exclude_modules", "layers_to_transform", "layers_pattern"})
# Without effect once the adapter is trained.
_IGNORED = frozenset(
    {
        *("task_type", "inference_mode", "auto_mapping", "lora_dropout", "peft_version", "megatron_core"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config"),
    }
)


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter, and no model with it."""
    return (folder / CONFIG).exists() and not any(folder.glob("model*.safetensors"))


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """What shapes an adapter's computation.

    Attributes:
      base: a path, or a name on the Hugging Face hub.
      revision: of the base on the hub.
      rank, alpha: of a module of which `ranks` and `alphas` say nothing.
      ranks, alphas: by the end of a module's name.
      rslora: the weight of B A is alpha / sqrt(rank), not alpha / rank (Kalajdzievski 2023).
      targets: ends of the names of all modules that are adapted; None = the tensors alone say it.
    """

    base: str
    revision: str | None
    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    rslora: bool
    targets: tuple[str, ...] | None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the configuration of an adapter's folder.

        Raises:
          OSError: it is missing or unreadable.
          ValueError: it is no JSON object, or asks for what is not computed here; the message names the key.
        """
        path = folder / CONFIG
        stated = json_file.read(path, dict[str, Any])
        for key, value in stated.items():
            known = key in _COUNT or key in _CHOOSING or key in _IGNORED
            if value not in _ONLY[key] if key in _ONLY else not known and value not in (None, False, {}, [], ""):
                raise ValueError(f"{path}: {key} = {str(value)[:60]!r} is not supported; {_REMEDY}")
        found = {**_COUNT} | {key: value for key, value in stated.items() if key in _COUNT and value is not None}
        targets = found["target_modules"]
        chosen = isinstance(targets, list) and not any(stated.get(key) for key in _CHOOSING)
        right = {
            "peft_type": "peft_type" in stated,
            "base_model_name_or_path": _is_text(found["base_model_name_or_path"]),
            "revision": found["revision"] is None or _is_text(found["revision"]),
            "r": _is_rank(found["r"]),
            "lora_alpha": _is_number(found["lora_alpha"]),
            "use_rslora": isinstance(found["use_rslora"], bool),
            "rank_pattern": _is_pattern(found["rank_pattern"], _is_rank),
            "alpha_pattern": _is_pattern(found["alpha_pattern"], _is_number),
            "target_modules": not isinstance(targets, list) or all(map(_is_text, targets)),
        }
        if wrong := next((key for key, fine in right.items() if not fine), None):
            shown = f"{wrong} = {str(found[wrong])[:60]!r}" if found.get(wrong) is not None else f"no {wrong}"
            raise ValueError(f"{path}: {shown}, which is not as PEFT writes it; {_REMEDY}")
        return cls(
            base=found["base_model_name_or_path"],
            revision=found["revision"],
            rank=found["r"],
            alpha=found["lora_alpha"],
            ranks=found["rank_pattern"],
            alphas=found["alpha_pattern"],
            rslora=found["use_rslora"],
            targets=tuple(targets) if chosen else None,
        )

    def rank_of(self, module: str) -> int:
        """The rank of a module's adapter."""
        return next((rank for end, rank in self.ranks.items() if ends(module, end)), self.rank)

    def scale(self, module: str) -> float:
        """What B A of a module is multiplied by."""
        rank = self.rank_of(module)
        alpha = next((alpha for end, alpha in self.alphas.items() if ends(module, end)), self.alpha)
        return alpha / (math.sqrt(rank) if self.rslora else rank)


def ends(module: str, end: str) -> bool:
    """Whether a module's name is this one, or has it as its last parts."""
    return module == end or module.endswith("." + end)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_rank(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_pattern(value: object, right: Any) -> bool:
    """PEFT takes regular expressions, and writes names: only these are read."""
    return isinstance(value, dict) and all(
        re.fullmatch(r"[\w.]+", key) and right(number) for key, number in value.items()
    )
