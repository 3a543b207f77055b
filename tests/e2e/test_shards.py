"""Beyond one SuperLink: two servers with devices of their own feed one registry,, and both are in one fit."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from server.keys import KEY_FILE
from server.registry import Registry
from server.service.proxy import find_proxy
from simulations.harbour import Harbour, running_devices
from simulations.village import BACKBONE, public_basis, teach

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_proxy() is None and "CI" not in os.environ, reason="no nginx: apt install nginx-light"),
]
COUNT = 8


def test_two_superlinks_feed_one_registry(tmp_path):
    url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    shards, people = [], []
    with ExitStack() as running:
        for name in ("north", "south"):
            settings = {"registry": url, "shard": name, "rounds__poll_seconds": 0.5, "patience_seconds": 120.0}
            shards.append(Harbour(tmp_path / name, **settings))
        # One federation has one operator: people of both trust priors by the same key.
        shutil.copyfile(shards[0].state / KEY_FILE, shards[1].state / KEY_FILE)
        for shard in shards:
            running.enter_context(shard)
            here = [tmp_path / shard.state.parent.name / "people" / str(number) for number in range(COUNT)]
            shard.enrol(*here)
            for number, folder in enumerate(here):
                teach(folder, np.random.default_rng([len(people), number]))
            people.append(here)
            running.enter_context(running_devices(here, shard.state.parent / "nodes.log"))
        for shard in shards:
            assert shard.command("run-round")["outcome"] == "completed", shard.said
        with Registry(url) as registry:
            held = registry.rounds()
            sums = registry.sums(BACKBONE, "object", public_basis())
        assert [(one.shard, one.people) for one in held] == [("north", COUNT), ("south", COUNT)]
        # One fit has the people of both; what it makes of so few is server.update's affair.
        assert [one.people for one in sums] == [COUNT, COUNT]
        for shard in shards:
            assert shard.command("status")["online"] == COUNT
