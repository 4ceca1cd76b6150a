"""How often a run is saved."""

from trainer.finetune.run_options import CheckpointPolicy


def test_a_run_is_saved_on_the_way() -> None:
    said: list[str] = []
    assert [CheckpointPolicy().interval(steps, said.append) for steps in (1, 5, 200, 60_000)] == [1, 1, 20, 1000]
    assert CheckpointPolicy(every=50).interval(200, said.append) == 50 and not said
    assert CheckpointPolicy(every=1000).interval(200, said.append) == 200 and "saved at its end only" in said[0]
