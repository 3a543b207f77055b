import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from simulations.report import page, write_report

COLOUR = (10, 120, 200)


def made_up():
    curves = {
        "zoodip_reference": [(8, 0.2), (6000, 0.15)],
        "with_prior": [(8, 0.17), (60, 0.12)],
        "without_prior": [(8, 0.2), (400, 0.12)],
    }
    return {
        "people": 33,
        "rounds": 6,
        "forwards_to_target": {
            "without_prior": {"median": 400, "q1": 200, "q3": 900},
            "with_prior": {"median": 50, "q1": 20, "q3": 200},
            "zoodip_reference": {"median": None, "q1": None, "q3": None},
        },
        "target": "80 % of the gradient's improvement",
        "gradient_baseline_loss": 0.0871,
        "seconds": 600,
        "peak_memory_mb": 412.3,
        "newcomers": [
            {"label": "a <b>jar</b>", "kind": "object", "class_word": "jar", "target": 0.13, "curves": curves}
        ],
        "spectra": {"object": [2.0, 1.0, 0.5]},
        "history": [{"round": 1, "kind": "object", "people": 8}],
        "notes": ["Less than was hoped & why."],
    }


def pictures():
    one = np.full((8, 8, 3), COLOUR, np.uint8)
    return {"a <b>jar</b>": {"photos": np.stack([one] * 4), "with_prior": np.stack([one] * 3), "gradient": one[None]}}


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "demo" / "report.html"
    write_report(path, made_up(), pictures())
    text = path.read_text(encoding="utf-8")
    assert "http" not in text
    assert "@import" not in text
    assert "<script" not in text
    assert all(address.startswith("data:image/png;base64,") for address in re.findall(r'src="([^"]*)"', text))
    assert not re.search(r"url\(|<link", text)


def test_its_pictures_are_the_given_ones():
    addresses = re.findall(r'src="data:image/png;base64,([^"]*)"', page(made_up(), pictures()))
    assert len(addresses) == 8
    first = Image.open(io.BytesIO(base64.b64decode(addresses[0])))
    assert first.size == (8, 8)
    assert first.getpixel((0, 0)) == COLOUR


def test_text_is_escaped_and_complete():
    text = page(made_up(), pictures())
    assert "<b>jar" not in text
    assert "a &lt;b&gt;jar&lt;/b&gt;" in text
    assert "Less than was hoped &amp; why." in text
    assert "8.0×" in text
    assert "not reached" in text
    assert text.count("<svg") == text.count("</svg>") == 3


def test_a_prior_that_does_not_help_is_not_praised():
    report = made_up()
    report["forwards_to_target"]["with_prior"]["median"] = 800
    text = page(report, {})
    assert "the prior did not help" in text
    assert "fewer forwards with the prior" not in text


@pytest.mark.parametrize("missing", sorted(made_up()))
def test_a_missing_part_is_left_out(missing):
    report = made_up()
    del report[missing]
    assert page(report, {}).endswith("</html>\n")


def test_an_empty_report_is_still_a_page():
    assert "<h1>" in page({}, {})
