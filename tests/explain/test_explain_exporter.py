"""`explain --exporter`: asking a running exporter, also a protected one, for the hash of its config."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.webserver import PASSWORD, USER, USERS, routes, served, written

from exporter.explain.command import running_hash
from exporter.explain.question import ExplainError


def test_a_protected_exporter_is_asked_with_the_login_of_the_address(tmp_path: Path) -> None:
    made = replace(routes(), config_text=lambda: "# 0123456789ab\nsource: {}")
    with served(made, config=written(tmp_path, {"basic_auth_users": USERS})) as web:
        login = f"{USER}:{PASSWORD.replace(' ', '%20')}"
        assert running_hash(f"http://{login}@localhost:{web.port}/") == "0123456789ab"
        with pytest.raises(ExplainError, match="asks for a user and a password"):
            running_hash(web.url)
        with pytest.raises(ExplainError, match="asks for a user and a password") as caught:
            running_hash(f"http://{USER}:wrong1@localhost:{web.port}")
        assert "wrong1" not in str(caught.value)


@pytest.mark.parametrize("address", [
    "http://u:s3cret@127.0.0.1:9", "http://u:s3cret@[::1", "http://u:s3cret@h:port", "ftp://u:s3cret@h",
    "http://u:s3cret@no-such-host.invalid",
])  # fmt: skip
def test_the_login_is_in_no_message(address: str) -> None:
    with pytest.raises(ExplainError) as caught:
        running_hash(address)
    assert "s3cret" not in str(caught.value)
