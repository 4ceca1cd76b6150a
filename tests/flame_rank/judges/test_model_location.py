"""Where a judge's language model is looked for, in which order, and what is said when it is nowhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from msgspec.structs import replace

from flame_rank import judges
from flame_rank.errors import UserError
from flame_rank.judges import model_location
from flame_rank.judges.default.pool import ModelFile, PoolJudge
from flame_rank.judges.model_location import VARIABLE, find, identify
from flame_rank.model.checkpoint_files import identity

PACKAGE = "some_small_model"
HUB = "some/model"
SHIPPED = model_location.shipped()


@pytest.fixture
def everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ModelFile, dict[str, Path]]:
    """A model that is in all places, and the places."""
    places = {
        "variable": tmp_path / "mine.gguf",
        "package": tmp_path / "site" / PACKAGE / "weights" / "model.gguf",
        "path": tmp_path / "learned.gguf",
        "hub": cached(tmp_path / "hub", HUB, "model.safetensors").parent,
    }
    for name in ("variable", "package", "path"):
        places[name].parent.mkdir(parents=True, exist_ok=True)
        places[name].write_bytes(b"")
    # Nothing of the package is run.
    (tmp_path / "site" / PACKAGE / "__init__.py").write_text("raise RuntimeError('it is imported')\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv(VARIABLE, str(places["variable"]))
    package = f"{PACKAGE}/weights/model.gguf"
    return ModelFile(name="model", identity="", package=package, hub=HUB, path=str(places["path"])), places


def cached(cache: Path, hub: str, file: str) -> Path:
    """A file in a Hugging Face cache."""
    folder = cache / f"models--{hub.replace('/', '--')}"
    path = folder / "snapshots" / ("0" * 40) / file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0" * 40)
    return path


def test_the_order(everywhere: tuple[ModelFile, dict[str, Path]], monkeypatch: pytest.MonkeyPatch) -> None:
    model, places = everywhere
    assert find(model) == (places["variable"], "")
    monkeypatch.setenv(VARIABLE, "")
    assert find(model) == (places["package"], "")
    assert find(replace(model, package=None)) == (places["path"], "")
    places["package"].unlink()
    assert find(model) == (places["path"], "")
    places["path"].unlink()
    assert find(model) == (places["hub"], "")
    assert find(model, download=False) == (places["hub"], "")


@pytest.mark.parametrize("package", [f"{PACKAGE}/other.gguf", "no_such_package/model.gguf", f"{PACKAGE}/weights"])
def test_a_package_without_it(package: str, everywhere: tuple[ModelFile, dict[str, Path]]) -> None:
    assert model_location._in_package(package) is None
    assert model_location._in_package(f"{PACKAGE}/weights/model.gguf") == everywhere[1]["package"]


def test_one_file_of_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cached(tmp_path, HUB, "q4/model.gguf")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = ModelFile(name="model", identity="", hub=f"{HUB}/q4/model.gguf")
    assert find(model, download=False) == (path, "")
    # The whole of it is not there: a snapshot without weights may be of the tokenizer alone.
    assert find(replace(model, hub=HUB), download=False) == (None, "some/model is not in the Hugging Face cache")


def test_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = ModelFile(name="model", identity="")
    assert find(model) == (None, "model is not there")
    assert find(replace(model, path=str(tmp_path / "no"))) == (None, f"{tmp_path / 'no'} is not there")
    assert find(replace(model, hub=HUB), download=False) == (None, "some/model is not in the Hugging Face cache")
    path, why = find(replace(model, hub=HUB))  # offline
    assert path is None and why.startswith("some/model cannot be fetched (") and "\n" not in why
    assert find(SHIPPED, download=False)[0] is None  # conftest.py sees to that


@pytest.mark.parametrize("hub", [HUB, f"{HUB}/model.gguf"])
def test_it_is_fetched_where_it_is_not_here(hub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def fake(name: str) -> Callable[..., str]:
        def fetch(*arguments: object, local_files_only: bool, **_: object) -> str:
            asked.append((name, *arguments, local_files_only))
            if local_files_only:
                raise LocalEntryNotFoundError("not here")
            (tmp_path / "model.safetensors").write_bytes(b"")
            return str(tmp_path)

        return fetch

    for name in ("snapshot_download", "hf_hub_download"):
        monkeypatch.setattr(f"huggingface_hub.{name}", fake(name))
    assert find(ModelFile(name="model", identity="", hub=hub)) == (tmp_path, "")
    wanted = ("snapshot_download", HUB) if hub == HUB else ("hf_hub_download", HUB, "model.gguf")
    assert asked == [(*wanted, True), (*wanted, False)]


def test_a_variable_that_names_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.gguf"))
    with pytest.raises(UserError, match=rf"^{VARIABLE}=.*none\.gguf: there is no such file or folder$"):
        find(SHIPPED)


# ---- flame-train default --model ----


def test_a_named_model(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stated, path = identify(str(tiny_model))
    assert path == tiny_model.absolute()
    assert stated == ModelFile(name=tiny_model.stem, identity=identity(tiny_model), path=str(path))
    assert len(stated.identity) == 12
    monkeypatch.setenv(VARIABLE, str(tiny_model))
    assert identify(None) == (replace(SHIPPED, identity=stated.identity), tiny_model)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (None, r"--model SmolLM2-135M-Instruct: .* cannot be fetched \("),
        ("hf:some/model", r"--model hf:some/model: some/model cannot be fetched \("),
        ("hf:model", "--model hf:model: write hf:ORG/NAME"),
        ("hf:/model", "--model hf:/model: write hf:ORG/NAME"),
        ("none", "--model none: .*/none is not there"),
        (".", r"--model /.*: .*model\.safetensors"),
    ],
)
def test_a_model_that_cannot_be_had(
    spec: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"^{said}") as caught:
        identify(spec)
    assert "\n" not in str(caught.value)


def test_a_named_model_is_not_the_one_of_the_variable(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert identify(str(tiny_model))[1] == tiny_model


def test_the_coder_needs_its_model(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no judge "coder" without the model that reads: it never falls back to another in silence."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(
        UserError,
        match=r"reads candidates with Qwen2\.5-Coder-0\.5B-Instruct, but Qwen/Qwen2\.5-Coder.*FLAME_RANK_MODEL",
    ):
        judges.load("coder")
    monkeypatch.setenv(VARIABLE, str(tiny_model))
    judge = judges.load("coder")
    assert isinstance(judge, PoolJudge) and judge.reader is not None
    assert judge.weights["programs"]["forward"] > 0 and judge.settings.model is not None
    assert judge.settings.model.hub == "Qwen/Qwen2.5-Coder-0.5B-Instruct" and judge.settings.model.path is None
    assert judge.name != judges.load("default").name
