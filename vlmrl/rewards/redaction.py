"""Redaction: keeps keys, tokens and passwords out of verdicts, logs and messages, also if a server echoes them.

    redact("401: wrong key sk-abcdef")          -> "401: wrong key ***"
    url, login = without_login("http://me:word@host/v1")

Secret are the environment variables whose name ends in KEY, TOKEN, SECRET or PASSWORD, what `hide` was given, and the
user and password in any URL. Text from outside is redacted before it is cut, so that no part of a secret remains.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import replace
from urllib.parse import quote, unquote, urlsplit

from vlmrl.errors import without_logins
from vlmrl.verdict import Verdict

_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|PASSWD)$", re.IGNORECASE)
_SHORTEST = 6
"""Characters of a secret. Servers without a key are often given a word such as EMPTY, which texts may contain."""
_hidden: set[str] = set()


def hide(*secrets: str | None) -> None:
    """Makes `redact` remove these as well."""
    _hidden.update(secret for secret in secrets if secret)


def without_login(url: str) -> tuple[str, tuple[str, str] | None]:
    """The URL without user and password, and these two if there are any; they are hidden from then on."""
    try:
        head, at, _ = urlsplit(url).netloc.rpartition("@")
    except ValueError:  # not a URL, as who uses it will say
        return url, None
    if not at:
        return url, None
    user, _, password = head.partition(":")
    login = unquote(user), unquote(password)
    basic = base64.b64encode(":".join(login).encode()).decode()
    hide(head, password, login[1], basic, *(() if password else (user, login[0])))
    return url.replace(f"{head}@", "", 1), login


def redact(text: str) -> str:
    """The text with `***` in the place of every secret."""
    return without_logins(without_secrets(text))


def without_secrets(text: str) -> str:
    """The same, but for URLs: `***` in the place of what is known to be secret."""
    secrets = _hidden | {value for name, value in os.environ.items() if _NAME.search(name)}
    found = [form for secret in secrets if len(secret) >= _SHORTEST for form in _forms(secret) if form in text]
    for form in sorted(found, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def _forms(secret: str) -> set[str]:
    """A secret as it is, inside JSON or a Python literal, and inside a URL."""
    return {secret, repr(secret)[1:-1], secret.replace("\\", "\\\\").replace('"', '\\"'), quote(secret, safe="")}


def redacted(verdict: Verdict) -> Verdict:
    """The verdict with its texts redacted."""
    answer = None if verdict.answer is None else redact(verdict.answer)
    parts = {redact(name): value for name, value in verdict.parts.items()}
    return replace(verdict, parts=parts, answer=answer, why=redact(verdict.why))
