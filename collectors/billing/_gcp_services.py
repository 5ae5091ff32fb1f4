"""What Google's services belong to in FOCUS."""

from typing import Final

_OTHER: Final = ("Other", "Other (Other)")
_OBSERVABILITY: Final = ("Management and Governance", "Observability")

_BY_SERVICE: Final = {
    "compute engine": ("Compute", "Virtual Machines"),
    "kubernetes engine": ("Compute", "Containers"),
    "cloud run": ("Compute", "Containers"),
    "cloud run functions": ("Compute", "Serverless Compute"),
    "cloud functions": ("Compute", "Serverless Compute"),
    "cloud tpu": ("Compute", "Virtual Machines"),
    "batch": ("Compute", "Serverless Compute"),
    "artifact registry": ("Compute", "Containers"),
    "vertex ai": ("AI and Machine Learning", "Machine Learning"),
    "ai platform": ("AI and Machine Learning", "Machine Learning"),
    "cloud machine learning engine": ("AI and Machine Learning", "Machine Learning"),
    "gemini api": ("AI and Machine Learning", "Generative AI"),
    "generative language api": ("AI and Machine Learning", "Generative AI"),
    "cloud natural language": ("AI and Machine Learning", "Natural Language Processing"),
    "cloud speech api": ("AI and Machine Learning", "AI Platforms"),
    "cloud vision api": ("AI and Machine Learning", "AI Platforms"),
    "cloud storage": ("Storage", "Object Storage"),
    "cloud filestore": ("Storage", "File Storage"),
    "filestore": ("Storage", "File Storage"),
    "managed lustre": ("Storage", "File Storage"),
    "parallelstore": ("Storage", "File Storage"),
    "backup for gke": ("Storage", "Backup Storage"),
    "networking": ("Networking", "Network Infrastructure"),
    "cloud dns": ("Networking", "Network Routing"),
    "cloud vpn": ("Networking", "Network Connectivity"),
    "bigquery": ("Analytics", "Data Warehouses"),
    "bigquery storage api": ("Analytics", "Data Warehouses"),
    "dataflow": ("Analytics", "Data Processing"),
    "cloud dataflow": ("Analytics", "Data Processing"),
    "dataproc": ("Analytics", "Data Processing"),
    "cloud dataproc": ("Analytics", "Data Processing"),
    "databricks": ("Analytics", "Data Processing"),
    "cloud sql": ("Databases", "Relational Databases"),
    "alloydb": ("Databases", "Relational Databases"),
    "cloud spanner": ("Databases", "Relational Databases"),
    "cloud bigtable": ("Databases", "NoSQL Databases"),
    "cloud memorystore for redis": ("Databases", "Caching"),
    "cloud pub/sub": ("Integration", "Messaging"),
    "security command center": ("Security", "Security Posture Management"),
    "secret manager": ("Security", "Secret Management"),
    "cloud key management service (kms)": ("Security", "Secret Management"),
    "cloud logging": _OBSERVABILITY,
    "cloud monitoring": _OBSERVABILITY,
    "stackdriver logging": _OBSERVABILITY,
    "stackdriver monitoring": _OBSERVABILITY,
    "support": ("Management and Governance", "Support"),
}


def service_category(service: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory of a service; Other where it is not known."""
    return _BY_SERVICE.get(service.strip().lower(), _OTHER)
