"""Messages name the field, the wrong value and what is allowed; those on ranges had no value."""

import grpc
import pytest

from tests.contract.calls.asking import list_usage, set_cost_center
from tests.harness import Calls, InProcessService, settings_for


def told(calls: Calls, start: str, end: str) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        list_usage(calls, start=start, end=end)
    return caught.value.details() or ""


def test_they_name_both_times_to_the_nanosecond() -> None:
    with InProcessService(settings_for(None)) as service:
        late = "2026-01-01T00:00:00.000000002Z"
        early = "2026-01-01T00:00:00.000000001Z"
        said = told(service.calls, late, early)
        assert f"from {late}" in said
        assert f"to {early}" in said
        said = told(service.calls, "2020-01-01T00:00:00Z", early)
        assert "from 2020-01-01T00:00:00Z" in said
        assert "300 days" in said


def test_set_cost_center_names_the_field_inside_the_message() -> None:
    with InProcessService(settings_for(None)) as service:
        with pytest.raises(grpc.RpcError) as caught:
            set_cost_center(service.calls, "nobody")
        assert "cost_center.attribution_id 'nobody'" in (caught.value.details() or "")
