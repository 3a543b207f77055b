from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from client.service.plan import Plan
from client.service.windows import NAMESPACE, task


def split(line):
    """Split a command line as Windows programs do (CommandLineToArgvW)."""
    words, word, quoted, slashes, started = [], "", False, 0, False
    for character in line + " ":
        if character == "\\":
            slashes, started = slashes + 1, True
            continue
        if character == '"':
            word, started = word + "\\" * (slashes // 2), True
            if slashes % 2:
                word += '"'
            else:
                quoted = not quoted
        elif character in " \t" and not quoted:
            if started:
                words.append(word + "\\" * slashes)
            word, started = "", False
        else:
            word, started = word + "\\" * slashes + character, True
        slashes = 0
    return words


def read(data):
    return ET.fromstring(data)  # noqa: S314 - we have just written it


def find(data, path):
    return read(data).find("/".join(f"{{{NAMESPACE}}}{part}" for part in path.split("/"))).text


def test_the_task_runs_the_daemon_as_the_person_who_logs_on(plan):
    data = task(plan, "HOME\\ann & lee")
    command = [find(data, "Actions/Exec/Command"), *split(find(data, "Actions/Exec/Arguments"))]
    assert command == list(plan.command)
    assert find(data, "Triggers/LogonTrigger/UserId") == "HOME\\ann & lee"
    assert find(data, "Principals/Principal/UserId") == "HOME\\ann & lee"
    assert find(data, "Principals/Principal/RunLevel") == "LeastPrivilege"
    assert find(data, "Principals/Principal/LogonType") == "InteractiveToken"


def test_it_neither_ends_after_three_days_nor_on_battery(plan):
    data = task(plan, "ann")
    assert find(data, "Settings/ExecutionTimeLimit") == "PT0S"
    assert find(data, "Settings/StopIfGoingOnBatteries") == "false"
    assert find(data, "Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert find(data, "Settings/RestartOnFailure/Count") == "3"


def test_it_is_utf_16_as_the_scheduler_wants_and_says_so(plan):
    data = task(plan, "ann")
    assert data[:2] in (b"\xff\xfe", b"\xfe\xff")
    assert data.decode("utf-16").startswith("<?xml version='1.0' encoding='utf-16'?>")
    assert read(data).attrib == {"version": "1.2"}
    assert read(data).find(f"{{{NAMESPACE}}}Actions").attrib == {"Context": "person"}


@pytest.mark.parametrize("home", [r"C:\Users\ann lee\AppData", "D:\\", 'C:\\odd "name"\\'])
def test_windows_paths_arrive_whole(home):
    plan = Plan(program=(r"C:\Program Files\Python\pythonw.exe", "-P"), home=home)
    assert split(find(task(plan, "ann"), "Actions/Exec/Arguments")) == ["-P", "daemon", "--home", home]
