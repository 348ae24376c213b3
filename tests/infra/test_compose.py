"""The cluster on one machine, as Docker Compose reads it."""

import re

import pytest
import yaml
from tests.infra.conftest import INFRA

FILE = INFRA / "compose.yaml"


def services():
    return yaml.safe_load(FILE.read_text())["services"]


def test_compose_knows_every_field():
    compose_spec = pytest.importorskip("compose_spec")
    whole = yaml.safe_load(FILE.read_text())
    plain = {key: value for key, value in whole.items() if not key.startswith("x-")}
    found = compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain))
    assert sorted(found.service_names()) == sorted(plain["services"])
    plain["services"]["head"]["comand"] = ["ray"]
    with pytest.raises(ValueError, match=r"services.head: .*`comand`"):
        compose_spec.PyCompose.from_yaml(yaml.safe_dump(plain))


def test_a_service_waits_for_what_can_be_waited_for():
    for name, service in services().items():
        for other, how in service.get("depends_on", {}).items():
            needed = services()[other]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in needed, f"{name} waits for {other}"


def test_every_volume_is_declared_and_nothing_but_this_machine_is_served():
    whole = yaml.safe_load(FILE.read_text())
    used = {volume.partition(":")[0] for service in whole["services"].values() for volume in service.get("volumes", [])}
    assert used == set(whole["volumes"])
    ports = [port for service in whole["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_no_secret_has_a_value_and_a_missing_one_stops_it():
    text = FILE.read_text()
    secrets = {"RAY_AUTH_TOKEN", "S3_USER", "S3_PASSWORD", "POSTGRES_PASSWORD"}
    assert set(re.findall(r"\$\{(\w+):\?", text)) == secrets
    told = (INFRA / "README.md").read_text()
    assert all(f"{name}=" in told for name in secrets)


def test_the_tracking_server_knows_its_hosts_with_and_without_the_port():
    (allowed,) = (each for each in services()["mlflow"]["command"] if each.startswith("--allowed-hosts="))
    hosts = set(allowed.partition("=")[2].split(","))
    assert hosts == {f"{host}{port}" for host in ("mlflow", "localhost", "127.0.0.1") for port in ("", ":5000")}


def test_the_object_store_fits_the_shared_memory():
    for name in ("head", "worker"):
        service = services()[name]
        (bytes_,) = (int(each.partition("=")[2]) for each in service["command"] if each.startswith("--object-store-memory="))
        assert bytes_ <= 0.95 * int(service["shm_size"].removesuffix("gb")) * 2**30  # what Ray takes of it, at most
