"""Check addresses and tokens in the environment before HTTP libraries fail on them.

huggingface_hub reads `HF_ENDPOINT` on import, and httpx reads the proxies for every client, whatever address
it connects to.
"""

from __future__ import annotations

import importlib.util
import os
from urllib.parse import urlsplit, urlunsplit

from milepost.errors import MilepostError
from milepost.text.credentials import without_secrets
from milepost.text.language import Phrase

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_SOCKS = ("socks5", "socks5h")


def check_endpoint(error: type[MilepostError] = MilepostError) -> None:
    """Refuse an `HF_ENDPOINT` that is not an http address.

    Raises:
        MilepostError: of the given kind.
    """
    address = os.environ.get("HF_ENDPOINT")
    if (
        address == ""
    ):  # where huggingface_hub was imported already, it has read this, and unsetting is too late
        raise error("HF_ENDPOINT is set but empty", "unset it, or give it an address, before Python starts")
    if address and not _is_address(address, ("http", "https")):
        raise error(
            Phrase("HF_ENDPOINT is not an address: {address}", address=address),
            "for example HF_ENDPOINT=https://huggingface.co, which is also the default",
        )


def check_token(error: type[MilepostError] = MilepostError) -> None:
    """Refuse an `HF_TOKEN` that cannot be sent in a header.

    Raises:
        MilepostError: of the given kind; the token itself is not in the message.
    """
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        token = os.environ.get(name, "").strip()
        if not token.isascii() or any(character.isspace() for character in token):
            raise error(
                Phrase("{name} is not a token: it has characters that a token cannot have", name=name),
                "copy it again from the settings of your account, or unset it",
            )


def check_proxies(error: type[MilepostError] = MilepostError) -> None:
    """Refuse a proxy that httpx cannot use.

    Raises:
        MilepostError: of the given kind.
    """
    for name in (*_PROXIES, *(name.lower() for name in _PROXIES)):
        address = os.environ.get(name)
        if not address:
            continue
        whole = address if "://" in address else f"http://{address}"
        if not _is_address(whole, ("http", "https", *_SOCKS)):
            raise error(
                Phrase("{name} is not an address of a proxy: {address}", name=name, address=address),
                Phrase("for example {name}=http://127.0.0.1:3128, or unset it", name=name),
            )
        if whole.lower().startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise error(
                Phrase("{name} is a SOCKS proxy, which needs the package socksio", name=name),
                "`pip install socksio`, or unset it",
            )


def check_hub_settings(error: type[MilepostError] = MilepostError) -> None:
    """Refuse environment variables that would make every request to the Hub fail.

    Raises:
        MilepostError: of the given kind.
    """
    check_endpoint(error)
    check_token(error)
    check_proxies(error)


def hub_endpoint() -> str:
    """Return the Hub's address as huggingface_hub uses it, without name and password."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return str(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))


def shown_endpoint() -> str:
    """Return the Hub's address for messages, without a key in its path."""
    return without_secrets(hub_endpoint())


def hub_transport_error() -> type[Exception]:
    """Return the base class of the errors of huggingface_hub's HTTP library, which depends on its version."""
    from huggingface_hub import errors

    base: type[Exception] = next(
        kind for kind in errors.HfHubHTTPError.__mro__[1:] if kind.__name__ == "HTTPError"
    )
    return base


def _is_address(address: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme.lower() in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
