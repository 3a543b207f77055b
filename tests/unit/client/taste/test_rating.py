"""`shoal rate` on a tiny backbone: what is asked, kept, taken back, shown again and learned."""

from __future__ import annotations

import json
import signal

import pytest
from PIL import Image

from client.backbone.engine import TorchEngine
from client.backbone.folder import Sampling
from client.choices import Choices
from client.cli import main
from client.learn.settings import Learned
from client.taste import easel, sitting
from client.taste.looking import OpenPairs
from client.taste.standing import standing


@pytest.fixture
def home(tmp_path, tiny_backbone, monkeypatch):
    monkeypatch.setenv("SHOAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHOAL_MODEL", str(tiny_backbone))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(easel, "sampling", lambda _: Sampling(steps=2, guidance=1.0))
    monkeypatch.setattr(easel, "open_engine", lambda folder, *_, **__: TorchEngine(folder))
    return tmp_path / "home"


@pytest.fixture
def studied(monkeypatch):
    """Learnings that were asked for, none of which takes place."""
    found = []

    def study(home, model, listener, **how):
        found.append(len(Choices(home).all()))

    monkeypatch.setattr(sitting, "study_taste", study)
    return found


@pytest.fixture
def rate(home, capsys, monkeypatch):
    """Run `shoal rate` with these answers; give its exit code and what it printed on both streams."""

    def run(answers, *words):
        told = iter(answers)

        def answer(*_, **__):
            word = next(told, None)
            if word is None:
                raise EOFError
            if word == "^C":
                before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs ignore it
                try:
                    signal.raise_signal(signal.SIGINT)
                finally:
                    signal.signal(signal.SIGINT, before)
            return word

        monkeypatch.setattr("builtins.input", answer)
        with pytest.raises(SystemExit) as ended:
            main(["rate", "--pool", "2", *map(str, words)])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def picked(home):
    return [one.picked for one in Choices(home).all()]


def test_answers_are_kept_as_they_are_given(home, rate, studied, tmp_path):
    code, out, _ = rate("12n", "--count", 3, "--out", tmp_path / "out", "--learn-every", 0)
    assert code == 0
    assert picked(home) == ["first", "second", "neither"]
    assert studied == [3]
    assert "3 choices, 1 of them neither, not learned yet" in out
    files = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert files == [f"pair-{pair}-{number}.png" for pair in (1, 2, 3) for number in (1, 2)]
    for choice in Choices(home).all():
        assert choice.first.prompt == choice.second.prompt
        assert choice.first.taste != choice.second.taste


def test_a_wrong_answer_is_kept_nowhere_and_undo_asks_again(home, rate, studied, tmp_path):
    _, out, _ = rate(["maybe", "1", "u", "2", "q"], "--out", tmp_path)
    assert "'maybe' is no answer" in out
    assert picked(home) == ["second"]
    first, second, third = ((tmp_path / f"pair-{i}-1.png").read_bytes() for i in (1, 2, 3))
    assert first == third != second
    assert rate("u", "--out", tmp_path)[0] == 0
    assert picked(home) == []


def test_it_is_learned_every_so_often_when_asked_for_and_at_the_end(home, rate, studied):
    rate("11l111", "--count", 5, "--learn-every", 2)
    assert studied == [2, 2, 4, 5]


def test_ctrl_c_keeps_what_was_answered_and_the_pair_that_was_looked_at(home, rate, studied, tmp_path):
    code, out, _ = rate(["1", "^C"], "--out", tmp_path / "a")
    assert code == 130
    assert "every answer is kept" in out
    assert picked(home) == ["first"]
    assert studied == []
    [open_pair] = OpenPairs(home).all()
    rate("2", "--count", 1, "--out", tmp_path / "b")
    assert Choices(home).all()[-1].first == open_pair.recipes[0]
    assert OpenPairs(home).all() == []
    for number in (1, 2):
        before, after = (tmp_path / name for name in (f"a/pair-2-{number}.png", f"b/pair-1-{number}.png"))
        assert Image.open(before).tobytes() == Image.open(after).tobytes()


def test_pairs_of_prompts_and_of_concepts_that_are_known(home, rate, studied):
    assert rate("1", "--prompt", "a <nobody>")[0] == 1
    assert Choices(home).all() == []
    rate("11", "--prompt", "a red dog", "--prompt", "a cat", "--count", 2)
    assert [one.first.prompt for one in Choices(home).all()] == ["a red dog", "a cat"]


@pytest.mark.parametrize(
    ("words", "told"), [(("--count", 0), "--count"), (("--pool", 1), "--pool"), (("--prompt", " "), "--prompt")]
)
def test_what_cannot_be_done_is_refused_with_a_remedy(home, rate, words, told):
    code, _, err = rate("", *words)
    assert code == 1
    assert told in err


def test_it_says_what_became_better(home, rate, monkeypatch):
    learned = Learned(
        token=None, anchor=None, start_loss=0.6931, loss=0.2231, forwards=900, reason="plateau", overhead=0,
        start="anchor", history=(),
    )  # fmt: skip
    monkeypatch.setattr(sitting, "study_taste", lambda *_, **__: learned)
    _, out, _ = rate("1", "--count", 1)
    assert "with 900 forwards; it stopped getting better" in out
    assert "for 80 % likely, before for 50 %" in out


@pytest.mark.slow
def test_a_whole_sitting_with_a_real_learning(home, rate, tmp_path):
    code, out, err = rate("1212", "--count", 4, "--pool", 3, "--learn-every", 2, "--forwards", 300, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["answers"] == 4
    assert told["taste"]["learned"]
    assert told["learned"]["loss"] <= told["learned"]["start_loss"]
    assert told["files"] == []
    assert err.count("learned your taste with") == 2
    assert standing(home).known
    main_code = rate("q", "--count", 1)[0]
    assert main_code == 0
