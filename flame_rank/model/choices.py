"""The names of the ways to compute and format a model, in a light module, so that commands can offer them without
jax."""

from typing import Literal, TypeAlias

Dtype: TypeAlias = Literal["float32", "bfloat16"]
Template: TypeAlias = Literal["chat", "plain"]
# How the responses of a comparison are read: joint = the second one after the first; separate = model/separate.py.
Responses: TypeAlias = Literal["joint", "separate"]
# rows and blocks are computed here: a row's key heads one by one, since on a CPU the scores of one stay in its cache;
# and blocks of queries, for training on a CPU, since few scores of later tokens are computed and kept. The others are
# those of jax.nn.dot_product_attention.
Attend: TypeAlias = Literal["rows", "blocks", "xla", "cudnn"]
