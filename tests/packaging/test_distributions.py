"""What a user gets from wheel, sdist and editable install."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import HeaderParser
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"victor_autotune_plugin": ROOT, "victor_autotune_hooks": ROOT / "hooks"}
TESTING = ROOT / "testing"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def dist_info() -> str:
    return f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}.dist-info"


def source_files() -> set[str]:
    """Paths of the packages' files as an installation should have them."""
    return {
        path.relative_to(base).as_posix()
        for package, base in PACKAGES.items()
        for path in (base / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_installs_two_packages_and_nothing_else_at_top_level(wheel: zipfile.ZipFile, dist_info: str) -> None:
    assert {PurePosixPath(name).parts[0] for name in wheel.namelist()} == {*PACKAGES, dist_info}


def test_what_only_demo_benchmarks_and_tests_use_stays_out_of_the_wheel(wheel: zipfile.ZipFile) -> None:
    (package,) = (path for path in TESTING.iterdir() if path.is_dir() and path.name != "__pycache__")
    assert not [name for name in wheel.namelist() if package.name in name]
    says_where_it_went = "victor_autotune_plugin/_deprecated.py"
    modules = [name for name in wheel.namelist() if name.endswith(".py") and name != says_where_it_went]
    assert not [name for name in modules if package.name.encode() in wheel.read(name)]


def test_the_wheel_built_from_the_sdist_has_every_file_of_the_packages(wheel: zipfile.ZipFile, dist_info: str) -> None:
    shipped = {name for name in wheel.namelist() if not name.startswith(dist_info)}
    assert shipped == source_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= shipped


def test_victor_and_the_shell_find_their_entry_points(wheel: zipfile.ZipFile, dist_info: str) -> None:
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel.read(f"{dist_info}/entry_points.txt").decode())
    assert dict(entry_points["victor.plugins"]) == {"autotune": "victor_autotune_plugin.plugin:plugin"}
    assert dict(entry_points["console_scripts"]) == {"victor-autotune": "victor_autotune_plugin._cli.app:main"}
    # The plugin registers its own hooks itself; the group is for third parties.
    assert not entry_points.has_section("victor_autotune")


def test_the_metadata_names_licence_python_and_host(wheel: zipfile.ZipFile, dist_info: str) -> None:
    metadata = HeaderParser().parsestr(wheel.read(f"{dist_info}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0 AND MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert "victor-ai<1,>=0.9" in metadata.get_all("Requires-Dist", [])
    assert wheel.read(f"{dist_info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()


def test_every_link_of_the_readme_is_absolute_outside_of_the_repository(wheel: zipfile.ZipFile, dist_info: str) -> None:
    text = HeaderParser().parsestr(wheel.read(f"{dist_info}/METADATA").decode()).get_payload()
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert [one for one in targets if not one.startswith(("https://", "#"))] == []
    docs, source = PROJECT["urls"]["Documentation"], PROJECT["urls"]["Source"]
    in_the_repository = re.findall(r"\]\(docs/([\w/-]+)\.md", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(in_the_repository) > 10
    assert [one for one in in_the_repository if not any(url.startswith(f"{docs}{one}/") for url in targets)] == []
    assert {f"{source}/blob/main/CONTRIBUTING.md", f"{source}/blob/main/CHANGELOG.md"} <= set(targets)


def test_every_address_of_the_project_is_told(wheel: zipfile.ZipFile, dist_info: str) -> None:
    metadata = HeaderParser().parsestr(wheel.read(f"{dist_info}/METADATA").decode())
    told = dict(one.split(", ", 1) for one in metadata.get_all("Project-URL", []))
    assert {*told} == {"Documentation", "Changelog", "Source", "Issues"}
    assert told == PROJECT["urls"]


def test_the_sdist_can_be_tested_and_studied(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {PurePosixPath(*PurePosixPath(name).parts[1:]).as_posix() for name in archive.getnames()}
    for folder in ("testing", "tests", "benchmarks", "docs", "examples", "hooks", ".ci"):
        files = [
            file.relative_to(ROOT).as_posix()
            for file in (ROOT / folder).rglob("*")
            if file.is_file() and not {"__pycache__", ".victor"} & set(file.parts) and file.suffix != ".pyc"
        ]
        assert set(files) <= names, folder
    assert {"Makefile", "requirements-dev.lock", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "LICENSE"} <= names


def test_an_editable_install_reaches_all_three_source_roots(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", "import sys, hatchling.build as b; b.build_editable(sys.argv[1])", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        (pth,) = (name for name in archive.namelist() if name.endswith(".pth"))
        roots = archive.read(pth).decode().split()
    assert {Path(root).resolve() for root in roots} == {*PACKAGES.values(), TESTING}
