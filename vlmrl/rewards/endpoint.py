"""Endpoint: ask a model behind an OpenAI-compatible server, for the rewards that need somebody's judgement.

    ask("Which city ...?")              -> the text of the reply; `EndpointError` says why there is none
    fenced(text)                        -> the text as a quotation, to be put into a prompt
    verdict_line(reply, {"yes": 1.0})   -> what the last line of a reply says

Off until a server is named. Only the environment configures it: no row of data decides where text is sent.

    VLMRL_ENDPOINT_URL            http://localhost:8000/v1: requests go to its /chat/completions
    VLMRL_ENDPOINT_MODEL          the model's name on that server
    VLMRL_ENDPOINT_KEY            sent as a bearer token, if set
    VLMRL_ENDPOINT_MAX_REQUESTS   10000: cost limit of a process; every try counts, cached replies are free
    VLMRL_ENDPOINT_MAX_TOKENS     10000000: the same, prompt and reply together, as the server reports them
    VLMRL_ENDPOINT_REPLY_TOKENS   1024: a longer reply is cut by the server and counts as none
    VLMRL_ENDPOINT_TIMEOUT        60: seconds for one try
    VLMRL_ENDPOINT_RETRIES        4: further tries after 408, 429, 5xx and connection errors, ever later
    VLMRL_ENDPOINT_CACHE          a folder that keeps every reply under the hash of its request; any number of
                                  processes may share it
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from vlmrl.reading import answers
from vlmrl.rewards.redaction import hide, redact, without_login

FIRST_WAIT = 0.5
"""Seconds before the second try; they double with each further one, less up to a half by chance."""
LONGEST_WAIT = 60.0
"""A server that asks for a longer pause (Retry-After) is given up."""
_LONGEST_BODY = 4_000_000
_PREFIX = "VLMRL_ENDPOINT_"
_one_at_a_time = threading.Lock()


class EndpointError(Exception):
    """Why there is no reply, in one line. The verdict that waited for it is unscored, never 0."""


class _TryLater(EndpointError):
    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait
        """Seconds that the server asked for."""


def ask(prompt: str, *, temperature: float = 0.0, seed: int = 0) -> str:
    """The reply to one user message; safe to call from many threads. `EndpointError` if there is none."""
    with _one_at_a_time:
        # A forked process must not use the sockets of its parent, and has limits of its own.
        endpoint = _connect(os.getpid(), Settings.from_environment())
    return endpoint.ask(prompt, temperature, seed)


# --- text in prompts and replies --------------------------------------------------------------------------


def fenced(text: str) -> str:
    """The text as a quotation between BEGIN and END, a mark before each line of it.

    No line of the text can then pass for the end of the quotation, nor, should a model repeat it, for a
    verdict. (Marking all of a text resists injection better than delimiters alone: arXiv 2403.14720.)
    """
    lines = text.encode("utf-8", "replace").decode().splitlines()
    return "\n".join(["BEGIN", *(f"| {line}" for line in lines), "END"])


def verdict_line(reply: str, values: Mapping[str, float]) -> float | None:
    """The value of the word that stands alone on the last line of a reply.

    None if that line holds anything else ("not 1.0", "11.0"), or if another line is a word of another value.
    """
    lines = [line.lstrip(" \t*`").rstrip(" \t*`.") for line in (answers.after_thinking(reply) or "").splitlines()]
    lines = [line for line in lines if line]
    said = {values[line] for line in lines if line in values}
    return values[lines[-1]] if len(said) == 1 and lines[-1] in values else None


# --- the client -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """What the environment says."""

    url: str = field(repr=False)
    model: str
    key: str = field(repr=False)
    max_requests: int
    max_tokens: int
    reply_tokens: int
    timeout: int
    retries: int
    cache: str

    @classmethod
    def from_environment(cls) -> Settings:
        url, model = (os.environ.get(_PREFIX + name, "") for name in ("URL", "MODEL"))
        if not url or not model:
            raise EndpointError("no endpoint: set VLMRL_ENDPOINT_URL and VLMRL_ENDPOINT_MODEL")
        if not url.startswith(("http://", "https://")):
            raise EndpointError(f"VLMRL_ENDPOINT_URL: {redact(url)!r} does not start with http:// or https://")
        return cls(
            url=url.rstrip("/"),
            model=model,
            key=os.environ.get(_PREFIX + "KEY", ""),
            max_requests=_whole_number("MAX_REQUESTS", 10_000),
            max_tokens=_whole_number("MAX_TOKENS", 10_000_000),
            reply_tokens=_whole_number("REPLY_TOKENS", 1024),
            timeout=_whole_number("TIMEOUT", 60),
            retries=_whole_number("RETRIES", 4),
            cache=os.environ.get(_PREFIX + "CACHE", ""),
        )


def _whole_number(name: str, default: int) -> int:
    value = os.environ.get(_PREFIX + name) or str(default)
    if not value.isascii() or not value.isdigit():
        raise EndpointError(f"{_PREFIX}{name}: {value!r} is not a whole number")
    return int(value)


@lru_cache(maxsize=8)
def _connect(pid: int, settings: Settings) -> Endpoint:
    return Endpoint(settings)


class Endpoint:
    """One server, with what this process has spent on it."""

    def __init__(self, settings: Settings) -> None:
        import httpx

        self.settings = settings
        self.requests = self.tokens = 0
        self.lock = threading.Lock()
        headers = {"Content-Type": "application/json"}
        hide(settings.key)
        # No message and no log of the client then shows a password in the URL.
        self.url, login = without_login(settings.url)
        if settings.key:
            headers["Authorization"] = f"Bearer {settings.key}"
        # As many connections as the caller has threads: none waits for another.
        limits = httpx.Limits(max_connections=None)
        self.client = httpx.Client(headers=headers, auth=login, timeout=settings.timeout, limits=limits)

    def ask(self, prompt: str, temperature: float, seed: int) -> str:
        """The reply, from the cache if it is there."""
        request = {
            "model": self.settings.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": temperature,
            "seed": seed,
            "max_tokens": self.settings.reply_tokens,
        }
        if not self.settings.cache:
            return self._post(request)
        named = json.dumps([self.settings.url, request], sort_keys=True)
        name = hashlib.sha256(named.encode()).hexdigest()
        file = Path(self.settings.cache) / name[:2] / f"{name}.json"
        reply = _cached(file)
        if reply is None:
            reply = self._post(request)
            _keep(file, request, reply)
        return reply

    def _post(self, request: dict[str, Any]) -> str:
        body = json.dumps(request).encode()
        tries = 1
        while True:
            try:
                return self._try(body)
            except _TryLater as failure:
                wait = failure.wait
                if tries > self.settings.retries or (wait or 0.0) > LONGEST_WAIT:
                    raise EndpointError(f"{failure} ({tries} tries)") from None
            if wait is None:
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
            time.sleep(wait)
            tries += 1

    def _try(self, body: bytes) -> str:
        import httpx

        self._spend_request()
        deadline = time.monotonic() + self.settings.timeout
        content = bytearray()
        try:
            with self.client.stream("POST", f"{self.url}/chat/completions", content=body) as response:
                for piece in response.iter_bytes():
                    content += piece
                    if len(content) > _LONGEST_BODY:
                        raise EndpointError(f"endpoint: a reply of more than {_LONGEST_BODY} bytes")
                    # httpx limits the time between two pieces; a server that drips would never end.
                    if time.monotonic() > deadline:
                        raise _TryLater(f"endpoint: no whole reply in {self.settings.timeout} s")
        except httpx.InvalidURL as error:
            raise EndpointError(redact(f"VLMRL_ENDPOINT_URL: {self.url!r}: {error}")) from None
        except httpx.RequestError as error:
            raise _TryLater(f"endpoint: {type(error).__name__}: {_line(str(error))}") from None
        status = response.status_code
        if status == 200:
            return self._reply(bytes(content), len(body))
        why = f"endpoint: HTTP {status}: {_line(content.decode('utf-8', 'replace'))}"
        if status in (408, 429) or status >= 500:
            raise _TryLater(why, _retry_after(response.headers))
        raise EndpointError(why)

    def _spend_request(self) -> None:
        limits = self.settings
        with self.lock:
            if self.requests >= limits.max_requests:
                raise EndpointError(f"endpoint: {self.requests} requests are spent; raise VLMRL_ENDPOINT_MAX_REQUESTS")
            if self.tokens >= limits.max_tokens:
                raise EndpointError(f"endpoint: {self.tokens} tokens are spent; raise VLMRL_ENDPOINT_MAX_TOKENS")
            self.requests += 1

    def _reply(self, content: bytes, sent: int) -> str:
        """The text in a chat completion; its tokens are counted, at 4 bytes each if the server is silent."""
        try:
            completion = json.loads(content)
            choice = completion["choices"][0]
            text, cut = choice["message"]["content"], choice.get("finish_reason") == "length"
            spent = (completion.get("usage") or {}).get("total_tokens")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise EndpointError(f"endpoint: no chat completion: {_line(content.decode('utf-8', 'replace'))}") from None
        with self.lock:
            self.tokens += spent if type(spent) is int and spent > 0 else (sent + len(content)) // 4
        if cut:
            tokens = self.settings.reply_tokens
            raise EndpointError(f"endpoint: the reply was cut at {tokens} tokens; raise VLMRL_ENDPOINT_REPLY_TOKENS")
        if not isinstance(text, str):
            raise EndpointError("endpoint: a chat completion without text")
        # A server may repeat the key that it was sent; what it says goes into verdicts and the cache.
        return redact(text)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """The pause that a server asks for, in seconds; None for the other form, a date, too."""
    value = headers.get("Retry-After", "").strip()
    return float(value[:9]) if value.isascii() and value.isdigit() else None


def _line(text: str) -> str:
    return " ".join(redact(text)[:2000].split())[:200]


# --- the cache --------------------------------------------------------------------------------------------


def _cached(file: Path) -> str | None:
    """The reply that a file keeps; None if there is no such file, or a crash of the machine left it broken."""
    try:
        reply = json.loads(file.read_bytes())["reply"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return reply if isinstance(reply, str) else None


def _keep(file: Path, request: dict[str, Any], reply: str) -> None:
    """Written beside its place and renamed: other processes see all of it or nothing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, suffix=".partial", delete=False) as partial:
            json.dump({"request": request, "reply": reply}, partial)
        os.replace(partial.name, file)
    except OSError as error:
        raise EndpointError(f"VLMRL_ENDPOINT_CACHE: cannot write {file} ({error.strerror or error})") from None
