"""A text that must not be seen: it prints as ``<secret>`` but where it is used, also where others repeat it."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from urllib.parse import quote, quote_plus

MASK = "<secret>"

_MOST_KNOWN = 10_000
_LEAST_MIXED, _LEAST_WORD = 8, 12  # characters

_SOUNDS_SECRET = re.compile(r"pass|secret|token|key|cred|auth|signature|assertion|session|cookie", re.IGNORECASE)
_USERINFO = re.compile(r"^((?:[A-Za-z][A-Za-z0-9+.\-]*:)?//)?.*@", re.DOTALL)


class _Known:
    """Secrets of this process, the latest 10,000, to be found in what others say. Safe between threads.

    Servers repeat what they were sent, and libraries print URLs. Short texts, and short words, are not looked for: they
    stand in innocent texts, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: OrderedDict[str, None] = OrderedDict()

    def add(self, text: str) -> None:
        forms = set(text.splitlines()) if "\n" in text else {text, quote(text, safe="", errors="replace"),
                                                             quote_plus(text, errors="replace")}  # fmt: skip
        # HTTP libraries read the bytes of a header as Latin-1.
        forms |= {form.encode("utf-8", "replace").decode("latin-1") for form in forms}
        with self._lock:
            for form in filter(_findable, forms):
                self._texts[form] = None
                self._texts.move_to_end(form)
            while len(self._texts) > _MOST_KNOWN:
                self._texts.popitem(last=False)

    def hide(self, text: str) -> str:
        with self._lock:
            found = [known for known in self._texts if known in text]
        for known in sorted(found, key=len, reverse=True):  # a password may be part of what was sent with it
            text = text.replace(known, MASK)
        return text


def _findable(text: str) -> bool:
    if text.startswith("-----") or text == MASK:
        return False
    return len(text) >= _LEAST_WORD or (len(text) >= _LEAST_MIXED and not text.isalpha())


_known = _Known()


def remember(text: str) -> None:
    """From now on `hide` takes this text out, as it is and as a URL spells it; of several lines each."""
    _known.add(text)


def hide(text: str) -> str:
    """A text from elsewhere with ``<secret>`` in place of every secret of this process that is at least 8 characters
    long, or 12 where it has letters only."""
    return _known.hide(text)


class Secret:
    """Holds a secret text. ``str()``, ``repr()`` and formatting give ``<secret>``; ``reveal()`` gives the text.

    Not a dataclass on purpose: ``dataclasses.asdict`` would take one apart.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str, *, whole: bool = True) -> None:
        """``whole``: all of it is secret, not only a part that was remembered by itself."""
        self._text = text
        if whole:
            remember(text)

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
