"""What Google's services belong to in FOCUS."""

from typing import Final

from collectors.billing._service_categories import OTHER, with_category

_BY_SERVICE: Final = {
    "compute engine": "Virtual Machines",
    "kubernetes engine": "Containers",
    "cloud run": "Containers",
    "cloud run functions": "Serverless Compute",
    "cloud functions": "Serverless Compute",
    "cloud tpu": "Virtual Machines",
    "batch": "Serverless Compute",
    "artifact registry": "Containers",
    "vertex ai": "Machine Learning",
    "ai platform": "Machine Learning",
    "cloud machine learning engine": "Machine Learning",
    "gemini api": "Generative AI",
    "generative language api": "Generative AI",
    "cloud natural language": "Natural Language Processing",
    "cloud speech api": "AI Platforms",
    "cloud vision api": "AI Platforms",
    "cloud storage": "Object Storage",
    "cloud filestore": "File Storage",
    "filestore": "File Storage",
    "managed lustre": "File Storage",
    "parallelstore": "File Storage",
    "backup for gke": "Backup Storage",
    "networking": "Network Infrastructure",
    "cloud dns": "Network Routing",
    "cloud vpn": "Network Connectivity",
    "bigquery": "Data Warehouses",
    "bigquery storage api": "Data Warehouses",
    "dataflow": "Data Processing",
    "cloud dataflow": "Data Processing",
    "dataproc": "Data Processing",
    "cloud dataproc": "Data Processing",
    "databricks": "Data Processing",
    "cloud sql": "Relational Databases",
    "alloydb": "Relational Databases",
    "cloud spanner": "Relational Databases",
    "cloud bigtable": "NoSQL Databases",
    "cloud memorystore for redis": "Caching",
    "cloud pub/sub": "Messaging",
    "security command center": "Security Posture Management",
    "secret manager": "Secret Management",
    "cloud key management service (kms)": "Secret Management",
    "cloud logging": "Observability",
    "cloud monitoring": "Observability",
    "stackdriver logging": "Observability",
    "stackdriver monitoring": "Observability",
    "support": "Support",
}


def service_category(service: str) -> tuple[str, str]:
    """Return FOCUS ServiceCategory and ServiceSubcategory of a service; Other where it is not known."""
    return with_category(_BY_SERVICE.get(service.strip().lower(), OTHER))
