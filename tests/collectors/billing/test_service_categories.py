from collections.abc import Mapping

import pytest

from collectors.billing import _aws_services, _azure_services, _gcp_services, oci_cost
from collectors.billing._service_categories import OTHER, with_category

TABLES = {
    "aws": _aws_services._SERVICES,
    "aws, of EC2": _aws_services._FAMILIES,
    "azure, by meter": _azure_services._BY_METER,
    "azure, by namespace": _azure_services._BY_NAMESPACE,
    "azure, by family": _azure_services._BY_FAMILY,
    "google": _gcp_services._BY_SERVICE,
    "oracle": oci_cost._SERVICES,
}


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_service_has_a_subcategory_that_focus_knows(table: Mapping[str, str]) -> None:
    assert table
    for subcategory in table.values():
        category, same = with_category(subcategory)
        assert category
        assert same == subcategory


def test_a_subcategory_has_one_category_and_so_has_what_is_left() -> None:
    assert with_category("Data Warehouses") == ("Databases", "Data Warehouses")
    assert with_category("Other (Security)") == ("Security", "Other (Security)")
    assert with_category(OTHER) == ("Other", OTHER)
    assert _gcp_services.service_category("BigQuery") == ("Databases", "Data Warehouses")
    assert _aws_services.service_category("AmazonStates", "") == ("Integration", "Workflow Orchestration")
    assert _aws_services.service_category("AmazonEC2", "Storage") == ("Storage", "Block Storage")
    assert _azure_services.service_category("", "Microsoft.Web", "") == ("Web", "Application Platforms")
    assert _azure_services.service_category("new", "new", "new") == ("Other", OTHER)
