"""Tiny tokenizers of the kinds that the supported checkpoints have, made on the spot in a fraction of a second. Each
function writes into a folder and returns the number of ids."""

import io
import json
from pathlib import Path
from typing import Any

SENTENCES = [
    "Which response is better? The first response answers the question, the second response does not.",
    "INSTRUCTIONS:\ntitle: Which response is better?\ndescription: Choose the better of the two responses.\n",
    "CONTEXT:\nprompt: Write a function that returns the sum.\nresponse_a: A\nresponse_b: B\n\nEVALUATION:\nchoice: A",
    "def add(first, second):\n    return first + second\n\nfor item in items:\n    print(item)\n",
    "Crème brûlée costs 12 euros in Zürich, and the naïve reader pays 3.50 for a café.",
    "The choice: A or B. Then choice: B or A, or A and B, or B and A, not A but B, not B but A, and A B A B A B.",
    "user\nassistant\nmodel\nsystem\n",
]
CHATML = (  # as Qwen has it; with thinking turned off an empty block stands in the assistant's header
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    "        {{- '<think>\\n\\n</think>\\n\\n' }}\n"
    "    {%- endif %}\n"
    "{%- endif %}"
)
TURNS = (  # as Gemma has it
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'] + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)


def write_config(folder: Path, **settings: Any) -> None:
    """A tokenizer_config.json; settings that are None are left out."""
    kept = {key: value for key, value in settings.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept), encoding="utf-8")


def write_byte_bpe(folder: Path, *, bos: bool = False, template: str | None = None) -> int:
    """A byte-level BPE `tokenizer.json`: as Llama 3 has it (`bos`: a post-processor puts <|begin_of_text|> in front)
    or as Qwen has it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(ignore_merges=bos))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=sorted(alphabet), show_progress=False)
    tokenizer.train_from_iterator(SENTENCES * 2, trainer)
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in ("<think>", "</think>")])
    if bos:
        ids = [(special[0], tokenizer.token_to_id(special[0]))]
        template_processor = processors.TemplateProcessing(f"{special[0]} $A", f"{special[0]} $A $B", ids)
        tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template_processor])
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    tokenizer.save(str(folder / "tokenizer.json"))
    write_config(
        folder,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token=special[0] if bos else None,
        eos_token="<|im_end|>",
        pad_token="<|end_of_text|>",
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    return int(tokenizer.get_vocab_size())


def write_metaspace_bpe(folder: Path, *, template: str | None = None) -> int:
    """A BPE `tokenizer.json` with bytes to fall back on and spaces as "▁", as Llama 2 has it."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Replace(" ", "▁")
    lines = [line for text in SENTENCES for line in text.splitlines() if line]
    trainer = trainers.BpeTrainer(vocab_size=120, show_progress=False, special_tokens=[])
    trained.train_from_iterator(lines * 2, trainer)
    model = json.loads(trained.to_str())["model"]
    special = ["<unk>", "<s>", "</s>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    merges = [(first, second) for first, second in model["merges"]]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(special)
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    write_config(
        folder,
        tokenizer_class="PreTrainedTokenizerFast",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    return int(tokenizer.get_vocab_size())


def write_sentencepiece(folder: Path, kind: str, *, template: str | None = None) -> int:
    """A SentencePiece model as the official checkpoints have it. `kind`: "llama" (BPE, bytes, a space put in front),
    "gemma" (BPE, bytes, turns as user-defined pieces) or "t5" (unigram, no bytes, no BOS, in spiece.model)."""
    import sentencepiece

    settings: dict[str, dict[str, Any]] = {
        "llama": {"vocab_size": 360, "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
        "gemma": {
            **{"vocab_size": 360, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "add_dummy_prefix": False},
            **{"bos_piece": "<bos>", "eos_piece": "<eos>", "pad_piece": "<pad>"},
            "user_defined_symbols": ["<start_of_turn>", "<end_of_turn>"],
        },
        "t5": {"vocab_size": 100, "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "model_type": "unigram"},
    }
    if kind != "t5":
        settings[kind] |= {
            **{"model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity"},
            **{"remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "split_digits": True},
        }
    lines = [line for text in SENTENCES for line in text.splitlines() if line]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines * 2), model_writer=written, minloglevel=2, num_threads=1, **settings[kind]
    )
    (folder / ("spiece.model" if kind == "t5" else "tokenizer.model")).write_bytes(written.getvalue())
    named: dict[str, dict[str, Any]] = {
        "llama": {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "legacy": False},
        "gemma": {
            **{"tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>"},
            "additional_special_tokens": ["<start_of_turn>", "<end_of_turn>"],
        },
        "t5": {"tokenizer_class": "T5Tokenizer", "eos_token": "</s>", "pad_token": "<pad>", "extra_ids": 100},
    }
    write_config(folder, **named[kind], unk_token="<unk>", clean_up_tokenization_spaces=False, chat_template=template)
    size: int = settings[kind]["vocab_size"]
    return size + 100 if kind == "t5" else size


def write_unigram(folder: Path) -> int:
    """A `tokenizer.json` made of "t5"'s pieces, as T5's checkpoints carry beside their spiece.model: its control tokens
    are pieces of the unigram model like any other."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    write_sentencepiece(folder, "t5")
    pieces = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.get_piece_size())]
    extra = [f"<extra_id_{i}>" for i in reversed(range(100))]
    tokenizer = Tokenizer(models.Unigram([*vocabulary, *((token, 0.0) for token in extra)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", *extra])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    tokenizer.save(str(folder / "tokenizer.json"))
    return int(tokenizer.get_vocab_size())
