from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common.errors import ConfigError, PriorError
from common.prior import Cohort, Prior, SignedPrior, open_prior, sign_prior
from common.privacy import Mechanism
from server.books import Round, basis_fingerprint
from server.registry import Registry

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
BACKBONE = "ab" * 32
BASIS = np.eye(4)[:, :2]
NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def registry(database_url):
    with Registry(database_url) as opened:
        yield opened


def rows(registry, query):
    with registry._database._engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def a_round(name="r1", **changes):
    done = Round(
        round_id=name,
        kind="object",
        backbone=BACKBONE,
        public_basis=BASIS,
        state="done",
        exchange="train.unmask",
        called=11,
        people=9,
        total=np.array([9.0, 0.1, 1 / 3, 1.0, 2.0, 3.0]),
        clip=0.7,
        mechanism=Mechanism(length=6, scale=64.5, share_variance=2**62, modulus_bits=32),
        noise_variance=0.25,
        prior_version=0,
        started=NOON,
        ended=NOON,
    )
    return replace(done, **changes)


def signed(version=1, **changes):
    cohort = Cohort(weight=1.0, mean=np.ones(2), basis=np.eye(2)[:, :1], spectrum=np.ones(1), residual=0.5)
    prior = Prior(
        backbone=BACKBONE,
        kind="object",
        version=version,
        people=9,
        rounds=("r1",),
        public_basis=BASIS,
        cohorts=(cohort,),
        created="2025-01-31T12:00:00Z",
    )
    return sign_prior(replace(prior, **changes), KEY)


def test_a_sum_comes_back_to_the_last_bit(registry):
    registry.record_round(a_round())
    (found,) = registry.sums(BACKBONE, "object", BASIS)
    assert (found.round_id, found.clip, found.people, found.noise_variance) == ("r1", 0.7, 9, 0.25)
    np.testing.assert_array_equal(found.total, a_round().total)


def test_sums_are_those_of_one_backbone_kind_and_basis(registry):
    registry.record_round(a_round("a"))
    registry.record_round(a_round("b", kind="style"))
    registry.record_round(a_round("c", backbone="cd" * 32))
    registry.record_round(a_round("d", public_basis=np.eye(4)[:, 2:]))
    registry.record_round(a_round("e", state="aborted", total=None, people=0))
    assert [found.round_id for found in registry.sums(BACKBONE, "object", BASIS)] == ["a"]


def test_sums_come_oldest_first_whatever_the_time_zone(registry):
    east = timezone(timedelta(hours=9))
    registry.record_round(a_round("later", ended=NOON + timedelta(minutes=1)))
    registry.record_round(a_round("earlier", ended=NOON.astimezone(east)))
    assert [found.round_id for found in registry.sums(BACKBONE, "object", BASIS)] == ["earlier", "later"]


def test_a_round_never_counts_twice(registry):
    registry.record_round(a_round())
    with pytest.raises(ConfigError, match="r1 is in the registry already"):
        registry.record_round(a_round())
    assert len(registry.sums(BACKBONE, "object", BASIS)) == 1


def test_a_rejected_round_stays_in_the_books_and_out_of_the_sums(registry):
    registry.record_round(a_round("good"))
    registry.record_round(a_round("bad"))
    registry.reject_round("bad")
    assert [found.round_id for found in registry.sums(BACKBONE, "object", BASIS)] == ["good"]
    with pytest.raises(ConfigError, match="in the registry already"):
        registry.record_round(a_round("bad"))
    found = rows(registry, "SELECT id, state, sum IS NULL FROM rounds ORDER BY id")
    assert found == [("bad", "rejected", False), ("good", "done", False)]


@pytest.mark.parametrize("name", ["nobody", "aborted", "rejected"])
def test_only_a_round_that_is_done_can_be_rejected(registry, name):
    registry.record_round(a_round("aborted", state="aborted", total=None, people=0))
    registry.record_round(a_round("rejected"))
    registry.reject_round("rejected")
    with pytest.raises(ConfigError, match="nothing to mark as rejected"):
        registry.reject_round(name)


@pytest.mark.parametrize("changes", [{"total": None}, {"state": "aborted"}])
def test_a_sum_belongs_to_a_round_that_is_done(changes):
    with pytest.raises(ConfigError, match="a sum belongs"):
        a_round(**changes)


def test_the_latest_version_is_the_one_with_the_highest_number(registry):
    assert registry.latest(BACKBONE, "object") is None
    for version in range(1, 12):
        registry.publish(signed(version))
    registry.publish(signed(1, kind="style"))
    found = open_prior(registry.latest(BACKBONE, "object"), public_key=KEY.public_key(), backbone=BACKBONE, width=4)
    assert found.version == 11
    assert registry.latest(BACKBONE, "style") == signed(1, kind="style")


