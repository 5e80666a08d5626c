"""Jobs where several routers share a server: each runs those of its own endpoints."""

import datetime as dt
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from jobs_rig import (
    BUCKET,
    HANDLER,
    Taken,
    Webhook,
    check_answers,
    check_ends,
    client,
    deploy,
    ended,
    hand_in,
    left,
    listening,
    wait_for,
    wait_for_notices,
)
from real_server import Server, is_running, until

from coldspark.cluster.ownership import owner_of

JOBS = 300
TOLD_AT_ONCE = 16
NAMES = [f"drain-{letter}" for letter in "abcdefgh"]
THEIRS = next(name for name in NAMES if owner_of(name, 2) == 1)
PROVISIONED = {"MemorySizeInMB": 1024, "MaxConcurrency": 4, "ProvisionedConcurrency": 1}
pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


def handler_that(first: str) -> bytes:
    """Return a handler that does something before it does what it is for."""
    handler = HANDLER.replace(b"import os\n", b"import os, time\n")
    return handler.replace(b"    os.write", f"    {first}\n    os.write".encode())


def one_for_each(routers: int) -> list[str]:
    """Return names of endpoints of which each router owns one, in the routers' order."""
    owners = {owner_of(name, routers): name for name in NAMES}
    return [owners[router] for router in range(routers)]


@pytest.fixture
def hook() -> Iterator[str]:
    """A webhook on this machine."""
    with listening() as url:
        yield url


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    """Whoever is started last is ended, come what may."""
    started: list[Server] = []
    yield started
    if started and is_running(started[-1].process.pid):
        started[-1].stop()


