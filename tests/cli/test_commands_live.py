"""meters, alerts and check --meters, on a real service."""

import time
import uuid

from tests.cli.running import HOUR, NOW, Service, an_hour, event, new_payer, stamp

SECONDS_MAX = 30.0


def published(service: Service) -> str:
    """A payer with an hour that ended, an instance that runs, and a limit that it passes."""
    payer = new_payer()
    service.run("cost-center", "set", payer, "--spending-limit", "40", "--strategy", "other")
    start = {"workspaceClass": "g1-large", "startedTime": stamp(NOW - HOUR)}
    service.publish(
        *an_hour(payer, str(uuid.uuid4())),
        event("started", payer, str(uuid.uuid4()), **start),
    )
    deadline = time.monotonic() + SECONDS_MAX
    while "alerts" in (answer := service.ask("alerts", payer)) and not answer["alerts"]:
        assert time.monotonic() < deadline, "no alert was raised"
        time.sleep(0.1)
    return payer


class TestMeters:
    def test_of_a_payer_with_its_windows(self, service: Service) -> None:
        payer = published(service)
        (meters,) = service.ask("meters", payer)["meters"]
        text = service.run("meters", payer)

        (running,) = [each for each in meters["classes"] if each["running_instances"]]
        assert ("g1-large", 1) == (running["workspace_class"], running["running_instances"])
        assert "19.999999998" == running["credits_per_hour"]
        assert 2000 == meters["balance_cents"]
        assert "19.999999998" in text
        assert "Windows" in text
        assert "0:05:00" in text

    def test_of_everybody(self, service: Service) -> None:
        payers = {published(service), published(service)}
        everybody = service.ask("meters", "--all")["meters"]
        assert payers <= {each["attribution_id"] for each in everybody}
        text = service.run("meters", "--all")
        assert all(payer in text for payer in payers)
        assert "Windows" not in text


class TestAlerts:
    def test_of_a_payer(self, service: Service) -> None:
        payer = published(service)
        (alert,) = service.ask("alerts", payer)["alerts"]
        assert (50, 2000, 40) == (
            alert["threshold_percent"],
            alert["balance_cents"],
            alert["spending_limit"],
        )
        text = service.run("alerts", payer)
        assert "50 %" in text
        assert "20.00" in text
        assert payer in service.run("alerts", "--all")


class TestCheck:
    def test_compares_the_meters_when_asked_to(self, service: Service) -> None:
        published(service)
        assert "✓ meters show balances" in service.run("check", "--meters")
        assert "meters" not in service.run("check")
