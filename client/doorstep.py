"""What a device says to the enrolment endpoint of a server: two questions over HTTPS, before Flower is spoken.

    GET  /v1/shoal/terms    the operator's signed terms, `common.terms`
    POST /v1/shoal/enrol    an application in, an admission out, `common.enrolment`

The first answer is signed by the operator, so it may come over a connection that nobody vouches for; it says which
certificate the server must show from then on, and only to that server the code's secret is told.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import httpx

from common.enrolment import MAXIMUM_APPLICATION, read_admission, to_json
from common.errors import ConfigError, ProtocolError
from common.terms import MAXIMUM_TERMS, open_terms

if TYPE_CHECKING:
    from common.enrolment import Admission, Application
    from common.terms import Terms

SECONDS: Final = 30.0
"""For one answer."""
_PATH: Final = "/v1/shoal"


def base_url(text: str) -> str:
    """Give the server's URL without path: `https://host:port`; where no scheme is written, that is meant.

    Raises:
        ConfigError: it is no URL of a server, or without TLS.
    """
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.username or parts.query:
        raise ConfigError(f"{text!r} is no server's address: write https://host:port as the operator gave it")
    if parts.scheme != "https":
        raise ConfigError(f"{parts.scheme}:// is open to everybody in between: write https://")
    name = f"[{host}]" if ":" in host else host
    return f"https://{name}:{port}" if port else f"https://{name}"


def fetch_terms(url: str, pinned: bytes) -> tuple[bytes, Terms, bytes]:
    """Ask for the operator's terms.

    Args:
        url: of the server, from `base_url`.
        pinned: fingerprint of the operator's key.

    Returns:
        The terms as they were signed, opened, and the operator's public key.

    Raises:
        ConfigError: the server cannot be reached.
        ProtocolError: the terms are not that operator's.
    """
    # Nobody's certificate is known yet; what is signed by the pinned operator needs none.
    data = _ask("GET", f"{url}{_PATH}/terms", verify=False, most=MAXIMUM_TERMS)
    terms, operator = open_terms(data, pinned)
    return data, terms, operator


def apply(url: str, terms: Terms, application: Application) -> Admission:
    """Ask to be let in, of the very server that the terms name.

    Raises:
        ConfigError: the server cannot be reached, shows another certificate, or refuses.
        ProtocolError: the answer is none.
    """
    context = trusting(terms)
    data = _ask("POST", f"{url}{_PATH}/enrol", verify=context, most=MAXIMUM_APPLICATION, content=to_json(application))
    return read_admission(data)


def trusting(terms: Terms) -> ssl.SSLContext:
    """Trust the certificates that descend from the one in the terms; without one, those that every system trusts."""
    try:
        return ssl.create_default_context(cadata=terms.authority or None)
    except ssl.SSLError as error:
        raise ProtocolError("the certificate in the operator's terms cannot be read: ask the operator") from error


def _ask(method: str, url: str, *, verify: ssl.SSLContext | bool, most: int, content: bytes | None = None) -> bytes:
    try:
        with (
            httpx.Client(verify=verify, timeout=SECONDS, follow_redirects=False) as client,
            client.stream(method, url, content=content) as response,
        ):
            data = b""
            for part in response.iter_bytes():
                data += part
                if len(data) > most:
                    raise ProtocolError(f"{url} answers with more than {most} bytes: it is no Shoal server")
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise ConfigError(f"{url} cannot be reached ({why}): check the address and your network, then again") from error
    if response.status_code != httpx.codes.OK:
        raise ConfigError(_refusal(response.status_code))
    return data


def _refusal(status: int) -> str:
    """Say what a status means; the server's own text is not shown, since a stranger may have written it."""
    return {
        401: "the server does not know this code: it was used, has expired, or is mistyped; ask the operator for one",
        403: "the operator has not let this device in yet: send the operator its key file, then join again",
        404: "there is no Shoal server at this address: check it",
        410: "the operator revoked this device: ask the operator",
        413: "the server takes this for no enrolment: update Shoal",
        429: "the server is asked too often: wait a minute, then again",
        502: "the server's enrolment does not run: tell the operator, or try later",
        503: "the server is starting: try again in a minute",
    }.get(status, f"the server answers {status}: tell the operator")