@pytest.mark.parametrize("version", [1, 3])
def test_versions_never_change_and_leave_no_gap(registry, version):
    registry.publish(signed(1))
    with pytest.raises(PriorError, match="expected 2"):
        registry.publish(signed(version, people=10))
    assert registry.latest(BACKBONE, "object") == signed(1)


def test_what_is_no_prior_is_not_published(registry):
    with pytest.raises(PriorError):
        registry.publish(SignedPrior(payload=b"nothing", signature=bytes(64)))


def test_a_second_process_finds_what_the_first_one_wrote(database_url):
    with Registry(database_url) as first, Registry(database_url) as second:
        first.record_round(a_round())
        first.publish(signed())
        assert len(second.sums(BACKBONE, "object", BASIS)) == 1
        assert second.latest(BACKBONE, "object") == signed()
        with pytest.raises(PriorError):
            second.publish(signed())


def test_the_file_is_kept_through_a_power_cut(tmp_path):
    """WAL and synchronous=FULL: what was confirmed is on the disk."""
    with Registry(f"sqlite:///{tmp_path / 'registry.db'}") as registry:
        assert rows(registry, "PRAGMA journal_mode") == [("wal",)]
        assert rows(registry, "PRAGMA synchronous") == [(2,)]
        plain = sqlite3.connect(tmp_path / "registry.db")
        assert plain.execute("SELECT count(*) FROM rounds").fetchone() == (0,)
        plain.close()


CHANGES = {
    "another payload": "UPDATE priors SET payload = signature",
    "another number": "UPDATE priors SET version = 7",
    "no prior": "DELETE FROM priors",
    "another sum": "UPDATE rounds SET sum = NULL",
    "other people": "UPDATE rounds SET people = people + 1",
    "another noise": "UPDATE rounds SET noise_variance = 0",
    "no round": "DELETE FROM rounds",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_database_itself_refuses_to_change_a_prior_or_a_sum(registry, change):
    registry.record_round(a_round())
    registry.publish(signed())
    with pytest.raises(sa.exc.IntegrityError, match="immutable"), registry._database._engine.begin() as connection:
        connection.execute(sa.text(change))
    (found,) = registry.sums(BACKBONE, "object", BASIS)
    np.testing.assert_array_equal(found.total, a_round().total)
    assert registry.latest(BACKBONE, "object") == signed()


def test_what_is_said_about_a_sum_may_change_and_why_stays(registry):
    registry.record_round(a_round())
    registry.withhold_round("r1", "9 people sent the same")
    assert registry.sums(BACKBONE, "object", BASIS) == []
    registry.accept_round("r1")
    assert len(registry.sums(BACKBONE, "object", BASIS)) == 1
    (entry,) = registry.rounds()
    assert (entry.state, entry.reason) == ("accepted", "9 people sent the same")
    registry.reject_round("r1", "after all")
    assert registry.sums(BACKBONE, "object", BASIS) == []
    assert [item.round_id for item in registry.sums_of(["r1"])] == ["r1"]


def test_the_books_give_back_what_was_booked(registry):
    done = a_round(reason="why", dropouts={"train.keys silent": 2}, shard="north", mechanism=Mechanism(
        length=6, scale=64.5, share_variance=2**62, modulus_bits=32))  # fmt: skip
    registry.record_round(done)
    registry.record_round(a_round("r2", kind="style"))
    (entry,) = registry.rounds(backbone=BACKBONE, kind="object")
    for name in ("round_id", "kind", "state", "reason", "exchange", "called", "people", "mechanism", "noise_variance",
                 "started", "ended", "shard", "dropouts"):  # fmt: skip
        assert getattr(entry, name) == getattr(done, name), name


def test_versions_and_their_settings_come_back(registry):
    registry.publish(signed(1), {"cohorts": 2})
    registry.publish(signed(2))
    registry.publish(signed(1, kind="style"))
    assert registry.versions(BACKBONE, "object") == [signed(1), signed(2)]
    assert len(registry.versions()) == 3
    assert registry.fit_of(BACKBONE, "object", 1) == {"cohorts": 2}
    assert registry.fit_of(BACKBONE, "object", 2) == {}


def test_a_url_nobody_understands_is_a_matter_of_configuration():
    with pytest.raises(ConfigError, match="sqlite:///"):
        Registry("registry.db")


def test_bases_are_told_apart_by_shape_and_numbers():
    shapes = {basis_fingerprint(basis) for basis in (np.zeros((2, 3)), np.zeros((3, 2)), np.full((2, 3), 1e-9))}
    assert len(shapes) == 3
    assert basis_fingerprint(BASIS) == basis_fingerprint(np.asfortranarray(BASIS))
