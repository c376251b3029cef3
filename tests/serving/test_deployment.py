"""Files for those who run the service: valid for the programs that read them, and in keeping with our limits."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.serving.test_rolling_update import NGINX

from neuronspec.cli.main import app
from neuronspec.serving.limits import ServingLimits

DEPLOY = Path(__file__).parents[2] / "deploy"
LIMITS = ServingLimits()


def read_seconds(pattern: str, name: str) -> float:
    (found,) = re.findall(pattern, (DEPLOY / name).read_text(encoding="utf-8"))
    return float(found)


def list_options(name: str) -> list[str]:
    """Return the options that a file gives to `neuronspec serve`."""
    text = (DEPLOY / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"neuronspec\"?,? \"?serve(.*)", text)
    return re.findall(r"--[\w-]+", " ".join(lines))


@pytest.mark.parametrize("name", ["Dockerfile", "neuronspec.service"])
def test_options_of_the_service_exist(name: str) -> None:
    group: Any = typer.main.get_command(app)
    known = {option for parameter in group.commands["serve"].params for option in parameter.opts}
    options = list_options(name)
    assert options
    assert set(options) <= known


def test_the_proxy_and_systemd_wait_longer_than_the_service() -> None:
    assert read_seconds(r"proxy_read_timeout (\d+)s", "nginx.conf") > LIMITS.request_seconds
    assert read_seconds(r"TimeoutStopSec=(\d+)", "neuronspec.service") > LIMITS.stop_seconds
    assert read_seconds(r"client_max_body_size (\d+);", "nginx.conf") == LIMITS.body


@pytest.mark.skipif(NGINX is None, reason="needs nginx: make nginx")
def test_nginx_accepts_the_whole_configuration(tmp_path: Path) -> None:
    assert NGINX is not None
    certificate = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=translate.example.org"]
    files = ["-keyout", "translate.key", "-out", "translate.pem"]
    subprocess.run(["openssl", "req", *certificate, *files], cwd=tmp_path, check=True, capture_output=True)

    site = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    for place in ("/etc/ssl/certs", "/etc/ssl/private", "/var/log/nginx"):
        site = site.replace(place, str(tmp_path))
    path = tmp_path / "nginx.conf"
    path.write_text(f"pid {tmp_path}/pid; events {{}} http {{\n{site}\n}}")
    tested = subprocess.run(
        [NGINX, "-t", "-e", str(tmp_path / "error.log"), "-c", str(path)], capture_output=True, text=True
    )
    assert tested.returncode == 0, tested.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "neuronspec.service").read_text(encoding="utf-8")
    program = re.findall(r"ExecStart=(\S+)", text)[0]
    unit = tmp_path / "neuronspec@5001.service"
    unit.write_text(text.replace(program, shutil.which("env") or ""), encoding="utf-8")
    tested = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (tested.returncode, tested.stderr) == (0, ""), tested.stderr


def test_the_image_listens_where_its_health_is_checked() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    ports = set(re.findall(r"EXPOSE (\d+)|127\.0\.0\.1:(\d+)/health|\"--port\", \"(\d+)\"", text))
    assert {number for found in ports for number in found if number} == {"5000"}
    words = shlex.split(re.findall(r"ENTRYPOINT \[(.*)\]", text)[0].replace(",", " "))
    assert words[:2] == ["neuronspec", "serve"]
