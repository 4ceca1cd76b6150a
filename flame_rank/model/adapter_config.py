"""The configuration of a low-rank adapter (LoRA, Hu et al. 2021) as the library PEFT writes it: adapter_config.json.

A key that is not known here is refused unless it is off, since it could change the result.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

import msgspec

from flame_rank.io import json_file
from flame_rank.io.json_file import one_line
from flame_rank.model.choices import Responses

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # before a module's name in its base

_REMEDY = "merge the adapter into its base (peft: merge_and_unload), save that and name it instead"
# Keys without effect once the adapter is trained.
_IGNORED = frozenset(
    {
        *("task_type", "inference_mode", "auto_mapping", "lora_dropout", "peft_version", "megatron_core"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "runtime_config"),
    }
)
_Rank: TypeAlias = Annotated[int, msgspec.Meta(gt=0)]
_Name: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[\w.]+$")]  # PEFT also takes regular expressions


def is_adapter(folder: Path) -> bool:
    """Tells whether a folder holds an adapter without a model."""
    return (folder / CONFIG).exists() and not any(folder.glob("model*.safetensors"))


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The settings on which an adapter's computation depends, with PEFT's names and defaults.

    Attributes:
      base_model_name_or_path: a path, or a name on the Hugging Face hub.
      revision: the revision of the base on the hub.
      r, lora_alpha: the rank and alpha of the modules for which no pattern states another one.
      use_rslora: whether the weight of B A is alpha / sqrt(rank) instead of alpha / rank (Kalajdzievski 2023).
      init_lora_weights: the initialisation, which must leave the base unchanged; others, such as "pissa", are refused.
      flame_rank_responses: the form in which a judge was trained (this key is not PEFT's).
      target_modules: ends of the names of all adapted modules, unless the three keys after it leave some out.
    """

    peft_type: Literal["LORA"]
    base_model_name_or_path: Annotated[str, msgspec.Meta(min_length=1)]
    revision: str | None = None
    r: _Rank = 8
    lora_alpha: float = 8.0
    use_rslora: bool = False
    rank_pattern: dict[_Name, _Rank] = {}
    alpha_pattern: dict[_Name, float] = {}
    bias: Literal["none"] = "none"
    init_lora_weights: bool | Literal["gaussian", "eva", "orthogonal"] = True
    flame_rank_responses: Responses = "joint"
    target_modules: list[str] | str | None = None
    exclude_modules: Any = None
    layers_to_transform: Any = None
    layers_pattern: Any = None

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Reads the configuration of an adapter's folder.

        Raises:
          OSError: the file is missing or unreadable.
          ValueError: the file is not a JSON object, or needs a computation that is not supported; the message names the
            key.
        """
        path = folder / CONFIG
        stated = json_file.read(path, dict[str, Any])
        try:
            config = msgspec.convert(stated, cls)
        except msgspec.ValidationError as error:
            raise ValueError(f"{path}: {one_line(error)}, which is not supported; {_REMEDY}") from error
        for key, value in stated.items():
            if key not in {*cls.__struct_fields__, *_IGNORED} and value not in (None, False, {}, [], ""):
                raise ValueError(f"{path}: {key} = {repr(value)[:60]} is not supported; {_REMEDY}")
        return config

    def rank(self, module: str) -> int:
        """Returns the rank of a module's adapter."""
        return next((rank for end, rank in self.rank_pattern.items() if _ends(module, end)), self.r)

    def scale(self, module: str) -> float:
        """Returns the factor of B A of a module."""
        alpha = next((alpha for end, alpha in self.alpha_pattern.items() if _ends(module, end)), self.lora_alpha)
        return alpha / (math.sqrt(self.rank(module)) if self.use_rslora else self.rank(module))

    def asks_for(self, module: str) -> bool:
        """Tells whether a module must have an adapter; if `target_modules` lists no names, the tensors alone decide."""
        chosen = self.exclude_modules or self.layers_to_transform or self.layers_pattern
        ends = self.target_modules if isinstance(self.target_modules, list) and not chosen else []
        return any(_ends(module, end) for end in ends)


def _ends(module: str, end: str) -> bool:
    """Tells whether a module's name is `end`, or ends with a dot and `end`."""
    return module == end or module.endswith("." + end)
