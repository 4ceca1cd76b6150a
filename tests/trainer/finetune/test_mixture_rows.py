"""The rows of a mixture: pairs in both orders, and only what is short."""

from dataclasses import replace
from pathlib import Path

from small_training import SMALL, TASK, write_words

from trainer.collection.mixture import Mixture
from trainer.collection.mixture_options import MixtureOptions
from trainer.finetune import base_model
from trainer.finetune.mixture_rows import RowReader
from trainer.finetune.run_options import ExampleOptions
from trainer.finetune.tokenized_rows import TokenizedRows


def test_pairs_in_both_orders_and_only_what_is_short(base: base_model.Base, made_tasks: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("task,weight\nmnli,1\nhh-harmless,3\n")

    def read(max_input: int, options: ExampleOptions) -> tuple[dict[str, TokenizedRows], list[str]]:
        said: list[str] = []
        reader = RowReader(
            base=base,
            recipe=replace(SMALL, max_input=max_input),
            data=made_tasks,
            out=tmp_path / "out",
            options=options,
            say=said.append,
        )
        mixture, trained = reader.read_mixture(Mixture.read(MixtureOptions(mixture=str(tmp_path / "m.csv"))))
        assert mixture.weights == {task.task: {"mnli": 1.0, "hh-harmless": 3.0}[task.task] for task in mixture.tasks}
        assert {*trained.tasks} == {task.task for task in mixture.tasks} and "expert-lfqa" in trained.checked
        return {task.task: task for task in mixture.tasks}, said

    once, twice = read(2048, ExampleOptions())[0], read(2048, ExampleOptions(both_orders=True))[0]
    assert len(twice["mnli"]) == len(once["mnli"]) and len(twice["hh-harmless"]) == 2 * len(once["hh-harmless"])
    labels = twice["hh-harmless"].index[:, 3]
    assert (labels[::2] + labels[1::2] == 1).all()
    longest = int(once["mnli"].index[:, 1].max())
    assert longest < once["hh-harmless"].index[:, 1].min()
    short, said = read(longest + 60, ExampleOptions(on_long="skip"))
    assert {*short} == {"mnli"} and "hh-harmless: no example is left to train on" in said


def test_a_limit_takes_examples_from_the_whole_task(base: base_model.Base, tmp_path: Path) -> None:
    data = write_words(tmp_path / "data", 20)
    reader = RowReader(base=base, recipe=SMALL, data=data, out=tmp_path / "out", options=ExampleOptions())
    every, some = reader.read(TASK), reader.read(TASK, limit=4)
    assert [some[k][0].tolist() for k in range(4)] == [every[k][0].tolist() for k in (0, 5, 10, 15)]
    assert len(reader.read(TASK, limit=99)) == 20
