"""What a judge was trained on, and which evaluation tasks that touches."""

from pathlib import Path

import pytest

from flame_rank.errors import UserError
from flame_rank.judges import SHIPPED
from trainer.collection.training_data import FILE, TrainingData, contacts


def test_contact_of_a_checkpoint_of_a_run(tmp_path: Path) -> None:
    record = TrainingData(tasks={"mnli": 3, "copoem": 2}, checked=("copoem", "rankgen"))
    (tmp_path / "run" / "step-0000002").mkdir(parents=True)
    record.write(tmp_path / "run" / FILE)
    tasks = ("copoem", "rankgen", "dipper")
    for judge in ("run", "run/step-0000002"):
        found = contacts(str(tmp_path / judge), tasks)
        assert found == {"copoem": "trained on", "rankgen": "none", "dipper": "not checked"}
    assert {*contacts("openai:model@http://localhost", tasks).values()} == {"not known"}
    (tmp_path / "run" / "base.gguf").touch()  # what lies beside a run is not made by it
    assert {*contacts(str(tmp_path / "run" / "base.gguf"), tasks).values()} == {"not known"}


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"tasks": 3}')
    with pytest.raises(
        UserError, match=rf"{FILE}: holds something else .*overlap with the training data is then not known"
    ):
        contacts(str(tmp_path), ["copoem"])


def test_the_judges_that_ship_have_a_record() -> None:
    for judge in SHIPPED:
        assert contacts(judge, ["hhh-honest", "dipper"]) == {"hhh-honest": "none", "dipper": "not checked"}
