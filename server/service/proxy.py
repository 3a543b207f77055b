"""The reverse proxy's configuration: nginx, the one part that is reachable from outside.

It ends TLS and forwards the methods of Flower's fleet interface that a device of ours uses, and the two of enrolment;
everything else is 404, before Flower sees it. Devices' addresses go nowhere: they are neither logged nor forwarded.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Final

from common.errors import ConfigError
from server.state import LOOPBACK, inner, outer

if TYPE_CHECKING:
    from pathlib import Path

    from server.config import Config

FLEET: Final = (
    *("activate-node", "deactivate-node", "send-node-heartbeat", "get-run"),
    *("pull-messages", "push-messages", "pull-object", "push-object", "confirm-message-received"),
)
"""Of twelve: nodes are registered by the operator, and no device fetches a bundle."""
PLACES: Final = ("/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin")
"""Where nginx is found if it is not on the PATH, as sbin is not for most accounts."""
_TEMPLATE: Final = """\
# Written by `shoal-server serve` at every start: changes here are lost.
daemon off;
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr error;
{user}
events {{ worker_connections 4096; }}

http {{
    access_log off;
    server_tokens off;
    default_type application/octet-stream;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/unused-1;
    uwsgi_temp_path {folder}/unused-2;
    scgi_temp_path {folder}/unused-3;

    # A message of Flower's is at most 5 MiB; a device that trickles is cut off.
    client_max_body_size 6m;
    client_body_buffer_size 256k;
    client_header_timeout 10s;
    client_body_timeout 30s;
    send_timeout 30s;
    keepalive_timeout 75s;

    # A household behind one address may have many devices; a guesser of codes gets few tries a minute.
    limit_req_zone $binary_remote_addr zone=fleet:4m rate={address}r/s;
    limit_req_zone $binary_remote_addr zone=enrolment:4m rate={enrolments}r/m;
    limit_conn_zone $binary_remote_addr zone=connections:4m;
    limit_req_status 429;
    limit_conn_status 429;

    ssl_certificate {certificate};
    ssl_certificate_key {key};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:tls:4m;

    upstream superlink {{
        server {loopback}:{superlink};
        keepalive 64;
        # The SuperLink hangs up after five seconds: to ask on such a connection would be a 502.
        keepalive_timeout 4s;
    }}
    upstream enrolment {{
        server {loopback}:{enrolment};
        keepalive 8;
        keepalive_timeout 4s;
    }}

    server {{
        listen {listen}:{port} ssl;
        limit_conn connections {connections};
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host {loopback};
        proxy_connect_timeout 5s;
        proxy_read_timeout 60s;
        proxy_ssl_verify on;
        proxy_ssl_trusted_certificate {inner};
        proxy_ssl_name {loopback};

{fleet}
        location = /v1/shoal/terms {{
            limit_req zone=fleet burst={burst} nodelay;
            limit_except GET {{ deny all; }}
            proxy_pass http://enrolment;
        }}
        location = /v1/shoal/enrol {{
            client_max_body_size 4k;
            limit_req zone=enrolment burst={enrolments} nodelay;
            limit_except POST {{ deny all; }}
            proxy_pass http://enrolment;
        }}
        location / {{ return 404; }}
    }}
}}
"""
_METHOD: Final = """\
        location = /v1/fleet/{name} {{
            limit_req zone=fleet burst={burst} nodelay;
            limit_except POST {{ deny all; }}
            proxy_pass https://superlink;
        }}
"""
ENROLMENTS: Final = 10
"""In a minute, from one address; a tenth of those who are expected there, if that is more."""


def write_proxy(config: Config) -> Path:
    """Write the configuration; give its path.

    Raises:
        ConfigError: a path in it has characters that nginx reads otherwise.
    """
    folder, pair, authority = config.state / "proxy", outer(config), inner(config).authority
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    listen, each = config.federation.listen, config.devices.from_one_address
    text = _TEMPLATE.format(
        folder=_quoted(folder),
        # As root nginx would give its workers to an account that sees nothing in the state folder.
        user="user root;" if os.geteuid() == 0 else "",
        certificate=_quoted(pair.certificate),
        key=_quoted(pair.key),
        inner=_quoted(authority or pair.certificate),
        loopback=LOOPBACK,
        listen=f"[{listen}]" if ":" in listen else listen,
        port=config.federation.port,
        superlink=config.inside.superlink,
        enrolment=config.inside.enrolment,
        fleet="".join(_METHOD.format(name=name, burst=2 * each) for name in FLEET),
        address=each,
        burst=2 * each,
        connections=max(256, 2 * each),
        enrolments=max(ENROLMENTS, each // 10),
    )
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


def find_proxy() -> str | None:
    """Say where nginx is; None if it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path=os.pathsep.join(PLACES))


def proxy_program() -> str:
    """Say where nginx is.

    Raises:
        ConfigError: it is not installed.
    """
    found = find_proxy()
    if found is None:
        raise ConfigError("nginx is not installed: on Debian, apt install nginx-light")
    return found


def _quoted(path: Path) -> str:
    text = str(path)
    if any(character in text for character in "\"'\\${};\n\r\t "):
        raise ConfigError(f"nginx cannot be given the path {text!r}: move it to one without blanks and quotes")
    return text
