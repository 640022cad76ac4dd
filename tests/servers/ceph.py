"""A real S3 server on loopback: Ceph's RADOS Gateway over one monitor and one in-memory storage daemon.

Traps that the configuration avoids: the gateway insists on secure messenger modes, which need authentication, unless
told ``crc``; a monitor on another port than the default needs a monmap of its own.
"""

from __future__ import annotations

import http.client
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

from .processes import Daemon, free_ports, program, run_tool

ACCESS_KEY = "testaccess"
SECRET_KEY = "testsecretkey123"

_CONFIGURATION = """
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = [v2:127.0.0.1:{monitor_port}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
ms_bind_ipv6 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_mon_service_mode = crc
ms_mon_cluster_mode = crc
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
run_dir = {folder}
admin_socket = {folder}/$name.asok
log_file = {folder}/$name.log
crash_dir = {folder}
plugin_dir = /usr/lib/ceph
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 500
[mon]
mon_data = {folder}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_tick_interval = 1
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
[osd]
osd_data = {folder}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_numa_auto_affinity = false
[client.rgw]
rgw_data = {folder}/rgw
rgw_frontends = beast endpoint=127.0.0.1:{port}
rgw_rados_pool_pg_num_min = 2
rgw_enable_usage_log = false
rgw_thread_pool_size = 64
rgw_dynamic_resharding = false
"""


class CephS3:
    """``endpoint`` is ``host:port``; the keys are :data:`ACCESS_KEY` and :data:`SECRET_KEY`."""

    def __init__(self) -> None:
        programs = ("ceph-mon", "ceph-osd", "radosgw", "ceph", "radosgw-admin", "monmaptool")
        monitor, storage, gateway, ceph, admin, monmap = (program(name) for name in programs)
        self._folder = folder = Path(tempfile.mkdtemp(prefix="evenhand-ceph-"))
        for name in ("mon", "osd", "rgw"):
            (folder / name).mkdir()
        monitor_port, self.port = free_ports(2)
        self.endpoint = f"127.0.0.1:{self.port}"
        fsid, osd_uuid = str(uuid4()), str(uuid4())
        text = _CONFIGURATION.format(fsid=fsid, monitor_port=monitor_port, port=self.port, folder=folder)
        (folder / "ceph.conf").write_text(text)
        config = ["-c", str(folder / "ceph.conf")]
        address = f"[v2:127.0.0.1:{monitor_port}]"
        self._daemons: list[Daemon] = []
        try:
            run_tool([monmap, "--create", "--fsid", fsid, "--addv", "a", address, str(folder / "monmap")])
            run_tool([monitor, *config, "--mkfs", "-i", "a", "--monmap", str(folder / "monmap")])
            self._start("mon", [monitor, "-i", "a", *config, "-f"]).wait_until((folder / "mon.a.asok").exists)
            run_tool([ceph, *config, "osd", "new", osd_uuid, "0"])
            run_tool([storage, *config, "-i", "0", "--mkfs", "--osd-uuid", osd_uuid])
            self._start("osd", [storage, "-i", "0", *config, "-f"])
            user = ["--uid=test", "--display-name=test", f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}"]
            run_tool([admin, *config, "-n", "client.rgw", "user", "create", *user, "--max-buckets=100000"])
            self._start("rgw", [gateway, "-n", "client.rgw", *config, "-f"]).wait_until(self._answers)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Nothing in it is kept, so nothing is asked to save."""
        for daemon in reversed(self._daemons):
            daemon.process.kill()
            daemon.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self, name: str, arguments: list[str]) -> Daemon:
        self._daemons.append(Daemon(arguments, self._folder / f"{name}.out"))
        return self._daemons[-1]

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
