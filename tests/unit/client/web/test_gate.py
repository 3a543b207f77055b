import pytest

from client.web.gate import LARGEST_BODY, POLICY

PLACE = "/0123456789abcdef"


def test_a_browser_with_a_cookie_sees_the_page(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "unsafe" not in POLICY


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8719", "127.0.0.1", "127.0.0.1:80", "", "127.0.0.1.nip.io:8719"]
)
def test_another_host_name_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "shoal open" in answer.json()["detail"]


@pytest.mark.parametrize("path", ["/", "/enter", "/static/style.css", "/api/v1/concepts", f"{PLACE}0/", f"/x{PLACE}/"])
def test_elsewhere_on_the_port_there_is_nothing_and_the_place_is_not_told(client, path):
    answer = client.get(f"http://127.0.0.1:8719{path}")
    assert answer.status_code == 404
    assert PLACE not in answer.text + str(answer.headers)


def test_the_place_without_its_last_stroke_leads_there(client):
    answer = client.get(f"http://127.0.0.1:8719{PLACE}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PLACE}/")


def test_the_cookie_goes_to_this_place_alone(stranger, link):
    """Cookies know no ports: what another account serves at 127.0.0.1 would get it too."""
    entered = stranger.post("/api/v1/session", json={"code": link}, headers={"origin": "http://127.0.0.1:8719"})
    assert f"Path={PLACE}/;" in entered.headers["set-cookie"]


def test_localhost_is_the_same_place(client):
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    here = {"host": "localhost:8719", "origin": "http://localhost:8719", "cookie": cookie}
    assert client.get("/", headers=here).status_code == 200
    assert client.get("/", headers=here | {"origin": "http://127.0.0.1:8719"}).status_code == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/", "/api/v1/concepts", "/static/shoal.js", "/pictures/a.png"])
def test_another_website_reads_nothing(client, site, path):
    assert client.get(path, headers={"sec-fetch-site": site, "sec-fetch-mode": "navigate"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:8719"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {},
    ],
)
def test_another_website_triggers_nothing(strangers, home, headers):
    assert strangers.post("/api/v1/pause", headers=headers).status_code == 403
    assert not (home / "paused").exists()


def test_this_page_may(client, home):
    assert client.post("/api/v1/pause").status_code == 204
    assert (home / "paused").exists()


def test_an_unknown_browser_is_shown_the_way_in_and_told_nothing(stranger):
    assert stranger.get("/api/v1/concepts").status_code == 401
    assert stranger.get("/api/v1/openapi.json").status_code == 401
    assert stranger.get("/static/style.css").status_code == 200
    page = stranger.get("/", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, f"{PLACE}/enter")
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert stranger.get("/enter", headers=link | {"sec-fetch-dest": "document"}).status_code == 200
    assert stranger.get("/enter", headers=link | {"sec-fetch-dest": "iframe"}).status_code == 403


def test_too_much_is_not_read(client):
    big = client.post("/api/v1/drawings", content=b"x" * (LARGEST_BODY + 1))
    assert big.status_code == 413
    assert client.post("/api/v1/drawings", content=(part for part in [b"{}"])).status_code == 413


def test_the_way_in_works_once_and_gives_a_cookie_that_no_script_reads(stranger, link):
    stranger.headers["origin"] = "http://127.0.0.1:8719"
    entered = stranger.post("/api/v1/session", json={"code": link})
    assert entered.status_code == 204
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/api/v1/concepts").status_code == 200
    assert stranger.delete("/api/v1/session").status_code == 204
    assert stranger.get("/api/v1/concepts").status_code == 401
    assert stranger.post("/api/v1/session", json={"code": link}).status_code == 401
