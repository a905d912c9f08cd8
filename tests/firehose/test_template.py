"""The CloudFormation template is right by cfn-lint's rules, grants little, and is the one that is shipped."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ds3tool.firehose.layout import parse_delivered
from ds3tool.firehose.stack import TEMPLATE, template
from tests.firehose.delivered import Stream
from tests.firehose.filled import AT


def test_the_template_passes_cfn_lint(project: Path) -> None:
    """No rule of cfn-lint finds anything, not even a warning; one that is wrong it does find."""
    lint = str(Path(sys.executable).with_name("cfn-lint"))
    done = subprocess.run([lint, str(project / "resources" / TEMPLATE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done


def test_the_template_beside_the_sample_data_is_the_one_that_is_shipped(project: Path) -> None:
    """There is one copy: what a reader finds in `resources` is what `deploy` applies."""
    assert (project / "resources" / TEMPLATE).resolve() == (project / "ds3tool" / "firehose" / TEMPLATE).resolve()
    assert template() == (project / "resources" / TEMPLATE).read_text()


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    """The template's resources; CloudFormation's short forms are their bare values."""
    yaml: Any = importlib.import_module("yaml")  # it has no types
    loader: Any = type("Loader", (yaml.SafeLoader,), {})

    def bare(reader: Any, _: str, node: Any) -> Any:  # noqa: ANN401  # YAML holds anything
        is_list = isinstance(node, yaml.SequenceNode)
        return reader.construct_sequence(node, deep=True) if is_list else reader.construct_scalar(node)

    loader.add_multi_constructor("!", bare)
    found: dict[str, Any] = yaml.load(template(), Loader=loader)["Resources"]
    return found


def test_the_prefixes_make_keys_of_which_the_hour_and_the_error_are_told(parts: dict[str, Any]) -> None:
    """What the stream delivers under these prefixes is understood, with its slash, and errors lie apart from data."""
    to = parts["Stream"]["Properties"]["ExtendedS3DestinationConfiguration"]
    prefix, errors = (to[name].replace("${Prefix}", "data/") for name in ("Prefix", "ErrorOutputPrefix"))
    stream = Stream("clicks", 1, prefix, errors)
    data, failed = (parse_delivered(stream.key(AT, error=error)) for error in (None, "processing-failed"))
    assert data is not None
    assert failed is not None
    assert (data.start, data.has_slash, data.kind) == (AT.replace(tzinfo=None), True, "data")
    assert (failed.start, failed.has_slash, failed.kind) == (data.start, True, "processing-failed")
    assert data.head.startswith("data/year=")
    assert failed.head.startswith("errors/data/processing-failed/year=")


def test_the_role_may_do_no_more_than_deliver(parts: dict[str, Any]) -> None:
    """Every action is one that Firehose's own page names, on this bucket alone, and nothing is granted on all."""
    for statement in parts["Policy"]["Properties"]["PolicyDocument"]["Statement"]:
        assert statement["Effect"] == "Allow"
        assert all(action.startswith("s3:") and "*" not in action for action in statement["Action"])
        assert not {"s3:DeleteObject", "s3:PutBucketPolicy"} & set(statement["Action"])
        resources = statement["Resource"]
        for resource in [resources] if isinstance(resources, str) else resources:
            assert resource.startswith(("Bucket.Arn", "${Bucket.Arn}/"))


def test_the_bucket_is_closed_keeps_versions_and_outlives_the_stack(parts: dict[str, Any]) -> None:
    """It is encrypted and not public, ends stale uploads, and goes with the stack only if that was never made."""
    bucket, told = parts["Bucket"], parts["Bucket"]["Properties"]
    assert (bucket["DeletionPolicy"], bucket["UpdateReplacePolicy"]) == ("RetainExceptOnCreate", "Retain")
    assert set(told["PublicAccessBlockConfiguration"].values()) == {True}
    assert told["VersioningConfiguration"] == {"Status": "Enabled"}
    (rule,) = told["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    (rule,) = told["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["AbortIncompleteMultipartUpload"]) == ("Enabled", {"DaysAfterInitiation": 7})
