"""Many workers at once, and workers that are killed: no chunk is lost, none is committed twice."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from services.adapters.ledger import ChunkSpec, Ledger, open_ledger
from tests.adapters import ledger_worker

KILLS = 20
spawning = multiprocessing.get_context("forkserver")
spawning.set_forkserver_preload(["tests.adapters.ledger_worker"])


def start(ledger: Ledger, scores: int) -> str:
    chunks = [ChunkSpec("score", {"shard": shard}, rows=1) for shard in range(scores)]
    return ledger.create_operation("audit", "audits/1", {}, [*chunks, ChunkSpec("reduce", {}, last=True)])[0].name


def read_journals(folder: Path) -> list[tuple[int, str]]:
    lines = [line for path in folder.glob("*.journal") for line in path.read_text().splitlines()]
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


def assert_each_chunk_is_committed_once(ledger: Ledger, operation: str, chunks: int) -> None:
    final = ledger.get_operation(operation)
    assert (final.state, final.rows_done, final.response) == ("succeeded", chunks - 1, {"done": True})
    results = ledger.chunk_results(operation)
    assert [row["chunk"] for row in results] == list(range(chunks))
    commits = [event["details"] for event in ledger.history(operation) if event["event"] == "committed"]
    assert sorted(commit["chunk"] for commit in commits) == list(range(chunks)), "lost or doubled"
    assert commits[-1]["chunk"] == chunks - 1, "the reduction came before the end"
    tokens = {commit["chunk"]: commit["token"] for commit in commits}
    assert {row["chunk"]: row["result"]["token"] for row in results} == tokens


def test_eight_threads_and_two_processes_commit_each_of_200_chunks_once(ledger_url: str, tmp_path: Path) -> None:
    ledger = open_ledger(ledger_url)
    operation = start(ledger, 200)
    processes = [
        spawning.Process(
            target=ledger_worker.work_and_record,
            args=(ledger_url, operation, f"process-{number}", tmp_path / f"{number}.journal"),
        )
        for number in range(2)
    ]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ledger_worker.work, ledger, operation, f"thread-{n}", 30) for n in range(8)]
        acknowledged = [chunk for future in futures for chunk in future.result()]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    acknowledged += [chunk for chunk, _ in read_journals(tmp_path)]
    assert sorted(acknowledged) == list(range(201))
    assert_each_chunk_is_committed_once(ledger, operation, 201)
    ledger.close()


@pytest.mark.parametrize("seed", [1])
def test_twenty_killed_workers_lose_nothing_and_double_nothing(ledger_url: str, tmp_path: Path, seed: int) -> None:
    ledger, random = open_ledger(ledger_url, skew_s=0.05), Random(seed)
    operation = start(ledger, 600)
    for kill in range(KILLS):
        journal = tmp_path / f"{kill}.journal"
        process = spawning.Process(
            target=ledger_worker.work_until_killed, args=(ledger_url, operation, f"worker-{kill}", 0.3, journal)
        )
        process.start()
        end = time.monotonic() + 20
        while not journal.exists() and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        process.join()
    assert not ledger.get_operation(operation).done, "the workers were too quick to be killed at work"
    acknowledged = dict(read_journals(tmp_path))
    assert len(acknowledged) == len(read_journals(tmp_path)), "a chunk was acknowledged to two workers"
    ledger_worker.work(ledger, operation, "survivor", 10)
    assert_each_chunk_is_committed_once(ledger, operation, 601)
    committed_by = {row["chunk"]: row["result"]["worker"] for row in ledger.chunk_results(operation)}
    assert {chunk: committed_by[chunk] for chunk in acknowledged} == acknowledged, "an acknowledged commit was lost"
    # A kill can hit between a lease and its commit; then the chunk was leased again, and that is all it cost.
    assert ledger.get_operation(operation).retries <= KILLS
    ledger.close()
