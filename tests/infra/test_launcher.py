"""The cluster file for Ray's launcher, as the launcher reads it."""

import re

import pytest
import yaml
from tests.infra.conftest import INFRA

FILE = INFRA / "ray-cluster.aws.yaml"


def test_the_launcher_takes_it_and_no_field_is_unknown():
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(FILE.read_text())
    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="max_worker"):
        validate_config(prepare_config({**config, "max_worker": 3}))


def test_the_head_lends_no_cpu_and_names_what_the_cluster_can_become():
    config = yaml.safe_load(FILE.read_text())
    assert config["available_node_types"][config["head_node_type"]]["resources"] == {"CPU": 0, "driver": 100}
    (told,) = re.findall(r"CODEBLOCK_CLUSTER_MAXIMUM=(\S+)", FILE.read_text())
    workers = [each for name, each in config["available_node_types"].items() if name != "head"]
    cpus = sum(each["max_workers"] * each["resources"]["CPU"] for each in workers)
    assert told == f"CPU={cpus},GPU={config['available_node_types']['gpu']['max_workers']}"
    assert config["max_workers"] == sum(each["max_workers"] for each in workers)


def test_every_machine_starts_with_the_token_of_the_cluster():
    config = yaml.safe_load(FILE.read_text())
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}  # where Ray looks for it, there as here
    starts = [line for name in ("head", "worker") for line in config[f"{name}_start_ray_commands"] if "ray start" in line]
    assert len(starts) == 2
    assert all(line.startswith("RAY_AUTH_MODE=token ") for line in starts)  # without a token it does not start
