"""Files by path and objects by URL, through the same functions, against an S3 server on this machine."""

import errno
import http.client
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from codeblock.cli.commands import main
from codeblock.core.config import Config
from codeblock.core.config.file import dump_config, load_config
from codeblock.core.errors import CodeBlockError
from codeblock.core.models.config import base_of
from codeblock.core.storage import places, store


def test_a_url_is_named_by_the_path_of_its_mirror_which_says_what_it_mirrors(monkeypatch):
    monkeypatch.setenv("CODEBLOCK_SCRATCH", "/disk")
    path = places.place("s3://bucket/some/runs/")
    assert path == Path("/disk/codeblock-stores/s3/bucket/some/runs")
    assert places.show(path / "cache") == "s3://bucket/some/runs/cache"
    assert places.show("/other/disk/codeblock-stores/s3/bucket/x") == "s3://bucket/x"
    assert places.here("/other/disk/codeblock-stores/s3/bucket/x") == "/disk/codeblock-stores/s3/bucket/x"
    assert (places.place("runs"), places.show("runs"), places.here("runs")) == (Path("runs"), "runs", "runs")
    assert places.place("file:///data/runs") == Path("/data/runs")
    assert places.place(Path("s3://bucket/some/runs")) == path, "no directory of the name `s3:`"


def test_where_a_directory_here_is_asked_for_a_url_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["export", "configs/quickstart.yaml", "--out", "s3://bucket/masks"])
    assert capsys.readouterr().err == "error: s3:/bucket/masks: a path on this machine is needed here, not a URL\n"


def test_a_config_keeps_the_url(monkeypatch):
    monkeypatch.setenv("CODEBLOCK_SCRATCH", "/disk")
    config = load_config(None, ["storage=s3://bucket/runs", "model.path=s3://bucket/model"])
    assert config.storage == Path("/disk/codeblock-stores/s3/bucket/runs")
    assert "storage: s3://bucket/runs\n" in dump_config(config)
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert "storage" not in config.identity()


@pytest.mark.parametrize("key", ["storage", "model.path", "score.model", "pairs.path", "evaluate.benchmarks.humaneval"])
@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s4://b/x", "s4://b/x: unknown scheme s4://; name a path, or s3://, gs://, abfs://, az://"),
        ("gs://b/x", 'gs://b/x: gs:// needs a package; pip install "gcsfs"'),
        ("dbfs+x://b", "dbfs+x://b: unknown scheme dbfs+x://; name a path, or s3://, gs://, abfs://, az://"),
    ],
)
def test_a_scheme_that_is_not_known_or_not_installed_is_refused_with_the_config(key, url, told):
    with pytest.raises(CodeBlockError) as caught:
        load_config(None, [f"{key}={url}"])
    assert str(caught.value) == f"config: {key}: {told}"


def test_a_url_whose_files_cannot_be_kept_or_fetched_is_refused_with_the_config():
    stores = "name a directory, or one of s3://BUCKET/DIR, gs://BUCKET/DIR, abfs://BUCKET/DIR, az://BUCKET/DIR"
    for url in ("http://host/runs", "memory://runs", "s3://"):
        with pytest.raises(CodeBlockError) as caught:
            load_config(None, [f"storage={url}"])
        assert str(caught.value) == f"config: storage: {url}: no place for files; {stores}"
    for key in ("model.path", "score.second_model", "evaluate.benchmarks.mbpp"):
        with pytest.raises(CodeBlockError) as caught:
            load_config(None, [f"{key}=http://host/x"])
        assert str(caught.value) == f"config: {key}: http://host/x: no place for files; {stores}"


@pytest.fixture(params=["disk", "s3"])
def home(request, tmp_path):
    """A directory, and one in an object store: what is said of one holds of the other."""
    return tmp_path if request.param == "disk" else places.place(request.getfixturevalue("bucket") + "/home")


def write(path, text):
    store.make_parent(path)
    path.write_text(text)
    store.put(path)


