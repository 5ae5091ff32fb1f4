"""Links from one page to another, with what the other page should show."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

_KEY = "_pages_by_name"


def register(pages: Mapping[str, Any]) -> None:
    """Remember this session's pages by their name, so that pages can link to each other."""
    st.session_state[_KEY] = dict(pages)


def to(name: str, label: str, **params: str) -> None:
    """Draw a link to another page; a page that this viewer may not open is left out."""
    found = st.session_state.get(_KEY, {}).get(name)
    if found is not None:
        st.page_link(found, label=label, query_params={key: value for key, value in params.items() if value} or None)


def to_job(run: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page of jobs is asked for one run: ids recur, and the submit time tells them apart."""
    return {"job": run["job_id"], "submitted": str(int(run["submitted_at"].timestamp()))}


def url(name: str, **params: str) -> str:
    """Return a link's address relative to the hub, for a cell of a table."""
    from urllib.parse import urlencode  # noqa: PLC0415  only tables with links need it

    query = urlencode({key: value for key, value in params.items() if value})
    return f"/{name.replace('_', '-')}{'?' if query else ''}{query}"
