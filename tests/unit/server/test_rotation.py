from __future__ import annotations

import fcntl
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from common.errors import ConfigError, PriorError
from common.invitation import fingerprint
from common.prior import SignedPrior, decode_prior, open_prior, sign_prior
from common.succession import follows
from common.terms import open_terms
from server.admission import terms_of
from server.backup import is_kept
from server.bundle import HASH_FILE, build_bundle
from server.cli import app
from server.config import FILE, read_config
from server.keys import KEY_FILE, signing_key
from server.rounds import Rounds
from server.state import refresh_certificates
from server.succession import NEXT_FILE, SUCCESSION, rotated, signed_now, succession
from simulations.bare import BACKBONE, KEY, WIDTH, FakeTime, crowd
from simulations.memory import MemoryGrid


@pytest.fixture
def state(settings, tmp_path, sign_key):
    (tmp_path / FILE).write_text(
        f'[rounds]\nbackbone = "{BACKBONE}"\nkinds = "object"\nminimum-people = 8\ncohorts = 1\n', encoding="utf-8"
    )
    return tmp_path


def public(key):
    return key.public_key().public_bytes_raw()


def run(*words):
    return CliRunner().invoke(app, ["keys", *map(str, words)], catch_exceptions=True)


def test_a_fresh_key_takes_the_place_and_the_old_one_is_gone(state):
    old = (state / KEY_FILE).read_bytes()
    found = run("rotate", state, "--yes", "--json")
    assert found.exit_code == 0, found.output
    now = signing_key(state)
    assert json.loads(found.output) == {
        "before": fingerprint(public(KEY)).hex(),
        "now": fingerprint(public(now)).hex(),
    }
    assert follows(public(now), fingerprint(public(KEY)), succession(state))
    assert not (state / NEXT_FILE).exists()
    assert (state / KEY_FILE).stat().st_mode & 0o077 == 0
    assert all(path.read_bytes() != old for path in state.iterdir() if path.is_file())
    shown = json.loads(run("show", state, "--json").output)
    assert shown == {"now": fingerprint(public(now)).hex(), "before": [fingerprint(public(KEY)).hex()]}


def test_whoever_pinned_the_first_key_follows_to_the_third(state):
    rotated(state)
    rotated(state)
    assert follows(public(signing_key(state)), fingerprint(public(KEY)), succession(state))
    assert is_kept(SUCCESSION)


@pytest.mark.parametrize("step", ["server.succession._keep", "pathlib.Path.replace"])
def test_a_rotation_that_was_interrupted_is_gone_on_with(state, monkeypatch, step):
    with monkeypatch.context() as patch:
        if step.endswith("replace"):  # the link is on disk, the key not yet in its place
            patch.setattr("server.succession._settle", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        else:
            patch.setattr(step, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rotated(state)
    assert public(signing_key(state)) == public(KEY)
    fresh = public(signing_key(state, NEXT_FILE))
    rotated(state)
    assert public(signing_key(state)) == fresh
    assert len(succession(state)) == 1


def test_a_second_rotation_that_was_interrupted_leaves_no_link_twice(state, monkeypatch):
    rotated(state)
    with monkeypatch.context() as patch:
        patch.setattr("server.succession._settle", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rotated(state)
    rotated(state)
    assert len(succession(state)) == 2
    assert follows(public(signing_key(state)), fingerprint(public(KEY)), succession(state))


def test_it_is_not_done_while_the_server_runs_or_unasked(state):
    assert run("rotate", state).exit_code == 1
    with (state / "serve.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert isinstance(run("rotate", state, "--yes").exception, ConfigError)
    assert public(signing_key(state)) == public(KEY)


def test_a_succession_that_was_damaged_is_not_passed_over(state):
    rotated(state)
    (state / SUCCESSION).write_text("[{}]")
    with pytest.raises(ConfigError, match="backup"):
        succession(state)


def test_the_terms_lead_from_the_old_key_to_the_new(state):
    (state / HASH_FILE).write_text("cd" * 32)
    rotated(state)
    config, now = read_config(state), signing_key(state)
    refresh_certificates(config)
    assert open_terms(terms_of(config, now), fingerprint(public(KEY)))[1] == public(now)


def test_a_device_that_stayed_online_notices_by_the_bundle(tmp_path):
    first, second, again = (build_bundle(tmp_path / str(generation), generation) for generation in (0, 1, 0))
    assert first != second
    assert first == again


def test_versions_from_before_still_verify_and_are_announced_by_the_fresh_key(state, settings, registry):
    time = FakeTime()

    def rounds(people, key):
        grid = MemoryGrid(dict(enumerate(people, start=1)))
        return Rounds(grid, settings, registry=registry, key=key, clock=time.clock, wall=time.wall)

    rounds(crowd(3), KEY).run()
    rotated(state)
    now = signing_key(state)
    [newcomer, *_] = people = crowd(2, seed=2)
    rounds(people, now).look("object")
    action, notice = newcomer.heard[0]
    assert action == "query.prior"
    told = SignedPrior(payload=notice["payload"], signature=notice["signature"])
    assert open_prior(told, public_key=now.public_key(), backbone=BACKBONE, width=WIDTH).version == 1
    found = CliRunner().invoke(app, ["priors", "verify", str(state)])
    assert found.exit_code == 0, found.output
    assert "good: signed" in found.output
    found = CliRunner().invoke(app, ["priors", "export", str(state), "object", "--out", str(state / "it"), "--json"])
    assert found.exit_code == 0, found.output
    assert (state / "it.sig").read_bytes() == notice["signature"]
    (state / SUCCESSION).unlink()
    found = CliRunner().invoke(app, ["priors", "verify", str(state)])
    assert isinstance(found.exception, ConfigError)


def test_what_somebody_wrote_into_the_registry_is_neither_signed_nor_announced(state, settings, registry):
    """The registry may be on another machine: who writes there must not have a prior signed thereby."""
    time, rotation = FakeTime(), rotated(state)
    thief, now = Ed25519PrivateKey.generate(), signing_key(state)

    def rounds(people, key):
        grid = MemoryGrid(dict(enumerate(people, start=1)))
        return Rounds(grid, settings, registry=registry, key=key, clock=time.clock, wall=time.wall)

    rounds(crowd(3), KEY).run()
    [good] = registry.versions(BACKBONE, "object")
    signed = sign_prior(replace(decode_prior(good.payload), version=2), thief)
    registry.publish(signed)
    with pytest.raises(PriorError, match="no signature of this server"):
        signed_now(signed, now, [rotation])
    [newcomer, *_] = people = crowd(2, seed=2)
    rounds(people, now).look("object")
    assert "query.prior" not in [action for action, _ in newcomer.heard]