def test_what_was_put_is_there(home):
    for name in ("a/x", "a/b/y", "a/.hidden", "z"):
        write(home / name, name)
    assert store.sizes(home) == {"a/x": 3, "a/b/y": 5, "z": 1}
    assert store.children(home) == [home / "a", home / "z"]
    assert store.children(home / "none") == []
    assert (store.exists(home / "z"), store.exists(home / "a/none")) == (True, False)
    assert store.read_text(home / "a/x") == "a/x"
    assert store.by_age(home, "*/x") == [home / "a/x"]
    store.remove(home / "a/x")
    store.remove(home / "a/x")
    assert not store.exists(home / "a/x")
    store.remove_tree(home / "a")
    store.remove_tree(home / "a")
    assert store.sizes(home) == {"z": 1}


def another_node(path: Path, tmp_path: Path) -> Path:
    """The same place as a machine names it that has another disk."""
    return Path(str(path).replace(str(path).partition("/codeblock-stores")[0], str(tmp_path)))


def test_another_machine_fetches_what_it_lacks_what_was_written_again_and_forgets_what_is_gone(bucket, tmp_path):
    home = places.place(f"{bucket}/model")
    write(home / "config.json", "{}")
    write(home / "sub/model.safetensors", "weights")
    there = another_node(home, tmp_path)
    assert store.fetch_tree(there, but=(".safetensors",)) == there
    assert [path.name for path in there.rglob("[a-z]*.*")] == ["config.json"]
    store.fetch_tree(there)
    assert (there / "sub/model.safetensors").read_text() == "weights"
    write(home / "sub/model.safetensors", "Weights")
    before = (there / "config.json").stat().st_mtime_ns
    store.fetch_tree(there)
    assert (there / "sub/model.safetensors").read_text() == "Weights"
    assert (there / "config.json").stat().st_mtime_ns == before, "what is the same is not fetched again"
    store.remove(home / "config.json")
    assert not store.fetch(there / "config.json").exists()
    store.remove_tree(home)
    assert not (store.fetch_tree(there) / "sub/model.safetensors").exists()


def test_an_adapter_that_another_machine_trained_finds_its_base_on_this_one(bucket, tmp_path):
    base = places.place(f"{bucket}/base")
    adapter = {"base_model_name_or_path": str(another_node(base, tmp_path))}
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    assert base_of(str(tmp_path)) == (str(base), None)


def test_what_lies_in_the_mirror_alone_is_put_and_what_is_the_same_is_not(bucket):
    home = places.place(f"{bucket}/home")
    write(home / "a", "1")
    store.put_tree(home)
    first = store._info(places.remote_of(str(home / "a")))["LastModified"]
    (home / "b").write_text("2")
    store.put_tree(home)
    assert store.sizes(home) == {"a": 1, "b": 1}
    (home / "b").write_text("3")  # as long as before
    store.put_tree(home)
    assert store.read_text(home / "b") == "3"
    assert store._info(places.remote_of(str(home / "a")))["LastModified"] == first


def test_what_fills_several_pages_of_a_listing_is_seen_fetched_copied_and_removed_whole(bucket, tmp_path, monkeypatch):
    """A store lists 1,000 objects at a time; this one lists 4."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")
    home, count = places.place(f"{bucket}/home"), 11
    for number in range(count):
        store.put_text(home / f"part-{number}", "x")
    assert len(store.sizes(home)) == len(store.children(home)) == len(store.by_age(home, "part-*")) == count
    there = another_node(home, tmp_path)
    store.fetch_tree(there)
    assert len(list(there.glob("part-*"))) == count
    store.copy_tree(home, home.with_name("copy"))
    assert len(store.sizes(home.with_name("copy"))) == count
    store.remove_tree(home)
    assert store.sizes(home) == {}


def test_a_disk_that_has_no_room_for_what_is_fetched_is_named_and_not_the_store_blamed(bucket, tmp_path, monkeypatch):
    path = places.place(f"{bucket}/big")
    write(path, "x")
    there = another_node(path, tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(places.remote_of(str(path)).filesystem, "get_file", full)
    with pytest.raises(OSError, match="No space left") as caught:
        store.fetch(there)
    assert caught.value.filename == str(there)


def test_an_object_is_asked_for_once_in_one_look(bucket):
    path = places.place(f"{bucket}/mark")
    with store.one_look():
        assert not store.exists(path)
        store.put_text(path, "there")
        assert not store.exists(path)
    assert store.exists(path)


def test_a_plan_for_an_empty_bucket_asks_the_store_little(bucket, monkeypatch, capsys, tmp_path):
    """Each of some thirty steps looked for the pairs' marker, again and again, with two requests a time."""
    from s3fs import S3FileSystem

    asked, call = [], S3FileSystem._call_s3

    async def counting(self, method, *given, **more):
        asked.append(method)
        return await call(self, method, *given, **more)

    monkeypatch.setattr(S3FileSystem, "_call_s3", counting)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["run", str(Path(__file__).parents[3] / "configs" / "quickstart.yaml"), "--plan", f"storage={bucket}/runs"])
    assert "something would run" in capsys.readouterr().out
    assert 0 < len(asked) < 40, asked


