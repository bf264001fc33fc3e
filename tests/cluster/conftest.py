"""What tests of runs in parts share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support import s3_server
from support.s3_server import Bucket


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of S3 on this machine."""
    pytest.importorskip("obstore", reason="buckets need obstore")
    pytest.importorskip("moto", reason="the bucket is moto's")
    with s3_server.serve(monkeypatch) as served:
        yield served
