"""Databases for what must hold on each kind of them, and a small federation of bare devices."""

from __future__ import annotations

import os
import uuid

import numpy as np
import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from server.keys import KEY_FILE
from server.registry import Registry
from server.settings import RunSettings
from simulations.bare import BACKBONE, CLIP, DIMENSIONS, KEY, WIDTH
from simulations.postgres import postgres, programs


@pytest.fixture(scope="session")
def postgres_url():
    """A running PostgreSQL; where there is none the test is skipped out loud, in CI it fails."""
    if programs() is None:
        if os.environ.get("CI"):
            pytest.fail("PostgreSQL is not installed: .ci/run installs Debian's package postgresql")
        pytest.skip("PostgreSQL IS NOT INSTALLED, so nothing was tested on it: apt-get install postgresql")
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'registry.db'}"
    url = sa.make_url(request.getfixturevalue("postgres_url"))
    name = f"test_{uuid.uuid4().hex}"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(f"CREATE SCHEMA {name}"))  # a database of its own would be copied and synchronised
    engine.dispose()
    return url.update_query_dict({"options": f"-csearch_path={name}"}).render_as_string(hide_password=False)


@pytest.fixture
def settings(tmp_path):
    np.save(tmp_path / "basis.npy", np.linalg.qr(np.random.default_rng(0).standard_normal((WIDTH, DIMENSIONS)))[0])
    return RunSettings(
        state_folder=tmp_path,
        backbone=BACKBONE,
        public_basis=tmp_path / "basis.npy",
        kinds=("object",),
        rounds=1,
        minimum_people=3,
        unprotected_simulation=True,
        clip=(CLIP,),
        cohorts=1,
        poll_seconds=5.0,
        deadline_seconds=10.0,
        patience_seconds=60.0,
    )


@pytest.fixture
def registry(settings):
    with Registry(settings.registry_url) as registry:
        yield registry


@pytest.fixture
def sign_key(tmp_path):
    """The bare federation's signing key, in the state folder."""
    path = tmp_path / KEY_FILE
    path.write_bytes(KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    path.chmod(0o600)
