"""A text that must not be seen: it prints as ``<secret>`` everywhere but where it is used."""

from __future__ import annotations

import re

MASK = "<secret>"

_SOUNDS_SECRET = re.compile(r"pass|secret|token|key|cred|auth|signature|assertion|session|cookie", re.IGNORECASE)
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?.*@", re.DOTALL)


class Secret:
    """Holds a secret text. ``str()``, ``repr()`` and formatting give ``<secret>``; ``reveal()`` gives the text.

    Not a dataclass on purpose: ``dataclasses.asdict`` would take one apart.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; call it only where the secret leaves for its destination."""
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return format(MASK, spec)


NO_SECRET = Secret("")


def sounds_secret(name: str) -> bool:
    """Whether a header or URL parameter of this name probably carries a secret (``X-Api-Key``, ``access_token``)."""
    return bool(_SOUNDS_SECRET.search(name))


def mask_url(url: str) -> str:
    """The URL with user, password, query and fragment replaced by ``<secret>``, so that it can be shown."""
    shown = _USERINFO.sub(lambda found: f"{found[1] or ''}{MASK}@", url, count=1)
    return re.sub(r"([?#]).*", rf"\1{MASK}", shown, count=1, flags=re.DOTALL)
