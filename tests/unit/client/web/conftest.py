"""A page that is not served: requests go straight into the application."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from client.vault import Concept, Vault
from client.web.app import create_app
from client.web.house import House
from client.web.sessions import Sessions
from client.web.studio import Studio

ORIGIN = "http://127.0.0.1:8719"
PLACE = "/0123456789abcdef"
PAINTER = Path(__file__).parent / "painter.py"


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def sessions(home):
    return Sessions(home, time.time)


@pytest.fixture
def link(sessions):
    return sessions.new_link()


@pytest.fixture
def studio(home):
    studio = Studio(None, home, (sys.executable, str(PAINTER)))
    yield studio
    studio.close()


@pytest.fixture
def house(home, sessions, studio):
    return House(home=home, studio=studio, sessions=sessions, port=8719, place=PLACE)


@pytest.fixture
def stranger(house):
    """A browser that was never let in."""
    from fastapi.testclient import TestClient

    with TestClient(create_app(house), base_url=ORIGIN + PLACE, follow_redirects=False) as client:
        yield client


@pytest.fixture
def strangers(house, link):
    """A browser that was let in, driven by another website: it says nothing of its own accord."""
    from fastapi.testclient import TestClient

    with TestClient(create_app(house), base_url=ORIGIN + PLACE, follow_redirects=False) as client:
        assert client.post("/api/v1/session", json={"code": link}, headers={"origin": ORIGIN}).status_code == 204
        yield client


@pytest.fixture
def client(strangers):
    """The person's own browser."""
    strangers.headers["origin"] = ORIGIN
    return strangers


@pytest.fixture
def fox(home):
    anchor = np.zeros(8, np.float32)
    concept = Concept(
        name="my-fox", kind="object", class_word="animal", backbone="ab" * 32, anchor=anchor, token=anchor + 1,
        loss=0.5, forwards=300,
    )  # fmt: skip
    Vault(home).save_concept(concept)
    return concept
