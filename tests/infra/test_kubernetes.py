"""What is applied to Kubernetes is what it means: every field is known, values are of the allowed ones, names fit together."""

import copy
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.infra.conftest import INFRA, documents

from codeblock.cli.jobs.commands import HEADINGS
from codeblock.core.capacity import MAXIMUM, told_maximum

RAY = [("RayCluster", INFRA / "kuberay" / "raycluster.yaml"), ("RayJob", INFRA / "kuberay" / "rayjob.yaml")]
CORE = [INFRA / "namespace.yaml", *sorted((INFRA / "mlflow").glob("*.yaml")), INFRA / "kuberay" / "raycluster.yaml"]
SUBMISSION_MODES = {"K8sJobMode", "HTTPMode", "SidecarMode", "InteractiveMode"}
"""KubeRay's controller allows no other; its schema says only that it is a string."""


def of_kind(path, kind):
    return next(document for document in documents(path) if document["kind"] == kind)


def cluster_of(document):
    return document["spec"] if document["kind"] == "RayCluster" else document["spec"]["rayClusterSpec"]


def containers(document):
    cluster = cluster_of(document)
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        yield from group["template"]["spec"]["containers"]


@pytest.mark.parametrize(("kind", "path"), RAY, ids=lambda value: value if isinstance(value, str) else "")
def test_kuberay_knows_every_field(ray_schema, kind, path):
    document = of_kind(path, kind)
    assert document["apiVersion"] == "ray.io/v1"
    assert [error.message for error in Draft202012Validator(ray_schema(kind)).iter_errors(document)] == []


def test_the_schemas_find_what_kubernetes_would_drop_in_silence(ray_schema):
    wrong = copy.deepcopy(of_kind(RAY[1][1], "RayJob"))
    wrong["spec"]["shutdownAfterJobFinish"] = True
    wrong["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["replicas"] = "two"
    wrong["spec"]["rayClusterSpec"]["authOptions"]["mode"] = "tokens"
    found = {error.json_path for error in Draft202012Validator(ray_schema("RayJob")).iter_errors(wrong)}
    assert found == {
        "$.spec",
        "$.spec.rayClusterSpec.workerGroupSpecs[0].replicas",
        "$.spec.rayClusterSpec.authOptions.mode",
    }


def test_a_job_is_not_started_again_and_takes_its_cluster_down():
    job = of_kind(RAY[1][1], "RayJob")["spec"]
    assert job["submissionMode"] in SUBMISSION_MODES
    assert (job["backoffLimit"], job["shutdownAfterJobFinishes"]) == (0, True)


def test_a_job_says_of_itself_what_the_list_of_jobs_shows():
    job = of_kind(RAY[1][1], "RayJob")["spec"]
    assert set(job["metadata"]) <= set(HEADINGS)
    assert f" {job['metadata']['command']} " in job["entrypoint"]
    assert f"/{job['metadata']['config']}.yaml " in job["entrypoint"]


@pytest.mark.parametrize(("kind", "path"), RAY, ids=lambda value: value if isinstance(value, str) else "")
def test_a_head_lends_no_cpu_has_room_for_drivers_and_asks_for_a_token(kind, path):
    cluster = cluster_of(of_kind(path, kind))
    head = cluster["headGroupSpec"]["rayStartParams"]
    assert head["num-cpus"] == "0"
    assert yaml.safe_load(yaml.safe_load(head["resources"])) == {"driver": 100}  # quoted twice: a shell reads it
    assert cluster["authOptions"]["mode"] == "token"


def test_a_cluster_rests_without_workers_and_says_how_large_it_can_be():
    document = of_kind(RAY[0][1], "RayCluster")
    cluster = cluster_of(document)
    assert (cluster["enableInTreeAutoscaling"], cluster["autoscalerOptions"]["version"]) == (True, "v2")
    groups = cluster["workerGroupSpecs"]
    assert [(group["groupName"], group["minReplicas"]) for group in groups] == [("cpu", 0), ("gpu", 0)]
    most = {"CPU": 0.0, "GPU": 0.0}
    for group in groups:
        limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
        most["CPU"] += group["maxReplicas"] * float(limits["cpu"])
        most["GPU"] += group["maxReplicas"] * float(limits.get("nvidia.com/gpu", 0))
    head = cluster["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert told_maximum(next(each["value"] for each in head["env"] if each["name"] == MAXIMUM)) == most


@pytest.mark.parametrize("path", CORE, ids=lambda path: path.stem)
def test_kubernetes_knows_every_field_of_its_own_kinds(path):
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    own = [each for each in documents(path) if not re.search(r"(ray|k8s)\.io/", each["apiVersion"])]
    for document in own:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    assert own or path.name == "kustomization.yaml"


def test_what_kustomize_applies_is_there():
    for path in INFRA.rglob("kustomization.yaml"):
        for name in yaml.safe_load(path.read_text())["resources"]:
            assert (path.parent / name).exists(), f"{path}: {name}"


def test_names_fit_together():
    manifests = [document for path in sorted(INFRA.rglob("*.yaml")) for document in documents(path) if "kind" in document]
    claims = {each["metadata"]["name"] for each in manifests if each["kind"] == "PersistentVolumeClaim"}
    secrets = {each["metadata"]["name"] for each in manifests if each["kind"] == "Secret"}
    queues = {each["metadata"]["name"] for each in manifests if each["kind"] == "LocalQueue"}
    assert (claims, secrets) == ({"codeblock-shared"}, {"codeblock-secrets", "mlflow-secrets"})
    for kind, path in RAY:
        text = path.read_text()
        assert set(re.findall(r"claimName: ([\w-]+)", text)) == claims
        assert set(re.findall(r"secretRef: \{name: ([\w-]+)", text)) == {"codeblock-secrets"}, kind
    assert of_kind(RAY[1][1], "RayJob")["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] in queues
    given = of_kind(INFRA / "mlflow" / "secret.example.yaml", "Secret")["stringData"]
    used = set(re.findall(r"\$\((\w+)\)|key: (\w+)", (INFRA / "mlflow" / "mlflow.yaml").read_text()))
    assert {name for pair in used for name in pair if name} <= set(given)


def test_every_place_names_the_version_of_ray_that_is_installed():
    project = tomllib.loads((INFRA.parent / "pyproject.toml").read_text())["project"]
    (version,) = {match[1] for each in project["dependencies"] if (match := re.match(r"ray\[.*\]==(.+)", each))}
    told = {path: set(re.findall(r"(?:rayVersion: \"|RAY_TAG[=:] ?)(\d+\.\d+\.\d+)", path.read_text())) for path in _texts()}
    assert {path: versions for path, versions in told.items() if versions - {version}} == {}
    assert sum(bool(versions) for versions in told.values()) == 4  # Dockerfile, compose.yaml, raycluster.yaml, rayjob.yaml


def test_the_image_has_the_version_of_the_package():
    version = tomllib.loads((INFRA.parent / "pyproject.toml").read_text())["project"]["version"]
    found = {tag for path in _texts() for tag in re.findall(r"codeblock:(\d+\.\d+\.\d+)", path.read_text())}
    assert found == {version}


def _texts() -> list[Path]:
    return [INFRA / "Dockerfile", *sorted(INFRA.rglob("*.yaml"))]
