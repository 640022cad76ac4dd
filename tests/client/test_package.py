import subprocess
import sys

import evenhand
import pytest


@pytest.mark.parametrize("name", evenhand.__all__)
def test_each_public_name_is_there(name):
    assert getattr(evenhand, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such"):
        evenhand.no_such  # noqa: B018


def test_the_services_can_import_the_stubs_without_the_clients_libraries():
    code = "import evenhand.audit.v1.audit_pb2, sys; print({'pandas', 'rich', 'typer'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
