"""What AWS's codes mean in FOCUS words: services, regions, and the model that a usage type names."""

import re
from collections.abc import Mapping
from typing import Final

from collectors.billing._service_categories import OTHER, with_category
from collectors.billing._token_words import TokenWords

_SERVICES: Final[Mapping[str, str]] = {
    "amazonec2": "Virtual Machines",
    "awslambda": "Serverless Compute",
    "amazonecs": "Containers",
    "amazoneks": "Containers",
    "amazonecr": "Containers",
    "amazonlightsail": "Virtual Machines",
    "awsbatch": "Other (Compute)",
    "awsparallelcluster": "Other (Compute)",
    "awspcs": "Other (Compute)",
    "amazons3": "Object Storage",
    "amazonglacier": "Object Storage",
    "amazonefs": "File Storage",
    "amazonfsx": "File Storage",
    "awsbackup": "Backup Storage",
    "awsstoragegateway": "Other (Storage)",
    "awsdatatransfer": "Other (Networking)",
    "amazonvpc": "Network Infrastructure",
    "awselb": "Application Networking",
    "amazoncloudfront": "Content Delivery",
    "amazonroute53": "Application Networking",
    "awsdirectconnect": "Network Connectivity",
    "awsglobalaccelerator": "Application Networking",
    "amazonapigateway": "Application Networking",
    "awsmigrationhubrefactorspaces": "Other (Migration)",
    "amazonsagemaker": "AI Platforms",
    "amazonbedrock": "Generative AI",
    "amazonbedrockagentcore": "Generative AI",
    "amazonrekognition": "Other (AI and Machine Learning)",
    "amazontextract": "Natural Language Processing",
    "comprehend": "Natural Language Processing",
    "transcribe": "Natural Language Processing",
    "translate": "Natural Language Processing",
    "amazonpolly": "Natural Language Processing",
    "amazonlex": "Bots",
    "amazonrds": "Relational Databases",
    "amazondynamodb": "NoSQL Databases",
    "amazonelasticache": "Caching",
    "amazonredshift": "Data Warehouses",
    "amazondocdb": "NoSQL Databases",
    "amazonneptune": "NoSQL Databases",
    "amazonathena": "Analytics Platforms",
    "awsglue": "Data Processing",
    "elasticmapreduce": "Data Processing",
    "amazonkinesis": "Streaming Analytics",
    "amazonmsk": "Messaging",
    "amazones": "Search",
    "amazonquicksight": "Business Intelligence",
    "awsqueueservice": "Messaging",
    "amazonsns": "Messaging",
    "amazonstates": "Workflow Orchestration",
    "awsevents": "Messaging",
    "amazoncloudwatch": "Observability",
    "awscloudtrail": "Compliance",
    "awsconfig": "Compliance",
    "awssystemsmanager": "Other (Management and Governance)",
    "awscostexplorer": "Cost Management",
    "awssupportenterprise": "Support",
    "awssupportbusiness": "Support",
    "awsdevelopersupport": "Support",
    "ocbpremiumsupport": "Support",
    "awscloudshell": "Developer Platforms",
    "codebuild": "Continuous Integration and Deployment",
    "awskms": "Other (Security)",
    "awssecretsmanager": "Secret Management",
    "awswaf": "Other (Security)",
    "amazonguardduty": "Threat Detection and Response",
    "amazoncognito": "Identity and Access Management",
    "awsdirectoryservice": "Identity and Access Management",
    "awsiot": "IoT Platforms",
    "computesavingsplans": "Virtual Machines",
    "machinelearningsavingsplans": "AI Platforms",
}

_FAMILIES: Final[Mapping[str, str]] = {
    "data transfer": "Other (Networking)",
    "storage": "Block Storage",
    "system operation": "Block Storage",
    "provisioned throughput": "Block Storage",
    "storage snapshot": "Backup Storage",
    "ip address": "Network Infrastructure",
    "nat gateway": "Network Infrastructure",
    "load balancer-application": "Application Networking",
    "load balancer-network": "Application Networking",
    "load balancer": "Application Networking",
}
"""Of EC2, which bills disks, addresses and transfer too."""

_PREFIXES: Final[Mapping[str, str]] = {
    "USE1": "us-east-1",
    "USE2": "us-east-2",
    "USW1": "us-west-1",
    "USW2": "us-west-2",
    "CAN1": "ca-central-1",
    "CAN2": "ca-west-1",
    "SAE1": "sa-east-1",
    "EU": "eu-west-1",
    "EUW1": "eu-west-1",
    "EUW2": "eu-west-2",
    "EUW3": "eu-west-3",
    "EUC1": "eu-central-1",
    "EUC2": "eu-central-2",
    "EUN1": "eu-north-1",
    "EUS1": "eu-south-1",
    "EUS2": "eu-south-2",
    "APN1": "ap-northeast-1",
    "APN2": "ap-northeast-2",
    "APN3": "ap-northeast-3",
    "APS1": "ap-southeast-1",
    "APS2": "ap-southeast-2",
    "APS3": "ap-south-1",
    "APS4": "ap-southeast-3",
    "APS5": "ap-south-2",
    "APS6": "ap-southeast-4",
    "APE1": "ap-east-1",
    "MES1": "me-south-1",
    "MEC1": "me-central-1",
    "ILC1": "il-central-1",
    "AFS1": "af-south-1",
    "UGW1": "us-gov-west-1",
    "UGE1": "us-gov-east-1",
}

_ZONE: Final = re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d)[a-z]?$")
_MODEL: Final = re.compile(
    r"(?i)((?:claude|nova|titan|llama|mistral|mixtral|command|jamba|jurassic|deepseek|qwen|gpt-oss|pixtral|palmyra|"
    r"embed|rerank|stable ?diffusion|sonic|gemma|kimi|minimax|glm)[a-z0-9. -]*?)"
    r"(?=[-_ ]*(?:(?:prompt-)?cache|(?:input|output|response)\b|tokens?\b|batch|cross-region|provisioned|latency"
    r"|\(|$|:))"
)
TOKENS: Final = TokenWords(
    output=re.compile(r"(?i)output|response|generated"),
    input=re.compile(r"(?i)input|prompt"),
    cache_read=re.compile(r"(?i)cache-?read"),
    cache_write=re.compile(r"(?i)cache-?write"),
)


def service_category(code: str, family: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory of a product code and family."""
    code, family = code.casefold(), family.casefold()
    if code == "amazonec2" and family in _FAMILIES:
        return with_category(_FAMILIES[family])
    return with_category(_SERVICES.get(code, OTHER))


def region_of(zone: str, usage_type: str) -> str | None:
    """Return the region of a zone, else that of the short name before a usage type; null where neither says one.

    A usage type without a short name is of us-east-1, but so are those of services without a region: unknown.
    """
    if found := _ZONE.match(zone):
        return found[1]
    return _PREFIXES.get(usage_type.partition("-")[0])


def model_of(words: str) -> str | None:
    """Return the model that words name, in small letters with hyphens; null where they name none."""
    found = _MODEL.search(words)
    return None if found is None else re.sub(r"[\s_]+", "-", found[1].strip(" -_").lower())
