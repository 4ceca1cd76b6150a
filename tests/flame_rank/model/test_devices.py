"""One device and eight say the same, however rows and weights are split. Needs a process of its own: the number of
devices is fixed when jax starts."""

import json
import os
import subprocess
import sys

import pytest
from places import ROOT, SUPPORT

PROGRAM = """
import json
import jax

jax.config.update("jax_num_cpu_devices", 8)
import numpy as np
from checkpoints import VARIANTS
from flax import nnx

from flame_rank.model import config, sharding
from flame_rank.model.decoder import Decoder
from flame_rank.model.kernel import Kernel

rng = np.random.default_rng(0)


def text(length):
    return tuple(int(token) for token in rng.integers(0, 97, length))


paths = []
for prompt in (text(50), text(40)):  # lengths of few buckets: each mesh compiles anew
    candidates = [text(n) for n in (12, 25, 20)]
    paths += [(prompt, a, (*b, 5, 6)) for a in candidates for b in candidates if a is not b]
found = {}
graph, params = nnx.split(Decoder(config.read(VARIANTS["qwen2"]), nnx.Rngs(0)))
params = jax.tree.map(lambda leaf: 4 * leaf if leaf.ndim == 2 else leaf, params)  # log-odds of about 1 nat
for devices, model in ((1, 1), (8, 2)):
    mesh = sharding.mesh(model, jax.devices()[:devices])
    placed = jax.device_put(params, sharding.shardings(params, mesh, 8))
    kernel = Kernel(nnx.merge(graph, placed), mesh=mesh, max_length=256, how="xla")
    log_probs = kernel.log_probs(paths, [7, 8])
    found[f"{devices} {model}"] = {
        "log_odds": (log_probs[:, 0] - log_probs[:, 1]).tolist(),
        "programs": kernel.programs,
        "shapes": len(kernel.usage.shapes),
        "written": kernel.generate(paths[:1], limit=3, eos=[]),
        "sharded": max(len(leaf.sharding.device_set) for leaf in jax.tree.leaves(placed)),
    }
print(json.dumps(found))
"""


@pytest.mark.full
def test_eight_devices_say_what_one_says() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    for name, one in found.items():
        reference = found["1 1"]
        pairs = zip(one["log_odds"], reference["log_odds"], strict=True)
        assert max(abs(a - b) for a, b in pairs) <= 1e-5, name
        assert one["written"] == reference["written"], name
        assert one["programs"] <= 4 * one["shapes"], name  # as in test_kernel.py
        assert one["sharded"] == int(name.split()[0]), name
    assert max(map(abs, reference["log_odds"])) > 0.1
