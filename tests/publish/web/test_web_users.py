"""Basic authentication by bcrypt hashes, rate and headers of the web config, with real requests."""

from __future__ import annotations

import base64
import threading
from pathlib import Path

import bcrypt
import pytest
import requests
from support.servers import wait_until
from support.webserver import PAGE, PASSWORD, USER, USERS, everything, hashed, served, written

from exporter.config import Secret
from exporter.publish.web import passwords as module
from exporter.publish.web.passwords import Passwords, read_login

LOGIN = (USER, PASSWORD)
PATHS = ["/", "/metrics", "/config", "/explain", "/runbooks", "/runbooks/AnomalyDetected", "/-/healthy", "/-/ready",
         "/-/reload", "/nowhere", "/%2e%2e/metrics", "//metrics"]  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return written(tmp_path, {"basic_auth_users": USERS})


class Counted:
    """Counts what bcrypt is asked, and how many at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked: list[bytes] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()
        self._check = bcrypt.checkpw
        monkeypatch.setattr(module.bcrypt, "checkpw", self)

    def __call__(self, password: bytes, known: bytes) -> bool:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        right = self._check(password, known)
        with self._lock:
            self.at_once -= 1
            self.checked.append(known)
        return right


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
def test_everything_is_protected(shared, path: str, method: str) -> None:
    answer = requests.request(method, shared.url + path, timeout=30, allow_redirects=False)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.content in (b"Unauthorized\n", b"")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory):
    config = written(tmp_path_factory.mktemp("users"), {"basic_auth_users": USERS})
    with served(config=config) as web:
        yield web


@pytest.mark.parametrize("header", [
    "", "Basic", "Basic ", "Basic !!!!", "Basic =", "Bearer abc", "Digest username=prometheus",
    "Basic " + base64.b64encode(b"prometheus").decode(),
    "Basic " + base64.b64encode(b"prometheus:").decode(),
    "Basic " + base64.b64encode(b":correct horse").decode(),
    "Basic " + base64.b64encode(b"Prometheus:correct horse").decode(),
    "Basic " + base64.b64encode(b"prometheus:correct horse ").decode(),
    "Basic " + base64.b64encode(b"prometheus:correct horse\x00").decode(),
    "Basic " + base64.b64encode(b"prometheus\x00:correct horse").decode(),
    "Basic " + base64.b64encode(b"prometheus:\xff\xfe").decode(),
    "Basic " + base64.b64encode(b"prometheus:" + b"x" * 4000).decode(),
    "Basic " + base64.b64encode(f"prometheus:{USERS[USER]}".encode()).decode(),  # the hash is no password
    "Basic " + base64.b64encode(b"\xff:\xff").decode(),
])  # fmt: skip
def test_what_does_not_open_the_door(shared, header: str) -> None:
    assert shared.get(headers={"Authorization": header}).status_code == 401


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC"])
def test_what_opens_the_door(shared, scheme: str) -> None:
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert shared.get(headers={"Authorization": f"{scheme} {encoded}"}).content == PAGE


def test_two_logins_in_one_request_are_none(shared) -> None:
    encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
    with shared.connected() as connection:
        line = b"Authorization: Basic %b\r\n" % encoded
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + line * 2 + b"\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")


def test_scrapes_cost_no_bcrypt_each(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    with served(config=config) as web:
        assert all(web.get(auth=LOGIN).content == PAGE for _ in range(20))
        assert len(counted.checked) == 1
        assert all(web.get(auth=(USER, "wrong")).status_code == 401 for _ in range(20))
        assert len(counted.checked) == 2
        assert web.get(auth=LOGIN).status_code == 200
        assert web.refused("authentication") == 20


def test_wrong_passwords_are_verified_one_at_a_time_and_hold_no_scrape_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Counted(monkeypatch)
    config = written(tmp_path, {"basic_auth_users": {USER: hashed(PASSWORD, 8)}})
    with served(config=config) as web:
        assert web.get(auth=LOGIN).status_code == 200
        statuses: list[int] = []
        threads = [
            threading.Thread(target=lambda n=n: statuses.append(web.get(auth=(USER, f"wrong {n}")).status_code))
            for n in range(40)
        ]
        for thread in threads:
            thread.start()
        assert all(web.get(auth=LOGIN).status_code == 200 for _ in range(10))
        for thread in threads:
            thread.join()
    assert statuses == [401] * 40
    assert counted.most == 1


def test_too_many_unknown_logins_are_turned_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(module.bcrypt, "checkpw", lambda password, known: go.wait(60) and False)
    with served(config=written(tmp_path, {"basic_auth_users": USERS})) as web:
        waiting = [web.connected() for _ in range(100)]
        for number, connection in enumerate(waiting):
            encoded = base64.b64encode(b"a:%d" % number)
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %b\r\n\r\n" % encoded)
        wait_until(lambda: web.refused("busy") == 36, "those beyond 64 are turned away")
        go.set()
        wait_until(lambda: web.refused("authentication") == 64, "the others are told no")
        for connection in waiting:
            connection.close()


def test_a_storm_after_the_start_verifies_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted, go = Counted(monkeypatch), threading.Event()
    check = module.bcrypt.checkpw
    monkeypatch.setattr(module.bcrypt, "checkpw", lambda password, known: go.wait(60) and check(password, known))
    with served(config=config) as web:
        encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode())
        storm = [web.connected() for _ in range(150)]
        for connection in storm:
            head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic %b\r\n\r\n"
            connection.sendall(head % encoded)
        wait_until(lambda: web.count("connections") == 150, "all are connected")
        go.set()
        assert all(everything(connection).endswith(PAGE) for connection in storm)
        assert web.refused("busy") == 0
    assert len(counted.checked) == 1


def test_unknown_users_cost_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    known = Passwords({"a": Secret(hashed("x", 4)), "b": Secret(hashed("y", 6))})
    assert not known.verify((b"nobody", b"x"))
    assert not known.verify((b"b", b"x"))
    assert [text[:7] for text in counted.checked] == [b"$2b$06$", b"$2b$06$"]


def test_what_is_remembered_is_bounded_and_holds_no_password() -> None:
    known = Passwords({"a": Secret(hashed("right"))})
    assert known.known((b"a", b"right")) is None
    assert known.verify((b"a", b"right"))
    assert known.known((b"a", b"right")) is True
    assert known.known((b"b", b"right")) is None
    for number in range(1100):
        known._keep(b"a", known._digest((b"a", b"%d" % number)), right=False)
    assert len(known._wrong) == 1024
    assert known.known((b"a", b"right")) is True  # wrong ones do not push the right one out
    held = b"".join([*known._wrong, *known._right, *known._right.values()])
    assert b"right" not in held
    assert "right" not in repr(known)


def test_long_passwords_count_as_far_as_bcrypt_reads() -> None:
    known = Passwords({"a": Secret(hashed("x" * 72))})
    assert known.verify((b"a", b"x" * 72))
    assert known.verify((b"a", b"x" * 100))  # as htpasswd cut it
    assert not known.verify((b"a", b"x" * 71))


def test_hashes_as_other_tools_write_them() -> None:
    made = hashed("x")
    for prefix in ("$2a$", "$2b$", "$2y$"):
        assert Passwords({"a": Secret(prefix + made[4:])}).verify((b"a", b"x"))


def test_logins_are_read() -> None:
    assert read_login("Basic " + base64.b64encode("ä:b:c".encode()).decode()) == ("ä".encode(), b"b:c")
    assert read_login("Basic " + base64.b64encode(b":").decode()) == (b"", b"")


# --- changes while it runs ----------------------------------------------------------------------------------------


def test_users_change_without_a_restart(config: Path) -> None:
    with served(config=config) as web:
        assert web.get(auth=LOGIN).status_code == 200
        written(config.parent, {"basic_auth_users": {USER: hashed("new one"), "other": hashed("x")}})
        assert web.get(auth=LOGIN).status_code == 401
        assert web.get(auth=(USER, "new one")).status_code == 200
        written(config.parent, {"basic_auth_users": {"other": "no hash"}})
        assert web.get(auth=(USER, "new one")).status_code == 200
        written(config.parent, {"rate_limit": {}})  # would open the door to everybody
        assert web.get().status_code == 401
        assert web.count("config_last_reload_successful") == 0
        assert web.count("config_reload_failures_total") == 2


def test_what_was_found_out_stays_when_something_else_changes(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    with served(config=config) as web:
        assert web.get(auth=LOGIN).status_code == 200
        written(config.parent, {"basic_auth_users": USERS, "rate_limit": {"interval": "1ms", "burst": 100}})
        assert web.get(auth=LOGIN).status_code == 200
        assert len(counted.checked) == 1


# --- rate and headers ---------------------------------------------------------------------------------------------


def test_rate_limit(tmp_path: Path) -> None:
    config = written(tmp_path, {"rate_limit": {"interval": "1h", "burst": 3}})
    with served(config=config) as web:
        answers = [web.get() for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 3500 < int(answers[-1].headers["Retry-After"]) <= 3600
        assert web.refused("rate_limit") == 2


def test_headers_of_the_config_replace_ours(tmp_path: Path) -> None:
    headers = {"X-Frame-Options": "SameOrigin", "Strict-Transport-Security": "max-age=60", "X-XSS-Protection": "0",
               "Content-Security-Policy": "default-src 'self'", "X-Content-Type-Options": ""}  # fmt: skip
    config = written(tmp_path, {"http_server_config": {"http2": True, "headers": headers}})
    with served(config=config) as web:
        for path in ("/", "/metrics", "/nowhere"):
            shown = web.get(path).headers
            assert shown["X-Frame-Options"] == "SameOrigin"
            assert shown["Strict-Transport-Security"] == "max-age=60"
            assert shown["Content-Security-Policy"] == "default-src 'self'"
            assert shown["X-Content-Type-Options"] == "nosniff"
            assert shown["X-XSS-Protection"] == "0"
