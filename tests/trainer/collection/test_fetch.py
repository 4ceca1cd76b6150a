"""Fetching releases, from a server of the test's own that has Hugging Face's addresses."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from releases import RELEASES

from flame_rank.errors import UserError
from trainer.cli.group import cli
from trainer.collection.examples import examples
from trainer.collection.fetch import Download, downloads, fetch
from trainer.collection.tasks import TASKS, by_name
from trainer.collection.tasks.base import DataSet, Task

CONTENT = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves `files`; remembers the requests; `cut` bytes of a reply and no more, where that is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []
        self.cut: int | None = None
        self.tags: dict[str, str] = {}
        self.elsewhere: dict[str, str] = {}
        self.measured = True
        self.states: dict[str, dict[str, str]] = {}
        self.conditions: list[str | None] = []
        self.off = 0
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted, self.headers.get("Authorization")))
        if self.path == "/gated":
            self.send_error(401)
            return
        path = self.path.split("?")[0]
        if path not in self.server.files:
            self.send_error(404)
            return
        content = self.server.files[path]
        if path in self.server.elsewhere:  # as Hugging Face sends one on to its store
            self.send_response(302)
            self.send_header("Location", self.server.elsewhere[path])
            self.send_header("X-Linked-ETag", f'"{self.server.tags[path]}"')
            self.end_headers()
            return
        packs = "gzip" in self.headers.get("Accept-Encoding", "")  # as servers of text do
        content = gzip.compress(content) if packs else content
        state = self.server.states.get(path)
        self.server.conditions.append(self.headers.get("If-Range"))
        if state and self.headers.get("If-Range") not in (None, *state.values()):
            wanted = None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        start += self.server.off if wanted else 0
        self.send_response(206 if wanted else 200)
        for name, value in (state or {}).items():
            self.send_header(name, value)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if packs:
            self.send_header("Content-Encoding", "gzip")
        if self.server.measured:
            self.send_header("Content-Length", str(len(content) - start))
        if self.path in self.server.tags:
            self.send_header("X-Linked-ETag", f'"{self.server.tags[self.path]}"')
        self.end_headers()
        self.wfile.write(content[start : None if self.server.cut is None else start + self.server.cut])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", made.address)
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)  # as it is for all other tests
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own address is allowed here, and no other."""
    import socket

    connect = socket.socket.connect

    def own_only(self: socket.socket, address: object) -> None:
        assert isinstance(address, tuple) and address[0] == "127.0.0.1", address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", own_only)


def test_a_file_comes_whole_and_once(server: Server, tmp_path: Path) -> None:
    server.files["/f"] = CONTENT
    download = Download(
        address=f"{server.address}/f", to=tmp_path / "a" / "f", sha256=hashlib.sha256(CONTENT).hexdigest()
    )
    fetch(download)
    fetch(download)
    assert download.to.read_bytes() == CONTENT and [p.name for p in download.to.parent.iterdir()] == ["f"]
    assert server.asked == [("/f", None, None)]


def test_it_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.cut = CONTENT, 3000
    download = Download(address=f"{server.address}/f", to=tmp_path / "f")
    for _ in range(3):
        with pytest.raises(UserError, match="run the command again"):
            fetch(download)
        assert not download.to.exists()
    assert (tmp_path / "f.part").stat().st_size == 9000
    server.cut = None
    fetch(download)
    assert download.to.read_bytes() == CONTENT
    assert [wanted for _, wanted, _ in server.asked] == [None, "bytes=3000-", "bytes=6000-", "bytes=9000-"]


