"""What Azure's meters belong to in FOCUS: service categories, regions, and the model that a token meter names.

Source: Microsoft's open data on services and regions (finops-toolkit), reduced to what differs from a rule.
"""

import re
from typing import Final

_AI: Final = ("AI and Machine Learning", "Machine Learning")
_AI_PLATFORM: Final = ("AI and Machine Learning", "AI Platforms")
_GENERATIVE: Final = ("AI and Machine Learning", "Generative AI")
_MACHINES: Final = ("Compute", "Virtual Machines")
_CONTAINERS: Final = ("Compute", "Containers")
_SERVERLESS: Final = ("Compute", "Serverless Compute")
_NETWORK: Final = ("Networking", "Network Infrastructure")
_OBSERVABILITY: Final = ("Management and Governance", "Observability")
_RELATIONAL: Final = ("Databases", "Relational Databases")
_OTHER: Final = ("Other", "Other (Other)")

_BY_METER: Final = {
    "virtual machines": _MACHINES,
    "virtual machines licenses": _MACHINES,
    "azure dedicated host": _MACHINES,
    "cloud services": _SERVERLESS,
    "functions": _SERVERLESS,
    "container instances": _CONTAINERS,
    "azure kubernetes service": _CONTAINERS,
    "azure container apps": _CONTAINERS,
    "container registry": _CONTAINERS,
    "storage": ("Storage", "Storage Platforms"),
    "azure netapp files": ("Storage", "File Storage"),
    "azure managed lustre": ("Storage", "File Storage"),
    "azure elastic san": ("Storage", "Block Storage"),
    "backup": ("Storage", "Backup Storage"),
    "bandwidth": ("Networking", "Content Delivery"),
    "virtual network": _NETWORK,
    "load balancer": ("Networking", "Application Networking"),
    "application gateway": ("Networking", "Application Networking"),
    "nat gateway": ("Networking", "Network Routing"),
    "expressroute": ("Networking", "Network Connectivity"),
    "vpn gateway": ("Networking", "Network Connectivity"),
    "azure firewall": ("Networking", "Network Security"),
    "log analytics": _OBSERVABILITY,
    "azure monitor": _OBSERVABILITY,
    "sql database": _RELATIONAL,
    "sql managed instance": _RELATIONAL,
    "azure database for mysql": _RELATIONAL,
    "azure database for postgresql": _RELATIONAL,
    "azure cosmos db": ("Databases", "NoSQL Databases"),
    "redis cache": ("Databases", "Caching"),
    "azure machine learning": _AI,
    "machine learning studio": _AI,
    "cognitive services": _AI_PLATFORM,
    "azure openai": _GENERATIVE,
    "azure openai service": _GENERATIVE,
    "foundry models": _GENERATIVE,
    "azure ai foundry": _GENERATIVE,
    "azure databricks": ("Analytics", "Data Processing"),
    "azure data factory v2": ("Integration", "Workflow Orchestration"),
    "event hubs": ("Integration", "Messaging"),
    "service bus": ("Integration", "Messaging"),
    "key vault": ("Security", "Secret Management"),
    "microsoft defender for cloud": ("Security", "Security Posture Management"),
    "advanced data security": ("Security", "Security Posture Management"),
    "advanced threat protection": ("Security", "Threat Detection and Response"),
    "azure app service": ("Web", "Application Platforms"),
}

