"""What making electricity emits where, and what a site adds to the energy of its machines: dated, with their sources.

Figures of countries are yearly means of all that is generated, weighted by its CO2 equivalent over the life of plants.
A region that is cleaner than its country, or a contract for other electricity, is stated in the configuration.
"""

from collections.abc import Mapping
from datetime import date
from typing import Final, NamedTuple


class Figure(NamedTuple):
    """A number with the first day that it is for, and whose it is."""

    value: float
    since: date
    source: str


_GRID_SOURCE: Final = "Ember and Energy Institute, by Our World in Data"
_OF_2023: Final[Mapping[str, float]] = {
    "AT": 110.812, "AU": 548.692, "BE": 138.107, "BR": 98.348, "CA": 170.043, "CH": 34.843, "CL": 291.113,
    "CN": 582.317, "CZ": 449.724, "DE": 380.95, "DK": 151.65, "ES": 174.05, "FI": 79.158, "FR": 56.039, "GB": 237.589,
    "IE": 290.805, "IN": 713.441, "IT": 330.718, "JP": 485.392, "KR": 430.567, "MX": 507.245, "NL": 267.622,
    "NO": 30.08, "NZ": 112.758, "PL": 661.926, "PT": 165.553, "QA": 602.5, "SE": 40.695, "SG": 470.783, "TH": 549.583,
    "TW": 642.378, "US": 369.473, "ZA": 707.686,
}  # fmt: skip
_OF_2022: Final[Mapping[str, float]] = {
    "AE": 561.135, "BH": 904.615, "HK": 699.499, "ID": 675.931, "IL": 582.927, "IS": 27.68, "MY": 605.831,
    "SA": 706.791,
}  # fmt: skip

GRIDS: Final[Mapping[str, Figure]] = {
    country: Figure(grams, date(year, 1, 1), f"{country}, {year}: {_GRID_SOURCE}")
    for year, grids in ((2022, _OF_2022), (2023, _OF_2023))
    for country, grams in grids.items()
}
"""Grams of CO2 equivalent for a kilowatt-hour, by country (ISO 3166)."""

# Names of regions of AWS, Azure, Google Cloud and Oracle by the country in which they lie.
_REGIONS: Final[Mapping[str, str]] = {
    "US": "us-east-1 us-east-2 us-west-1 us-west-2 us-gov-east-1 us-gov-west-1 eastus eastus2 eastus3 centralus "
    "northcentralus southcentralus westcentralus westus westus2 westus3 us-central1 us-east1 us-east4 us-east5 "
    "us-south1 us-west1 us-west2 us-west3 us-west4 us-ashburn-1 us-phoenix-1 us-chicago-1 us-sanjose-1",
    "CA": "ca-central-1 ca-west-1 canadacentral canadaeast northamerica-northeast1 northamerica-northeast2 "
    "ca-toronto-1 ca-montreal-1",
    "MX": "mx-central-1 mexicocentral northamerica-south1 mx-queretaro-1",
    "BR": "sa-east-1 brazilsouth brazilsoutheast southamerica-east1 sa-saopaulo-1 sa-vinhedo-1",
    "CL": "southamerica-west1 chilecentral sa-santiago-1",
    "DE": "eu-central-1 germanywestcentral germanynorth europe-west3 europe-west10 eu-frankfurt-1",
    "FR": "eu-west-3 francecentral francesouth europe-west9 eu-paris-1 eu-marseille-1",
    "NL": "westeurope europe-west4 eu-amsterdam-1",
    "GB": "eu-west-2 uksouth ukwest europe-west2 uk-london-1 uk-cardiff-1",
    "IE": "eu-west-1 northeurope",
    "SE": "eu-north-1 swedencentral swedensouth europe-north2 eu-stockholm-1",
    "NO": "norwayeast norwaywest",
    "FI": "europe-north1",
    "DK": "denmarkeast",
    "PL": "polandcentral europe-central2",
    "IT": "eu-south-1 italynorth europe-west8 europe-west12 eu-milan-1",
    "ES": "eu-south-2 spaincentral europe-southwest1 eu-madrid-1",
    "CH": "eu-central-2 switzerlandnorth switzerlandwest europe-west6 eu-zurich-1",
    "BE": "belgiumcentral europe-west1",
    "AT": "austriaeast",
    "IN": "ap-south-1 ap-south-2 centralindia southindia westindia asia-south1 asia-south2 ap-mumbai-1 ap-hyderabad-1",
    "JP": "ap-northeast-1 ap-northeast-3 japaneast japanwest asia-northeast1 asia-northeast2 ap-tokyo-1 ap-osaka-1",
    "KR": "ap-northeast-2 koreacentral koreasouth asia-northeast3 ap-seoul-1 ap-chuncheon-1",
    "SG": "ap-southeast-1 southeastasia asia-southeast1 ap-singapore-1",
    "HK": "ap-east-1 eastasia asia-east2",
    "TW": "ap-east-2 asia-east1",
    "CN": "cn-north-1 cn-northwest-1 chinaeast chinaeast2 chinanorth chinanorth2 chinanorth3",
    "AU": "ap-southeast-2 ap-southeast-4 australiaeast australiasoutheast australiacentral australia-southeast1 "
    "australia-southeast2 ap-sydney-1 ap-melbourne-1",
    "NZ": "ap-southeast-6 newzealandnorth",
    "ID": "ap-southeast-3 indonesiacentral asia-southeast2",
    "MY": "ap-southeast-5 malaysiawest",
    "TH": "ap-southeast-7",
    "ZA": "af-south-1 southafricanorth southafricawest africa-south1 af-johannesburg-1",
    "AE": "me-central-1 uaenorth uaecentral me-dubai-1 me-abudhabi-1",
    "BH": "me-south-1",
    "QA": "qatarcentral me-central1",
    "SA": "me-central2 me-jeddah-1",
    "IL": "il-central-1 israelcentral me-west1 il-jerusalem-1",
}

COUNTRY_OF: Final[Mapping[str, str]] = {
    region: country for country, regions in _REGIONS.items() for region in regions.split()
}
"""The country of each region of a cloud."""

_PUBLISHED: Final[tuple[tuple[tuple[str, ...], Figure], ...]] = (
    (("aws", "amazon"), Figure(1.15, date(2023, 1, 1), "AWS, mean of all sites, 2023")),
    (("microsoft", "azure"), Figure(1.18, date(2022, 1, 1), "Microsoft, mean of all sites, 2022")),
    (("google", "gcp"), Figure(1.10, date(2023, 1, 1), "Google, mean of all sites, 2023")),
)


def overhead_of(provider: str) -> Figure | None:
    """Return the power usage effectiveness that a cloud publishes; None for others."""
    name = provider.casefold()
    return next((figure for names, figure in _PUBLISHED if name.startswith(names)), None)
