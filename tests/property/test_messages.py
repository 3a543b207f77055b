from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ProtocolError
from common.messages import (
    PriorNotice,
    PriorReply,
    ReadyQuery,
    ReadyReply,
    RoundCall,
    RoundStep,
    StepReply,
    from_fields,
    unpack_basis,
)

FORMS = [ReadyQuery, ReadyReply, RoundCall, RoundStep, StepReply, PriorNotice, PriorReply]
VALUES = st.one_of(
    st.text(), st.integers(), st.floats(), st.booleans(), st.binary(), st.none(), st.lists(st.integers())
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
@given(data=st.data())
def test_hostile_fields_raise_only_protocol_errors(form, data):
    found = {name: data.draw(VALUES) for name in form.__dataclass_fields__}
    try:
        from_fields(form, found)
    except ProtocolError:
        return


@given(data=st.binary(max_size=4096), width=st.integers(1, 64))
def test_hostile_bytes_of_a_basis_raise_only_protocol_errors(data, width):
    try:
        unpack_basis(data, width=width)
    except ProtocolError:
        return
