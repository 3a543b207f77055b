from __future__ import annotations

import plistlib

from client.service.launchd import LABEL, plist


def test_the_agent_runs_the_daemon_and_comes_back_when_it_fails(plan):
    found = plistlib.loads(plist(plan))
    assert found["Label"] == LABEL
    assert found["ProgramArguments"] == list(plan.command)
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ProcessType"] == "Background"
    assert found["Umask"] == 0o077
    assert found["StandardErrorPath"] == str(plan.home / "daemon.log")


def test_it_is_the_text_that_launchd_reads(plan):
    text = plist(plan).decode()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>')
    assert "<key>Umask</key>\n\t<integer>63</integer>" in text
