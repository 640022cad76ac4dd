"""Documents that several writers touch: on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from services.adapters.ledger import Ledger, open_ledger


def test_the_first_of_a_name_stands_whoever_comes_later(ledger: Ledger) -> None:
    assert ledger.create_resource("monitors/a", "monitor", {"by": "first"}) == {"by": "first"}
    assert ledger.create_resource("monitors/a", "monitor", {"by": "second"}) == {"by": "first"}
    assert ledger.get_resource("monitors/a") == {"by": "first"}


def test_of_writers_at_once_one_creates_and_all_hear_of_it(ledger_url: str) -> None:
    ledgers = [open_ledger(ledger_url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        bodies = list(
            threads.map(
                lambda pair: pair[1].create_resource("monitors/a", "monitor", {"by": pair[0]}), enumerate(ledgers)
            )
        )
    assert bodies == [ledgers[0].get_resource("monitors/a")] * 4
    for ledger in ledgers:
        ledger.close()


def test_a_change_keeps_what_another_writer_changed(ledger: Ledger) -> None:
    ledger.put_resource("monitors/a", "monitor", {"state": "waiting", "trouble": ""})
    assert ledger.change_resource("monitors/a", {"trouble": "a folder is away"})
    assert ledger.change_resource("monitors/a", {"state": "watching"})
    assert ledger.get_resource("monitors/a") == {"state": "watching", "trouble": "a folder is away"}


def test_what_was_deleted_is_not_brought_back_by_a_change(ledger: Ledger) -> None:
    assert not ledger.change_resource("monitors/a", {"state": "watching"})
    assert ledger.get_resource("monitors/a") is None


def test_names_come_oldest_first_and_of_one_kind(ledger: Ledger) -> None:
    for name, kind in (("monitors/b", "monitor"), ("audits/x", "audit"), ("monitors/a", "monitor")):
        ledger.put_resource(name, kind, {})
    assert ledger.resource_names("monitor") == ["monitors/b", "monitors/a"]
