"""Checkpoints that the tests of plans share."""

from pathlib import Path

import pytest
from planning import folder

from flame_rank.plan import plans
from flame_rank.plan.probe import Probe


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: folder(tmp_path_factory.mktemp("plan") / family, family) for family in ("qwen2", "t5")}


@pytest.fixture
def without_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "probe", lambda judge, sample, by_token: Probe())
