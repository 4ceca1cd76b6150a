"""A server on this machine that speaks the addresses of the Hugging Face hub, for models in memory."""

import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves repositories, all with one commit, which the branch `main` and the tag `v1` name.

    Attributes:
      repositories: files of each by name.
      gated: repositories whose files are refused.
      asked: paths that were requested.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.gated: set[str] = set()
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"

    def add(self, name: str, folder: Path) -> None:
        """Serves the files of a folder."""
        files = (file for file in sorted(folder.rglob("*")) if file.is_file())
        self.repositories[name] = {str(file.relative_to(folder)): file.read_bytes() for file in files}


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        self.server.asked.append(path)
        parts = path.removeprefix("api/models/").split("/")
        name, verb, rest = "/".join(parts[:2]), parts[2] if len(parts) > 2 else "", parts[3:]
        if name not in self.server.repositories:
            self._refuse(404, "RepoNotFound")
        elif name in self.server.gated and verb == "resolve":
            self._refuse(403, "GatedRepo")
        elif rest and rest[0] not in ("main", "v1", COMMIT):
            self._refuse(404, "RevisionNotFound")
        elif path.startswith("api/"):
            self._describe(name, verb)
        elif (file := "/".join(rest[1:])) in self.server.repositories[name]:
            self._reply(self.server.repositories[name][file], "application/octet-stream")
        else:
            self._refuse(404, "EntryNotFound")

    def _describe(self, name: str, verb: str) -> None:
        files = self.server.repositories[name]
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": _digest(data)} for path, data in files.items()
        ]
        whole = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": path} for path in files]}
        self._reply(json.dumps(entries if verb == "tree" else whole).encode(), "application/json")

    def _reply(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{_digest(data)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:40]