def test_a_server_that_does_not_say_how_much_comes(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.measured = CONTENT, False
    (tmp_path / "f.part").write_bytes(CONTENT[:3000])
    fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("state", [{"ETag": '"one"'}, {"Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}])
def test_a_file_that_was_changed_comes_anew(state: dict[str, str], server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.cut, server.states["/f"] = CONTENT, 3000, state
    download = Download(address=f"{server.address}/f", to=tmp_path / "f")
    with pytest.raises(UserError, match="run the command again"):
        fetch(download)
    server.cut, server.files["/f"] = None, CONTENT[::-1]
    server.states["/f"] = {name: value.replace("one", "two").replace("28", "29") for name, value in state.items()}
    fetch(download)
    assert download.to.read_bytes() == CONTENT[::-1] and server.conditions == [None, *state.values()]
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_weak_tag_is_no_condition(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.cut, server.states["/f"] = CONTENT, 3000, {"ETag": 'W/"one"'}
    download = Download(address=f"{server.address}/f", to=tmp_path / "f")
    for _ in range(2):
        with pytest.raises(UserError, match="run the command again"):
            fetch(download)
    assert server.conditions == [None, None]


@pytest.mark.parametrize("longer", [0, 100])
def test_a_part_that_is_as_long_as_another_file(longer: int, server: Server, tmp_path: Path) -> None:
    """416 says that all is there only where the length is the same."""
    server.files["/f"] = CONTENT
    (tmp_path / "f.part").write_bytes(CONTENT + b"x" * longer)
    fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT and len(server.asked) == 1 + (longer > 0)


def test_a_range_that_nobody_asked_for(server: Server, tmp_path: Path) -> None:
    server.files["/f"], server.off = CONTENT, 10
    (tmp_path / "f.part").write_bytes(CONTENT[:3000])
    fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT and [a[1] for a in server.asked] == ["bytes=3000-", None]


def test_one_process_fetches_a_file(server: Server, tmp_path: Path) -> None:
    from flame_rank.io import writing

    server.files["/f"] = CONTENT
    held_out = writing.lock(tmp_path / "f.part")
    with pytest.raises(UserError, match=r"f\.part: process \d+ is writing it"):
        fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    writing.release(held_out)
    fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_the_sum_is_stated_where_one_is_sent_on(server: Server, tmp_path: Path) -> None:
    server.files |= {"/f": b"", "/store": CONTENT}
    server.elsewhere["/f"] = "/store"
    for stated, right in ((hashlib.sha256(CONTENT).hexdigest(), True), ("0" * 64, False)):
        server.tags["/f"], download = stated, Download(address=f"{server.address}/f", to=tmp_path / stated[:8])
        if right:
            fetch(download)
            continue
        with pytest.raises(UserError, match="upstream states 0000"):
            fetch(download)


def test_a_whole_part_needs_no_more(server: Server, tmp_path: Path) -> None:
    server.files["/f"] = CONTENT
    (tmp_path / "f.part").write_bytes(CONTENT)
    fetch(Download(address=f"{server.address}/f", to=tmp_path / "f"))
    assert (tmp_path / "f").read_bytes() == CONTENT


@pytest.mark.parametrize("stated", ["by the data set", "by Hugging Face"])
def test_what_is_not_as_stated_is_thrown_away(stated: str, server: Server, tmp_path: Path) -> None:
    server.files["/f"] = CONTENT
    if stated == "by Hugging Face":
        server.tags["/f"] = "0" * 64
    digest = "0" * 64 if stated == "by the data set" else None
    with pytest.raises(UserError, match=r"sha256 is .* upstream states 0000"):
        fetch(Download(address=f"{server.address}/f", to=tmp_path / "f", sha256=digest))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("path", "message"), [("/none", "not available (404)"), ("/gated", "accept the terms")])
def test_what_is_not_to_be_had(path: str, message: str, server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(Download(address=server.address + path, to=tmp_path / "f"))
    assert message in str(caught.value) and path in str(caught.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"http://127.0.0.1:9/f: .*run the command again"):
        fetch(Download(address="http://127.0.0.1:9/f", to=tmp_path / "f"))


@pytest.mark.parametrize("name", ["f.zip", "f.tar.gz", "f.tgz"])
def test_archives_are_unpacked(name: str, server: Server, tmp_path: Path) -> None:
    packed = io.BytesIO()
    if name == "f.zip":
        with zipfile.ZipFile(packed, "w") as made:
            made.writestr("inner/a.txt", "hello")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as members:
            info = tarfile.TarInfo("inner/a.txt")
            info.size = 5
            members.addfile(info, io.BytesIO(b"hello"))
    server.files["/f"] = packed.getvalue()
    fetch(Download(address=f"{server.address}/f", to=tmp_path / name))
    assert (tmp_path / "inner" / "a.txt").read_text() == "hello" and (tmp_path / name).exists()
    server.files["/f"] = packed.getvalue()[:60]
    with pytest.raises(UserError, match="incomplete or damaged archive"):
        fetch(Download(address=f"{server.address}/f", to=tmp_path / "other" / name))


def hub(server: Server, repository: str, files: dict[str, bytes]) -> None:
    """Puts a data set of Hugging Face's on the server."""
    for name, content in files.items():
        server.files[f"/datasets/{repository}/resolve/main/{name}"] = content
    listed = [{"type": "file", "path": name, "size": len(content), "oid": "0"} for name, content in files.items()]
    server.files[f"/api/datasets/{repository}/tree/main"] = json.dumps(listed).encode()


def test_patterns_are_asked_for_and_the_token_goes_along(server: Server, tmp_path: Path) -> None:
    hub(server, "owner/set", {f"data/{name}-0.parquet": name.encode() for name in ("train-a", "train-b", "test")})
    data = DataSet(
        folder="set",
        origin="hf:owner/set",
        licence="MIT",
        permissive=True,
        releases=(),
        downloads={"hf://datasets/owner/set/data/train-*.parquet": "parts/"},
    )
    results = downloads(data, tmp_path)
    assert [download.to.relative_to(tmp_path).as_posix() for download in results] == [
        f"parts/train-{part}-0.parquet" for part in "ab"
    ]
    for download in results:
        fetch(download)
    assert (tmp_path / "parts" / "train-b-0.parquet").read_bytes() == b"train-b"
    assert server.asked[-1][2] == "Bearer secret"
    with pytest.raises(UserError, match="no such file; perhaps the data set has changed"):
        downloads(replace(data, downloads={"hf://datasets/owner/set/none-*": "./"}), tmp_path)
    with pytest.raises(UserError, match="Hugging Face does not list its files"):
        downloads(replace(data, downloads={"hf://datasets/owner/other/none-*": "./"}), tmp_path)
    with pytest.raises(UserError, match="can only be downloaded by hand"):
        downloads(replace(data, downloads={}), tmp_path)


def test_the_command_fetches_what_the_task_reads(server: Server, tmp_path: Path) -> None:
    import gzip

    task = by_name("hh-harmless")
    (fixture,) = (RELEASES / "hh_rlhf_harmless" / "harmless-base").iterdir()
    server.files["/datasets/Anthropic/hh-rlhf/resolve/main/harmless-base/train.jsonl.gz"] = gzip.compress(
        fixture.read_bytes()
    )
    done = CliRunner().invoke(cli, ["data", "fetch", "hh-harmless", "--data", str(tmp_path), "--dry-run"])
    assert "hf://datasets/Anthropic/hh-rlhf/harmless-base/train.jsonl.gz -> " in done.output and not server.asked
    done = CliRunner().invoke(cli, ["data", "fetch", "hh-harmless", "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert len(list(examples(task, tmp_path))) == 2
    assert len(server.asked) == 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_what_would_be_fetched_is_what_is_read(task: Task) -> None:
    """Every file of the official release comes from some address, unless it is inside an archive or had by hand."""
    from fnmatch import fnmatch
    from posixpath import basename, normpath

    if task.name == "refchecker":  # upstream's script gathers its questions and passages
        return
    data = task.data
    if not data.downloads or any(file.endswith((".zip", ".tar.gz", ".tgz")) for file in data.downloads.values()):
        return
    got = [normpath(file + basename(a) if file.endswith("/") else file) for a, file in data.downloads.items()]
    for pattern in data.releases[0].files:
        plain = [name.removesuffix(".gz").removesuffix(".bz2").removesuffix(".xz") for name in got]
        assert any(fnmatch(name, pattern) or fnmatch(pattern, name) for name in plain), (pattern, got)
