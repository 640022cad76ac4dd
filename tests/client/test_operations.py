import threading
import time

import pytest
from evenhand import AsyncClient
from evenhand.audits import Audit
from evenhand.client import Client
from evenhand.cohorts import Cohort
from evenhand.errors import Cancelled, DeadlineExceeded, InvalidInput, NotFound, OperationFailed

from services import errors as platform


def test_an_operation_is_found_again_by_name_in_another_client(client, twin, spec):
    twin.hold.clear()
    name = client.audits.create(spec).name
    twin.hold.set()
    with Client(twin.address) as another:
        operation = another.operations.get(name)
        audit = operation.result(10)
    assert isinstance(audit, Audit)
    assert audit.state == "succeeded"


def test_progress_counts_rows_and_ends_at_all_of_them(client, spec):
    operation = client.audits.create(spec)
    assert (operation.metadata.done, operation.metadata.total, operation.metadata.eta_s) == (0, 400, None)
    operation.wait(10, progress=True)
    progress = operation.metadata
    assert (progress.done, progress.total, progress.unit, progress.per_s, progress.eta_s) == (400, 400, "rows", 50, 2)
    assert operation.done()


def test_the_bar_is_drawn_on_standard_error_only(client, spec, capfd):
    client.audits.create(spec).wait(10, progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "400/400 rows" in captured.err
    assert "50.0 rows/s" in captured.err


def test_a_timeout_leaves_the_operation_running(client, twin, spec):
    twin.hold.clear()
    operation = client.audits.create(spec)
    with pytest.raises(DeadlineExceeded) as caught:
        operation.result(timeout=0.1)
    assert operation.name in caught.value.hint
    assert not operation.done()
    assert twin.called("CancelOperation") == []


def test_cancelling_ends_it_as_cancelled(client, twin, spec):
    twin.hold.clear()
    operation = client.audits.create(spec)
    operation.cancel()
    with pytest.raises(Cancelled):
        operation.result(10)
    assert operation.state == "cancelled"


def test_a_failed_operation_raises_with_its_typed_cause(client, twin, spec):
    twin.fail_operation_with = platform.ShapeMismatch("64x64 was expected", field="shard 3")
    with pytest.raises(OperationFailed) as caught:
        client.audits.create(spec).result(10)
    assert type(caught.value.__cause__).__name__ == "ShapeMismatch"
    assert (caught.value.reason, caught.value.field) == ("SHAPE_MISMATCH", "shard 3")
    assert isinstance(caught.value.__cause__, InvalidInput)


def test_waiting_outlasts_an_outage_of_the_server(client, twin, spec):
    twin.hold.clear()
    operation = client.audits.create(spec)
    twin.failures["WaitOperation"] = [platform.Unavailable("restarting", retry_after_s=0.001) for _ in range(8)]
    threading.Timer(0.2, twin.hold.set).start()
    assert operation.result(20).state == "succeeded"


def test_an_operation_that_is_gone_is_not_found(client):
    with pytest.raises(NotFound):
        client.operations.get("operations/none")


def test_a_finished_one_can_be_deleted_and_a_running_one_not(client, twin, spec):
    twin.hold.clear()
    operation = client.audits.create(spec)
    with pytest.raises(platform_precondition()) as caught:
        client.operations.delete(operation.name)
    assert caught.value.reason == "OPERATION_NOT_DONE"
    twin.hold.set()
    operation.wait(10)
    client.operations.delete(operation.name)
    assert len(client.operations.list()) == 0


def platform_precondition():
    from evenhand.errors import FailedPrecondition

    return FailedPrecondition


def test_listed_operations_make_a_table(client, spec):
    client.audits.create(spec).wait(10)
    client.trainings.create("chest-classifier", seed=3).wait(10)
    frame = client.operations.list().to_pandas()
    assert list(frame["state"]) == ["succeeded", "succeeded"]
    assert list(frame["unit"]) == ["rows", "epochs"]


def test_trainings_give_their_scores(client):
    training = client.trainings.create("chest-classifier", seed=3).result(10)
    assert training.scores == {"auroc": 0.9}
    assert client.trainings.get(training.name).to_dict()["seed"] == 3


async def test_the_async_future_waits_watches_and_cancels(twin, spec):
    async with AsyncClient(twin.address) as client:
        seen = []
        operation = await client.audits.create(spec)
        audit = await (await operation.wait(10, on_progress=seen.append)).result()
        assert (await audit.report()).verify()
        assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
        assert seen[-1].done == 400
        twin.hold.clear()
        second = await client.audits.create(spec)
        assert not await second.done()
        await second.cancel()
        with pytest.raises(Cancelled):
            await second.result(10)
        assert len(await client.operations.list()) == 2


async def test_the_async_cohort_is_the_same_as_the_blocking_one(twin, folder):
    async with AsyncClient(twin.address) as client:
        arguments = {"schema": folder / "schema.yaml", "table": folder / "rows.csv"}
        cohort = await (await client.cohorts.create(folder / "images", **arguments)).result(10)
    assert isinstance(cohort, Cohort)
    assert set(twin.uploads["uploads/1"]) == {"p1/a.dcm", "b.dcm"}


def test_a_wait_asks_the_server_to_wait_instead_of_asking_often(client, twin, spec):
    operation = client.audits.create(spec)
    start = time.monotonic()
    operation.wait(10)
    assert all(request.timeout.seconds >= 9 for request in twin.called("WaitOperation"))
    assert time.monotonic() - start < 5
