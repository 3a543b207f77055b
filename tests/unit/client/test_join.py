"""Joining, against servers that are not what they should be; an honest one is in tests/e2e/test_edge.py."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from client.cli import app
from client.database import FILE as VAULT
from client.doorstep import base_url
from client.identity import identity, is_enrolled, operator_key
from client.join import join, more, renew
from client.ledger import Limits
from client.membership import KEY_FILE, is_member, node_key, read_membership
from client.statement import statement
from common.enrolment import Admission, answer, read_application, to_json
from common.errors import ConfigError, ProtocolError, VaultError
from common.invitation import Invitation, fingerprint, write_code
from common.secagg.identity import check_certificate
from common.succession import succeed
from common.terms import Terms, sign_terms
from server.certificates import make_certificates
from simulations.village import BACKBONE, WIDTH

OPERATOR = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CODE = write_code(Invitation(fingerprint(OPERATOR.public_key().public_bytes_raw()), b"0123456789"))


class Server:
    """HTTPS on loopback that says what it is told to, and keeps what it is told."""

    def __init__(self, folder):
        make_certificates(folder, "127.0.0.1")
        self.authority = (folder / "authority.pem").read_text()
        self.posted, self.status, self.operator = [], 200, OPERATOR
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.reply(200, outer.body)

            def do_POST(self):
                outer.posted.append(self.rfile.read(int(self.headers["content-length"])))
                self.reply(outer.status, outer.admit() if outer.status == 200 else b"<script>mine</script>")

            def reply(self, status, body):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        self.tell()

    def tell(self, **changes):
        self.terms = replace(
            Terms(
                name="Reef", address=self.url.removeprefix("https://"), authority=self.authority, backbone=BACKBONE,
                width=WIDTH, bundles=("cd" * 32,), kinds=("object",), minimum_people=8, epsilon=1.0, delta=1e-6,
                rounds_a_month=31, hours=(2,), poll_seconds=5.0, jitter_seconds=30.0, issued=1_800_000_000,
            ),
            **changes,
        )  # fmt: skip
        self.body = sign_terms(self.terms, self.operator)

    def admit(self):
        certificate = answer(self.operator, read_application(self.posted[-1]).request)
        return to_json(Admission(certificate=certificate, node=7))


@contextmanager
def serving(folder):
    server = Server(folder)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.http.shutdown()
        server.http.server_close()
        thread.join()


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / "honest") as server:
        yield server


def yes(_terms, _operator):
    return True


def test_a_device_that_joined_holds_all_that_its_daemon_needs(server, tmp_path):
    home = tmp_path / "me"
    assert join(home, server.url, CODE, yes) == server.terms
    found = read_membership(home)
    assert (found.address, found.node, found.bundles) == (server.terms.address, 7, {"cd" * 32})
    assert found.authority == server.authority.encode()
    assert is_enrolled(home)
    assert operator_key(home) == OPERATOR.public_key()
    for name in (KEY_FILE, "membership.json", VAULT):
        assert (home / name).stat().st_mode & 0o077 == 0, name
    assert "0123456789" not in repr(found)


def test_somebody_in_between_learns_nothing(server, tmp_path):
    """It passes on the operator's own terms; but its certificate is not the one in them, so the secret is not said."""
    with serving(tmp_path / "between") as between:
        between.body = server.body
        with pytest.raises(ConfigError, match="CERTIFICATE_VERIFY_FAILED"):
            join(tmp_path / "me", between.url, CODE, yes)
        assert between.posted == []
    assert not is_member(tmp_path / "me")


def test_the_operator_of_another_code_is_refused(server, tmp_path):
    server.operator = Ed25519PrivateKey.generate()
    server.tell()
    with pytest.raises(ProtocolError, match="not the operator of your code"):
        join(tmp_path / "me", server.url, CODE, yes)
    assert server.posted == []


def test_a_certificate_by_somebody_else_is_not_kept(server, tmp_path):
    server.operator = Ed25519PrivateKey.generate()  # the terms are still the pinned operator's
    with pytest.raises((VaultError, ProtocolError, ConfigError)):
        join(tmp_path / "me", server.url, CODE, yes)
    assert not is_member(tmp_path / "me")
    assert not is_enrolled(tmp_path / "me")