_BY_NAMESPACE: Final = {
    "microsoft.compute": _MACHINES,
    "microsoft.classiccompute": _MACHINES,
    "microsoft.capacity": ("Management and Governance", "Cost Management"),
    "microsoft.billingbenefits": ("Compute", "Other (Compute)"),
    "microsoft.containerservice": _CONTAINERS,
    "microsoft.containerregistry": _CONTAINERS,
    "microsoft.containerinstance": _CONTAINERS,
    "microsoft.batch": _SERVERLESS,
    "microsoft.storage": ("Storage", "Storage Platforms"),
    "microsoft.storagecache": ("Storage", "Storage Platforms"),
    "microsoft.netapp": ("Storage", "File Storage"),
    "microsoft.dataprotection": ("Storage", "Backup Storage"),
    "microsoft.network": _NETWORK,
    "microsoft.cdn": ("Networking", "Content Delivery"),
    "microsoft.machinelearningservices": _AI,
    "microsoft.machinelearning": _AI,
    "microsoft.cognitiveservices": _AI_PLATFORM,
    "microsoft.databricks": ("Analytics", "Data Processing"),
    "microsoft.synapse": ("Analytics", "Analytics Platforms"),
    "microsoft.fabric": ("Analytics", "Analytics Platforms"),
    "microsoft.sql": _RELATIONAL,
    "microsoft.documentdb": ("Databases", "NoSQL Databases"),
    "microsoft.operationalinsights": _OBSERVABILITY,
    "microsoft.insights": _OBSERVABILITY,
    "microsoft.monitor": _OBSERVABILITY,
    "microsoft.keyvault": ("Security", "Secret Management"),
    "microsoft.security": ("Security", "Security Posture Management"),
    "microsoft.web": ("Web", "Application Platforms"),
}

_BY_FAMILY: Final = {
    "compute": ("Compute", "Other (Compute)"),
    "containers": _CONTAINERS,
    "storage": ("Storage", "Other (Storage)"),
    "networking": ("Networking", "Other (Networking)"),
    "ai + machine learning": ("AI and Machine Learning", "Other (AI and Machine Learning)"),
    "analytics": ("Analytics", "Other (Analytics)"),
    "databases": ("Databases", "Other (Databases)"),
    "security": ("Security", "Other (Security)"),
    "web": ("Web", "Other (Web)"),
    "integration": ("Integration", "Other (Integration)"),
    "management and governance": ("Management and Governance", "Other (Management and Governance)"),
    "developer tools": ("Developer Tools", "Other (Developer Tools)"),
    "internet of things": ("Internet of Things", "Other (Internet of Things)"),
    "azure marketplace services": _OTHER,
    "saas": _OTHER,
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

_MODEL: Final = re.compile(
    r"(?i)\b((?:gpt|text-embedding|davinci|babbage|ada|dall-e|whisper|tts|sora|o[1-9]|phi|llama|mistral|codestral|"
    r"deepseek|gemini|gemma|imagen|veo|qwen|grok|claude|command|jamba|embed|cohere)[a-z0-9]*"
    r"(?:[-. ](?:[0-9][a-z0-9.]*|mini|nano|turbo|large|small|medium|pro|flash|lite|realtime|audio|hd|instruct|opus|"
    r"sonnet|haiku|scout|maverick|r1|v3|ada|preview|coder?|chat|r|plus))*)"
)
_CACHED: Final = re.compile(r"(?i)\b(cached|cchd|cache)\b")
_OUTPUT: Final = re.compile(r"(?i)\b(output|outp|outpt|opt|out|completion|completions|generated)\b")
_INPUT: Final = re.compile(r"(?i)\b(input|inp|inpt|in|prompt|cached|cchd)\b")


def service_category(meter: str, namespace: str, family: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory by meter category, else consumed service, else family."""
    meter, namespace, family = meter.strip().lower(), namespace.strip().lower(), family.strip().lower()
    return _BY_METER.get(meter) or _BY_NAMESPACE.get(namespace) or _BY_FAMILY.get(family) or _OTHER


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


def model_of(words: str) -> dict[str, str]:
    """Return what the words of a token meter say: ModelId, TokenDirection, TokenCacheAction (FOCUS working draft).

    Nulls: a key is absent where the words do not say it; empty where they name no model.
    """
    found = _MODEL.search(words)
    if found is None:
        return {}
    said = {"ModelId": re.sub(r"\s+", "-", found[1].strip().lower())}
    if _OUTPUT.search(words):
        said["TokenDirection"] = "Output"
    elif _INPUT.search(words):
        said["TokenDirection"] = "Input"
    if _CACHED.search(words):
        said["TokenCacheAction"] = "Read"
    return said
