"""Secrets are forwarded by name; a value goes along where it is none, or a flag says so."""

import pytest

from codeblock.cli.jobs.environment import NEEDED, check_forwarded, is_secret, job_environment, untracked
from codeblock.core.errors import CodeBlockError


def test_a_name_is_the_cluster_s_own_value():
    assert job_environment(["HF_TOKEN"]) == {"HF_TOKEN": "${HF_TOKEN}", NEEDED: "HF_TOKEN"}


def test_a_value_is_sent_where_it_is_no_secret():
    assert job_environment(["OMP_NUM_THREADS=4"]) == {"OMP_NUM_THREADS": "4"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("MLFLOW_TRACKING_PASSWORD", "x"),
        ("OPENAI_API_KEY", "x"),
        ("MLFLOW_TRACKING_URI", "https://me:word@server"),
    ],
)
def test_a_secret_is_not_sent_unless_a_flag_says_so(name, value):
    with pytest.raises(CodeBlockError, match=rf"^--env {name}=...: looks like a secret.*forward it with --env {name}, or"):
        job_environment([f"{name}={value}"])
    assert job_environment([f"{name}={value}"], secret_values=True) == {name: value}


@pytest.mark.parametrize("name", ["KEYBOARD", "MONKEY", "PATH", "AUTHOR", "MLFLOW_TRACKING_URI"])
def test_ordinary_names_are_no_secrets(name):
    assert not is_secret(name, "https://server")


def test_what_is_no_name_is_an_error():
    with pytest.raises(CodeBlockError, match=r"^--env A-B: write NAME"):
        job_environment(["A-B"])


def test_a_job_does_not_start_without_the_value_that_it_was_promised():
    check_forwarded({NEEDED: "A,B", "A": "1", "B": "2"})
    check_forwarded({})
    with pytest.raises(CodeBlockError, match=r"^the cluster has no value for B, C, which --env forwards; set it"):
        check_forwarded({NEEDED: "A,B,C", "A": "1", "B": ""})


def test_a_tracking_server_of_this_machine_that_is_not_sent_is_told():
    here = {"MLFLOW_TRACKING_URI": "http://user:password@server"}
    assert untracked(None, {}, {}) is None
    assert untracked("http://mine", {}, here) is None
    assert untracked(None, {"MLFLOW_TRACKING_URI": "http://server"}, here) is None
    told = untracked(None, {}, here)
    assert told.startswith("note: MLFLOW_TRACKING_URI is set here but not sent; ")
    assert "password" not in told
