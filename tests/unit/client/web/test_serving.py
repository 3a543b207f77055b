import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from rich.console import Console

from client.web.opening import running_page, show
from client.web.serving import serving
from client.web.sessions import FOLDER, Sessions


def test_it_listens_on_loopback_alone_and_is_found_by_its_state_folder(home):
    with serving(home, port=0) as address:
        assert address.startswith("http://127.0.0.1:")
        assert running_page(home) == address
        port = urlsplit(address).port
        own = [found[4][0] for found in socket.getaddrinfo(socket.gethostname(), port, socket.AF_INET)]
        for other in {"127.0.0.2", *own} - {"127.0.0.1"}:
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                socket.create_connection((other, port), timeout=2).close()
    assert running_page(home) is None
    assert not (home / FOLDER / "address.json").exists()


def test_a_port_that_is_taken_is_no_obstacle(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with serving(home, port=port) as address:
            assert urlsplit(address).port != port


def test_what_a_killed_page_left_behind_is_no_page(home):
    (home / FOLDER).mkdir(parents=True)
    (home / FOLDER / "address.json").write_text('{"port": 1, "process": 1}')
    assert running_page(home) is None
    (home / FOLDER / "address.json").write_text("nonsense")
    assert running_page(home) is None


def woken(thread):
    """Give how often a thread has waited so far."""
    file = Path(f"/proc/self/task/{thread.native_id}/status")
    if not file.exists():
        pytest.skip("only Linux tells how often a thread was woken")
    [line] = [line for line in file.read_text().splitlines() if line.startswith("voluntary_ctxt_switches:")]
    return int(line.split()[1])


def test_at_rest_nothing_wakes_it_and_it_ends_at_once(home):
    with serving(home, port=0) as address:
        [page] = [thread for thread in threading.enumerate() if thread.name == "page"]
        assert httpx.get(address).status_code < 500
        time.sleep(1)
        before = woken(page)
        time.sleep(3)
        assert woken(page) - before <= 3  # each look for something costs half a millisecond, and paused is for days
        begun = time.monotonic()
    assert not page.is_alive()
    assert time.monotonic() - begun < 5


def test_opening_prints_a_link_whose_code_browsers_never_send(home, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda uri: opened.append(uri) or True)
    console = Console(record=True, width=200)
    show(home, "http://127.0.0.1:8719", console, browser=True)
    link = console.export_text().strip()
    place, code = link.split("#")
    assert place == "http://127.0.0.1:8719/enter"
    assert opened[0].startswith("file://")
    assert code not in opened[0]
    file = home / FOLDER / "open.html"
    assert code in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert Sessions(home, time.time).redeem(code)


def test_no_prompt_and_no_code_is_logged(home, capfd):
    code = Sessions(home, time.time).new_link()
    with (
        serving(home, port=0) as address,
        httpx.Client(base_url=address, headers={"origin": address.rsplit("/", 1)[0]}) as browser,
    ):
        assert browser.post("/api/v1/session", json={"code": code}).status_code == 204
        cookies = list(browser.cookies.values())
        assert browser.put("/api/v1/pair", json={"prompt": "my secret wish <nobody>"}).status_code == 400
        assert browser.put("/api/v1/pair", json={"prompt": ["my secret wish"]}).status_code == 422
    told = "".join(capfd.readouterr())
    for secret in ("secret wish", code, *cookies):
        assert secret not in told
