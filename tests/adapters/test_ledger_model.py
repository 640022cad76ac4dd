"""The job API against a model of it: any sequence of calls, by workers that sleep through leases, ends as predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from services.adapters.ledger import ChunkSpec, Lease, LeaseLost, Ledger, open_ledger
from services.errors import Conflict, FailedPrecondition, NotFound
from tests.clock import ManualClock

TTL_S = 10


@dataclass
class Chunk:
    last: bool
    token: int = 0
    expires: datetime | None = None
    done: bool = False


@dataclass
class Job:
    name: str
    chunks: list[Chunk]
    body: str
    state: str = "pending"
    cancelling: bool = False
    retries: int = 0
    deleted: bool = False
    committed: list[int] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return not self.deleted and self.state in ("pending", "running")


class JobModel(RuleBasedStateMachine):
    new_url: Callable[[], str]
    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.ledger: Ledger = open_ledger(self.new_url(), clock=self.clock, skew_s=0)
        self.jobs: dict[str, Job] = {}
        self.requests: dict[str, Job] = {}

    def teardown(self) -> None:
        self.ledger.close()

    @rule(
        scores=st.integers(0, 2), reduces=st.integers(0, 1), request=st.sampled_from("-ab"), body=st.sampled_from("xy")
    )
    def create(self, scores: int, reduces: int, request: str, body: str) -> None:
        request_id = "" if request == "-" else request
        lasts = [False] * scores + [True] * reduces or [False]
        specs = [ChunkSpec("k", {}, rows=1, last=last) for last in lasts]
        known = self.requests.get(request_id)
        try:
            operation, new = self.ledger.create_operation("x", "r", {}, specs, request_id=request_id, body_digest=body)
        except Conflict:
            assert known
            assert known.body != body
            return
        if known:
            assert (operation.name, new, known.body) == (known.name, False, body)
            return
        assert new
        job = self.jobs[operation.name] = Job(operation.name, [Chunk(last) for last in lasts], body)
        if request_id:
            self.requests[request_id] = job

    @rule(target=leases)
    def lease(self) -> MultipleResults[Lease] | Lease:
        for job in self.jobs.values():
            self._settle(job)
        lease = self.ledger.lease_chunk("w", TTL_S, ["k"])
        predicted = next(((job, number) for job in self.jobs.values() for number in self._leasable(job)), None)
        if lease is None:
            assert predicted is None
            return multiple()
        assert predicted is not None
        job, number = predicted
        chunk = job.chunks[number]
        job.retries += chunk.expires is not None
        job.state, chunk.token, chunk.expires = "running", chunk.token + 1, self.clock.now + timedelta(seconds=TTL_S)
        assert (lease.operation, lease.chunk, lease.token) == (job.name, number, chunk.token)
        return lease

    @rule(lease=leases)
    def commit(self, lease: Lease) -> None:
        job, chunk = self.jobs[lease.operation], self.jobs[lease.operation].chunks[lease.chunk]
        again = chunk.done and chunk.token == lease.token and not job.deleted
        if (
            not self._attempt(lease, lambda: self.ledger.commit_chunk(lease, {}, response={"r": 1}), or_if=again)
            or again
        ):
            return
        chunk.done, chunk.expires = True, None
        job.committed.append(lease.chunk)
        if all(each.done for each in job.chunks):
            job.state = "succeeded"
        self._settle(job)

    @rule(lease=leases)
    def renew(self, lease: Lease) -> None:
        job = self.jobs[lease.operation]
        if self._attempt(lease, lambda: self.ledger.renew(lease, TTL_S)):
            job.chunks[lease.chunk].expires = self.clock.now + timedelta(seconds=TTL_S)

    @rule(lease=leases)
    def release(self, lease: Lease) -> None:
        job = self.jobs[lease.operation]
        if self._attempt(lease, lambda: self.ledger.release(lease)):
            job.chunks[lease.chunk].expires = None
            self._settle(job)

    @rule(lease=leases)
    def fail(self, lease: Lease) -> None:
        if self._attempt(lease, lambda: self.ledger.fail_operation(lease, {"message": "m"})):
            self.jobs[lease.operation].state = "failed"

    @rule(lease=leases)
    def finish_cancelled(self, lease: Lease) -> None:
        if self._attempt(lease, lambda: self.ledger.finish_cancelled(lease)):
            self.jobs[lease.operation].state = "cancelled"

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if job := self._some_job(data):
            job.cancelling |= job.open
            self._settle(job)
            assert self.ledger.request_cancel(job.name).state == job.state

    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        if not (job := self._some_job(data)):
            return
        try:
            self.ledger.delete_operation(job.name)
        except FailedPrecondition:
            assert job.open
            return
        assert not job.open
        job.deleted = True
        self.requests = {request: each for request, each in self.requests.items() if each is not job}
        with pytest.raises(NotFound):
            self.ledger.get_operation(job.name)

    @rule(seconds=st.sampled_from([1, 5, TTL_S]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def everything_reads_as_predicted(self) -> None:
        kept = [job for job in self.jobs.values() if not job.deleted]
        listed, token = [], ""
        while True:
            page, token = self.ledger.list_operations(page_size=2, page_token=token)
            listed += page
            if not token:
                break
        assert [operation.name for operation in listed] == [job.name for job in kept][::-1]
        for operation, job in zip(listed, kept[::-1], strict=True):
            predicted = (job.state, len(job.committed), job.retries, job.cancelling)
            assert (operation.state, operation.rows_done, operation.retries, operation.cancel_requested) == predicted
            assert (operation.response is not None) == (job.state == "succeeded")

    def _some_job(self, data: st.DataObject) -> Job | None:
        kept = [job for job in self.jobs.values() if not job.deleted]
        return data.draw(st.sampled_from(kept)) if kept else None

    def _leasable(self, job: Job) -> list[int]:
        if not job.open or job.cancelling:
            return []
        others_done = all(chunk.done for chunk in job.chunks if not chunk.last)
        return [
            number
            for number, chunk in enumerate(job.chunks)
            if not chunk.done
            and (chunk.expires is None or chunk.expires <= self.clock.now)
            and (others_done or not chunk.last)
        ]

    def _settle(self, job: Job) -> None:
        """A cancelled job that nobody holds is over."""
        held = any(chunk.expires is not None and chunk.expires > self.clock.now for chunk in job.chunks)
        if job.open and job.cancelling and not held:
            job.state = "cancelled"

    def _attempt(self, lease: Lease, use: Callable[[], object], or_if: bool = False) -> bool:
        """Use a lease; whether it worked, which must be as the model says."""
        job, chunk = self.jobs[lease.operation], self.jobs[lease.operation].chunks[lease.chunk]
        valid = job.open and chunk.token == lease.token and chunk.expires is not None
        try:
            use()
        except LeaseLost:
            assert not valid
            assert not or_if
            return False
        assert valid or or_if
        return True


def test_any_sequence_of_calls_ends_as_the_model_predicts(new_ledger_url: Callable[[], str]) -> None:
    class Machine(JobModel):
        new_url = staticmethod(new_ledger_url)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=15,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
