"""What the tests of all engines share."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
