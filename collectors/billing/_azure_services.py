"""What Azure's meters belong to in FOCUS: service categories and regions.

Source: Microsoft's open data on services and regions (finops-toolkit), reduced to what differs from a rule.
"""

import re
from typing import Final

from collectors.billing._service_categories import OTHER, with_category

_BY_METER: Final = {
    "virtual machines": "Virtual Machines",
    "virtual machines licenses": "Virtual Machines",
    "azure dedicated host": "Virtual Machines",
    "cloud services": "Serverless Compute",
    "functions": "Serverless Compute",
    "container instances": "Containers",
    "azure kubernetes service": "Containers",
    "azure container apps": "Containers",
    "container registry": "Containers",
    "storage": "Storage Platforms",
    "azure netapp files": "File Storage",
    "azure managed lustre": "File Storage",
    "azure elastic san": "Block Storage",
    "backup": "Backup Storage",
    "bandwidth": "Content Delivery",
    "virtual network": "Network Infrastructure",
    "load balancer": "Application Networking",
    "application gateway": "Application Networking",
    "nat gateway": "Network Routing",
    "expressroute": "Network Connectivity",
    "vpn gateway": "Network Connectivity",
    "azure firewall": "Network Security",
    "log analytics": "Observability",
    "azure monitor": "Observability",
    "sql database": "Relational Databases",
    "sql managed instance": "Relational Databases",
    "azure database for mysql": "Relational Databases",
    "azure database for postgresql": "Relational Databases",
    "azure cosmos db": "NoSQL Databases",
    "redis cache": "Caching",
    "azure machine learning": "Machine Learning",
    "machine learning studio": "Machine Learning",
    "cognitive services": "AI Platforms",
    "azure openai": "Generative AI",
    "azure openai service": "Generative AI",
    "foundry models": "Generative AI",
    "azure ai foundry": "Generative AI",
    "azure databricks": "Data Processing",
    "azure data factory v2": "Workflow Orchestration",
    "event hubs": "Messaging",
    "service bus": "Messaging",
    "key vault": "Secret Management",
    "microsoft defender for cloud": "Security Posture Management",
    "advanced data security": "Security Posture Management",
    "advanced threat protection": "Threat Detection and Response",
    "azure app service": "Application Platforms",
}

_BY_NAMESPACE: Final = {
    "microsoft.compute": "Virtual Machines",
    "microsoft.classiccompute": "Virtual Machines",
    "microsoft.capacity": "Cost Management",
    "microsoft.billingbenefits": "Other (Compute)",
    "microsoft.containerservice": "Containers",
    "microsoft.containerregistry": "Containers",
    "microsoft.containerinstance": "Containers",
    "microsoft.batch": "Serverless Compute",
    "microsoft.storage": "Storage Platforms",
    "microsoft.storagecache": "Storage Platforms",
    "microsoft.netapp": "File Storage",
    "microsoft.dataprotection": "Backup Storage",
    "microsoft.network": "Network Infrastructure",
    "microsoft.cdn": "Content Delivery",
    "microsoft.machinelearningservices": "Machine Learning",
    "microsoft.machinelearning": "Machine Learning",
    "microsoft.cognitiveservices": "AI Platforms",
    "microsoft.databricks": "Data Processing",
    "microsoft.synapse": "Analytics Platforms",
    "microsoft.fabric": "Analytics Platforms",
    "microsoft.sql": "Relational Databases",
    "microsoft.documentdb": "NoSQL Databases",
    "microsoft.operationalinsights": "Observability",
    "microsoft.insights": "Observability",
    "microsoft.monitor": "Observability",
    "microsoft.keyvault": "Secret Management",
    "microsoft.security": "Security Posture Management",
    "microsoft.web": "Application Platforms",
}

_BY_FAMILY: Final = {
    "compute": "Other (Compute)",
    "containers": "Containers",
    "storage": "Other (Storage)",
    "networking": "Other (Networking)",
    "ai + machine learning": "Other (AI and Machine Learning)",
    "analytics": "Other (Analytics)",
    "databases": "Other (Databases)",
    "security": "Other (Security)",
    "web": "Other (Web)",
    "integration": "Other (Integration)",
    "management and governance": "Other (Management and Governance)",
    "developer tools": "Other (Developer Tools)",
    "internet of things": "Other (Internet of Things)",
    "azure marketplace services": OTHER,
    "saas": OTHER,
}

_PLACES: Final = {
    "us": "us",
    "eu": "europe",
    "europe": "europe",
    "ap": "asia",
    "asia": "asia",
    "uk": "uk",
    "ca": "canada",
}
_REGION: Final = re.compile(
    r"(us|eu|europe|ap|asia)(north|south|east|west|southeast|central|northcentral|southcentral|westcentral)(\d?)"
)
_FAMILIAR: Final = {
    "usnorth": "northcentralus",
    "ussouth": "southcentralus",
    "cacentral": "canadacentral",
    "caeast": "canadaeast",
    "inwest": "westindia",
    "incentral": "centralindia",
    "insouth": "southindia",
    "jaeast": "japaneast",
    "jawest": "japanwest",
    "aueast": "australiaeast",
    "ausoutheast": "australiasoutheast",
    "aucentral": "australiacentral",
    "brsouth": "brazilsouth",
    "krcentral": "koreacentral",
    "krsouth": "koreasouth",
    "frcentral": "francecentral",
    "frsouth": "francesouth",
    "dewestcentral": "germanywestcentral",
    "denorth": "germanynorth",
    "chnorth": "switzerlandnorth",
    "chwest": "switzerlandwest",
    "aenorth": "uaenorth",
    "noeast": "norwayeast",
    "secentral": "swedencentral",
    "plcentral": "polandcentral",
    "itnorth": "italynorth",
    "escentral": "spaincentral",
    "zanorth": "southafricanorth",
}
_NOWHERE: Final = frozenset({"", "unassigned", "unknown", "global", "zone1", "intercontinental"})


def service_category(meter: str, namespace: str, family: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory by meter category, else consumed service, else family."""
    meter, namespace, family = meter.strip().lower(), namespace.strip().lower(), family.strip().lower()
    return with_category(_BY_METER.get(meter) or _BY_NAMESPACE.get(namespace) or _BY_FAMILY.get(family) or OTHER)


def region_id(location: str) -> str | None:
    """Return Azure's own id of a region from any way in which exports write it; null where it names none."""
    folded = "".join(each for each in location.lower() if each.isalnum())
    if folded in _NOWHERE:
        return None
    if folded in _FAMILIAR:
        return _FAMILIAR[folded]
    found = _REGION.fullmatch(folded)
    if found is None:
        return folded
    return f"{found[2]}{_PLACES[found[1]]}{found[3]}"
