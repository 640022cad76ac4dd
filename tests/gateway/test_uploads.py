import os
import socket
import time

import grpc
import httpx
import pytest
from evenhand.cohort.v1 import cohort_service_pb2 as pb
from evenhand.cohort.v1 import cohort_service_pb2_grpc

from services.adapters.ledger import ChunkSpec, open_ledger
from services.errors import InvalidInput, NotFound, TooLarge
from services.gateway.resources.uploads import Uploads, checked_path, uploads_in_use


def files_of(world, upload):
    root = world.folder / upload
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def send(channel, messages):
    return cohort_service_pb2_grpc.CohortServiceStub(channel).UploadFiles(iter(messages), timeout=10)


def test_files_arrive_whole_over_grpc(world, channel):
    reply = send(
        channel,
        [
            pb.UploadFilesRequest(path="a/one.dcm", data=b"12"),
            pb.UploadFilesRequest(data=b"34"),
            pb.UploadFilesRequest(path="rows.csv", data=b"x"),
            pb.UploadFilesRequest(path="empty"),
        ],
    )
    assert (reply.files, reply.bytes) == (3, 5)
    assert files_of(world, reply.upload) == {"a/one.dcm": b"1234", "rows.csv": b"x", "empty": b""}
    again = send(channel, [pb.UploadFilesRequest(upload=reply.upload, path="rows.csv", data=b"yy")])
    assert again.upload == reply.upload
    assert files_of(world, reply.upload)["rows.csv"] == b"yy"


def test_a_cut_stream_keeps_whole_files_and_drops_the_last(world, channel):
    upload = send(channel, [pb.UploadFilesRequest(path="first", data=b"1")]).upload

    def messages():
        yield pb.UploadFilesRequest(upload=upload, path="second", data=b"2")
        yield pb.UploadFilesRequest(path="third", data=b"3")
        deadline = time.monotonic() + 20
        while "second" not in files_of(world, upload) and time.monotonic() < deadline:
            time.sleep(0.05)
        call.cancel()
        yield pb.UploadFilesRequest(data=b"never")

    call = cohort_service_pb2_grpc.CohortServiceStub(channel).UploadFiles.future(messages())
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    deadline = time.monotonic() + 5
    while any((world.folder / "uploads" / ".arriving").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert files_of(world, upload) == {"first": b"1", "second": b"2"}
    assert not any((world.folder / "uploads" / ".arriving").iterdir())


def test_files_arrive_over_http(world, web, problem_of):
    upload = web.post("/v1/uploads").json()["upload"]
    assert web.put(f"/v1/{upload}/files/deep/er/scan.dcm", content=b"pixels").status_code == 201
    assert web.get(f"/v1/{upload}").json() == {"upload": upload, "files": 1, "bytes": 6}
    assert files_of(world, upload) == {"deep/er/scan.dcm": b"pixels"}
    clash = web.put(f"/v1/{upload}/files/deep/er", content=b"")
    assert problem_of(clash)["reason"] == "UPLOAD_PATH_CONFLICT"
    clash = web.put(f"/v1/{upload}/files/deep/er/scan.dcm/x", content=b"")
    assert problem_of(clash)["reason"] == "UPLOAD_PATH_CONFLICT"
    missing = web.put(f"/v1/uploads/{'0' * 32}/files/x", content=b"")
    assert problem_of(missing)["reason"] == "UPLOAD_NOT_FOUND"


HOSTILE = [
    "../x", "..", ".", "", "/etc/passwd", "a/../../b", "a//b", "a\\b", "a\x00b", "a\nb", "./a", "a/.", "x" * 300,
    "/".join(["d" * 100] * 20), "․․/x", "a/…", "a／b", "．．/x", "\ud800", "a/..", "~\x7f", "ä" * 150,
]  # fmt: skip


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_that_could_lead_elsewhere_is_refused(path):
    with pytest.raises(InvalidInput) as caught:
        checked_path(path)
    assert caught.value.reason == "UPLOAD_PATH_INVALID"


@pytest.mark.parametrize("path", ["scan.dcm", "patient 1/MR.1.2.3", "ä/ö.png", "a.b/c", "..a", "a..", "~x"])
def test_an_ordinary_path_is_taken_as_it_is(path):
    assert checked_path(path) == path


def test_nothing_is_written_outside_the_uploads(world, web, channel):
    upload = web.post("/v1/uploads").json()["upload"]
    for path in ("%2e%2e/%2e%2e/evil", "..%2fevil", "%2fevil", "a%5cb", "a%00b"):
        assert web.put(f"/v1/{upload}/files/{path}", content=b"evil").status_code in (400, 404)
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, [pb.UploadFilesRequest(upload=upload, path="../evil", data=b"evil")])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for name in ("uploads/..", "uploads/.arriving", "..", "uploads/" + "0" * 31):
        with pytest.raises(grpc.RpcError) as caught:
            send(channel, [pb.UploadFilesRequest(upload=name, path="x", data=b"evil")])
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert not list(world.folder.rglob("*evil*"))


