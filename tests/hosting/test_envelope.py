from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from services.errors import Internal, NotFound, Overloaded, ServiceError, error_classes, error_from_dict
from services.hosting.envelope import seal, seal_stream, unseal


async def answer(value: object) -> object:
    if isinstance(value, Exception):
        raise value
    return value


async def test_a_value_passes_through() -> None:
    assert unseal(await seal(answer(7))) == 7


async def test_an_error_keeps_its_class_reason_field_and_retry_time() -> None:
    with pytest.raises(Overloaded) as caught:
        unseal(await seal(answer(Overloaded("full", field="model", retry_after_s=2.0))))
    assert (caught.value.reason, caught.value.field, caught.value.retry_after_s) == ("OVERLOADED", "model", 2.0)


async def test_an_unexpected_error_shows_none_of_its_text_to_callers_or_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        try:
            raise KeyError("patient Miller")
        except KeyError as error:
            raise RuntimeError("no patient Miller") from error

    with pytest.raises(Internal) as caught:
        unseal(await seal(fail()))
    assert "Miller" not in str(caught.value.to_dict()) and "Miller" not in caplog.text
    assert "RuntimeError at " in caplog.text and "caused by KeyError at " in caplog.text
    assert f"{Path(__file__).name}:" in caplog.text


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_survives_a_dictionary_and_a_process_border(kind: type[ServiceError]) -> None:
    error = kind("what happened", field="spec.x", details={"a": "b"})
    for copy in (error_from_dict(error.to_dict()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is kind
        assert copy.to_dict() == error.to_dict()


def test_the_docstring_draws_every_class_of_the_tree() -> None:
    import services.errors

    drawn = services.errors.__doc__ or ""
    assert [kind.__name__ for kind in error_classes() if kind.__name__ not in drawn] == []


def test_an_unknown_class_becomes_internal() -> None:
    assert isinstance(error_from_dict({"class": "Exception", "message": "x"}), Internal)
    assert not isinstance(error_from_dict(NotFound("x").to_dict()), Internal)


async def test_a_stream_ends_with_its_error_sealed() -> None:
    async def work() -> AsyncGenerator[int, None]:
        yield 1
        raise NotFound("gone", reason="MODEL_NOT_FOUND")

    replies = [reply async for reply in seal_stream(work())]
    assert replies[0] == (None, 1)
    with pytest.raises(NotFound):
        unseal(replies[1])
    assert len(replies) == 2


async def test_closing_a_sealed_stream_closes_the_work() -> None:
    closed = []

    async def work() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            closed.append(True)

    stream = seal_stream(work())
    await anext(stream)
    assert not closed
    await stream.aclose()
    assert closed
