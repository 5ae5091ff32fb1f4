"""Bills of managed file systems under the rule `direct`: who moved the bytes, by name or by what a person states."""

from decimal import Decimal
from typing import Any

import pytest

from tests.bills import device_hour, job_hour
from tests.queries.rollups.test_allocation_hour import H, allocated, by, cost, nowhere

FSX = "arn:aws:fsx:us-east-1:7:file-system/fs-0123456789abcdef0"
LUSTRE = {"filesystem_type": "lustre", "file_system": "fzxyzbmv", "mount_point": ""}
EFS = {"filesystem_type": "nfs", "file_system": "127.0.0.1:/", "mount_point": "/mnt/efs"}


def storage_of(resource: str, *systems: dict[str, Any], **settings: Any) -> dict[Any, Decimal]:
    """Return which teams bear a bill of 8 for storage where a job used these file systems."""
    counted = {"hour_start": H, "cluster": "c", "node": "a1", "read_bytes": 1e9, "observed_seconds": Decimal(3600)}
    shared_parts = dict.fromkeys(("shared_billed_cost", "shared_effective_cost"), Decimal(8))
    made = allocated(
        [cost(), nowhere("8", cost_kind="storage", resource_id=resource.lower(), **shared_parts)],
        [device_hour(H, "g0", productive_seconds=3600)],
        [job_hour(H, "g0", "j1", productive_seconds=3600)],
        systems=[counted | each for each in systems],
        shared_cost_rules={"storage": "direct"},
        **settings,
    )
    return by(made.filter(cost_kind="storage"), "team")


@pytest.mark.parametrize(
    ("resource", "mounted"),
    [
        (FSX, {"file_system": "fs-0123456789abcdef0.fsx.us-east-1.amazonaws.com:/fsx"}),
        (f"{FSX.replace('file-system', 'volume')}/fsvol-0aa", {"file_system": "svm-1.fs-0123456789abcdef0.fsx.x:/v"}),
        ("arn:aws:elasticfilesystem:us-east-1:7:file-system/fs-0abc0def", {"file_system": "fs-0abc0def.efs.x:/"}),
        ("/subscriptions/s/storageAccounts/Trainingdata", {"file_system": "trainingdata.file.core.windows.net:/t/s"}),
        ("/subscriptions/s/netAppAccounts/a/capacityPools/p/volumes/weights", {"file_system": "10.0.0.4:/weights"}),
    ],
)
def test_a_managed_file_system_is_who_used_it(resource: str, mounted: dict[str, str]) -> None:
    """FSx, EFS, Azure Files and NetApp Files: the id of the bill stands in what nodes mount."""
    assert storage_of(resource, EFS | {"mount_point": "/data"} | mounted) == {"team-of-j1": 8}


@pytest.mark.parametrize(
    ("stated", "mounted", "is_known"),
    [
        ({"file_system": "fzxyzbmv", "resource": FSX}, LUSTRE, True),
        ({"file_system": "fzxyzbmv", "resource": "arn:aws:fsx:*", "cluster": "c"}, LUSTRE, True),
        ({"file_system": "fzxyzbmv", "resource": FSX, "cluster": "elsewhere"}, LUSTRE, False),
        ({"file_system": "fzxyzbm", "resource": FSX}, LUSTRE, False),
        ({"file_system": "/mnt/efs", "resource": FSX}, EFS, True),
        ({"file_system": "127.0.0.*", "resource": FSX}, EFS, True),
        ({"file_system": "/mnt", "resource": FSX}, EFS, False),
    ],
)
def test_what_is_mounted_by_another_name_is_stated(
    stated: dict[str, str], mounted: dict[str, Any], *, is_known: bool
) -> None:
    """FSx for Lustre mounts a name of its own, and EFS's helper an address: no bill has them."""
    assert storage_of(FSX, mounted) == {"": 8}
    assert storage_of(FSX, mounted, file_systems=(stated,)) == {"team-of-j1" if is_known else "": 8}


def test_what_is_stated_goes_before_a_name() -> None:
    """Who states a link for a resource means that one, whatever other mounts are called."""
    named = EFS | {"file_system": "fs-0123456789abcdef0.fsx.x:/fsx", "read_bytes": 5e9}
    stated = {"file_system": "fzxyzbmv", "resource": FSX}
    assert storage_of(FSX, named, file_systems=(stated,)) == {"": 8}
