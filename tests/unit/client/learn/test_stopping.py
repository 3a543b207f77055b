from __future__ import annotations

from client.learn.stopping import Plateau


def ends_after(losses, **settings):
    plateau = Plateau(start=1.0, best=1.0, **settings)
    return next((i for i, loss in enumerate(losses) if plateau.seen(loss)), None)


def test_a_search_goes_on_while_it_improves_and_ends_patience_values_later():
    assert ends_after([0.9, 0.8, 0.8, 0.8, 0.8], patience=3, tolerance=0.01) == 4
    assert ends_after([1 - 0.05 * i for i in range(20)], patience=3, tolerance=0.01) is None


def test_what_counts_is_measured_against_what_was_gained_not_against_the_loss():
    slow_but_sure = [1 - 0.001 * i for i in range(1, 10)]
    assert ends_after(slow_but_sure, patience=2, tolerance=0.01) is None
    crumbs = [0.5, *(0.5 - 0.0001 * i for i in range(1, 10))]
    assert ends_after(crumbs, patience=2, tolerance=0.01) == 2


def test_a_loss_that_only_rises_ends_a_search():
    assert ends_after([1.1, 1.2, 1.3], patience=2, tolerance=0.01) == 1
