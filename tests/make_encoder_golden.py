"""Writes golden/encoder.safetensors: a random BERT of transformers, what it was given, and its last layer.

    pip install torch==2.13.0 transformers safetensors && python tests/make_encoder_golden.py

Neither of the two is needed to run the tests.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertModel

CONFIG = {
    "vocab_size": 97,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-5,
    "hidden_act": "gelu",
}


def main() -> None:
    torch.manual_seed(0)
    model = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    with torch.no_grad():  # as they are at the start, biases are 0 and norms 1, and a wrong one would not show
        for name, parameter in model.named_parameters():
            parameter.normal_(mean=float(name.endswith("LayerNorm.weight")), std=0.3)
    lengths = torch.tensor([20, 13, 1, 7])
    mask = torch.arange(20)[None] < lengths[:, None]
    tokens = torch.randint(1, CONFIG["vocab_size"], mask.shape) * mask
    types = (torch.arange(20)[None] >= lengths[:, None] // 2) * mask
    with torch.no_grad():
        hidden = model(input_ids=tokens, token_type_ids=types.long(), attention_mask=mask.long()).last_hidden_state
    tensors = {name: tensor for name, tensor in model.state_dict().items() if not name.endswith("_ids")}
    tensors |= {"tokens": tokens.int(), "types": types.int(), "hidden": hidden}
    path = Path(__file__).parent / "golden" / "encoder.safetensors"
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, {"config": json.dumps(CONFIG)})
    print(f"{path}: {path.stat().st_size} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main()
