"""Endpoints, variants and replicas as they are now, for whoever asks."""

from coldspark import clock
from coldspark.fleet.fleet import DecisionRecord
from coldspark.fleet.replica import Replica, ReplicaState
from coldspark.platform.controller import Controller
from coldspark.platform.hosted_fleet import HostedFleet
from coldspark.platform.ports import DecisionView, ReplicaReader, ReplicaView, VariantView
from coldspark.platform.scale_bounds import FleetScaleBounds
from coldspark.platform.traffic_split import TrafficSplit
from coldspark.spec.types import EndpointStatus, VariantDefinition


class EndpointViews:
    """Looks at hosted fleets; it changes nothing and wakes nothing."""

    def __init__(
        self, controller: Controller, host: ReplicaReader | None, floors: FleetScaleBounds
    ) -> None:
        self._controller = controller
        self._floors = floors
        self._host = host

    def of(self, split: TrafficSplit) -> tuple[VariantView, ...]:
        """Return the variants of a traffic split; those that are not opened yet are left out."""
        hosted_fleets = split.hosted_fleets
        return tuple(
            self._variant(variant, hosted_fleets[variant.name])
            for variant in split.variants
            if variant.name in hosted_fleets
        )

    def _variant(self, variant: VariantDefinition, hosted: HostedFleet) -> VariantView:
        fleet = hosted.fleet
        return VariantView(
            name=variant.name,
            weight=variant.weight,
            revision=fleet.revision,
            status=fleet.status,
            failure=fleet.failure,
            queued=fleet.queued,
            replicas=tuple(self._replica(replica) for replica in fleet.replicas()),
            decisions=tuple(_decision(note) for note in fleet.decisions),
            floor=self._floors.view(hosted),
            has_started=fleet.has_started,
        )

    def _replica(self, replica: Replica) -> ReplicaView:
        now_s = clock.monotonic_s()
        grant = self._controller.placement.grant(replica.id)
        state = replica.state.value
        if replica.state is ReplicaState.READY and replica.running:
            state = "busy"
        return ReplicaView(
            replica=replica.id,
            revision=replica.revision.id,
            state=state,
            running=len(replica.running),
            age_s=now_s - replica.requested_s,
            idle_s=None if replica.idle_since_s is None else now_s - replica.idle_since_s,
            node=None if grant is None else grant.node,
            devices=()
            if grant is None
            else tuple(
                f"{device.type} (simulated)" if device.is_simulated else device.type
                for device in grant.devices
            ),
            template=None if self._host is None else self._host.template(replica.id),
        )


def _decision(note: DecisionRecord) -> DecisionView:
    at_ms = clock.wall_ms() - round((clock.monotonic_s() - note.at_s) * 1000)
    return DecisionView(at_ms=at_ms, what=note.what, reason=note.reason)


def worst(statuses: list[EndpointStatus]) -> EndpointStatus:
    """Return what an endpoint is whose variants are these."""
    for status in (EndpointStatus.FAILED, EndpointStatus.RETIRING, EndpointStatus.UPDATING):
        if status in statuses:
            return status
    return EndpointStatus.READY
