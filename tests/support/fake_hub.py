"""A model hub on this machine: the part of the hub's HTTP API by which `huggingface_hub` makes a repository and commits
files to it, by LFS or in the commit itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

TOKEN = "hf_thisIsNoSecretOfAnybody"


@dataclass
class Repository:
    """What the hub has of a repository: its files as of the last commit, and what each commit said."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)

    @property
    def revision(self) -> str:
        return hashlib.sha1("\n".join(["", *self.commits]).encode()).hexdigest()


@dataclass
class FakeHub:
    """The hub.

    Attributes:
        url: where it listens.
        repositories: by name.
        objects: what was uploaded by LFS, by SHA-256.
        asked: method and path of every request that came.
        tokens: the Authorization headers that came with them.
        failing: a pattern of paths that fail, with status and message.
    """

    url: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)
    failing: tuple[str, int, str] | None = None

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        """Status and JSON for a request."""
        if self.failing is not None and re.search(self.failing[0], path):
            return self.failing[1], {"error": self.failing[2]}
        if path == "/api/validate-yaml":
            card = json.loads(body)["content"]
            return 200, {"errors": [] if card.startswith("---\n") else [{"message": "no metadata"}], "warnings": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.repositories:
                return 409, {"error": "You already created this model repo"}
            private = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.repositories[name] = Repository(private, {".gitattributes": b"*.safetensors filter=lfs\n"})
            return 200, {"url": f"{self.url}/{name}"}
        if found := re.fullmatch(r"/upload/([0-9a-f]{64})", path):
            if hashlib.sha256(body).hexdigest() != found[1]:
                return 400, {"error": "other bytes than were announced"}
            self.objects[found[1]] = body
            return 200, {}
        if found := re.fullmatch(r"/(.+)\.git/info/lfs/objects/batch", path):
            asked = json.loads(body)["objects"]
            actions = [
                {**one, "actions": {"upload": {"href": f"{self.url}/upload/{one['oid']}", "header": {}}}}
                for one in asked
            ]
            return 200, {"transfer": "basic", "objects": actions}
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(/.*)?", path):
            return self._model(method, found[1], found[2] or "", body)
        return 404, {"error": f"this hub knows nothing of {path}"}

    def _model(self, method: str, name: str, what: str, body: bytes) -> tuple[int, Any]:
        if (repository := self.repositories.get(name)) is None:
            return 404, {"error": "Repository not found"}
        if method == "GET":
            siblings = [{"rfilename": file} for file in sorted(repository.files)]
            about = {"id": name, "private": repository.private, "sha": repository.revision, "siblings": siblings}
            return 200, about
        if what == "/preupload/main":
            return 200, {
                "files": [
                    {
                        "path": one["path"],
                        "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for one in json.loads(body)["files"]
                ]
            }
        if what == "/commit/main":
            return self._commit(name, repository, [json.loads(line) for line in body.splitlines()])
        return 404, {"error": f"no {what} of a model"}

    def _commit(self, name: str, repository: Repository, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        files = dict(repository.files)
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                summary = value["summary"]
            elif line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return 400, {"error": f"{value['path']} was not uploaded"}
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        repository.files = files
        repository.commits.append(summary)
        revision = repository.revision
        return 200, {"commitUrl": f"{self.url}/{name}/commit/{revision}", "commitOid": revision, "pullRequestUrl": None}


@contextmanager
def running() -> Iterator[FakeHub]:
    """A hub that answers on a free port of this machine."""
    fake = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            if path != "/api/agent-harnesses":  # which the library asks for of its own accord
                fake.asked.append(f"{self.command} {path}")
                if not path.startswith("/upload/"):  # which in truth is another host, and gets no token
                    fake.tokens.add(self.headers.get("Authorization"))
            status, data = fake.answer(self.command, path, body)
            answer = json.dumps(data).encode()
            self.send_response(status)
            if status >= 400:
                self.send_header("X-Error-Message", data["error"])
                if data["error"] == "Repository not found":
                    self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _respond

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


def use(monkeypatch: pytest.MonkeyPatch, fake: FakeHub, token: str | None = TOKEN) -> None:
    """Let this process's `huggingface_hub` take the fake for the hub; it read its settings when it was imported."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", "no such file")
    if token is None:
        monkeypatch.delenv("HF_TOKEN", raising=False)
    else:
        monkeypatch.setenv("HF_TOKEN", token)
