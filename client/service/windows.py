"""Windows: a scheduled task that starts when the person logs on."""

from __future__ import annotations

import subprocess
from xml.etree import ElementTree as ET

from client.service.plan import DESCRIPTION, Plan

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
TASK = "Shoal"

SETTINGS = {
    "MultipleInstancesPolicy": "IgnoreNew",
    "DisallowStartIfOnBatteries": "false",  # the daemon itself minds power, and rests rather than ends
    "StopIfGoingOnBatteries": "false",
    "StartWhenAvailable": "true",
    "RunOnlyIfNetworkAvailable": "false",
    "ExecutionTimeLimit": "PT0S",  # none: the default would end it after three days
    "Priority": "8",  # below normal, for processor and disk
}


def task(plan: Plan, person: str) -> bytes:
    r"""Return the task's definition as XML in UTF-16, which is what `schtasks /Create /XML` reads ([MS-TSCH] 2.5).

    Args:
        plan: what it runs.
        person: whose log-on starts it, as ``DOMAIN\name``; it runs with that person's ordinary rights.
    """
    root = ET.Element("Task", {"version": "1.2", "xmlns": NAMESPACE})
    ET.SubElement(ET.SubElement(root, "RegistrationInfo"), "Description").text = DESCRIPTION
    trigger = ET.SubElement(ET.SubElement(root, "Triggers"), "LogonTrigger")
    principal = ET.SubElement(ET.SubElement(root, "Principals"), "Principal", {"id": "person"})
    settings = ET.SubElement(root, "Settings")
    program, *arguments = plan.command
    action = ET.SubElement(ET.SubElement(root, "Actions", {"Context": "person"}), "Exec")
    for parent, values in (
        (trigger, {"Enabled": "true", "UserId": person}),
        (principal, {"UserId": person, "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege"}),
        (settings, SETTINGS),
        (ET.SubElement(settings, "RestartOnFailure"), {"Interval": "PT1M", "Count": "3"}),
        (action, {"Command": program, "Arguments": subprocess.list2cmdline(arguments)}),
    ):
        for name, value in values.items():
            ET.SubElement(parent, name).text = value
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-16", xml_declaration=True))