def test_an_object_is_created_once_whoever_asks(bucket):
    path = places.place(f"{bucket}/mark")
    assert [store.put_if_absent(path, text) for text in ("first", "second")] == [True, False]
    assert store.read_text(path) == "first"
    program = f"import os\nfrom codeblock.core.storage import places, store\nnew = places.place('{bucket}/new')\n"
    program += "print(store.put_if_absent(new, str(os.getpid())))"
    racers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert sorted(racer.communicate()[0].strip() for racer in racers) == ["False", "False", "True"]


def test_a_store_that_creates_an_object_twice_is_refused(bucket, monkeypatch):
    cache = places.place(f"{bucket}/runs/cache")
    store.check_writable(cache)
    assert store.sizes(cache) == {}
    monkeypatch.setattr(store, "put_if_absent", lambda path, text: store.put_text(path, text) is None)
    with pytest.raises(CodeBlockError, match=rf"^storage={bucket}/runs: the store takes a second conditional put"):
        store.check_writable(cache)


def test_a_bucket_that_is_not_there_is_one_line(s3_address):
    with pytest.raises(CodeBlockError) as caught:
        store.check_writable(places.place("s3://nobody-has-it/runs/cache"))
    told = str(caught.value)
    assert told.startswith("s3://nobody-has-it/runs/cache/.probe-")
    assert "The specified bucket does not exist; check the name of the bucket, the credentials" in told
    assert "\n" not in told
    # To look at it is no error: a plan finds nothing there.
    assert store.by_age(places.place("s3://nobody-has-it/runs/cache"), "scored-*/_complete.json") == []


class Moody(ThreadingHTTPServer):
    """In front of the S3 server: turns the first requests for `busy` away, and loses the answer to the first PUT of `lost`."""

    def __init__(self, address: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind = address.removeprefix("http://")
        self.refusals, self.to_lose = 7, 1


class Passing(BaseHTTPRequestHandler):
    server: Moody
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.endswith("/busy") and self.server.refusals:
            self.server.refusals -= 1
            self._answer(503, b"")
            return
        behind = http.client.HTTPConnection(self.server.behind)
        behind.request(self.command, self.path, sent, dict(self.headers))
        answer = behind.getresponse()
        found = answer.read()
        if self.command == "PUT" and self.path.endswith("/lost") and self.server.to_lose:
            self.server.to_lose -= 1
            self._answer(500, b"")
            return
        self._answer(
            answer.status, found, {"ETag": answer.getheader("ETag") or "", "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
        )

    do_GET = do_HEAD = do_PUT

    def _answer(self, status: int, body: bytes, headers: dict[str, str] = {}) -> None:  # noqa: B006
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def moody(s3_address):
    server = Moody(s3_address)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ("store.exists(home / 'busy')", "True"),
        ("store.read_text(home / 'busy')", "it"),
        ("store.put_if_absent(home / 'lost', 'mine')", "True"),
    ],
    ids=["looked at", "read", "created, and the answer lost"],
)
def test_a_store_that_is_busy_for_a_while_ends_no_run(bucket, moody, look, expected):
    """Nor does one that did what it was asked for and could not say so: what it then has is no other's."""
    store.put_text(places.place(f"{bucket}/busy"), "it")
    program = f"from codeblock.core.storage import places, store\nhome = places.place('{bucket}')\nprint({look})"
    address = f"http://127.0.0.1:{moody.server_port}"
    environment = {**os.environ, "AWS_ENDPOINT_URL": address, "AWS_MAX_ATTEMPTS": "2"}  # the client's own tries: short ones
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.stderr) == (expected, "")
    assert moody.refusals == 0 or moody.to_lose == 0
