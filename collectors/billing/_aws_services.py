"""What AWS's codes mean in FOCUS words: services, regions, and the model that a usage type names."""

import re
from collections.abc import Mapping
from typing import Final

_COMPUTE: Final = "Compute"
_OTHER: Final = ("Other", "Other (Other)")

_SERVICES: Final[Mapping[str, tuple[str, str]]] = {
    "amazonec2": (_COMPUTE, "Virtual Machines"),
    "awslambda": (_COMPUTE, "Serverless Compute"),
    "amazonecs": (_COMPUTE, "Containers"),
    "amazoneks": (_COMPUTE, "Containers"),
    "amazonecr": (_COMPUTE, "Containers"),
    "amazonlightsail": (_COMPUTE, "Virtual Machines"),
    "awsbatch": (_COMPUTE, "Other (Compute)"),
    "awsparallelcluster": (_COMPUTE, "Other (Compute)"),
    "awspcs": (_COMPUTE, "Other (Compute)"),
    "amazons3": ("Storage", "Object Storage"),
    "amazonglacier": ("Storage", "Object Storage"),
    "amazonefs": ("Storage", "File Storage"),
    "amazonfsx": ("Storage", "File Storage"),
    "awsbackup": ("Storage", "Backup Storage"),
    "awsstoragegateway": ("Storage", "Other (Storage)"),
    "awsdatatransfer": ("Networking", "Other (Networking)"),
    "amazonvpc": ("Networking", "Network Infrastructure"),
    "awselb": ("Networking", "Application Networking"),
    "amazoncloudfront": ("Networking", "Content Delivery"),
    "amazonroute53": ("Networking", "Application Networking"),
    "awsdirectconnect": ("Networking", "Network Connectivity"),
    "awsglobalaccelerator": ("Networking", "Application Networking"),
    "amazonapigateway": ("Networking", "Application Networking"),
    "awsmigrationhubrefactorspaces": ("Migration", "Other (Migration)"),
    "amazonsagemaker": ("AI and Machine Learning", "AI Platforms"),
    "amazonbedrock": ("AI and Machine Learning", "Generative AI"),
    "amazonbedrockagentcore": ("AI and Machine Learning", "Generative AI"),
    "amazonrekognition": ("AI and Machine Learning", "Other (AI and Machine Learning)"),
    "amazontextract": ("AI and Machine Learning", "Natural Language Processing"),
    "comprehend": ("AI and Machine Learning", "Natural Language Processing"),
    "transcribe": ("AI and Machine Learning", "Natural Language Processing"),
    "translate": ("AI and Machine Learning", "Natural Language Processing"),
    "amazonpolly": ("AI and Machine Learning", "Natural Language Processing"),
    "amazonlex": ("AI and Machine Learning", "Bots"),
    "amazonrds": ("Databases", "Relational Databases"),
    "amazondynamodb": ("Databases", "NoSQL Databases"),
    "amazonelasticache": ("Databases", "Caching"),
    "amazonredshift": ("Databases", "Data Warehouses"),
    "amazondocdb": ("Databases", "NoSQL Databases"),
    "amazonneptune": ("Databases", "NoSQL Databases"),
    "amazonathena": ("Analytics", "Analytics Platforms"),
    "awsglue": ("Analytics", "Data Processing"),
    "elasticmapreduce": ("Analytics", "Data Processing"),
    "amazonkinesis": ("Analytics", "Streaming Analytics"),
    "amazonmsk": ("Integration", "Messaging"),
    "amazones": ("Analytics", "Search"),
    "amazonquicksight": ("Analytics", "Business Intelligence"),
    "awsqueueservice": ("Integration", "Messaging"),
    "amazonsns": ("Integration", "Messaging"),
    "amazonstates": ("Integration", "Orchestration"),
    "awsevents": ("Integration", "Messaging"),
    "amazoncloudwatch": ("Management and Governance", "Observability"),
    "awscloudtrail": ("Management and Governance", "Compliance"),
    "awsconfig": ("Management and Governance", "Compliance"),
    "awssystemsmanager": ("Management and Governance", "Other (Management and Governance)"),
    "awscostexplorer": ("Management and Governance", "Cost Management"),
    "awssupportenterprise": ("Management and Governance", "Support"),
    "awssupportbusiness": ("Management and Governance", "Support"),
    "awsdevelopersupport": ("Management and Governance", "Support"),
    "ocbpremiumsupport": ("Management and Governance", "Support"),
    "awscloudshell": ("Developer Tools", "Developer Platforms"),
    "codebuild": ("Developer Tools", "Continuous Integration and Deployment"),
    "awskms": ("Security", "Other (Security)"),
    "awssecretsmanager": ("Security", "Secret Management"),
    "awswaf": ("Security", "Application Security"),
    "amazonguardduty": ("Security", "Threat Detection and Response"),
    "amazoncognito": ("Identity", "Identity and Access Management"),
    "awsdirectoryservice": ("Identity", "Identity and Access Management"),
    "awsiot": ("Internet of Things", "IoT Platforms"),
    "computesavingsplans": (_COMPUTE, "Virtual Machines"),
    "machinelearningsavingsplans": ("AI and Machine Learning", "AI Platforms"),
}

_FAMILIES: Final[Mapping[str, tuple[str, str]]] = {
    "data transfer": ("Networking", "Other (Networking)"),
    "storage": ("Storage", "Block Storage"),
    "system operation": ("Storage", "Block Storage"),
    "provisioned throughput": ("Storage", "Block Storage"),
    "storage snapshot": ("Storage", "Backup Storage"),
    "ip address": ("Networking", "Network Infrastructure"),
    "nat gateway": ("Networking", "Network Infrastructure"),
    "load balancer-application": ("Networking", "Application Networking"),
    "load balancer-network": ("Networking", "Application Networking"),
    "load balancer": ("Networking", "Application Networking"),
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
_OUTPUT: Final = re.compile(r"(?i)output|response|generated")
_INPUT: Final = re.compile(r"(?i)input|prompt")
_READ: Final = re.compile(r"(?i)cache-?read")
_WRITE: Final = re.compile(r"(?i)cache-?write")


def service_category(code: str, family: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory of a product code and family."""
    code, family = code.casefold(), family.casefold()
    if code == "amazonec2" and family in _FAMILIES:
        return _FAMILIES[family]
    return _SERVICES.get(code, _OTHER)


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


def tokens_of(words: str) -> dict[str, str]:
    """Return what a token meter's words say: TokenDirection, TokenCacheAction (FOCUS working draft).

    Nulls: a key is absent where the words do not say it.
    """
    said = {}
    if _OUTPUT.search(words):
        said["TokenDirection"] = "Output"
    elif _INPUT.search(words):
        said["TokenDirection"] = "Input"
    if _READ.search(words):
        said["TokenCacheAction"] = "Read"
    elif _WRITE.search(words):
        said["TokenCacheAction"] = "Write"
    return said
