import asyncio
import threading

import grpc
import httpx
from evenhand.audit.v1 import audit_pb2, audit_service_pb2, audit_service_pb2_grpc

from services.errors import Unavailable


def test_running_work_ends_before_a_replica_does(make_world):
    world = make_world()
    begun = threading.Event()

    async def slow(payload, context):
        begun.set()
        await asyncio.sleep(0.6)
        return None, audit_pb2.Audit(name="audits/slow").SerializeToString()

    world.audit.GetAudit = slow
    replies = []
    asking = threading.Thread(
        target=lambda: replies.append(httpx.get(f"{world.http}/v1/audits/slow", headers={"Connection": "close"}))
    )
    asking.start()
    assert begun.wait(10)
    with grpc.insecure_channel(world.grpc) as channel:
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        call = stub.GetAudit.future(audit_service_pb2.GetAuditRequest(name="audits/slow"))
        world.run(asyncio.sleep(0.2))
        world.run(world.replica.stop())
        assert call.result(10).name == "audits/slow"
    asking.join(10)
    assert replies[0].status_code == 200
    assert world.edge.readiness.fault().reason == "DRAINING"


def test_a_ledger_or_a_host_that_is_away_makes_it_not_ready_and_then_ready_again(make_world, problem_of, monkeypatch):
    world = make_world()

    def away():
        raise Unavailable("the ledger cannot be used at the moment", reason="LEDGER_UNAVAILABLE")

    with monkeypatch.context() as patch:
        patch.setattr(world.ledger, "check", away)
        world.run(world.edge.readiness.look())
        reply = httpx.get(f"{world.http}/v2/health/ready")
        assert (reply.status_code, problem_of(reply)["reason"]) == (503, "LEDGER_UNAVAILABLE")
        assert int(reply.headers["retry-after"]) >= 1
        assert httpx.get(f"{world.http}/v2/health/live").status_code == 200
    world.run(world.edge.readiness.look())
    assert httpx.get(f"{world.http}/v2/health/ready").status_code == 200
