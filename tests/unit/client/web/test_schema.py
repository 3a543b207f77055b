"""Every operation of the API against its own description, with inputs that nobody thought of (schemathesis)."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from client.web import serving as module
from client.web.app import create_app
from client.web.house import House
from client.web.serving import serving
from client.web.sessions import Sessions
from client.web.studio import Studio

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
]
PAINTER = Path(__file__).parent / "painter.py"
NOWHERE = Path("/nowhere")
schema = schemathesis.openapi.from_dict(
    create_app(
        House(home=NOWHERE, studio=Studio(None), sessions=Sessions(NOWHERE, time.time), port=1, place="/p")
    ).openapi()
)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page on loopback whose studio answers at once, and a way into it."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Studio", lambda model, home: Studio(model, home, (sys.executable, str(PAINTER))))
        with serving(home, port=0) as address:
            sessions = Sessions(home, time.time)

            def cookie():
                return f"shoal-{urlsplit(address).port}={sessions.redeem(sessions.new_link())}"

            yield address, cookie


def origin(address):
    return address.rsplit("/", 1)[0]


@schema.parametrize()
@settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_the_api_is_as_it_is_described(case, served):
    address, cookie = served
    case.call_and_validate(
        base_url=address, headers={"origin": origin(address), "cookie": cookie()}, checks=CHECKS, timeout=30
    )


def test_every_operation_is_described():
    assert len(list(schema.get_all_operations())) >= 20