def test_a_stream_without_a_file_or_path_says_so(channel):
    for messages in ([], [pb.UploadFilesRequest(data=b"x")]):
        with pytest.raises(grpc.RpcError) as caught:
            send(channel, messages)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def small(tmp_path):
    return open_uploads(tmp_path)


def open_uploads(folder, *, in_use=frozenset):
    return Uploads(folder / "up", max_file_bytes=10, max_upload_bytes=15, max_files=2, lifetime_s=60, in_use=in_use)


def put(uploads, upload, path, data):
    arriving = uploads.open_file(upload, path)
    try:
        arriving.write(data)
        arriving.keep()
    finally:
        arriving.close()


def test_sizes_are_bounded_per_file_and_per_upload(small):
    upload = small.create()
    arriving = small.open_file(upload, "a")
    arriving.write(b"x" * 10)
    with pytest.raises(TooLarge):
        arriving.write(b"x")
    arriving.close()
    assert small.size(upload) == (0, 0)
    with pytest.raises(TooLarge):
        small.check_size(1, 16)
    with pytest.raises(TooLarge):
        small.check_size(3, 1)


def test_an_upload_ends_with_its_time(small, tmp_path):
    old = small.create()
    young = small.create()
    os.utime(small.folder(old), (0, 0))
    small.create()
    assert small.folder(young).is_dir()
    with pytest.raises(NotFound):
        small.folder(old)


def test_an_upload_that_waits_for_its_ingest_outlives_its_time(tmp_path):
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    uploads = open_uploads(tmp_path, in_use=lambda: uploads_in_use(ledger))
    waiting, unused = uploads.create(), uploads.create()
    request = {"display_name": "", "upload": waiting.removeprefix("uploads/")}
    operation, _ = ledger.create_operation("cohort", "cohorts/one", request, [ChunkSpec("cohort-ingest", {})])
    for upload in (waiting, unused):
        os.utime(uploads.folder(upload), (0, 0))
    uploads.create()
    assert uploads.folder(waiting).is_dir()
    with pytest.raises(NotFound):
        uploads.folder(unused)

    lease = ledger.lease_chunk("one", 60, ["cohort-ingest"])
    ledger.commit_chunk(lease, {}, response={})
    assert ledger.get_operation(operation.name).done
    uploads.create()
    with pytest.raises(NotFound):
        uploads.folder(waiting)
    ledger.close()


def test_replicas_count_together_and_a_replaced_file_once(small, tmp_path):
    other = open_uploads(tmp_path)
    upload = small.create()
    put(small, upload, "a", b"12345")
    put(other, upload, "deep/b", b"1234567")
    assert small.size(upload) == other.size(upload) == (2, 12)
    put(small, upload, "a", b"1")
    assert other.size(upload) == (2, 8)


def test_files_that_arrive_at_once_do_not_pass_the_limits_together(small):
    upload = small.create()
    arriving = [small.open_file(upload, name) for name in "ab"]
    for file in arriving:
        file.write(b"x" * 8)
    arriving[0].keep()
    with pytest.raises(TooLarge):
        arriving[1].keep()
    for file in arriving:
        file.close()
    assert small.size(upload) == (1, 8)
    assert [path.name for path in small.folder(upload).iterdir()] == ["a"]


def test_a_client_that_falls_silent_is_not_waited_for(world, web, problem_of):
    upload = web.post("/v1/uploads").json()["upload"]

    def pieces():
        yield b"half"
        time.sleep(2.0)
        yield b"never"

    reply = httpx.put(f"{world.http}/v1/{upload}/files/x", content=pieces(), timeout=10)
    assert problem_of(reply)["reason"] == "RECEIVE_TIMEOUT"
    assert files_of(world, upload) == {}


def test_a_connection_without_a_request_is_closed(world):
    host, port = world.http.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        started = time.monotonic()
        assert slow.recv(1) == b""
        assert time.monotonic() - started < 8