def test_jobs_of_two_routers_survive_kills_of_the_lead_of_the_other_and_of_all(
    tmp_path: Path, hook: str, servers: list[Server]
) -> None:
    """Each has one final state, one answer at its place and a notice, whoever was killed."""
    data, effects, names = tmp_path / "data", tmp_path / "effects", one_for_each(2)
    servers.append(Server(data, "--routers", "2"))
    deploy(
        servers[-1],
        hook,
        effects,
        names,
        handler=handler_that("time.sleep(0.2)"),
        concurrency_max=4,
    )
    taken = hand_in(servers[-1], names, JOBS)

    wait_for(data, JOBS // 8)
    assert ended(data) < JOBS
    servers[-1].kill()
    servers.append(Server(data, "--routers", "2"))

    wait_for(data, JOBS // 4)
    assert ended(data) < JOBS
    kill_a_router(servers[-1], 1)

    wait_for(data, JOBS // 2)
    assert ended(data) < JOBS
    for pid in [*servers[-1].routers().values(), servers[-1].process.pid]:
        os.kill(pid, signal.SIGKILL)
    servers[-1].process.wait(60)
    servers.append(Server(data, "--routers", "2"))

    check_all(servers[-1], taken, effects)
    # Those that were being told of when the process that tells was killed, twice.
    assert sum(Webhook.told.values()) - JOBS <= 2 * TOLD_AT_ONCE


def test_four_routers_drain_and_two_of_them_are_killed(
    tmp_path: Path, hook: str, servers: list[Server]
) -> None:
    """Each wakes its own endpoint from zero. As the lead lives, nobody is told twice."""
    data, effects, names = tmp_path / "data", tmp_path / "effects", one_for_each(4)
    servers.append(Server(data, "--routers", "4"))
    deploy(
        servers[-1],
        hook,
        effects,
        names,
        handler=handler_that("time.sleep(0.2)"),
        concurrency_max=4,
    )
    assert [servers[-1].client.endpoint(name)["router"] for name in names] == [0, 1, 2, 3]
    assert [servers[-1].replicas(name) for name in names] == [0] * 4
    taken = hand_in(servers[-1], names, JOBS)
    taken |= hand_in_with_boto3(servers[-1], names, JOBS)
    for router in (1, 3):
        wait_for(data, JOBS // 8)
        assert ended(data) < len(taken)
        kill_a_router(servers[-1], router)
    check_all(servers[-1], taken, effects)
    assert sum(Webhook.told.values()) == len(taken)


def hand_in_with_boto3(server: Server, names: list[str], first: int) -> Taken:
    """Hand one job in for each endpoint, with its body in a bucket."""
    s3, runtime = client("s3", server), client("sagemaker-runtime", server)
    taken: Taken = {}
    for number, name in enumerate(names, first):
        s3.put_object(Bucket=BUCKET, Key=f"in/{number}", Body=b"%d" % number)
        answer = runtime.invoke_endpoint_async(
            EndpointName=name,
            InputLocation=f"s3://{BUCKET}/in/{number}",
            ContentType="application/octet-stream",
            InferenceId=f"job-{number}",
        )
        taken[answer["OutputLocation"]] = str(number)
    return taken


def kill_a_router(server: Server, router: int) -> None:
    """Kill a router beside the lead, and wait until there is another in its place."""
    old = server.routers()[router]
    os.kill(old, signal.SIGKILL)
    until(lambda: server.routers().get(router, old) != old, "the router is there again")


def check_all(server: Server, taken: Taken, effects: Path) -> None:
    """Wait for the end, stop the server, and count."""
    wait_for(server.data, len(taken))
    check_answers(server, taken)
    wait_for_notices(len(taken))
    server.stop()
    repeated = check_ends(server.data, effects, len(taken))
    told_again = sum(Webhook.told.values()) - len(taken)
    print(f"\n{repeated} jobs were run again, {told_again} told again")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two routers, for tests that kill nobody."""
    found = Server(tmp_path_factory.mktemp("shared") / "data", "--routers", "2")
    yield found
    found.stop()


def measured(server: Server, metric: str, statistic: str, **more: str) -> list[float]:
    """Return what was measured of the other router's endpoint, minute by minute."""
    now = dt.datetime.now(dt.UTC)
    dimensions = {"EndpointName": THEIRS} | more
    found = client("cloudwatch", server).get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
        StartTime=now - dt.timedelta(minutes=15),
        EndTime=now + dt.timedelta(minutes=1),
        Period=60,
        Statistics=[statistic],
    )
    return [float(point[statistic]) for point in found["Datapoints"]]


def test_a_backlog_scales_another_routers_endpoint_and_is_seen_by_all(
    shared: Server, hook: str, tmp_path: Path
) -> None:
    """More replicas than one; the lead's metrics, lists and cancelling know of its jobs."""
    gate = tmp_path / "gate"
    handler = handler_that(f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)")
    deploy(shared, hook, tmp_path / "effects", [THEIRS], handler=handler)
    hand_in(shared, [THEIRS], JOBS)
    until(lambda: shared.replicas(THEIRS) == 2, "there are two replicas")
    depths = partial(measured, shared, "ApproximateBacklogSize", "Maximum")
    until(lambda: max(depths(), default=0) > 0, "the depth is known")
    waiting = shared.client.jobs(THEIRS, limit=1_000)["jobs"]
    assert len(waiting) == JOBS
    newest = waiting[0]["id"]
    shared.client.cancel_job(newest)
    until(lambda: shared.client.job(newest)["state"] == "cancelled", "it is cancelled")
    gate.touch()
    wait_for(shared.data, JOBS)
    wait_for_notices(JOBS)
    counts = partial(measured, shared, "InvocationsProcesssed", "Sum", VariantName="AllTraffic")
    until(lambda: sum(counts()) == JOBS - 1, "all others are counted")


def test_an_alarm_tells_its_webhook_once(shared: Server, hook: str) -> None:
    """The lead alone watches and tells."""
    cloudwatch = client("cloudwatch", shared)
    alarm(cloudwatch, "told", AlarmActions=[hook])
    cloudwatch.set_alarm_state(AlarmName="told", StateValue="ALARM", StateReason="a drill")

    def is_done() -> bool:
        found = cloudwatch.describe_alarm_history(AlarmName="told", HistoryItemType="Action")
        return any("Successfully" in one["HistorySummary"] for one in found["AlarmHistoryItems"])

    until(is_done, "the history says so")
    until(lambda: bool(Webhook.alarms), "the webhook was told")
    until(lambda: left(shared.data) == 0, "nothing is left to be told")
    assert Webhook.alarms == ["told"]


def alarm(cloudwatch: Any, name: str, **given: object) -> None:
    """Make an alarm that has nothing to say by itself."""
    cloudwatch.put_metric_alarm(
        AlarmName=name,
        Namespace="Own",
        MetricName="Errors",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **given,
    )


def test_an_alarm_takes_a_change_of_another_routers_endpoint_back(
    shared: Server, hook: str, tmp_path: Path
) -> None:
    """Also where the alarm is a new one of a name that was in ALARM before."""
    name = next(one for one in NAMES if owner_of(one, 2) == 1 and one != THEIRS)
    sagemaker, cloudwatch = client("sagemaker", shared), client("cloudwatch", shared)
    deploy(shared, hook, tmp_path / "effects", [name], bucket="changes")
    old = sagemaker.describe_endpoint_config(EndpointConfigName=name)
    (variant,) = old["ProductionVariants"]
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-new",
        ProductionVariants=[{**variant, "ServerlessConfig": PROVISIONED}],
        AsyncInferenceConfig=old["AsyncInferenceConfig"],
    )
    alarm(cloudwatch, "errors")
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="before")
    cloudwatch.delete_alarms(AlarmNames=["errors"])
    alarm(cloudwatch, "errors")
    routing = {
        "Type": "CANARY",
        "WaitIntervalInSeconds": 600,
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 50},
    }
    sagemaker.update_endpoint(
        EndpointName=name,
        EndpointConfigName=f"{name}-new",
        DeploymentConfig={
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}]},
        },
    )

    def status() -> str:
        return str(sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"])

    until(lambda: status() == "Updating", "the change is under way")
    cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a drill")
    until(lambda: status() == "InService", "the change is over")
    after = sagemaker.describe_endpoint(EndpointName=name)
    assert after["EndpointConfigName"] == name
    assert "alarm errors: a drill" in after["FailureReason"]
