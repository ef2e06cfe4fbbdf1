from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin.errors import SettingsError


@frozen
class Sources:
    """A project and a home of their own, and nothing of this machine's environment."""

    project: Path
    home: Path

    def user_file(self, text: str) -> Path:
        return self._write(self.home, text)

    def project_file(self, text: str) -> Path:
        return self._write(self.project, text)

    def load(self, **more: Any) -> SettingsResolver:
        return SettingsResolver.load(self.project, **{"home": self.home, "environ": {}, **more})

    def error(self, **more: Any) -> str:
        """The text of the error that loading raises."""
        with pytest.raises(SettingsError) as caught:
            self.load(**more)
        return str(caught.value)

    @staticmethod
    def _write(folder: Path, text: str) -> Path:
        path = folder / ".victor" / "autotune.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path / "project", tmp_path / "home")