@pytest.mark.parametrize(("status", "told"), [(401, "does not know this code"), (410, "revoked"), (418, "418")])
def test_a_refusal_is_told_in_our_own_words(server, tmp_path, status, told):
    server.status = status
    with pytest.raises(ConfigError, match=told) as found:
        join(tmp_path / "me", server.url, CODE, yes)
    assert "mine" not in str(found.value)


def test_an_endless_answer_is_cut_off(server, tmp_path):
    server.body = b"x" * (1 << 20)
    with pytest.raises(ProtocolError, match="no Shoal server"):
        join(tmp_path / "me", server.url, CODE, yes)


@pytest.mark.parametrize("url", ["http://reef.example", "ftp://x", "https://", "https://a:b@c", "https://x:99999", ""])
def test_what_is_no_address_of_a_server_is_refused(url):
    with pytest.raises(ConfigError):
        base_url(url)


def test_an_address_may_be_written_shortly():
    assert base_url("reef.example:8443") == "https://reef.example:8443"
    assert base_url("https://[::1]:8443/x") == "https://[::1]:8443"


def test_terms_are_renewed_if_they_ask_no_more(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    server.tell(bundles=("ef" * 32,), minimum_people=12, issued=server.terms.issued + 1)
    assert renew(home) == server.terms
    assert read_membership(home).bundles == {"ef" * 32}
    assert read_membership(home).node == 7


def test_older_terms_are_not_believed_again(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    server.tell(bundles=("ef" * 32,), issued=server.terms.issued - 1)
    assert renew(home).bundles == ("cd" * 32,)


MORE = {
    "backbone": "cc" * 32,
    "kinds": ("object", "style"),
    "minimum_people": 7,
    "epsilon": 1.5,
    "delta": 1e-5,
    "rounds_a_month": 32,
}


@pytest.mark.parametrize("name", MORE)
def test_who_asks_more_is_not_believed_without_the_person(server, tmp_path, name):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    before = server.terms
    server.tell(**{name: MORE[name]}, issued=before.issued + 1)
    assert len(more(before, server.terms)) == 1
    with pytest.raises(ConfigError, match="now asks for"):
        renew(home)
    assert read_membership(home).terms == before


def test_a_membership_that_was_changed_is_refused(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    path = home / "membership.json"
    path.write_text(path.read_text().replace("cd" * 32, "ee" * 32))
    with pytest.raises(ProtocolError, match="not as the operator signed"):
        read_membership(home)
    path.write_text("{")
    with pytest.raises(VaultError, match="join again"):
        read_membership(home)


def test_who_never_joined_is_told_how(tmp_path):
    with pytest.raises(VaultError, match="shoal join"):
        read_membership(tmp_path)


def test_a_node_key_is_made_once(tmp_path):
    first = node_key(tmp_path).private_numbers()
    assert node_key(tmp_path).private_numbers() == first
    (tmp_path / KEY_FILE).write_text("none")
    with pytest.raises(VaultError, match="cannot be read"):
        node_key(tmp_path)


def run(*words, **more):
    return CliRunner().invoke(app, ["join", *words], **more)


def test_the_command_shows_the_terms_and_asks(server, tmp_path):
    home = tmp_path / "me"
    found = run(server.url, CODE, "--home", str(home), input="n\n", env={"COLUMNS": "200"})
    assert found.exit_code == 1
    assert "Reef" in found.output
    assert "nothing was sent" in found.output
    assert server.posted == []
    found = run(f"{server.url}/#{CODE}", "--home", str(home), "--budget", "2", input="y\n", env={"COLUMNS": "200"})
    assert found.exit_code == 0, found.output
    for said in ("8 or more", "ε of 1 at most", "31 a month", "02:00", "ε of 2 against", "24 against"):
        assert said in found.output
    assert statement(home).allowed == Limits(central=2.0, local=24.0)
    assert json.loads(server.posted[0])["secret"] == b"0123456789".hex()


def test_the_command_takes_no_budget_that_limits_nothing(server, tmp_path):
    found = run(server.url, CODE, "--home", str(tmp_path / "me"), "--budget", "inf", "--yes")
    assert isinstance(found.exception, ConfigError)
    assert server.posted == []


NEXT, THIEF = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (7, 8))


def rotated(server, *, operator=NEXT, links=None):
    """Have the operator's key give way to another, or somebody say that it did."""
    server.operator = operator
    server.tell(issued=server.terms.issued + 1)
    server.body = sign_terms(server.terms, operator, [succeed(OPERATOR, NEXT)] if links is None else links)


def test_a_key_that_the_pinned_one_vouches_for_takes_its_place(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    before = identity(home)
    rotated(server)
    assert renew(home) == server.terms
    assert operator_key(home) == NEXT.public_key()
    me = identity(home)
    assert me.public == before.public
    assert check_certificate(NEXT.public_key().public_bytes_raw(), me.public, me.certificate)
    assert json.loads(server.posted[-1])["secret"] == ""  # on the roster: no code is needed
    assert read_membership(home).terms == server.terms
    assert renew(home) == server.terms
    assert len(server.posted) == 2


FORGED = {
    "no link": [],
    "a link by the thief": [replace(succeed(THIEF, THIEF), previous=OPERATOR.public_key().public_bytes_raw())],
    "a link to another": [succeed(OPERATOR, NEXT)],
    "a link not accepted": [replace(succeed(OPERATOR, THIEF), acceptance=bytes(64))],
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_rotation_is_refused_and_changes_nothing(server, tmp_path, name):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    before = server.terms
    rotated(server, operator=THIEF, links=FORGED[name])
    with pytest.raises(ProtocolError, match="not the operator"):
        renew(home)
    assert operator_key(home) == OPERATOR.public_key()
    assert read_membership(home).terms == before
    assert len(server.posted) == 1


def test_the_old_key_is_nobody_once_it_gave_way(server, tmp_path):
    """Who stole it later leads no device away that knows the fresh one."""
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    rotated(server)
    renew(home)
    for operator, links in ((OPERATOR, []), (THIEF, [succeed(OPERATOR, THIEF)])):
        rotated(server, operator=operator, links=links)
        with pytest.raises(ProtocolError, match="not the operator"):
            renew(home)
    assert operator_key(home) == NEXT.public_key()


def test_a_certificate_that_is_not_by_the_fresh_key_is_not_kept(server, tmp_path, monkeypatch):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    rotated(server)
    kept = identity(home)
    with monkeypatch.context() as patch:
        patch.setattr(server, "admit", lambda: to_json(Admission(certificate=kept.certificate, node=7)))
        with pytest.raises(VaultError, match="not by the operator's fresh key"):
            renew(home)
    assert operator_key(home) == OPERATOR.public_key()
    assert identity(home) == kept
    renew(home)
    assert operator_key(home) == NEXT.public_key()


def test_a_device_that_dies_between_the_two_files_goes_on(server, tmp_path, monkeypatch):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    rotated(server)
    with monkeypatch.context() as patch:
        patch.setattr("client.join.succeed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            renew(home)
    assert read_membership(home).terms == server.terms  # by the fresh key, which the pinned one vouches for
    renew(home)
    assert operator_key(home) == NEXT.public_key()


def test_older_terms_are_not_followed_to_another_key(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    rotated(server)
    server.tell(issued=server.terms.issued - 2)
    server.body = sign_terms(server.terms, NEXT, [succeed(OPERATOR, NEXT)])
    assert renew(home).issued > server.terms.issued
    assert operator_key(home) == OPERATOR.public_key()


def test_who_agrees_anew_after_a_rotation_joins_the_same_operator(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    server.terms = replace(server.terms, epsilon=2.0)
    rotated(server)
    assert join(home, server.url, CODE, yes) == server.terms  # the old code still names the operator
    assert operator_key(home) == NEXT.public_key()


def test_another_operators_rotation_is_not_joined_over_the_first(server, tmp_path):
    home = tmp_path / "me"
    join(home, server.url, CODE, yes)
    rotated(server, operator=THIEF, links=[])
    code = write_code(Invitation(fingerprint(THIEF.public_key().public_bytes_raw()), b"0123456789"))
    with pytest.raises(VaultError, match="another operator's key"):
        join(home, server.url, code, yes)
    assert operator_key(home) == OPERATOR.public_key()
