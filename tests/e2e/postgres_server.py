"""A PostgreSQL server of a test's own, to be mistreated."""

import logging
import time
from pathlib import Path

import pgserver
import psutil
import psycopg


class Postgres:
    def __init__(self, folder: Path) -> None:
        logging.getLogger("pgserver").setLevel(logging.CRITICAL)
        self._server = pgserver.get_server(folder)
        self.url = self._server.get_uri()
        self._stopped: list[psutil.Process] = []

    def restart(self, away: float) -> None:
        """As after a crash: nobody's transaction is waited for. `away`: seconds until it comes back."""
        pgserver.pg_ctl(["stop", "-w", "-m", "immediate"], pgdata=self._server.pgdata, user=self._server.system_user)
        time.sleep(away)
        self._server.ensure_postgres_running()

    def stop_answering(self, seconds: float) -> None:
        self.stop()
        time.sleep(seconds)
        self.go_on()

    def stop(self) -> None:
        """Every process of it, as by a machine or a disk that hangs: its connections stay open."""
        self._stopped = self._processes()
        for process in self._stopped:
            process.suspend()

    def go_on(self) -> None:
        for process in self._stopped:
            process.resume()

    def connections(self) -> int:
        query = "SELECT COUNT(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        with psycopg.connect(self.url) as connection:
            return int(connection.execute(query).fetchone()[0])

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(int((self._server.pgdata / "postmaster.pid").read_text().split()[0]))
        return [postmaster, *postmaster.children()]
